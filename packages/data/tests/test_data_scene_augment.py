from dataclasses import replace
from math import pi
from typing import ClassVar

import numpy as np
import pytest

from leadgrad.data.contract import DataSetError
from leadgrad.data.draws import NORMAL_BOUND, Draws
from leadgrad.data.elastic import distort
from leadgrad.data.s3dis import S3DIS
from leadgrad.data.scannet import ScanNet
from leadgrad.data.scene_arrays import SceneArrays
from leadgrad.data.scene_augment import SceneAugmentation
from leadgrad.data.scenes import SceneDataModule

NOTHING = SceneAugmentation(
    elastic_chance=0,
    tilt_rad=0,
    turn_rad=0,
    scale=(1, 1),
    drop_chance=0,
    flip_chance=0,
    contrast_chance=0,
    color_chance=0,
)


@pytest.fixture
def scene():
    generator = np.random.default_rng(0)
    coords = (generator.random((500, 3)) * (5, 4, 2.5) + (30, -20, 1)).astype(np.float32)
    color = (generator.random((500, 3)) * 0.5 + 0.2).astype(np.float32)
    return coords, color, generator.integers(0, 20, 500)


def distances(coords):
    return np.linalg.norm(coords[1:].astype(np.float64) - coords[:-1], axis=1)


class TestDraws:
    def test_a_stream_depends_on_purpose_and_keys_alone(self):
        first = Draws("a", 1, 2)
        whole = first.bits(10)
        again = Draws("a", 1, 2)
        assert np.array_equal(np.concatenate([again.bits(3), again.bits(7)]), whole)
        for other in (Draws("b", 1, 2), Draws("a", 2, 1), Draws("a", 1)):
            assert not np.intersect1d(other.bits(10), whole).size

    def test_known_numbers(self):
        """Numbers may never change: a room, a crop and a training run depend on them."""
        draws = Draws("known", 0)
        assert draws.uniform(2).tolist() == pytest.approx(KNOWN_UNIFORM, abs=0)
        assert draws.normal(2).tolist() == pytest.approx(KNOWN_NORMAL, abs=0)

    def test_distributions(self):
        draws = Draws("many", 0)
        uniform = draws.uniform(100_000)
        assert 0 <= uniform.min() < 1e-3
        assert 1 - 1e-3 < uniform.max() < 1
        assert uniform.mean() == pytest.approx(0.5, abs=5e-3)
        normal = draws.normal(100_000)
        assert normal.mean() == pytest.approx(0, abs=0.01)
        assert normal.std() == pytest.approx(1, abs=0.01)
        assert 3 < np.abs(normal).max() <= NORMAL_BOUND
        assert (normal**4).mean() == pytest.approx(2.7, abs=0.1)
        assert sorted(draws.order(50).tolist()) == list(range(50))
        assert {draws.choice(3) for _ in range(50)} == {0, 1, 2}
        assert sum(draws.chance(0.2) for _ in range(5000)) == pytest.approx(1000, abs=100)


KNOWN_UNIFORM = [0.8856368263648489, 0.029906158292897556]
KNOWN_NORMAL = [-1.4534627406820593, -1.6018615640101759]


class TestElastic:
    def test_points_move_smoothly_and_within_the_bound(self, scene):
        coords = scene[0]
        moved = distort(coords, 0.2, 0.4, Draws("e", 0))
        shift = moved - coords
        assert moved.dtype == np.float32
        assert np.abs(shift).max() <= 0.4 * NORMAL_BOUND
        # Smoothing over 3 cells twice leaves a deviation of (19 / 81) ** 1.5 of the noise's 1, and
        # trilinear interpolation takes off some more.
        assert 0.015 < shift.std() < 0.4 * (19 / 81) ** 1.5
        near = coords + np.float32(0.002)
        shift_near = distort(np.concatenate([coords, near]), 0.2, 0.4, Draws("e", 0))
        apart = (shift_near[:500] - coords) - (shift_near[500:] - near)
        assert np.abs(apart).max() < 0.02

    def test_the_field_is_the_slow_one(self, scene):
        coords = scene[0][:20]
        draws = Draws("e", 3)
        low = coords.min(0).astype(np.float64)
        cells = np.floor((coords.max(0) - low) / 0.5).astype(int) + 3
        field = draws.normal(3, *cells)
        for _ in range(2):
            for axis in range(1, 4):
                padded = np.pad(field, [(1, 1) if a == axis else (0, 0) for a in range(4)])
                field = (
                    sum(np.take(padded, range(k, k + cells[axis - 1]), axis) for k in range(3)) / 3
                )
        expected = coords.astype(np.float64)
        for row, point in enumerate(coords):
            place = (point - low) / 0.5 + 1
            base = np.floor(place).astype(int)
            for corner in np.ndindex(2, 2, 2):
                weight = np.prod(np.where(corner, place - base, 1 - (place - base)))
                if weight > 0:
                    expected[row] += 0.3 * weight * field[:, *(base + corner)]
        assert distort(coords, 0.5, 0.3, Draws("e", 3)) == pytest.approx(expected, abs=1e-5)

    def test_one_point_and_flat_scenes(self):
        for coords in (np.zeros((1, 3)), np.array([[0, 0, 0], [3, 0, 0]])):
            moved = distort(coords.astype(np.float32), 0.2, 0.4, Draws("e", 0))
            assert np.isfinite(moved).all()

    def test_stray_points_are_named(self):
        coords = np.array([[0, 0, 0], [900, 900, 900]], dtype=np.float32)
        with pytest.raises(ValueError, match=r"needs \d+ cells of 0.2 m.*remove stray points"):
            distort(coords, 0.2, 0.4, Draws("e", 0))


