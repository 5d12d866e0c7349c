from math import pi

import numpy as np
import pytest

from leadgrad.data.lidar_augment import LidarAugmentation
from leadgrad.data.scene_arrays import SceneArrays

NOTHING = LidarAugmentation(turn_rad=0, flips=False, scale=(1, 1), move_m=0)


@pytest.fixture
def scan():
    generator = np.random.default_rng(0)
    coords = ((generator.random((300, 3)) - 0.5) * (80, 80, 4)).astype(np.float32)
    return coords, generator.random((300, 1)).astype(np.float32), generator.integers(0, 20, 300)


def matrix(augmentation, key):
    """The linear part and the shift."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32) * 50
    moved = augmentation(corners, np.zeros((4, 1)), np.zeros(4), key=key)[0].astype(np.float64)
    return ((moved[1:] - moved[0]) / 50).T, moved[0]


def test_nothing_changes_nothing(scan):
    for found, expected in zip(NOTHING(*scan, key=3), scan, strict=True):
        assert np.array_equal(found, expected)


def test_points_features_and_labels_stay_together(scan):
    coords, features, label = LidarAugmentation()(*scan, key=5)
    assert coords.dtype == np.float32
    assert np.array_equal(features, scan[1])
    assert np.array_equal(label, scan[2])
    linear, shift = matrix(LidarAugmentation(), 5)
    expected = scan[0].astype(np.float64) @ linear.T + shift
    assert coords == pytest.approx(expected, abs=1e-4)


def test_the_amounts_are_those_of_the_recipe():
    angles, factors, flips, shifts = [], [], [], []
    for key in range(400):
        linear, shift = matrix(LidarAugmentation(), key)
        assert linear[2] == pytest.approx([0, 0, 1], abs=1e-5)
        assert linear[:2, 2] == pytest.approx([0, 0], abs=1e-5)
        factor = np.hypot(*linear[:2, 0])
        assert np.hypot(*linear[:2, 1]) == pytest.approx(factor, abs=1e-5)
        # Undoing the mirrors leaves a rotation of less than a quarter turn.
        signs = np.sign(np.diag(linear)[:2])
        turned = signs[:, None] * linear[:2, :2] / factor
        angles.append(np.arctan2(turned[1, 0], turned[0, 0]))
        assert turned[0, 0] == pytest.approx(turned[1, 1], abs=1e-5)
        factors.append(factor)
        flips.append(tuple(signs.astype(int).tolist()))
        shifts.append(shift)
    assert np.abs(angles).max() <= pi / 4 + 1e-6
    assert np.std(angles) == pytest.approx(pi / 4 / 3**0.5, rel=0.1)
    assert min(factors) >= 0.95 - 1e-6
    assert max(factors) <= 1.05 + 1e-6
    assert np.mean(factors) == pytest.approx(1, abs=0.005)
    shares = {flip: flips.count(flip) / 400 for flip in flips}
    assert len(shares) == 4
    assert min(shares.values()) > 0.18
    assert np.std(shifts, axis=0) == pytest.approx([0.1] * 3, rel=0.12)
    assert np.abs(np.mean(shifts, axis=0)).max() < 0.02


def test_a_draw_depends_on_the_seed_and_the_key_alone(scan):
    first = LidarAugmentation(seed=1)(*scan, key=7)[0]
    LidarAugmentation(seed=1)(*scan, key=8)
    assert np.array_equal(LidarAugmentation(seed=1)(*scan, key=7)[0], first)
    assert not np.array_equal(LidarAugmentation(seed=1)(*scan, key=8)[0], first)
    assert not np.array_equal(LidarAugmentation(seed=2)(*scan, key=7)[0], first)
    # Each step has a stream of its own.
    still = matrix(LidarAugmentation(seed=1, move_m=0), 7)[0]
    assert still == pytest.approx(matrix(LidarAugmentation(seed=1), 7)[0], abs=1e-6)


def test_scenes_of_other_features_can_go_through_it(scan):
    class Scans(SceneArrays):
        def augmentation(self):
            return LidarAugmentation(seed=self.seed)

    datamodule = Scans(
        [scan[0]], [scan[1]], [scan[2]], num_classes=20, feature_names=["remission"],
        splits={"train": [0]},
    )  # fmt: skip
    (batch,) = datamodule.train_dataloader()
    assert not np.array_equal(batch["coords"].numpy(), scan[0])
    assert np.array_equal(batch["features"].numpy(), scan[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": (0, 1)}, r"scale must be two factors above 0, ascending, got \(0, 1\)"),
        ({"scale": (1.1, 1)}, "ascending"),
        ({"move_m": -0.1}, "move_m must not be negative, got -0.1"),
        ({"turn_rad": float("nan")}, "turn_rad must not be negative, got nan"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        LidarAugmentation(**arguments)
