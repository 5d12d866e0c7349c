import os
from pathlib import Path

import numpy as np
import pytest

from leadgrad.data import SemanticKITTI, check_scene_batch
from leadgrad.data.scene_files import SceneFileError
from leadgrad.data.semantickitti_classes import CLASS_NAMES, LEARNING_MAP
from leadgrad.data.semantickitti_files import (
    count_points,
    read_labels,
    read_points,
    verify_semantickitti,
)

DATA = os.environ.get("LEADGRAD_DATA") or None
RAW = np.array(sorted(LEARNING_MAP), dtype=np.uint32)


def write_scan(sequence, name, points, labels=None):
    for folder in ("velodyne", "labels"):
        (sequence / folder).mkdir(parents=True, exist_ok=True)
    (sequence / "velodyne" / f"{name}.bin").write_bytes(np.asarray(points, "<f4").tobytes())
    if labels is not None:
        (sequence / "labels" / f"{name}.label").write_bytes(np.asarray(labels, "<u4").tobytes())


def rows(count, seed=0):
    draws = np.random.default_rng(seed)
    points = (draws.random((count, 4)) * (60, 60, 4, 1) - (30, 30, 2, 0)).astype(np.float32)
    return points, draws.choice(RAW, count) | (draws.integers(0, 500, count) << 16)


@pytest.fixture
def root(tmp_path):
    """Two scans of each labelled sequence, one of an unlabelled one."""
    for number in range(11):
        for scan in (1, 0):
            points, labels = rows(20 + number + scan, seed=scan)
            write_scan(tmp_path / "sequences" / f"{number:02d}", f"{scan:06d}", points, labels)
    write_scan(tmp_path / "sequences" / "11", "000000", rows(9)[0])
    (tmp_path / "sequences" / "11" / "labels").rmdir()
    return tmp_path


def test_a_scan_is_its_file(root):
    datamodule = SemanticKITTI(root)
    batches = list(datamodule.predict_dataloader())
    assert [datamodule.scene_name(number) for number in range(2)] == ["08/000000", "08/000001"]
    for scan, batch in enumerate(batches):
        check_scene_batch(batch, 20)
        points, labels = rows(28 + scan, seed=scan)
        assert np.array_equal(batch["coords"].numpy(), points[:, :3])
        assert np.array_equal(batch["features"].numpy(), points[:, 3:])
        expected = [LEARNING_MAP[int(label) & 0xFFFF] or 255 for label in labels]
        assert batch["label"].tolist() == expected
        assert batch["from_bytes"].tolist() == [False]
    assert datamodule.manifest()["count"] == 2


def test_the_learning_map_is_whole():
    assert len(LEARNING_MAP) == 34
    assert set(LEARNING_MAP.values()) == set(range(20))
    names = {raw: CLASS_NAMES[number] for raw, number in LEARNING_MAP.items()}
    by_name = {name: sorted(r for r in names if names[r] == name) for name in CLASS_NAMES}
    assert by_name == {
        "unlabelled": [0, 1, 52, 99],
        "car": [10, 252],
        "bicycle": [11],
        "motorcycle": [15],
        "truck": [18, 258],
        "other-vehicle": [13, 16, 20, 256, 257, 259],
        "person": [30, 254],
        "bicyclist": [31, 253],
        "motorcyclist": [32, 255],
        "road": [40, 60],
        "parking": [44],
        "sidewalk": [48],
        "other-ground": [49],
        "building": [50],
        "fence": [51],
        "vegetation": [70],
        "trunk": [71],
        "terrain": [72],
        "pole": [80],
        "traffic-sign": [81],
    }


def test_every_number_becomes_its_class(tmp_path):
    write_scan(tmp_path / "00", "000000", np.zeros((34, 4)), RAW | np.uint32(7 << 16))
    label = read_labels(tmp_path / "00" / "labels" / "000000.label", 34)
    assert label.dtype == np.uint8
    assert label.tolist() == [LEARNING_MAP[int(raw)] or 255 for raw in RAW]


