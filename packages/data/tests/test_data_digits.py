import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from leadgrad.data import Digits, check_batch


def upsampled(scan):
    """Half-pixel bilinear enlargement by four in exact integers, in steps of 1/64 of a level."""
    grid = [(8 * i + 4) / 32 - 0.5 for i in range(32)]
    result = np.zeros((32, 32))
    for i, y in enumerate(grid):
        for j, x in enumerate(grid):
            y0, x0 = int(np.floor(max(y, 0))), int(np.floor(max(x, 0)))
            y1, x1 = min(y0 + 1, 7), min(x0 + 1, 7)
            b, a = max(y, 0) - y0, max(x, 0) - x0
            result[i, j] = (1 - b) * ((1 - a) * scan[y0, x0] + a * scan[y0, x1]) + b * (
                (1 - a) * scan[y1, x0] + a * scan[y1, x1]
            )
    return np.round(result * 255 / 16).astype(np.uint8)


def test_images_are_the_bundled_scans_enlarged():
    scans, labels = load_digits(return_X_y=True)
    references = {
        upsampled(scan.reshape(8, 8)).tobytes(): label
        for scan, label in zip(scans[:150], labels[:150], strict=True)
    }
    datamodule = Digits()
    found = 0
    for name in datamodule.split_names:
        split = datamodule.split(name)
        assert torch.equal(split.images[:, 0], split.images[:, 1])
        assert torch.equal(split.images[:, 0], split.images[:, 2])
        for image, label in zip(split.images[:, 0], split.labels, strict=True):
            if (key := image.numpy().tobytes()) in references:
                assert references[key] == label
                found += 1
    assert found == 150


def test_sizes_and_class_shares():
    datamodule = Digits()
    shares = np.bincount(load_digits().target) / 1797
    for name, size in {"train": 1297, "validation": 200, "test": 300}.items():
        split = datamodule.split(name)
        assert len(split) == size
        counts = np.bincount(split.labels.numpy(), minlength=10)
        assert np.abs(counts - size * shares).max() <= 2


def test_the_test_split_is_pinned():
    """Published numbers refer to these very pixels, on every platform and version."""
    assert Digits().manifest() == {
        "dataset": "Digits",
        "split": "test",
        "count": 300,
        "sha256": "1a6d44592538a32d61aa52b159a8ed1f032ab2a292a3f3d62cedef70cb35adc6",
    }


def test_the_split_seed_is_not_the_training_seed():
    assert Digits(seed=1).manifest() == Digits().manifest()
    assert Digits(split_seed=1).manifest() != Digits().manifest()


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_every_split_can_be_attacked(split):
    batches = list(Digits(attack_split=split, limit=100).predict_dataloader())
    for batch in batches:
        check_batch(batch)
    assert [len(batch["label"]) for batch in batches] == [64, 36]


def test_digits_are_moved_but_never_mirrored():
    augmentation = Digits(seed=4).augmentation()
    assert (augmentation.padding, augmentation.flip, augmentation.seed) == (2, False, 4)
