import errno
import json
import os
import re

import numpy as np
import pytest

from leadgrad.data.ply import read_vertices, write_vertices
from leadgrad.data.scannet import ScanNet, SplitError, read_names
from leadgrad.data.scannet_prepare import (
    CLASS_NAMES,
    find_scans,
    prepare_scannet,
    verify_raw_scannet,
    verify_scannet,
)
from leadgrad.data.scene_batch import check_scene_batch
from leadgrad.data.scene_files import NotPreparedError, SceneFileError
from leadgrad.data.scene_prepare import PrepareError

POINT = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1")]
NAMES = ("scene0000_00", "scene0001_00", "scene0001_01")
# ScanNet's list of the NYU40 numbers of its 20 classes.
VALID = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 24, 28, 33, 34, 36, 39)


def write_scan(scans, name, *, size=41, coords=None, labels=None, label_count=None):
    generator = np.random.default_rng(len(name))
    vertices = np.zeros(size, dtype=[*POINT, ("alpha", "u1")])
    place = generator.random((size, 3)) * 5 if coords is None else np.asarray(coords)
    for axis, field in enumerate(("x", "y", "z")):
        vertices[field] = place[:, axis]
    for field in ("red", "green", "blue"):
        vertices[field] = generator.integers(0, 256, size)
    vertices["alpha"] = 255
    labelled = np.zeros(size, dtype=[*vertices.dtype.descr, ("label", "<u2")])
    for field in vertices.dtype.names:
        labelled[field] = vertices[field]
    labelled["red"] = 7  # the official file shows the label's colour here
    labelled["label"] = np.arange(size) % 41 if labels is None else labels
    write_vertices(scans / name / f"{name}_vh_clean_2.ply", vertices, [])
    labelled = labelled[:label_count]
    write_vertices(scans / name / f"{name}_vh_clean_2.labels.ply", labelled, [])
    return vertices


@pytest.fixture
def source(tmp_path):
    for name in NAMES:
        write_scan(tmp_path / "raw" / "scans", name)
    return tmp_path / "raw"


@pytest.fixture
def root(source, tmp_path):
    list(prepare_scannet(source, tmp_path / "ready"))
    return tmp_path / "ready"


def states(outcomes):
    return {outcome.name: outcome.state for outcome in outcomes}


def contents(root):
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in root.iterdir()}


def test_the_twenty_classes(source):
    assert len(CLASS_NAMES) == 20
    assert (CLASS_NAMES[0], CLASS_NAMES[14], CLASS_NAMES[19]) == (
        "wall",
        "refrigerator",
        "otherfurniture",
    )
    scene, notes = find_scans(source)[0].read()
    expected = [VALID.index(k) if k in VALID else 255 for k in range(41)]
    assert scene.label.tolist() == expected
    assert notes == ()


def test_a_scan_keeps_its_points_order_and_colours(source, root):
    vertices = write_scan(source / "scans", NAMES[1])
    datamodule = ScanNet(root, {"validation": [NAMES[1]], "train": list(NAMES)})
    (batch,) = datamodule.predict_dataloader()
    check_scene_batch(batch, 20)
    for axis, field in enumerate(("x", "y", "z")):
        assert np.array_equal(batch["coords"][:, axis].numpy(), vertices[field])
    for channel, field in enumerate(("red", "green", "blue")):
        expected = vertices[field].astype(np.float32) / np.float32(255)
        assert np.array_equal(batch["features"][:, channel].numpy(), expected)


def test_progress_and_resume(source, tmp_path):
    root = tmp_path / "ready"
    run = prepare_scannet(source, root)
    first = next(run)
    assert (first.name, first.position, first.total, first.points) == (NAMES[0], 1, 3, 41)
    run.close()  # cut short: no index, and the data set says so
    with pytest.raises(NotPreparedError, match=r"run `leadgrad prepare scannet --source"):
        ScanNet(root, {"validation": [NAMES[0]]}).predict_dataloader()
    assert states(prepare_scannet(source, root)) == dict(
        zip(NAMES, ("kept", "prepared", "prepared"), strict=True)
    )
    before = contents(root)
    assert set(states(prepare_scannet(source, root)).values()) == {"kept"}
    after = contents(root)
    after.pop("scenes.json"), before.pop("scenes.json")
    assert after == before


def test_preparing_twice_gives_the_same_bytes(source, root, tmp_path):
    list(prepare_scannet(source / "scans", tmp_path / "again"))
    for path in root.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("damage", ["source", "cut", "flip", "missing"])
def test_what_changed_is_made_again(source, root, damage):
    prepared = root / f"{NAMES[1]}.ply"
    good = prepared.read_bytes()
    if damage == "source":
        write_scan(source / "scans", NAMES[1], size=82)
    elif damage == "cut":
        prepared.write_bytes(good[:-1])
    elif damage == "flip":
        prepared.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    else:
        prepared.unlink()
    assert states(prepare_scannet(source, root)) == dict(
        zip(NAMES, ("kept", "prepared", "kept"), strict=True)
    )
    assert (prepared.read_bytes() == good) is (damage != "source")


