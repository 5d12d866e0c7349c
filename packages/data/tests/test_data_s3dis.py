import re
from pathlib import Path

import numpy as np
import pytest

from leadgrad.data.contract import DataSetError
from leadgrad.data.s3dis import S3DIS
from leadgrad.data.s3dis_prepare import (
    CLASS_NAMES,
    find_rooms,
    prepare_s3dis,
    thin,
    verify_raw_s3dis,
    verify_s3dis,
)
from leadgrad.data.s3dis_text import read_points
from leadgrad.data.scene_batch import check_scene_batch
from leadgrad.data.scene_files import NotPreparedError, SceneFileError

# Points of one room: 3 cm apart, so that thinning keeps all.
GRID = np.stack(np.meshgrid(*[np.arange(4) * 0.03 + 25.015] * 3), axis=-1).reshape(-1, 3)


def lines(points, color=(10, 20, 255)):
    return "".join(f"{x:.3f} {y:.3f} {z:.3f} {' '.join(map(str, color))}\n" for x, y, z in points)


def write_room(area, room, objects):
    folder = area / room / "Annotations"
    folder.mkdir(parents=True)
    for name, text in objects.items():
        (folder / f"{name}.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    whole = b"".join(path.read_bytes() for path in sorted(folder.iterdir()))
    (area / room / f"{room}.txt").write_bytes(whole)


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "raw" / "Stanford3dDataset_v1.2"
    for area in (1, 2, 3, 4, 5, 6):
        for room in ("office_1", "hallway_2"):
            write_room(
                root / f"Area_{area}",
                room,
                {
                    "ceiling_1": lines(GRID[:20]),
                    "stairs_1": lines(GRID[20:30]),
                    "chair_2": lines(GRID[30 : 50 + area]),
                },
            )
        (root / f"Area_{area}" / "note.txt").write_text("no room")
        (root / f"Area_{area}" / ".DS_Store").mkdir()
    return tmp_path / "raw"


@pytest.fixture
def root(source, tmp_path):
    list(prepare_s3dis(source, tmp_path / "ready"))
    return tmp_path / "ready"


def test_the_thirteen_classes_are_in_alphabetical_order_after_clutter():
    assert CLASS_NAMES[0] == "clutter"
    assert list(CLASS_NAMES[1:]) == sorted(CLASS_NAMES[1:])
    assert (CLASS_NAMES.index("sofa"), CLASS_NAMES.index("window"), len(CLASS_NAMES)) == (9, 12, 13)


def test_a_room_is_its_annotations_in_the_order_of_their_names(root):
    datamodule = S3DIS(root, limit=1)
    (batch,) = datamodule.predict_dataloader()
    check_scene_batch(batch, 13)
    order = [*range(20), *range(30, 55), *range(20, 30)]
    assert np.array_equal(batch["coords"].numpy(), GRID.round(3).astype(np.float32)[order])
    assert batch["label"].tolist() == [4] * 20 + [5] * 25 + [255] * 10
    expected = np.array([10, 20, 255], np.float32) / np.float32(255)
    assert np.array_equal(batch["features"][7].numpy(), expected)
    assert datamodule.scene_name(0) == "Area_5/hallway_2"


def test_the_areas_are_the_splits(root):
    datamodule = S3DIS(root)
    rooms = ("hallway_2", "office_1")
    assert datamodule.split("test").names == tuple(f"Area_5/{room}" for room in rooms)
    assert datamodule.split("validation").names == datamodule.split("test").names
    assert datamodule.split("train").names == tuple(
        f"Area_{area}/{room}" for area in (1, 2, 3, 4, 6) for room in rooms
    )
    assert datamodule.scene_sizes("train") == (51, 51, 52, 52, 53, 53, 54, 54, 56, 56)
    own = S3DIS(root, {"train": ["Area_6", "Area_1"], "tune": ["Area_2"]}, attack_split="tune")
    assert own.split("train").names[0] == "Area_6/hallway_2"
    assert own.split_names == ("train", "tune")
    with pytest.raises(NotPreparedError, match=r"no room of Area_7, only of \['Area_1'"):
        S3DIS(root, {"test": ["Area_7"]}).predict_dataloader()


def test_an_unprepared_folder_is_named_with_the_remedy(tmp_path):
    with pytest.raises(NotPreparedError, match="run `leadgrad prepare s3dis --source"):
        S3DIS(tmp_path).predict_dataloader()


def test_resume_and_determinism(source, root, tmp_path, monkeypatch):
    assert {outcome.state for outcome in prepare_s3dis(source, root)} == {"kept"}
    # A file system that lists its entries in another order.
    glob = Path.glob
    monkeypatch.setattr(Path, "glob", lambda *args, **more: reversed(sorted(glob(*args, **more))))
    list(prepare_s3dis(source / "Stanford3dDataset_v1.2", tmp_path / "again"))
    assert (tmp_path / "again" / "scenes.json").read_bytes() == (root / "scenes.json").read_bytes()
    for path in root.rglob("*.ply"):
        assert (tmp_path / "again" / path.relative_to(root)).read_bytes() == path.read_bytes()


class TestThinning:
    def test_against_a_slow_one(self):
        generator = np.random.default_rng(0)
        coords = (generator.random((4000, 3)) * 0.15 - 0.07).astype(np.float32)
        label = generator.choice([3, 3, 3, 7], 4000).astype(np.uint8)
        voxels = {}
        for point, place in enumerate(np.floor(coords.astype(np.float64) / 0.01).astype(int)):
            voxels.setdefault(tuple(place), []).append(point)
        kept, merged = thin(coords, label)
        assert kept.tolist() == [points[0] for points in voxels.values()]
        expected = [
            label[points[0]] if len(set(label[points].tolist())) == 1 else 255
            for points in voxels.values()
        ]
        assert merged.tolist() == expected
        assert 255 in expected
        assert len(kept) < 3000
        again, same = thin(coords[kept], merged)
        assert again.tolist() == list(range(len(kept)))
        assert same.tolist() == merged.tolist()

    def test_one_point_duplicates_and_distant_points(self):
        one = np.full((1, 3), -3.0, dtype=np.float32)
        assert thin(one, np.array([4], np.uint8))[0].tolist() == [0]
        twice = np.repeat(one, 3, axis=0)
        kept, label = thin(twice, np.array([4, 4, 255], np.uint8))
        assert (kept.tolist(), label.tolist()) == ([0], [255])
        far = np.array([[-1000, -1000, -1000], [1000, 1000, 1000]] * 2, dtype=np.float32)
        assert thin(far, np.zeros(4, np.uint8))[0].tolist() == [0, 1]


class TestText:
    def read(self, tmp_path, text):
        path = tmp_path / "ceiling_1.txt"
        path.write_bytes(text)
        return read_points(path)

    def test_a_clean_file(self, tmp_path):
        points, notes = self.read(tmp_path, b"1 2.5 -3e-1 0 128 255\r\n\n 4\t5 6 7.0 8 9 \n")
        assert points.tolist() == [[1, 2.5, -0.3, 0, 128, 255], [4, 5, 6, 7, 8, 9]]
        assert notes == ()

    def test_stray_characters_are_left_out_and_reported(self, tmp_path):
        good = b"1 2 3 4 5 6\n"
        points, notes = self.read(tmp_path, good * 3 + b"1 2 3 4\x1005 6\n" + good + b"# 2\n")
        assert len(points) == 4
        assert notes == (
            "ceiling_1.txt: line 4 is left out, it holds '1 2 3 4\\x1005 6'",
            "ceiling_1.txt: line 6 is left out, it holds '# 2'",
        )

    def test_a_last_line_without_its_end_is_noted(self, tmp_path):
        points, notes = self.read(tmp_path, b"1 2 3 4 5 6\n1 2 3 4 5 60")
        assert points[1, 5] == 60
        assert notes == ("ceiling_1.txt: the last line has no line end; the file may be cut",)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (b"", "holds no point"),
            (b"\n \n", "holds no point"),
            (b"1 2 3 4 5 6\n1 2 3 4", "cut off in line 2, which holds '1 2 3 4'"),
            (b"1 2 3 4 5 6\n" + b"1 2 3\n" * 4, "4 lines are not six numbers, the first is line 2"),
            (b"1 2 3\n" * 4, "lines hold 3 numbers, expected x y z r g b"),
            (b"1 2 3 4 5 6 7\n", "lines hold 7 numbers"),
            (b"x y z r g b\n", "1 lines are not six numbers, the first is line 1"),
            (b"1 2 3 4 5 6\n1 2 3 256 5 6\n", "1 colours are no whole numbers.* at point 1"),
            (b"1 2 3 0.5 5 6\n", "1 colours are no whole numbers"),
            (b"1 2 3 nan 5 6\n", "1 colours are no whole numbers"),
            (b"1 2 3 -1 5 6\n", "1 colours are no whole numbers"),
        ],
    )
    def test_damaged_files_are_refused(self, tmp_path, text, message):
        with pytest.raises(SceneFileError, match=message):
            self.read(tmp_path, text)


