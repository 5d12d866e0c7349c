import pytest
import torch

from leadgrad.data import FakeCIFAR10, check_batch
from leadgrad.data.base import BATCH_TABLE, BatchError


@pytest.fixture
def batch():
    return {
        "image": torch.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4).float() / 255,
        "label": torch.tensor([0, 3]),
        "index": torch.tensor([4, 5]),
    }


def test_a_good_batch_passes_and_the_table_describes_it(batch):
    check_batch(batch)
    assert {key: entry.dtype for key, entry in BATCH_TABLE.items()} == {
        key: value.dtype for key, value in batch.items()
    }


def test_extra_keys_are_allowed(batch):
    check_batch({**batch, "weight": torch.ones(2)})


@pytest.mark.parametrize("key", ["image", "label", "index"])
def test_a_missing_key_is_named(batch, key):
    del batch[key]
    with pytest.raises(BatchError, match=f"no '{key}'"):
        check_batch(batch)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("image", torch.zeros(2, 3, 4, 4, dtype=torch.uint8), "torch.float32, got torch.uint8"),
        ("image", torch.zeros(2, 3, 4, 4, dtype=torch.float64), "got torch.float64"),
        ("image", torch.zeros(2, 4, 4, 3), r"\(B, 3, H, W\), got \(2, 4, 4, 3\)"),
        ("image", torch.zeros(3, 4, 4), r"got \(3, 4, 4\)"),
        ("image", torch.zeros(0, 3, 4, 4), "no sample"),
        ("image", torch.full((2, 3, 4, 4), 200.0), "0..255: divide by 255"),
        ("image", torch.full((2, 3, 4, 4), -2.0), "normalised"),
        ("image", torch.full((2, 3, 4, 4), 0.501), "multiples of 1/255"),
        ("label", torch.zeros(2), "torch.int64, got torch.float32"),
        ("label", torch.zeros(2, 10, dtype=torch.int64), r"got \(2, 10\).*argmax"),
        ("label", torch.zeros(3, dtype=torch.int64), r"must be \(2,\)"),
        ("label", torch.tensor([0, -1]), "not be negative, got -1"),
        ("index", torch.tensor([0, 1], dtype=torch.int32), "got torch.int32"),
        ("index", [0, 1], "must be a tensor, got list"),
    ],
)
def test_each_violation_is_refused_by_name(batch, key, value, message):
    with pytest.raises(BatchError, match=message):
        check_batch({**batch, key: value})


def test_non_finite_pixels_are_counted_and_the_first_is_located(batch):
    batch["image"][1, 2, 0, 3] = float("nan")
    batch["image"][1, 2, 1, 0] = float("inf")
    with pytest.raises(BatchError, match=r"2 NaN or infinite.*\(1, 2, 0, 3\)"):
        check_batch(batch)


def test_every_8_bit_value_is_on_the_grid_and_comes_back_exactly():
    values = torch.arange(256).repeat(3).reshape(1, 3, 16, 16)
    image = values.float() / 255
    check_batch({"image": image, "label": torch.tensor([0]), "index": torch.tensor([0])})
    assert torch.equal((image * 255).round().long(), values)


def test_augmented_training_batches_pass():
    for batch in FakeCIFAR10(batch_size=100).train_dataloader():
        check_batch(batch)