def test_a_full_disk_is_named_and_nothing_is_half_written(source, tmp_path, monkeypatch):
    root = tmp_path / "ready"
    run = prepare_scannet(source, root)
    next(run)

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(PrepareError, match=r"scene0001_00.ply: cannot be written \(656 bytes"):
            next(run)
    assert [path.name for path in root.iterdir()] == [f"{NAMES[0]}.ply"]
    assert states(prepare_scannet(source, root))[NAMES[0]] == "kept"


def test_every_bad_scan_is_named_and_the_others_are_prepared(source, tmp_path):
    scans, root = source / "scans", tmp_path / "ready"
    nan = np.zeros((5, 3))
    nan[2, 1] = np.nan
    far = np.zeros((5, 3))
    far[3:, 0] = 1e30
    write_scan(scans, "scene0002_00", size=5, coords=nan, labels=1)
    write_scan(scans, "scene0003_00", size=5, coords=far, labels=1)
    write_scan(scans, "scene0004_00", labels=np.where(np.arange(41) > 30, 41, 1))
    write_scan(scans, "scene0005_00", label_count=40)
    write_scan(scans, "scene0006_00", size=0)
    write_scan(scans, "scene0007_00")
    (scans / "scene0007_00" / "scene0007_00_vh_clean_2.labels.ply").unlink()
    write_scan(scans, "scene0008_00")
    path = scans / "scene0008_00" / "scene0008_00_vh_clean_2.ply"
    path.write_bytes(path.read_bytes()[:-3])
    write_scan(scans, "scene0009_00")
    labels = scans / "scene0009_00" / "scene0009_00_vh_clean_2.labels.ply"
    path = scans / "scene0009_00" / "scene0009_00_vh_clean_2.ply"
    labels.write_bytes(path.read_bytes())
    write_scan(scans, "scene0010_00", size=41, coords=np.ones((41, 3)))
    labels = scans / "scene0010_00" / "scene0010_00_vh_clean_2.labels.ply"
    other = scans / "scene0001_00" / "scene0001_00_vh_clean_2.labels.ply"
    labels.write_bytes(other.read_bytes())
    expected = {
        "scene0002_00": "1 points are not finite or beyond 1000 m, the first is .* at point 2",
        "scene0003_00": "2 points are not finite or beyond 1000 m, the first is .* at point 3",
        "scene0004_00": r"10 labels are no NYU40 number \(0..40\), the first is 41 at vertex 31",
        "scene0005_00": "holds 40 labels, scene0005_00_vh_clean_2.ply 41 vertices",
        "scene0006_00": "holds no point",
        "scene0007_00": "No such file",
        "scene0008_00": "cut off, holds 40 of 41 vertices",
        "scene0009_00": r"no property \['label'\]",
        "scene0010_00": "41 vertices lie elsewhere than in .* the first is vertex 0",
    }
    outcomes = {outcome.name: outcome for outcome in prepare_scannet(source, root)}
    assert {name for name, o in outcomes.items() if o.state == "bad"} == set(expected)
    assert sum(outcome.state == "prepared" for outcome in outcomes.values()) == 3
    raw, ready = verify_raw_scannet(source), verify_scannet(root)
    assert len(raw.problems) == len(ready.problems) == len(expected)
    for name, message in expected.items():
        assert re.search(message, outcomes[name].problem), name
        assert any(line.startswith(name) for line in raw.problems)
        assert any(line.startswith(name) for line in ready.problems)
        with pytest.raises(SceneFileError, match=f"1 scenes could not be prepared.*{name}"):
            ScanNet(root, {"validation": [NAMES[0], name]}).predict_dataloader()


AXES = ("x", "y", "z")


def as_types(path, **types):
    """The file again, with other types of its properties."""
    old = read_vertices(path, ())
    new = np.empty(len(old), [(name, types.get(name, old.dtype[name])) for name in old.dtype.names])
    for name in old.dtype.names:
        new[name] = old[name]
    write_vertices(path, new, [])
    return new


@pytest.mark.parametrize("origin", [0.0, 990.0, -995.0])
@pytest.mark.parametrize("double", [("", ".labels"), ("",), (".labels",)])
def test_doubles_and_floats_of_one_mesh_agree(tmp_path, origin, double):
    """What rounding to float32 changes is no other vertex, whichever file has the doubles."""
    places = np.random.default_rng(0).random((41, 3)) * 5 + origin
    write_scan(tmp_path, "scene0000_00", coords=places)
    for suffix in double:
        path = tmp_path / "scene0000_00" / f"scene0000_00_vh_clean_2{suffix}.ply"
        vertices = as_types(path, x="<f8", y="<f8", z="<f8")
        for axis, name in enumerate(AXES):
            vertices[name] = places[:, axis]
        write_vertices(path, vertices, [])
    scene, _ = find_scans(tmp_path)[0].read()
    assert np.array_equal(scene.coords, places.astype(np.float32))


