"""``leadgrad prepare`` and ``verify-data``: every bad file is named, good ones are kept."""

import errno
import os
import re

import numpy as np
import pytest

from leadgrad.data import S3DIS, ScanNet
from leadgrad.data.ply import write_vertices
from leadgrad.pipelines.cli import main

SCANS = ("scene0000_00", "scene0001_00", "scene0002_00")
POINT = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1")]
BATCHES = (*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin")


def write_scan(scans, name, points=30, label=1):
    vertices = np.zeros(points, dtype=[*POINT, ("label", "<u2")])
    for axis in "xyz":
        vertices[axis] = np.random.default_rng(ord(axis)).random(points)
    vertices["label"] = label
    write_vertices(scans / name / f"{name}_vh_clean_2.labels.ply", vertices, [])
    plain = vertices[[name for name, _ in POINT]].astype(POINT)
    write_vertices(scans / name / f"{name}_vh_clean_2.ply", plain, [])


@pytest.fixture
def scannet(tmp_path):
    for name in SCANS:
        write_scan(tmp_path / "scannet" / "scans", name)
    return tmp_path / "scannet"


@pytest.fixture
def s3dis(tmp_path):
    for area in ("Area_1", "Area_5"):
        folder = tmp_path / "s3dis" / area / "office_1" / "Annotations"
        folder.mkdir(parents=True)
        rows = [f"{x / 10} 0.5 0.25 {x} 2 3" for x in range(20)]
        (folder / "chair_1.txt").write_text("\n".join(rows) + "\n")
    return tmp_path / "s3dis"


def prepare(kind, source, root, *options):
    return main(["prepare", kind, f"--source={source}", f"--root={root}", *options])


def damage(scans, name):
    path = scans / "scans" / name / f"{name}_vh_clean_2.ply"
    path.write_bytes(path.read_bytes()[:-3])
    return path


def test_scannet(scannet, tmp_path, capsys):
    assert prepare("scannet", scannet, tmp_path / "ready") == 0
    words = capsys.readouterr().out
    assert "3 of 3 scenes: 3 prepared, 0 kept, 0 bad; 90 points" in words
    assert "3/3" in words, "the bar has come to its end"
    splits = {"train": list(SCANS), "validation": [SCANS[1]]}
    assert ScanNet(tmp_path / "ready", splits).scene_sizes("train") == (30, 30, 30)
    assert prepare("scannet", scannet, tmp_path / "ready") == 0
    assert "0 prepared, 3 kept, 0 bad" in capsys.readouterr().out


def test_scans_of_a_list(scannet, tmp_path, capsys):
    (tmp_path / "val.txt").write_text(f"{SCANS[2]}\n")
    names = f"--names={tmp_path / 'val.txt'}"
    assert prepare("scannet", scannet, tmp_path / "ready", names) == 0
    assert "1 of 1 scenes: 1 prepared" in capsys.readouterr().out
    assert not (tmp_path / "ready" / f"{SCANS[0]}.ply").exists()


def test_s3dis(s3dis, tmp_path, capsys):
    whole = s3dis / "Area_1" / "office_1" / "office_1.txt"
    whole.write_text("0 0 0 0 0 0\n")
    assert prepare("s3dis", s3dis, tmp_path / "ready") == 0
    words = capsys.readouterr().out
    assert "note: Area_1/office_1: office_1.txt has 1 lines, the annotations 20 points" in words
    assert "2 of 2 scenes: 2 prepared, 0 kept, 0 bad; 40 points" in words
    rooms = S3DIS(tmp_path / "ready", {"validation": ["Area_5"], "test": ["Area_1"]})
    assert rooms.scene_sizes("validation") == (20,)


def test_every_bad_scan_is_named_at_the_end(scannet, tmp_path, capsys):
    cut = damage(scannet, SCANS[0])
    write_scan(scannet / "scans", "scene0003_00", label=41)
    write_scan(scannet / "scans", "scene0004_00", label=0)
    assert prepare("scannet", scannet, tmp_path / "ready") == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"bad: {SCANS[0]}: {cut}: cut off, holds 29 of 30 vertices" in lines
    assert sum(line.startswith("bad: ") for line in lines) == 2
    assert lines[-1].startswith("5 of 5 scenes: 3 prepared, 0 kept, 2 bad; 90 points in ")
    # Once the source is whole, the rest is kept
    for name in (SCANS[0], "scene0003_00"):
        write_scan(scannet / "scans", name)
    assert prepare("scannet", scannet, tmp_path / "ready") == 0
    assert "5 of 5 scenes: 2 prepared, 3 kept, 0 bad" in capsys.readouterr().out


def test_a_full_disk_ends_it_and_what_was_found_is_said(scannet, tmp_path, capsys, monkeypatch):
    damage(scannet, SCANS[0])
    done, sync = [], os.fsync

    def one_then_full(file):
        done.append(file)
        if len(done) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", one_then_full)
        assert prepare("scannet", scannet, tmp_path / "ready") == 1
    printed = capsys.readouterr()
    assert "2 of 3 scenes: 1 prepared, 0 kept, 1 bad" in printed.out
    assert f"bad: {SCANS[0]}: " in printed.out
    assert "not finished: the same command goes on from there" in printed.out
    assert "No space left on device; make room" in printed.err
    assert prepare("scannet", scannet, tmp_path / "ready") == 1
    assert "1 prepared, 1 kept, 1 bad" in capsys.readouterr().out


def test_refusals_are_one_line(scannet, s3dis, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert prepare("scannet", tmp_path / "empty", tmp_path / "ready") == 1
    assert "holds no ScanNet scan" in capsys.readouterr().err
    assert prepare("scannet", scannet, tmp_path / "ready") == 0
    capsys.readouterr()
    assert prepare("s3dis", s3dis, tmp_path / "ready") == 1
    printed = capsys.readouterr()
    assert "use another root" in printed.err
    assert "scenes:" not in printed.out
    with pytest.raises(SystemExit) as stop:
        main(["prepare", "scannets", "--source=a", "--root=b"])
    assert stop.value.code == 2


def verify(capsys, root, *options):
    """Exit status, kind, problems and notes."""
    status = main(["verify-data", str(root), *options])
    lines = capsys.readouterr().out.splitlines()
    problems = [line for line in lines if line.startswith("problem: ")]
    notes = [line for line in lines if line.startswith("note: ")]
    assert lines[-1] == f"{len(problems)} problems, {len(notes)} notes"
    (kind,) = re.findall(r": checked as (\S+)$", lines[0])
    return status, kind, problems, notes


@pytest.fixture
def cifar(tmp_path):
    folder = tmp_path / "images" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for name in BATCHES:
        np.zeros((20, 3073), np.uint8).tofile(folder / name)
    return tmp_path / "images"


def test_cifar10_needs_no_kind(cifar, capsys):
    for root in (cifar, cifar / "cifar-10-batches-bin"):
        status, kind, problems, _ = verify(capsys, root)
        assert (status, kind, problems) == (0, "cifar10", [])
    (cifar / "cifar-10-batches-bin" / "test_batch.bin").unlink()
    status, _, problems, _ = verify(capsys, cifar)
    assert status == len(problems) == 1
    assert "test_batch.bin: missing" in problems[0]


def test_scans_raw_and_prepared(scannet, tmp_path, capsys):
    prepare("scannet", scannet, tmp_path / "ready")
    capsys.readouterr()
    for root in (scannet, scannet / "scans"):
        assert verify(capsys, root) == (0, "scannet-raw", [], [])
    assert verify(capsys, tmp_path / "ready") == (0, "scannet", [], [])
    damage(scannet, SCANS[1])
    prepared = tmp_path / "ready" / f"{SCANS[2]}.ply"
    prepared.write_bytes(prepared.read_bytes()[:-1])
    capsys.readouterr()
    for root, name in ((scannet, SCANS[1]), (tmp_path / "ready", SCANS[2])):
        status, _, problems, _ = verify(capsys, root)
        assert status == len(problems) == 1
        assert f"{name}" in problems[0]


def test_rooms_raw_and_prepared(s3dis, tmp_path, capsys):
    prepare("s3dis", s3dis, tmp_path / "ready")
    capsys.readouterr()
    assert verify(capsys, s3dis) == (0, "s3dis-raw", [], [])
    assert verify(capsys, tmp_path / "ready") == (0, "s3dis", [], [])
    copy = tmp_path / "parent" / "Stanford3dDataset_v1.2"
    copy.parent.mkdir()
    s3dis.rename(copy)
    assert verify(capsys, copy.parent)[:2] == (0, "s3dis-raw")


@pytest.mark.parametrize("kind", ["scannet", "s3dis"])
def test_an_unfinished_preparation_is_a_problem(kind, request, tmp_path, capsys):
    prepare(kind, request.getfixturevalue(kind), tmp_path / "ready")
    (tmp_path / "ready" / "scenes.json").unlink()
    capsys.readouterr()
    status, found, problems, _ = verify(capsys, tmp_path / "ready")
    assert (status, found) == (1, kind)
    assert f"leadgrad prepare {kind}" in problems[0]


def test_what_does_not_show_is_asked_for(scannet, tmp_path, capsys):
    for content, words in (
        (None, "there is no folder"),
        ({}, "looks like none of: cifar10 (cifar-10-batches-*/"),
        ({"scenes.json": "{"}, "give another folder, or --kind"),
    ):
        root = tmp_path / "odd"
        for name, text in (content or {}).items():
            (root / name).write_text(text)
        assert main(["verify-data", str(root)]) == 1
        assert words in capsys.readouterr().err
        root.mkdir(exist_ok=True)
    status, kind, problems, _ = verify(capsys, tmp_path / "odd", "--kind=s3dis")
    assert (status, kind) == (1, "s3dis")
    assert "scenes.json: is damaged" in problems[0]
    prepare("scannet", scannet, scannet)  # beside the source
    capsys.readouterr()
    assert main(["verify-data", str(scannet)]) == 1
    assert "looks like scannet-raw and scannet; give one as --kind" in capsys.readouterr().err
    assert verify(capsys, scannet, "--kind=scannet")[:2] == (0, "scannet")
