import numpy as np
import pytest

from leadgrad.data.cifar10 import CIFAR10
from leadgrad.data.cifar_verify import find_problems
from leadgrad.data.ply import write_vertices
from leadgrad.data.s3dis_prepare import prepare_s3dis, verify_raw_s3dis, verify_s3dis
from leadgrad.data.scannet_prepare import (
    find_scans,
    prepare_scannet,
    verify_raw_scannet,
    verify_scannet,
)
from leadgrad.data.strangers import is_stranger, own_entries

# Bytes as an AppleDouble file begins with.
RUBBISH = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X"
SYSTEM = (".DS_Store", "Thumbs.db", "desktop.ini", ".hidden")
KINDS = {
    "AppleDouble": lambda name: f"._{name}",
    "Emacs' backup": lambda name: f"{name}~",
    "Emacs' lock": lambda name: f".#{name}",
    "Emacs' autosave": lambda name: f"#{name}#",
    "Vim": lambda name: f".{name}.swp",
    "Office": lambda name: f"~${name}",
    "copy": lambda name: f"{name}.bak",
    "patch": lambda name: f"{name}.orig",
}


def litter(root):
    """What systems and editors leave beside every file and folder, and in every folder."""
    entries = sorted(root.rglob("*"))
    for folder in [root, *(entry for entry in entries if entry.is_dir())]:
        for name in SYSTEM:
            (folder / name).write_bytes(RUBBISH)
        (folder / "__MACOSX").mkdir()
        (folder / "__MACOSX" / "._a.txt").write_bytes(RUBBISH)
    for entry in entries:
        for rename in KINDS.values():
            if entry.is_dir():
                copy = entry.with_name(rename(entry.name))
                copy.mkdir()
                (copy / "_a.txt").write_bytes(RUBBISH)
            else:
                entry.with_name(rename(entry.name)).write_bytes(RUBBISH)


@pytest.fixture
def s3dis(tmp_path):
    for room in ("office_1", "office_2"):
        folder = tmp_path / "s3dis" / "Area_5" / room / "Annotations"
        folder.mkdir(parents=True)
        (folder / "chair_1.txt").write_text("1 2 3 4 5 6\n2 2 3 4 5 6\n")
        (folder / "floor_1.txt").write_text("1 2 0 4 5 6\n")
        (folder.parent / f"{room}.txt").write_text("1 2 3 4 5 6\n" * 3)
    return tmp_path / "s3dis"


@pytest.fixture
def scannet(tmp_path):
    vertices = np.ones(
        3, [(n, "<f4") for n in "xyz"] + [(n, "u1") for n in ("red", "green", "blue")]
    )
    labelled = np.ones(3, [*vertices.dtype.descr, ("label", "<u2")])
    for name in ("scene0000_00", "scene0001_00"):
        folder = tmp_path / "scannet" / "scans" / name
        write_vertices(folder / f"{name}_vh_clean_2.ply", vertices, [])
        write_vertices(folder / f"{name}_vh_clean_2.labels.ply", labelled, [])
    return tmp_path / "scannet"


def test_what_is_left_beside_an_s3dis_download_is_not_read(s3dis, tmp_path):
    clean = [(o.name, o.state) for o in prepare_s3dis(s3dis, tmp_path / "clean")]
    assert clean == [("Area_5/office_1", "prepared"), ("Area_5/office_2", "prepared")]
    litter(s3dis)
    assert verify_raw_s3dis(s3dis).problems == verify_raw_s3dis(s3dis).notes == ()
    # Nor is it part of what tells whether a scene is current.
    assert {o.state for o in prepare_s3dis(s3dis, tmp_path / "clean")} == {"kept"}
    litter(tmp_path / "clean")
    report = verify_s3dis(tmp_path / "clean")
    assert report.problems == report.notes == ()


def test_archives_beside_the_set_s_folder_are_no_areas(s3dis, tmp_path):
    inner = tmp_path / "download" / "Stanford3dDataset_v1.2"
    inner.parent.mkdir()
    s3dis.rename(inner)
    (inner.parent / "Area_5.zip").write_bytes(b"PK")
    (inner.parent / "._Stanford3dDataset_v1.2").mkdir()
    assert verify_raw_s3dis(inner.parent).problems == ()


def test_what_is_left_beside_a_scannet_download_is_not_read(scannet, tmp_path):
    litter(scannet)
    assert [scan.name for scan in find_scans(scannet)] == ["scene0000_00", "scene0001_00"]
    assert verify_raw_scannet(scannet).problems == verify_raw_scannet(scannet).notes == ()
    root = tmp_path / "ready"
    assert {o.state for o in prepare_scannet(scannet, root)} == {"prepared"}
    litter(root)
    assert verify_scannet(root).problems == verify_scannet(root).notes == ()
    assert {o.state for o in prepare_scannet(scannet, root)} == {"kept"}


@pytest.mark.parametrize("layout", ["py", "bin"])
def test_what_is_left_in_a_cifar_folder_is_no_problem(tmp_path, write_cifar, layout):
    folder = write_cifar(tmp_path, layout=layout)
    before = find_problems(tmp_path)
    litter(tmp_path)
    assert find_problems(tmp_path) == find_problems(folder) == before
    assert before.problems == ()
    assert len(CIFAR10(tmp_path).split("test")) == 12


def test_own_entries_are_sorted_and_a_missing_folder_has_none(tmp_path):
    for name in ("b.txt", "a.txt", "._a.txt", "c.bin"):
        (tmp_path / name).touch()
    assert [path.name for path in own_entries(tmp_path, "*.txt")] == ["a.txt", "b.txt"]
    assert own_entries(tmp_path / "nowhere") == []
    # The folder itself may lie in a hidden one.
    hidden = tmp_path / ".cache" / "set"
    hidden.mkdir(parents=True)
    (hidden / "a.txt").touch()
    assert [path.name for path in own_entries(hidden)] == ["a.txt"]


@pytest.mark.parametrize("name", ["chair_1.txt", "data_batch_1", "Area_1", "scene0000_00", "büro"])
def test_the_sets_own_names_are_no_strangers(tmp_path, name):
    assert not is_stranger(tmp_path / name)
