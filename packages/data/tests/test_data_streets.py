import hashlib
import subprocess
import sys
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch

from leadgrad.data import SyntheticStreets, check_scene_batch
from leadgrad.data.draws import Draws
from leadgrad.data.lidar import HEIGHT_M, Scanner
from leadgrad.data.lidar_solids import cross
from leadgrad.data.semantickitti_classes import CLASS_NAMES, LABELS
from leadgrad.data.street_layout import lay_out
from leadgrad.data.street_plan import plan_side

GROUND = ("road", "parking", "sidewalk", "other-ground", "terrain")
EXACT = Scanner(columns=360, range_noise_m=0.0, lossless=True)


@cache
def street(index, split="train"):
    return lay_out(Draws(f"street of {split}", 0, index))


@cache
def exact(index):
    return EXACT.scan(street(index).solids, street(index).ground, Draws("beams", index))


def digest(scene):
    parts = (scene.coords, scene.features, scene.label)
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


def test_the_defaults():
    datamodule = SyntheticStreets(columns=90)
    assert [len(datamodule.split(name)) for name in datamodule.split_names] == [64, 8, 20]
    assert datamodule.num_classes == len(datamodule.palette) == len(datamodule.class_names) == 20
    assert datamodule.feature_names == ("remission",)
    assert datamodule.num_attack_batches() == 20
    assert datamodule.scene_name(3) == "test_0003"


def test_batches_follow_the_table():
    datamodule = SyntheticStreets(2, columns=90, train_streets=3, test_streets=3)
    for loader in (datamodule.predict_dataloader(), datamodule.train_dataloader()):
        batches = list(loader)
        assert [len(batch["index"]) for batch in batches] == [2, 1]
        for batch in batches:
            check_scene_batch(batch, 20)
            assert batch["features"].shape[1] == 1
            assert not batch["from_bytes"].any()
            assert not (batch["label"] == 0).any()


def test_scan_i_is_the_same_whatever_is_asked_for():
    expected = digest(SyntheticStreets(columns=120, test_streets=1).split("test").read(0))
    backwards = SyntheticStreets(columns=120, test_streets=9, train_streets=2, seed=5).split("test")
    for index in (8, 4, 0):
        found = backwards.read(index)
    assert digest(found) == expected
    manifest = SyntheticStreets(columns=90, limit=2).manifest()
    assert SyntheticStreets(columns=90, limit=2, num_workers=2).manifest() == manifest
    assert SyntheticStreets(columns=90, limit=2, data_seed=1).manifest() != manifest