def test_every_bad_room_is_named_and_the_others_are_prepared(source, tmp_path):
    area = source / "Stanford3dDataset_v1.2" / "Area_6"
    write_room(area, "a_nan", {"wall_1": "1 2 3 4 5 6\n1 nan 3 4 5 6\n"})
    write_room(area, "b_far", {"wall_1": "1 2 3 4 5 6\n1 2 -inf 4 5 6\n1 2 1e30 4 5 6\n"})
    write_room(area, "c_class", {"lamp_1": lines(GRID)})
    write_room(area, "d_empty", {"wall_1": ""})
    write_room(area, "e_cut", {"wall_1": lines(GRID)[:-15]})
    (area / "f_nothing").mkdir()
    expected = {
        "a_nan": r"1 points are not finite or beyond 1000 m, .* at point 1 of the annotations",
        "b_far": "2 points are not finite .* at point 1",
        "c_class": "'lamp' is no class of S3DIS",
        "d_empty": "holds no point",
        "e_cut": "cut off in line 64",
        "f_nothing": r"has no Annotations/\*.txt",
    }
    root = tmp_path / "ready"
    outcomes = {outcome.name: outcome for outcome in prepare_s3dis(source, root)}
    assert {n for n, o in outcomes.items() if o.state == "bad"} == {
        f"Area_6/{room}" for room in expected
    }
    assert sum(outcome.state == "prepared" for outcome in outcomes.values()) == 12
    for room, message in expected.items():
        assert re.search(message, outcomes[f"Area_6/{room}"].problem), room
    assert len(verify_raw_s3dis(source).problems) == len(verify_s3dis(root).problems) == 6
    # Area 5 is whole, so attacks run; the training areas are not.
    assert S3DIS(root).num_attack_batches() == 2
    with pytest.raises(SceneFileError, match="6 scenes could not be prepared"):
        S3DIS(root).train_dataloader()


