"""Every fault of a folder of ImageNet is named in one pass; a part of the set is no fault."""

import os
from pathlib import Path

import pytest
from made_imagenet import WNIDS, write_download
from made_photographs import write_class_list, write_folders, write_photograph
from PIL import Image

from leadgrad.data.class_folders_verify import find_fault
from leadgrad.data.imagenet import UNFINISHED
from leadgrad.data.imagenet_prepare import prepare_imagenet
from leadgrad.data.imagenet_verify import find_imagenet_problems

SYNSETS = ("n01440764", "n01443537")


@pytest.fixture
def root(tmp_path):
    return write_folders(tmp_path / "set", SYNSETS, train=3, val=2)


@pytest.fixture
def classes(tmp_path):
    write_class_list(tmp_path / "synsets.txt", SYNSETS)
    return tmp_path / "synsets.txt"


@pytest.mark.parametrize("decode", [False, True])
def test_a_part_of_the_set(root, classes, decode):
    told = []
    report = find_imagenet_problems(root, classes=classes, decode=decode, tell=told.append)
    assert report.problems == ()
    assert report.notes == (
        f"{root}/train: 6 images, the official set has 1,281,167",
        f"{root}/train: 998 of 1000 synsets are missing, the first is n01440800",
        f"{root}/val: 4 images, the official set has 50,000",
        f"{root}/val: 998 of 1000 synsets are missing, the first is n01440800",
    )
    assert told[0] == "train/n01440764, folder 1 of 2"
    assert len(told) == 4


def test_every_fault_is_named(root, classes):
    folder = root / "val" / SYNSETS[0]
    empty, cut, header = (write_photograph(folder / f"{k}.JPEG") for k in range(3))
    empty.write_bytes(b"")
    cut.write_bytes(cut.read_bytes()[:-40])
    header.write_bytes(b"x" * 50)
    (folder / "notes.txt").write_text("x")
    (folder / "._1.JPEG").write_text("x")
    (root / "val" / "n00000001").mkdir()
    (root / "val" / SYNSETS[1] / "gone").mkdir()
    write_photograph(root / "train" / "loose.JPEG")
    (root / "train" / "other").mkdir()
    (root / UNFINISHED).write_text("")
    problems = find_imagenet_problems(root, classes=classes).problems
    words = [
        f"{root} is not finished",
        f"{root}/train/other: is no synset of the classes",
        f"{root}/train: 1 images lie in no class folder, the first is loose.JPEG",
        f"{root}/val/n00000001: is no synset of the classes",
        f"{empty}: is empty; restore it",
        f"{cut}: cannot be decoded (image file is truncated",
        f"{header}: cannot be decoded (cannot identify image file",
    ]
    assert len(problems) == len(words)
    assert all(any(problem.startswith(word) for problem in problems) for word in words)
    notes = find_imagenet_problems(root, classes=classes).notes
    assert f"{folder}/notes.txt: is no image by its name and will not be served" in notes


def test_a_folder_of_no_image(root, classes):
    for path in (root / "val" / SYNSETS[1]).iterdir():
        path.unlink()
    (problem,) = find_imagenet_problems(root, classes=classes).problems
    assert problem == f"{root}/val/{SYNSETS[1]}: holds no image; restore it"


def test_a_wrong_class_file(root, tmp_path):
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("wnid,class_index\nn01440764,5\nn01443537,2\n")
    (problem,) = find_imagenet_problems(root, classes=wrong).problems
    assert "ImageNet's classes are numbered 0..999 by sorted synset" in problem
    (problem,) = find_imagenet_problems(root).problems
    assert "holds folders of 2 synsets" in problem
    assert "(classes=, or --classes of verify-data)" in problem
    (problem,) = find_imagenet_problems(root, classes=tmp_path / "gone.csv").problems
    assert problem == f"there is no class file {tmp_path}/gone.csv; give the path of one"
    (problem,) = find_imagenet_problems(root / "nowhere").problems
    assert "holds neither train/ nor val/" in problem


def test_a_prepared_folder_should_be_whole(tmp_path):
    write_download(tmp_path / "source", synsets=WNIDS[:2], train=3, val=2)
    list(prepare_imagenet(tmp_path / "source", tmp_path / "ready"))
    problems = find_imagenet_problems(tmp_path / "ready").problems
    assert f"{tmp_path}/ready/train: 6 images, the official set has 3,000" in problems
    assert f"{tmp_path}/ready/train: 998 of 1000 synsets are missing, the first is {WNIDS[2]}" in (
        problems
    )
    assert f"{tmp_path}/ready/val/{WNIDS[0]}: 1 images, expected 50; restore it" in problems
    assert len(problems) == 2 + 2 + 2


def test_what_decoding_finds_and_does_not(tmp_path):
    path = write_photograph(tmp_path / "a.JPEG", size=(200, 150))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + b"\xff\xd9")
    # Not even decoding finds this: libjpeg fills the lost half with grey, and Pillow is not told.
    assert find_fault(path, decode=False) is find_fault(path, decode=True) is None
    path.write_bytes(content[:160] + b"\xff\xd9")
    assert "cannot be decoded" in (find_fault(path, decode=True) or "")


def test_other_formats_are_decoded(tmp_path):
    path = tmp_path / "a.png"
    with Image.open(write_photograph(tmp_path / "a.JPEG")) as image:
        image.save(path)
    assert find_fault(path, decode=False) is None
    path.write_bytes(path.read_bytes()[:-30])
    assert f"{path}: cannot be decoded" in (find_fault(path, decode=False) or "")


def test_real_photographs():
    root = os.environ.get("LEADGRAD_DATA")
    if not root or not (Path(root) / "imagenet").is_dir():
        pytest.skip("set LEADGRAD_DATA to a folder with imagenet/ in it")
    real = Path(root) / "imagenet"
    report = find_imagenet_problems(real, classes=real / "wnids_1000.csv", decode=True)
    assert report.problems == ()
    assert len(report.notes) == 2