def test_without_any_step_nothing_changes(scene):
    for found, given in zip(NOTHING(*scene, key=3), scene, strict=True):
        assert np.array_equal(found, given)
        assert found.dtype == given.dtype


def test_a_rotation_keeps_distances_and_the_floor(scene):
    coords = NOTHING(*scene, key=0)[0]
    turned = replace(NOTHING, tilt_rad=pi / 32, turn_rad=pi)(*scene, key=0)[0]
    assert distances(turned) == pytest.approx(distances(coords), abs=2e-5)
    assert np.abs(turned - coords).max() > 0.5
    upright = replace(NOTHING, turn_rad=pi)(*scene, key=0)[0]
    assert upright[:, 2] == pytest.approx(coords[:, 2], abs=1e-5)
    # About the middle of the scene, wherever it lies.
    assert np.abs(upright.mean(0) - coords.mean(0)).max() < 0.5
    scaled = replace(NOTHING, scale=(0.9, 1.1))(*scene, key=0)[0]
    ratio = distances(scaled) / distances(coords)
    assert ratio == pytest.approx(ratio[0], abs=1e-4)
    assert 0.9 <= ratio[0] <= 1.1
    assert abs(ratio[0] - 1) > 1e-3
    assert scaled[:, 2].min() == pytest.approx(coords[:, 2].min(), abs=1e-5)


def test_angles_fill_their_range_in_every_order(scene):
    coords = scene[0]
    augmentation = replace(NOTHING, tilt_rad=pi / 32, turn_rad=0)
    tilts = []
    for key in range(200):
        turned = augmentation(*scene, key=key)[0]
        centred, moved = coords - coords.mean(0), turned - turned.mean(0)
        rotation = np.linalg.lstsq(centred, moved, rcond=None)[0].T
        tilts.append((rotation[2, 1], rotation[2, 0]))
    tilts = np.abs(tilts)
    assert tilts.max() <= pi / 32 + 1e-3
    assert tilts.max(axis=0).min() > 0.9 * pi / 32
    assert tilts.mean() == pytest.approx(pi / 64, rel=0.15)


def test_dropping_keeps_order_and_pairs(scene):
    label = np.arange(500)
    coords, color, kept = replace(NOTHING, drop_chance=1.0)(*scene[:2], label, key=0)
    assert len(kept) == 400
    assert (np.diff(kept) > 0).all()
    assert np.array_equal(coords, scene[0][kept])
    assert np.array_equal(color, scene[1][kept])


def test_a_crop_is_a_box_about_a_centre_near_the_middle():
    coords = np.random.default_rng(0).random((20_000, 3)).astype(np.float32) * 20
    color, label = np.full((20_000, 3), 0.5, np.float32), np.arange(20_000)
    middles = []
    for key in range(50):
        cropped, _, kept = replace(NOTHING, crop_m=4.0)(coords, color, label, key=key)
        assert np.array_equal(cropped, coords[kept])
        low, high = cropped.min(0), cropped.max(0)
        middle = (low + high) / 2
        assert (np.abs(high - low - 8) < 0.5).all()
        assert (np.abs(coords - middle) <= 3.75).all(1).sum() <= len(kept)
        middles.append(middle - 10)
    reach = np.abs(middles).max(axis=0)
    assert (reach <= [4.2, 4.2, 1.2]).all()
    assert (reach > [3, 3, 0.7]).all()


def test_small_scenes_and_empty_crops_stay_whole():
    color, label = np.full((2, 3), 0.5, np.float32), np.zeros(2, np.int64)
    for far in (3.9, 500.0):  # too small to crop; nothing in the middle
        coords = np.array([[0, 0, 0], [far, far, 0]], dtype=np.float32)
        assert len(replace(NOTHING, crop_m=4.0)(coords, color, label, key=0)[0]) == 2


def test_mirroring_is_max_minus_c(scene):
    seen = set()
    for key in range(20):
        coords = replace(NOTHING, flip_chance=1.0)(*scene, key=key)[0]
        flipped = []
        for axis in range(2):
            mirrored = scene[0][:, axis].max() - scene[0][:, axis]
            flipped.append(bool(np.array_equal(coords[:, axis], mirrored)))
            assert flipped[-1] or np.array_equal(coords[:, axis], scene[0][:, axis])
        assert np.array_equal(coords[:, 2], scene[0][:, 2])
        seen.add(tuple(flipped))
    assert len(seen) == 4