def test_the_sequences_are_the_splits(root):
    datamodule = SemanticKITTI(root)
    assert datamodule.split_names == ("train", "validation")
    assert datamodule.attack_split == "validation"
    train = [f"{number:02d}" for number in (*range(8), 9, 10)]
    expected = tuple(f"{sequence}/{scan:06d}" for sequence in train for scan in (0, 1))
    assert datamodule.split("train").names == expected
    assert datamodule.split("validation").names == ("08/000000", "08/000001")
    assert datamodule.scene_sizes("validation") == (28, 29)
    assert len(list(datamodule.test_dataloader())) == 2
    own = SemanticKITTI(root, {"train": ["04", "00"], "tune": ["03"]}, attack_split="tune")
    assert own.split("train").names[:3] == ("04/000000", "04/000001", "00/000000")
    assert own.num_attack_batches() == 2


def test_the_archives_own_folder_will_do(root):
    (root / "dataset").mkdir()
    (root / "sequences").rename(root / "dataset" / "sequences")
    assert SemanticKITTI(root).num_attack_batches() == 2
    assert SemanticKITTI(root / "dataset").num_attack_batches() == 2


def test_sizes_are_known_without_reading(root, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("read")

    monkeypatch.setattr(np, "fromfile", refuse)
    assert SemanticKITTI(root).scene_sizes("train")[:4] == (20, 21, 21, 22)
    SemanticKITTI(root).train_dataloader()


def test_what_is_missing_is_named_with_the_remedy(root, tmp_path):
    with pytest.raises(SceneFileError, match=r"nowhere: holds neither sequences/ nor dataset"):
        SemanticKITTI(tmp_path / "nowhere").predict_dataloader()
    with pytest.raises(SceneFileError, match=r"12: holds no scan .* only sequences \['00', '01'"):
        SemanticKITTI(root, {"train": ["00", "12"]}, attack_split="train").train_dataloader()
    hidden = SemanticKITTI(root, {"test": ["11"]}, attack_split="test")
    with pytest.raises(SceneFileError, match="publishes no labels of this sequence, choose"):
        next(iter(hidden.predict_dataloader()))
    (root / "sequences" / "08" / "labels" / "000000.label").unlink()
    with pytest.raises(SceneFileError, match=r"08/labels/000000.label: there is no .* unpack the"):
        next(iter(SemanticKITTI(root).predict_dataloader()))


GOOD = rows(10)[0]


def damaged(place, value):
    points = GOOD.copy()
    points[place] = value
    return points.tobytes()


BAD_POINTS = {
    b"": "is empty; unpack it again",
    GOOD.tobytes()[:-3]: "has 157 bytes, no multiple of the 16 .* after point 8, unpack",
    damaged((3, 1), np.nan): r"1 points are not finite .* is point 3 with .*nan.*; unpack",
    damaged((4, 0), np.inf): "1 points are not finite .* point 4",
    damaged((5, 3), -np.inf): "1 points are not finite .* point 5",
    damaged((slice(6, 8), 2), 1e20): "2 points are not finite or beyond 1000 m, .* point 6",
}
BAD_LABELS = {
    b"": "has 0 bytes, expected 40 for the 10 points",
    np.zeros(9, "<u4").tobytes(): "has 36 bytes, expected 40",
    np.zeros(11, "<u4").tobytes(): "has 44 bytes, expected 40 .* unpack both again",
    np.array([0] * 7 + [300 | 9 << 16, 2, 0], "<u4").tobytes(): (
        r"2 labels are no class of SemanticKITTI, the first is 300 at point 7; expected one of \[0,"
    ),
}


@pytest.mark.parametrize(("content", "message"), BAD_POINTS.items())
def test_damaged_scans_are_refused(tmp_path, content, message):
    path = tmp_path / "000000.bin"
    path.write_bytes(content)
    with pytest.raises(SceneFileError, match=f"000000.bin: .*{message}"):
        read_points(path)
    if len(content) % 16 or not content:
        with pytest.raises(SceneFileError, match=message):
            count_points(path)


@pytest.mark.parametrize(("content", "message"), BAD_LABELS.items())
def test_damaged_labels_are_refused(tmp_path, content, message):
    path = tmp_path / "000000.label"
    path.write_bytes(content)
    with pytest.raises(SceneFileError, match=f"000000.label: .*{message}"):
        read_labels(path, 10)


def test_a_missing_scan_is_named(tmp_path):
    with pytest.raises(SceneFileError, match=r"gone.bin: cannot be read .* unpack it again"):
        count_points(tmp_path / "gone.bin")


def test_every_bad_file_is_listed(root):
    report = verify_semantickitti(root)
    assert report.problems == ()
    assert len(report.notes) == 1
    assert report.notes[0].endswith("11: has no labels, as the benchmark publishes none of it")
    sequences = root / "sequences"
    bad = sequences / "03" / "velodyne"
    for number, content in enumerate(BAD_POINTS):
        (bad / f"0001{number:02d}.bin").write_bytes(content)
    for number, content in enumerate(BAD_LABELS):
        write_scan(sequences / "05", f"0001{number:02d}", GOOD)
        (sequences / "05" / "labels" / f"0001{number:02d}.label").write_bytes(content)
    write_scan(sequences / "06", "000100", GOOD)
    write_scan(sequences / "07", "000100", GOOD, np.zeros(10))
    (sequences / "09" / "labels" / "000009.label").write_bytes(b"")
    report = verify_semantickitti(root)
    assert len(report.problems) == len(BAD_POINTS) + len(BAD_LABELS) + 1
    assert "06/labels/000100.label: there is no such file" in "".join(report.problems)
    assert len(report.notes) == 3
    assert "000100.bin: all of its points are ignored" in "".join(report.notes)
    assert "1 label files have no scan, the first is 000009" in "".join(report.notes)


def test_a_folder_without_scans_is_a_problem(tmp_path):
    assert "holds neither sequences/" in verify_semantickitti(tmp_path).problems[0]
    (tmp_path / "sequences" / "00").mkdir(parents=True)
    assert "holds no scan SS/velodyne" in verify_semantickitti(tmp_path).problems[0]


def test_what_systems_leave_there_is_not_read(root):
    folder = root / "sequences" / "08"
    for name in ("velodyne/._000000.bin", "velodyne/.DS_Store", "labels/._000000.label"):
        (folder / name).write_bytes(b"\x00\x05\x16\x07")
    (root / "sequences" / ".Trash").mkdir()
    assert SemanticKITTI(root).num_attack_batches() == 2
    assert verify_semantickitti(root).problems == ()


def test_training_scans_are_augmented_and_lose_no_point(root):
    datamodule = SemanticKITTI(root, batch_size=4)
    batches = list(datamodule.train_dataloader())
    assert [len(batch["index"]) for batch in batches] == [4] * 5
    for batch in batches:
        check_scene_batch(batch, 20)
        for number, index in enumerate(batch["index"].tolist()):
            of_scene = batch["scene"] == number
            clean = datamodule.split("train").read(index)
            assert np.array_equal(batch["features"][of_scene].numpy(), clean.features)
            assert not np.array_equal(batch["coords"][of_scene].numpy(), clean.coords)


@pytest.fixture(scope="module")
def real():
    if DATA is None:
        pytest.skip("LEADGRAD_DATA names no folder of real data")
    return Path(DATA) / "semantickitti"


REAL = {"train": ["00", "03", "04", "06"], "validation": ["08"]}


def test_real_scans_are_whole(real):
    report = verify_semantickitti(real)
    assert report.problems == report.notes == ()
    datamodule = SemanticKITTI(real, REAL)
    assert datamodule.scene_sizes("train") == (124_668, 124_929, 124_231, 123_020)
    assert datamodule.scene_sizes("validation") == (123_389, 122_792)
    counts = np.zeros(256, dtype=np.int64)
    for split in REAL:
        for batch in datamodule.batches(split, 1):
            check_scene_batch(batch, 20)
            label = batch["label"].numpy()
            counts += np.bincount(label, minlength=256)
            coords = batch["coords"].numpy()
            road = coords[(label == 9) & (np.hypot(*coords[:, :2].T) < 10)]
            assert np.median(road[:, 2]) == pytest.approx(-1.73, abs=0.15)
            assert 70 < np.linalg.norm(coords, axis=1).max() < 85
            assert 0 <= batch["features"].min() <= batch["features"].max() <= 1
    shares = counts / counts.sum()
    assert counts[0] == counts[20:255].sum() == 0
    assert 0.2 < shares[CLASS_NAMES.index("road")] < 0.35
    assert 0.1 < shares[CLASS_NAMES.index("vegetation")] < 0.3
    assert 0.02 < shares[255] < 0.08
    # No bicyclist in these six.
    assert (counts[1:20] > 0).sum() == 18


def test_real_training_batches(real):
    datamodule = SemanticKITTI(real, REAL, batch_size=2, max_points=250_000)
    for batch in datamodule.train_dataloader():
        check_scene_batch(batch, 20)
        assert len(batch["coords"]) <= 250_000
