import pytest
import torch

from leadgrad.data.batch import BatchError
from leadgrad.data.scene_batch import SCENE_TABLE, check_scene_batch


@pytest.fixture
def batch():
    return {
        "coords": torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [-999.0, 0.0, 0.0]]),
        "features": torch.tensor([[0.0, 0.5, 1.0]] * 3),
        "label": torch.tensor([0, 19, 255]),
        "scene": torch.tensor([0, 0, 1]),
        "index": torch.tensor([7, 2]),
        "from_bytes": torch.tensor([True, True]),
    }


def test_a_batch_of_the_table_passes(batch):
    check_scene_batch(batch, 20)
    check_scene_batch(batch | {"extra": torch.zeros(1)}, 20)


def test_one_point_duplicates_and_ignored_scenes_are_allowed(batch):
    batch["coords"][1] = batch["coords"][0]
    batch["label"][:] = 255
    check_scene_batch(batch, 20)
    one = {key: value[:1] for key, value in batch.items()}
    check_scene_batch(one, 20)


@pytest.mark.parametrize("key", SCENE_TABLE)
def test_every_key_is_needed_with_its_dtype(batch, key):
    wrong = batch | {key: batch[key].to(torch.int32)}
    with pytest.raises(BatchError, match=rf"batch\['{key}'\] must be torch.(float32|int64|bool)"):
        check_scene_batch(wrong, 20)
    with pytest.raises(BatchError, match="must be a tensor, got list"):
        check_scene_batch(batch | {key: []}, 20)
    del batch[key]
    with pytest.raises(BatchError, match=f"batch has no '{key}'"):
        check_scene_batch(batch, 20)


@pytest.mark.parametrize(
    ("key", "place", "value", "message"),
    [
        ("coords", (1, 2), float("nan"), "1 values are not, the first is nan at point 1, axis 2"),
        ("coords", (2, 0), float("-inf"), "the first is -inf at point 2, axis 0"),
        ("coords", (0, 1), 1e30, "the first is 1.0.*at point 0, axis 1"),
        (
            "features",
            (1, 0),
            200.0,
            "the first is 200 at point 1, column 0; this looks like 0..255",
        ),
        ("features", (2, 1), -0.5, "centring at 0.5 is the network"),
        ("features", (2, 1), float("nan"), "1 values are not"),
        ("label", 1, 20, r"0..19 or 255, 1 labels are not, the first is 20 at point 1"),
        ("label", 2, -1, "the first is -1 at point 2"),
        ("scene", 0, 1, "without a gap"),
        ("scene", 2, 2, "without a gap"),
        ("index", 1, -1, "must not be negative, got -1"),
    ],
)
def test_a_bad_value_is_named_with_its_place(batch, key, place, value, message):
    batch[key][place] = value
    with pytest.raises(BatchError, match=message):
        check_scene_batch(batch, 20)


def test_only_bytes_are_in_the_unit_interval(batch):
    batch["features"] = torch.tensor([[-7.0, 300.0], [0.5, 2.0], [0.0, 1.0]])
    batch["from_bytes"] = torch.tensor([False, True])
    check_scene_batch(batch, 20)
    batch["features"][2, 1] = 1.5
    with pytest.raises(BatchError, match=r"in \[0, 1\], 1 values .* 1.5 at point 2, column 1"):
        check_scene_batch(batch, 20)
    batch["features"][2, 1] = 1.0
    batch["features"][0, 0] = torch.inf
    with pytest.raises(BatchError, match=r"must be finite, 1 values .* inf at point 0, column 0"):
        check_scene_batch(batch, 20)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coords": torch.zeros(3, 2)}, r"must be \(P, 3\), got \(3, 2\)"),
        ({"coords": torch.zeros(0, 3)}, "holds no point"),
        ({"features": torch.zeros(2, 3)}, "one row per point"),
        ({"label": torch.zeros(3, 20, dtype=torch.int64)}, "one row per point"),
        ({"scene": torch.zeros(2, dtype=torch.int64)}, "one number per point"),
        ({"features": torch.zeros(3, 0)}, r"must be \(3, F\), one row per point"),
        ({"from_bytes": torch.ones(3, dtype=torch.bool)}, r"must be \(2,\), one per scene"),
        ({"index": torch.zeros(3, dtype=torch.int64)}, r"must be \(2,\), one per scene"),
    ],
)
def test_a_wrong_shape_is_refused(batch, changes, message):
    with pytest.raises(BatchError, match=message):
        check_scene_batch(batch | changes, 20)