def test_map_coordinates_are_called_too_far_out_with_the_remedy(tmp_path):
    write_scan(tmp_path, "scene0000_00")
    for suffix in ("", ".labels"):
        path = tmp_path / "scene0000_00" / f"scene0000_00_vh_clean_2{suffix}.ply"
        vertices = as_types(path, x="<f8", y="<f8", z="<f8")
        vertices["x"] += 455_123.4567
        vertices["y"] += 5_412_345.6789
        write_vertices(path, vertices, [])
    (problem,) = verify_raw_scannet(tmp_path).problems
    assert "41 points are not finite or beyond 1000 m" in problem
    assert "subtract an origin near the scene, in float64" in problem
    first = float(re.search(r"the first is \[([\d.]+),", problem)[1])
    assert first == vertices["x"][0]  # as in the file, not rounded


def test_coordinates_beyond_float32_are_refused_without_a_warning(tmp_path):
    write_scan(tmp_path, "scene0000_00")
    path = tmp_path / "scene0000_00" / "scene0000_00_vh_clean_2.ply"
    vertices = as_types(path, x="<f8")
    vertices["x"][3] = 1e300
    write_vertices(path, vertices, [])
    (problem,) = verify_raw_scannet(tmp_path).problems
    assert "1 points are not finite or beyond 1000 m, the first is [1e+300" in problem


def test_labels_that_are_no_whole_numbers_are_refused(tmp_path):
    write_scan(tmp_path, "scene0000_00")
    path = tmp_path / "scene0000_00" / "scene0000_00_vh_clean_2.labels.ply"
    vertices = as_types(path, label="<f4")
    vertices["label"] += 0.5
    write_vertices(path, vertices, [])
    (problem,) = verify_raw_scannet(tmp_path).problems
    assert "label must be of a whole type such as ushort, found float32" in problem


def test_the_official_annotation_faults_are_mended(tmp_path):
    for name, wrong in (("scene0270_00", 50), ("scene0270_02", 50), ("scene0384_00", 149)):
        write_scan(tmp_path, name, labels=np.where(np.arange(41) == 5, wrong, 1))
    for scan in find_scans(tmp_path):
        label = scan.read()[0].label
        assert label.tolist() == [255 if k == 5 else 0 for k in range(41)]
    write_scan(tmp_path, "scene0270_01", labels=50)
    assert len(verify_raw_scannet(tmp_path).problems) == 1


def test_odd_scenes_are_served_and_noted(source, root):
    write_scan(source / "scans", "scene0003_00", size=1, labels=1)
    write_scan(source / "scans", "scene0004_00", labels=0)
    write_scan(source / "scans", "scene0005_00", coords=np.ones((41, 3)))
    list(prepare_scannet(source, root))
    report = verify_scannet(root)
    assert report.problems == ()
    assert report.notes == (
        "scene0003_00: holds a single point",
        "scene0004_00: all of its points are ignored (label 255): it adds nothing to a score",
    )
    names = ["scene0003_00", "scene0004_00", "scene0005_00"]
    for batch in ScanNet(root, {"validation": names}).predict_dataloader():
        check_scene_batch(batch, 20)


@pytest.mark.parametrize("damage", ["cut", "flip", "missing", "swapped", "empty"])
def test_damage_to_prepared_files_is_found(root, damage):
    path = root / f"{NAMES[0]}.ply"
    good = path.read_bytes()
    if damage == "cut":
        path.write_bytes(good[:-16])
    elif damage == "flip":
        path.write_bytes(good[:-100] + bytes([good[-100] ^ 64]) + good[-99:])
    elif damage == "missing":
        path.unlink()
    elif damage == "swapped":
        index = json.loads((root / "scenes.json").read_text())
        index["scenes"][NAMES[0]] = 40
        (root / "scenes.json").write_text(json.dumps(index))
    else:
        path.write_bytes(b"")
    report = verify_scannet(root)
    assert len(report.problems) == 1
    assert NAMES[0] in report.problems[0]
    datamodule = ScanNet(root, {"validation": list(NAMES)})
    with pytest.raises(SceneFileError, match=f"{NAMES[0]}.ply"):
        list(datamodule.predict_dataloader())
    with pytest.raises(SceneFileError, match=f"{NAMES[0]}.ply"):
        datamodule.manifest()