def test_contrast_blends_towards_the_full_range(scene):
    color = scene[1]
    stretched = (color - color.min(0)) / (color.max(0) - color.min(0))
    blends = []
    for key in range(30):
        found = replace(NOTHING, contrast_chance=1.0)(*scene, key=key)[1]
        blend = (found - color)[0, 0] / (stretched - color)[0, 0]
        assert found == pytest.approx((1 - blend) * color + blend * stretched, abs=1e-4)
        blends.append(blend)
    assert -1e-4 < min(blends) < 0.2
    assert 0.8 < max(blends) < 1 + 1e-4


def test_contrast_leaves_a_flat_channel_alone(scene):
    color = np.full_like(scene[1], 0.3)
    found = replace(NOTHING, contrast_chance=1.0)(scene[0], color, scene[2], key=0)[1]
    assert found == pytest.approx(color, abs=1e-6)


def test_colours_shift_together_and_jitter_apart(scene):
    shift = replace(NOTHING, color_chance=1.0, jitter=0.0)(*scene, key=0)[1] - scene[1]
    assert shift == pytest.approx(np.broadcast_to(shift[0], shift.shape), abs=1e-6)
    assert len(set(shift[0].tolist())) == 3
    assert np.abs(shift).max() <= 0.1
    jitter = replace(NOTHING, color_chance=1.0, translation=0.0)(*scene, key=0)[1] - scene[1]
    assert jitter.std() == pytest.approx(0.05, rel=0.1)
    assert np.abs(jitter).max() <= 0.05 * NORMAL_BOUND + 1e-6


def test_only_the_columns_of_colours_are_recoloured(scene):
    recipe = replace(NOTHING, color_chance=1.0, contrast_chance=1.0, drop_chance=1.0)
    colours = recipe(*scene, key=0)[1]
    intensity = 40 * np.arange(500, dtype=np.float32)[:, None]
    mixed = np.hstack([scene[1][:, 2:], intensity, scene[1][:, :2]])
    before = mixed.copy()
    found = recipe(scene[0], mixed, scene[2], key=0, colours=(2, 3, 0))[1]
    assert np.array_equal(found[:, [2, 3, 0]], colours)
    assert np.isin(found[:, 1], intensity).all()
    assert np.array_equal(mixed, before)
    _, alone, kept = recipe(scene[0], intensity, np.arange(500), key=0, colours=())
    assert np.array_equal(alone, intensity[kept])


def test_colours_of_a_set_without_any_are_not_augmented():
    class Grey(SceneDataModule):
        num_classes, class_names, feature_names = 1, ("all",), ("intensity",)
        changes: ClassVar = {}

        def load_split(self, name):
            values = [np.ones((4, 1))]
            return SceneArrays(
                [np.eye(4)[:, :3]], values, [[0] * 4], feature_names=self.feature_names
            ).split("test")

        def augmentation(self):
            return SceneAugmentation(**self.changes)

    with pytest.raises(DataSetError, match=r"\('intensity',\) none are red.*contrast_chance=0"):
        Grey().train_dataloader()
    Grey.changes = {"contrast_chance": 0, "color_chance": 0}
    (batch,) = Grey().train_dataloader()
    assert batch["features"].unique().tolist() == [1.0]


@pytest.mark.parametrize("recipe", [ScanNet("x"), S3DIS("x")], ids=["scannet", "s3dis"])
def test_the_recipes_keep_what_they_must(scene, recipe):
    augmentation = recipe.augmentation()
    bright = (scene[0], np.clip(scene[1] * 3 - 0.5, 0, 1).astype(np.float32), np.arange(500))
    kept_all = 0
    for key in range(40):
        coords, color, kept = augmentation(*bright, key=key)
        assert coords.dtype == color.dtype == np.float32
        assert kept.dtype == np.int64
        assert len(coords) == len(color) == len(kept)
        assert (np.diff(kept) > 0).all()  # order and labels untouched
        assert np.isfinite(coords).all()
        assert color.min() >= 0
        assert color.max() <= 1
        kept_all += len(kept) == 500
    assert 20 <= kept_all <= 39  # points are dropped one time in five
    again = augmentation(*bright, key=39)
    assert all(map(np.array_equal, again, (coords, color, kept)))
    other = replace(augmentation, seed=1)(*bright, key=39)
    assert not np.array_equal(other[0], coords)


def test_a_scene_of_one_point_survives():
    scene = (np.ones((1, 3), np.float32), np.ones((1, 3), np.float32), np.array([255]))
    for key in range(30):
        coords, color, label = ScanNet("x").augmentation()(*scene, key=key)
        assert coords.shape == color.shape == (1, 3)
        assert label.tolist() == [255]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"drop_chance": 1.5}, "drop_chance must be in 0..1, got 1.5"),
        ({"drop_share": 1.0}, "drop_share"),
        ({"scale": (1.1, 0.9)}, "scale must be two factors"),
        ({"elastic": ((0.0, 0.4),)}, "elastic must hold"),
        ({"crop_m": 0.0}, "crop_m must be above 0"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        SceneAugmentation(**changes)