def test_notes_survive_a_resume(source, tmp_path):
    area = source / "Stanford3dDataset_v1.2" / "Area_5"
    write_room(area, "hallway_6", {"ceiling_1": lines(GRID[:5]) + "1 2 3 4\x1005 6\n"})
    (area / "hallway_6" / "hallway_6.txt").write_text(lines(GRID[:7]))
    root = tmp_path / "ready"
    expected = (
        "ceiling_1.txt: line 6 is left out, it holds '1 2 3 4\\x1005 6'",
        "hallway_6.txt has 7 lines, the annotations 5 points",
    )
    for state in ("prepared", "kept"):
        (outcome,) = [o for o in prepare_s3dis(source, root) if o.name == "Area_5/hallway_6"]
        assert outcome.state == state
        assert len(outcome.notes) == 2
        assert outcome.notes[1] == expected[1]
    report = verify_s3dis(root)
    assert report.problems == ()
    assert len(report.notes) == 2
    assert "hallway_6: ceiling_1.txt: line 6 is left out" in report.notes[0]


def test_names_that_are_no_utf_8_are_prepared_and_can_be_printed(source, tmp_path):
    area = source / "Stanford3dDataset_v1.2" / "Area_5"
    write_room(area, "b\udcfcro", {"wall_1": lines(GRID), "chair_\udcfc": lines(GRID)})
    write_room(area, "schl\udcfcssel", {"wall_1": lines(GRID)[:-15]})
    write_room(area, "Büro 3", {"wall_1": "1 2 3 4\x1005 6\n" + lines(GRID)})
    root = tmp_path / "ready\udcfc"
    for state in ("prepared", "kept"):
        found = {outcome.name: outcome for outcome in prepare_s3dis(source, root)}
        assert found[r"Area_5/b\udcfcro"].state == found["Area_5/Büro 3"].state == state
        assert found[r"Area_5/schl\udcfcssel"].state == "bad"
        for outcome in found.values():
            "".join((outcome.name, outcome.problem, *outcome.notes)).encode()
    reports = verify_raw_s3dis(source), verify_s3dis(root)
    for report in reports:
        assert len(report.problems) == 1
        "".join((*report.problems, *report.notes)).encode()
    clean = {"train": ["Area_1"], "test": ["Area_1"]}
    assert S3DIS(root, clean).manifest()["count"] == 2
    (area / "schl\udcfcssel" / "Annotations" / "wall_1.txt").write_text(lines(GRID))
    list(prepare_s3dis(source, root))
    # A run's records are UTF-8.
    with pytest.raises(DataSetError, match=r"no printable text, 'Area_5/b\\udcfcro'; rename"):
        S3DIS(root).manifest()


def test_a_room_of_one_point_and_an_ignored_one(source, tmp_path):
    area = source / "Stanford3dDataset_v1.2" / "Area_5"
    write_room(area, "one", {"wall_1": lines(GRID[:1])})
    write_room(area, "steps", {"stairs_1": lines(GRID)})
    root = tmp_path / "ready"
    list(prepare_s3dis(source, root))
    assert verify_s3dis(root).notes == (
        "Area_5/one: holds a single point",
        "Area_5/steps: all of its points are ignored (label 255): it adds nothing to a score",
    )
    for batch in S3DIS(root, batch_size=4).predict_dataloader():
        check_scene_batch(batch, 13)


def test_no_rooms_or_several_copies_are_refused(tmp_path):
    with pytest.raises(SceneFileError, match=r"no folder Area_\* and 0 folders"):
        find_rooms(tmp_path)
    assert len(verify_raw_s3dis(tmp_path).problems) == 1
    for name in ("Stanford3dDataset_v1.2", "Stanford3dDataset_v1.2_Aligned_Version"):
        (tmp_path / name / "Area_1").mkdir(parents=True)
    with pytest.raises(SceneFileError, match="and 2 folders"):
        find_rooms(tmp_path)
    with pytest.raises(SceneFileError, match="the areas hold no room"):
        find_rooms(tmp_path / "Stanford3dDataset_v1.2")


def test_training_rooms_are_cropped(root):
    batches = list(S3DIS(root, batch_size=4).train_dataloader())
    assert [len(batch["index"]) for batch in batches] == [4, 4, 2]
    for batch in batches:
        check_scene_batch(batch, 13)