def test_a_scene_the_index_does_not_list_is_noted(root):
    (root / "scene9999_00.ply").write_bytes((root / f"{NAMES[0]}.ply").read_bytes())
    assert verify_scannet(root).notes == (
        "scene9999_00: is not in scenes.json and will not be served",
    )


def test_an_index_of_another_set_or_a_damaged_one_is_refused(root):
    path = root / "scenes.json"
    good = path.read_text()
    for content, message in [
        (good.replace("ScanNet", "S3DIS"), "use another root"),
        (good[:-20], "is damaged"),
        ("[]", "is damaged"),
    ]:
        path.write_text(content)
        with pytest.raises(SceneFileError, match=message):
            ScanNet(root, {"validation": [NAMES[0]]}).predict_dataloader()
        assert len(verify_scannet(root).problems) == 1


class TestSplits:
    def test_files_are_read_with_or_without_suffix_and_last_line_end(self, root, tmp_path):
        path = tmp_path / "mine.txt"
        path.write_text(f"{NAMES[2]}.ply\r\n\n  {NAMES[0]}")
        datamodule = ScanNet(root, {"train": list(NAMES), "validation": str(path)})
        assert datamodule.split("validation").names == (NAMES[2], NAMES[0])
        assert datamodule.split("train").names == NAMES
        assert datamodule.split_names == ("train", "validation")
        assert [b["index"].item() for b in datamodule.test_dataloader()] == [0, 1]

    def test_the_benchmark_s_files_are_found_in_the_root(self, root):
        (root / "scannetv2_val.txt").write_text(f"{NAMES[1]}\n")
        datamodule = ScanNet(root)
        assert datamodule.split("validation").names == (NAMES[1],)
        with pytest.raises(SplitError, match=r"scannetv2_train.txt is missing; .* pass splits="):
            datamodule.train_dataloader()

    def test_a_file_with_a_byte_order_mark_is_read_and_a_binary_one_is_named(self, tmp_path):
        path = tmp_path / "mine.txt"
        path.write_bytes(f"{NAMES[2]}\r\n{NAMES[0]}".encode("utf-8-sig"))
        assert read_names(path) == [NAMES[2], NAMES[0]]
        path.write_bytes(b"scene\xff\n")
        with pytest.raises(SplitError, match=r"mine.txt: is no UTF-8 text"):
            read_names(path)

    @pytest.mark.parametrize(
        ("splits", "error", "message"),
        [
            ({"validation": ["scene0009_00"]}, NotPreparedError, "1 of 1 scenes are not prepared"),
            ({"validation": []}, SplitError, "validation: names no scene"),
            ({"validation": [NAMES[0]] * 2}, SplitError, "names 1 scenes twice"),
            ({"validation": "nowhere.txt"}, NotPreparedError, "no such split file"),
        ],
    )
    def test_bad_splits_are_refused(self, root, splits, error, message):
        with pytest.raises(error, match=message):
            ScanNet(root, splits).predict_dataloader()

    def test_an_unknown_split_is_refused(self, root):
        with pytest.raises(ValueError, match="ScanNet has no split 'test'"):
            ScanNet(root, attack_split="test")


def test_chosen_scans_only(source, tmp_path):
    root = tmp_path / "ready"
    assert states(prepare_scannet(source, root, names=[NAMES[2]])) == {NAMES[2]: "prepared"}
    # Another run adds to the same folder.
    list(prepare_scannet(source, root, names=[NAMES[0]]))
    assert ScanNet(root, {"validation": [NAMES[2], NAMES[0]]}).scene_sizes("validation") == (41, 41)


def test_a_folder_without_scans_is_refused(tmp_path):
    with pytest.raises(SceneFileError, match="holds no ScanNet scan"):
        prepare_scannet(tmp_path, tmp_path / "ready")
    assert len(verify_raw_scannet(tmp_path).problems) == 1


def test_what_a_killed_run_left_is_cleared_away(source, root):
    part = root / f".{NAMES[0]}.ply.4711.part"
    part.write_bytes((root / f"{NAMES[0]}.ply").read_bytes()[:100])
    assert verify_scannet(root).problems == verify_scannet(root).notes == ()
    assert set(states(prepare_scannet(source, root)).values()) == {"kept"}
    assert not part.exists()


def test_training_batches_are_augmented_and_bounded(root):
    datamodule = ScanNet(root, {"train": list(NAMES)}, batch_size=3, attack_split="train")
    (batch,) = datamodule.train_dataloader()
    check_scene_batch(batch, 20)
    assert len(batch["index"]) == 3
    clean = next(iter(datamodule.predict_dataloader()))
    assert not np.array_equal(batch["coords"][:5].numpy(), clean["coords"][:5].numpy())
    bounded = ScanNet(
        root, {"train": list(NAMES)}, batch_size=3, attack_split="train", max_points=60
    )
    assert len(next(iter(bounded.train_dataloader()))["index"]) == 1