@pytest.mark.slow
def test_another_process_makes_the_same_scans():
    code = (
        "from leadgrad.data import SyntheticStreets as S; print(S(columns=90, limit=2).manifest())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert run.stdout.strip() == str(SyntheticStreets(columns=90, limit=2).manifest())
    expected = list(SyntheticStreets(columns=90, test_streets=3).predict_dataloader())
    found = list(SyntheticStreets(columns=90, test_streets=3, num_workers=2).predict_dataloader())
    for mine, theirs in zip(found, expected, strict=True):
        assert all(torch.equal(mine[key], theirs[key]) for key in theirs)


def test_splits_share_no_street():
    names = ("train", "validation", "test")
    scenes = [SyntheticStreets(columns=90).split(name).read(0) for name in names]
    assert len({digest(scene) for scene in scenes}) == 3


def test_as_many_points_as_a_real_scan():
    for index in range(3):
        scene = SyntheticStreets().split("train").read(index)
        assert 80_000 < len(scene) < 125_000
        coarse = SyntheticStreets(columns=400).split("train").read(index)
        assert len(coarse) == pytest.approx(len(scene) / 5, rel=0.03)
        shares = [
            np.bincount(part.label, minlength=256) / len(part.label) for part in (scene, coarse)
        ]
        assert np.abs(shares[0] - shares[1]).max() < 0.02, "the same street at every resolution"


def test_points_thin_out_with_the_distance():
    source = SyntheticStreets(columns=400).split("train")
    coords = np.concatenate([source.read(index).coords for index in range(6)])
    reach = np.linalg.norm(coords, axis=1)
    assert reach.max() < 80.1
    shares = np.histogram(reach, (0, 10, 20, 30, 50, 81))[0] / len(reach)
    assert (np.diff(shares) < 0).all()
    assert 0.4 < shares[0] < 0.65
    assert 0.001 < shares[4] < 0.05


@pytest.mark.parametrize(("split", "count"), [("train", 24), ("validation", 8)])
def test_every_class_occurs(split, count):
    source = SyntheticStreets(columns=300).split(split)
    counts, scans = np.zeros(256, dtype=np.int64), np.zeros(256, dtype=np.int64)
    for index in range(count):
        of_scan = np.bincount(source.read(index).label, minlength=256)
        counts += of_scan
        scans += of_scan > 0
    assert counts[0] == 0
    assert counts[20:255].sum() == 0
    shares = {name: counts[LABELS[name]] / counts.sum() for name in CLASS_NAMES[1:]}
    assert min(shares.values()) > 0.0005, shares
    assert 0.15 < shares["road"] < 0.4
    assert shares["vegetation"] > 0.05
    assert shares["building"] > 0.04
    rare = ("bicycle", "motorcycle", "person", "bicyclist", "motorcyclist", "pole", "traffic-sign")
    assert max(shares[name] for name in rare) < 0.02, shares
    assert counts[255] / counts.sum() < 0.02
    seen = {name: scans[LABELS[name]] / count for name in CLASS_NAMES[1:]}
    assert min(seen.values()) > 0.2, seen


@pytest.mark.parametrize("index", range(4))
def test_without_noise_labels_are_those_of_the_surface(index):
    """The ground's points lie on it, all others on or in a solid of their class."""
    scene, place = exact(index), street(index)
    coords = scene.coords.astype(np.float64)
    ground = np.isin(scene.label, [LABELS[name] for name in GROUND])
    height = place.ground.height(coords[ground, 0], coords[ground, 1])
    # Kerbs are steep: there a height differs by more than the place does.
    assert np.median(np.abs(height - coords[ground, 2])) < 1e-4
    assert np.quantile(np.abs(height - coords[ground, 2]), 0.99) < 5e-3
    footing = place.ground.footing(coords[ground, 0], coords[ground, 1])
    assert (footing.label == scene.label[ground]).mean() > 0.999
    explained = ground.copy()
    for solid in place.solids:
        cos, sin = np.cos(solid.yaw_rad), np.sin(solid.yaw_rad)
        x, y, z = (coords - np.array(solid.centre)).T
        own = np.stack([cos * x + sin * y, cos * y - sin * x, z], axis=1)
        near = (np.abs(own) < np.array(solid.half) + 1e-3).all(axis=1)
        explained |= near & (scene.label == solid.label)
    assert explained.all()


@pytest.mark.parametrize("index", range(4))
def test_nothing_massive_stands_between_a_point_and_the_scanner(index):
    coords = exact(index).coords.astype(np.float64)[::7]
    rho, azimuth = np.hypot(coords[:, 0], coords[:, 1]), np.arctan2(coords[:, 1], coords[:, 0])
    tangent = coords[:, 2] / rho
    for solid in street(index).solids:
        if np.isfinite(solid.density):
            continue
        away = np.hypot(*solid.centre[:2]) - np.hypot(*solid.half[:2])
        for part in np.array_split(np.flatnonzero(rho > away), 8):
            into, out = (np.diagonal(side) for side in cross(solid, azimuth[part], tangent[part]))
            through = (into < out - 1e-3) & (into > 0.5) & (into < rho[part] - 2e-3)
            assert not through.any(), solid


@pytest.mark.parametrize("index", range(8))
def test_the_scanner_drives_on_the_road_and_touches_nothing(index):
    place = street(index, "validation")
    origin = np.zeros(1)
    assert place.ground.height(origin, origin) == pytest.approx(-HEIGHT_M)
    assert place.ground.footing(origin, origin).label.tolist() == [LABELS["road"]]
    scene = SyntheticStreets(columns=180).split("validation").read(index)
    assert np.linalg.norm(scene.coords, axis=1).min() > 0.9
    road = scene.coords[scene.label == LABELS["road"]]
    near = np.hypot(road[:, 0], road[:, 1]) < 8
    assert np.median(road[near, 2]) == pytest.approx(-HEIGHT_M, abs=0.15)


@pytest.mark.parametrize("level", [True, False])
def test_strips_follow_each_other(level):
    kinds = set()
    for index in range(400):
        side = plan_side(Draws("side", index), level=level)
        kinds.add(side.kind)
        starts = [strip.start_m for strip in side.strips]
        assert starts[0] == 0
        assert all(first < second for first, second in pairwise(starts))
        bands = [band for band in (side.parking, side.verge, side.walk, side.front) if band]
        assert bands[0][0] == 0
        for first, second in pairwise(sorted(bands)):
            assert first[0] <= first[1] <= second[0]
        assert abs(side.strips[-1].height_m) < 2
    assert kinds == {"houses", "gardens", "plaza", "lot", "green", "wood"}


def test_streets_are_not_all_alike():
    grounds = [street(index).ground for index in range(24)]
    assert {ground.bend == 0 for ground in grounds} == {True, False}
    assert {ground.crossing is None for ground in grounds} == {True, False}
    assert {ground.crossed for ground in grounds if ground.crossing} == {
        (True, True),
        (True, False),
        (False, True),
    }
    assert any(ground.islands for ground in grounds)


def test_neither_height_nor_remission_alone_tells_the_classes_apart():
    source = SyntheticStreets(columns=300).split("train")
    scenes = [source.read(index) for index in range(12)]
    label = np.concatenate([scene.label for scene in scenes]).astype(np.int64)
    light = np.concatenate([scene.features[:, 0] for scene in scenes])
    height = np.concatenate([scene.coords[:, 2] for scene in scenes])
    known = label < 20
    for values, edges in ((light, 50), (height, np.arange(-3, 3, 0.1))):
        cell = np.digitize(values[known], np.histogram_bin_edges(values, edges))
        table = np.zeros((cell.max() + 1, 20))
        np.add.at(table, (cell, label[known]), 1)
        right = table / np.maximum(table.sum(0), 1)
        best = np.zeros(20)
        np.add.at(best, right.argmax(1), right.max(1))
        # The mean over classes of what the best rule gets right: chance is 1/19.
        assert 0.06 < best[1:].mean() < 0.45


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"columns": 10}, r"columns must be a whole number in 90\.\.4000, got 10"),
        ({"columns": 100.5}, r"columns must be a whole number in 90\.\.4000, got 100.5"),
        ({"train_streets": 0}, "train_streets must be a whole number of at least 1, got 0"),
        ({"test_streets": 1.5}, "test_streets must be a whole number of at least 1, got 1.5"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SyntheticStreets(**arguments)
