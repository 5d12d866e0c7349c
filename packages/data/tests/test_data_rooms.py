from collections import Counter

import numpy as np
import pytest
import torch

from leadgrad.data.draws import Draws
from leadgrad.data.room_layout import furnish
from leadgrad.data.rooms import SyntheticRooms
from leadgrad.data.scannet_prepare import CLASS_NAMES
from leadgrad.data.scene_batch import check_scene_batch


def rooms(split="test", count=None, **arguments):
    source = SyntheticRooms(**arguments).split(split)
    return [source.read(index) for index in range(count or len(source))]


def test_the_defaults():
    datamodule = SyntheticRooms(points=1000)
    assert [len(datamodule.split(name)) for name in datamodule.split_names] == [48, 8, 16]
    assert datamodule.num_classes == len(datamodule.palette) == len(datamodule.class_names) == 20
    assert datamodule.num_attack_batches() == 16
    assert datamodule.scene_name(3) == "test_0003"


def test_batches_follow_the_table():
    datamodule = SyntheticRooms(2, points=2000, train_rooms=3, test_rooms=3)
    for loader in (datamodule.predict_dataloader(), datamodule.train_dataloader()):
        batches = list(loader)
        assert [len(batch["index"]) for batch in batches] == [2, 1]
        for batch in batches:
            check_scene_batch(batch, 20)


def test_room_i_is_the_same_whatever_is_asked_for():
    (expected,) = rooms(count=1, points=1500, test_rooms=1)
    backwards = SyntheticRooms(points=1500, test_rooms=9, train_rooms=2, seed=5).split("test")
    for index in (8, 4, 0):
        found = backwards.read(index)
    for name in ("coords", "features", "label"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))
    manifest = SyntheticRooms(points=1500, limit=2).manifest()
    assert SyntheticRooms(points=1500, limit=2, num_workers=2).manifest() == manifest
    assert SyntheticRooms(points=1500, limit=2, data_seed=1).manifest() != manifest


def test_splits_share_no_room():
    first = [rooms(split, 1, points=1000)[0] for split in ("train", "validation", "test")]
    extents = {tuple(np.ptp(scene.coords, axis=0).tolist()) for scene in first}
    assert len(extents) == 3


def test_workers_make_the_same_rooms():
    expected = list(SyntheticRooms(points=1000, test_rooms=3).predict_dataloader())
    found = list(SyntheticRooms(points=1000, test_rooms=3, num_workers=2).predict_dataloader())
    for mine, theirs in zip(found, expected, strict=True):
        assert all(torch.equal(mine[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("points", [5_000, 50_000, 200_000])
def test_about_as_many_points_as_asked_for(points):
    for scene in rooms(count=1, points=points):
        assert len(scene) == pytest.approx(points, rel=0.05)
        assert scene.coords.dtype == np.float32
        assert scene.features.dtype == scene.label.dtype == np.uint8


def test_more_points_are_the_same_room():
    (coarse,) = rooms(count=1, points=3000)
    (fine,) = rooms(count=1, points=30_000)
    low = coarse.coords.min(0) - fine.coords.min(0)
    assert np.abs(low).max() < 0.15
    assert np.abs(np.ptp(coarse.coords, axis=0) - np.ptp(fine.coords, axis=0)).max() < 0.3
    assert set(np.unique(coarse.label)) <= set(np.unique(fine.label))


def test_eleven_classes_occur_and_most_rooms_have_most_of_them():
    counts = Counter()
    for scene in rooms("train", 24, points=3000):
        counts.update(np.unique(scene.label).tolist())
    assert set(counts) == {*range(11), 255}
    names = {CLASS_NAMES[label]: count for label, count in counts.items() if label != 255}
    assert names["wall"] == names["floor"] == 24
    assert min(names.values()) >= 8, names


@pytest.mark.parametrize("index", range(12))
def test_furniture_stands_inside_and_apart(index):
    room = furnish(Draws("room of train", 0, index))
    assert all(3 <= side < 6 for side in room.size[:2])
    assert Counter(item.name for item in room.items)["door"] <= 1
    for place, item in enumerate(room.items):
        assert (item.low > -0.031).all()
        assert (item.high < np.array(room.size) + 0.031).all()
        for other in room.items[:place]:
            apart = np.maximum(item.low - other.high, other.low - item.high)
            assert apart.max() >= 0.079, (item.name, other.name)


def test_walls_and_floor_lie_where_they_should():
    (scene,) = rooms(count=1, points=20_000)
    floor = scene.coords[scene.label == CLASS_NAMES.index("floor")]
    spread = floor[:, 2] - floor[:, 2].mean()
    assert np.abs(spread).max() < 0.011
    assert spread.std() == pytest.approx(0.003, rel=0.15)
    wall = scene.coords[scene.label == CLASS_NAMES.index("wall")]
    assert wall[:, 2].max() == pytest.approx(scene.coords[:, 2].max(), abs=0.01)
    table = scene.coords[scene.label == CLASS_NAMES.index("table")]
    assert 0.67 < table[:, 2].max() - floor[:, 2].mean() < 0.8


def test_what_is_hidden_is_not_seen():
    """Nothing of a wall is left behind a bookshelf, nothing of the floor below a bed."""
    source = SyntheticRooms(points=40_000).split("train")
    seen = 0
    for index in range(4):
        scene = source.read(index)
        floor = scene.coords[scene.label == CLASS_NAMES.index("floor")]
        bed = scene.coords[scene.label == CLASS_NAMES.index("bed")]
        if len(bed) == 0:
            continue
        seen += 1
        middle = bed.mean(0)
        near = np.linalg.norm(floor[:, :2] - middle[:2], axis=1)
        assert near.min() > 0.35
    assert seen > 0


@pytest.mark.parametrize(("points", "voxel_m"), [(50_000, 0.05), (200_000, 0.025)])
def test_surfaces_hang_together(points, voxel_m):
    ndimage = pytest.importorskip("scipy.ndimage")
    for scene in rooms(count=1, points=points):
        voxel = np.floor(scene.coords / voxel_m).astype(int)
        voxel -= voxel.min(0)
        grid = np.zeros(voxel.max(0) + 1, dtype=bool)
        grid[tuple(voxel.T)] = True
        labels, _ = ndimage.label(grid, np.ones((3, 3, 3)))
        assert np.bincount(labels[grid]).max() > 0.999 * grid.sum()


def test_colour_alone_does_not_tell_the_classes_apart():
    scenes = rooms("train", 12, points=3000)
    color = np.concatenate([scene.features for scene in scenes]).astype(np.int64)
    label = np.concatenate([scene.label for scene in scenes]).astype(np.int64)
    color, label = color[label < 11], label[label < 11]
    cell = (color // 32) @ np.array([64, 8, 1])
    table = np.zeros((512, 11), dtype=np.int64)
    np.add.at(table, (cell, label), 1)
    # The mean over classes of what the best rule on colours gets right: chance is 1/11.
    right = table / table.sum(0)
    best = np.zeros(11)
    np.add.at(best, right.argmax(1), right.max(1))
    assert 0.15 < best.mean() < 0.6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"points": 10}, "points must be a whole number in 1000..1000000, got 10"),
        ({"points": 2000.5}, "points must be a whole number in 1000..1000000, got 2000.5"),
        ({"train_rooms": 0}, "train_rooms must be a whole number of at least 1, got 0"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SyntheticRooms(**arguments)
