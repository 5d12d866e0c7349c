"""ImageNet: the numbers of its classes whatever part there is, its splits, and real photographs."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from made_photographs import write_class_list, write_folders, write_photograph
from PIL import Image

from leadgrad.data import ImageNet, check_batch
from leadgrad.data.contract import DataSetError
from leadgrad.data.imagenet import UNFINISHED
from leadgrad.data.imagenet_classes import read_class_file

SYNSETS = ("n01440764", "n01443537", "n02100000", "n15075141")
SIZE = {"image_size": 16, "resize": 18}


@pytest.fixture
def root(tmp_path):
    return write_folders(tmp_path / "set", SYNSETS, train=60, val=3)


@pytest.fixture
def classes(tmp_path):
    path = tmp_path / "synsets.txt"
    return path, write_class_list(path, SYNSETS)


def test_a_part_keeps_the_numbers_of_the_whole(root, classes):
    path, numbers = classes
    data = ImageNet(root, batch_size=5, classes=path, **SIZE)
    assert numbers[SYNSETS[-1]] > 3
    batches = list(data.predict_dataloader())
    for batch in batches:
        check_batch(batch)
    labels = torch.cat([batch["label"] for batch in batches]).tolist()
    assert labels == [numbers[synset] for synset in SYNSETS for _ in range(3)]
    assert data.num_classes == len(data.class_names) == 1000
    assert data.class_names[numbers[SYNSETS[2]]] == f"name of {SYNSETS[2]}"
    assert data.num_attack_batches() == 3


def test_defaults_are_the_published_evaluation(root, classes):
    transforms = pytest.importorskip("torchvision.transforms")
    data = ImageNet(root, batch_size=1, classes=classes[0])
    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]
    theirs = transforms.Compose(steps)
    for path, batch in zip(data.split("validation").paths, data.predict_dataloader(), strict=True):
        with Image.open(path) as file:
            assert torch.equal(batch["image"][0], theirs(file.convert("RGB")))
        levels = batch["image"] * 255
        assert torch.equal(levels.round() / 255, batch["image"])


def test_tuning_is_cut_out_of_training(root, classes):
    data = ImageNet(root, classes=classes[0], **SIZE)
    parts = {name: set(map(str, data.split(name).paths)) for name in data.split_names}
    assert [len(parts[name]) for name in ("train", "tuning", "validation")] == [237, 3, 12]
    assert not parts["train"] & parts["tuning"]
    assert all("/train/" in path for path in parts["train"] | parts["tuning"])
    again = ImageNet(root, classes=classes[0], seed=1, **SIZE)
    assert set(map(str, again.split("tuning").paths)) == parts["tuning"]
    other = ImageNet(root, classes=classes[0], split_seed=1, **SIZE)
    assert set(map(str, other.split("tuning").paths)) != parts["tuning"]
    assert data.tuning_split == "tuning"
    assert sum(len(batch["index"]) for batch in data.val_dataloader()) == 3
    assert sum(len(batch["index"]) for batch in data.test_dataloader()) == 12
    for split in data.split_names:
        for path, label in zip(data.split(split).paths, data.split(split).labels, strict=True):
            assert classes[1][path.parent.name] == label


def test_the_first_images_of_each_class(root, classes):
    data = ImageNet(root, classes=classes[0], per_class=2, **SIZE)
    whole = list(ImageNet(root, classes=classes[0], **SIZE).split("validation").paths)
    assert list(data.split("validation").paths) == [
        path for place, path in enumerate(whole) if place % 3 < 2
    ]
    assert data.manifest()["count"] == 8
    with pytest.raises(ValueError, match="per_class must be at least 1"):
        ImageNet(root, per_class=0)


def test_a_thousand_folders_tell_their_numbers(tmp_path):
    synsets = [f"n{number:08d}" for number in range(7, 8007, 8)]
    for synset in synsets:
        (tmp_path / "train" / synset).mkdir(parents=True)
    write_photograph(tmp_path / "val" / synsets[417] / "1.JPEG")
    data = ImageNet(tmp_path, **SIZE)
    assert data.split("validation").labels.tolist() == [417]
    assert data.class_names[417] == synsets[417]
    with pytest.raises(DataSetError, match=r"train holds no folder with an image; give each"):
        data.split("train")


FORMS = {
    "list.csv": "class_index,wnid,name\n5,n00000001,one\n7,n00000002,two\n",
    "files.csv": "file,wnid,class_index\na.JPEG,n00000001,5\nb.JPEG,n00000001,5\nc,n00000002,7\n",
    "index.json": json.dumps({"5": ["n00000001", "one"], "7": ["n00000002", "two"]}),
}


@pytest.mark.parametrize("name", FORMS)
def test_forms_of_class_files(tmp_path, name):
    (tmp_path / name).write_text("\ufeff" + FORMS[name], encoding="utf-8")
    found = read_class_file(tmp_path / name)
    assert found.numbers == {"n00000001": 5, "n00000002": 7}
    assert found.names[7] == ("n00000002" if name == "files.csv" else "two")
    assert found.names[6] == "class 6"


WRONG = {
    "too few": ("a.txt", "n00000001 one\n", r"lists 1 synsets without numbers; list all 1000"),
    "no synset": ("a.txt", "tench\n", r"entry 1 is of 'tench', expected a synset as n01440764"),
    "no column": ("a.csv", "class,name\n1,x\n", r"is no class file \(KeyError: 'wnid'\); give"),
    "no JSON": ("a.json", "{", r"is no class file \(JSONDecodeError"),
    "other JSON": ("a.json", "[1]", "is no class file"),
    "empty": ("a.csv", "", "lists 0 synsets"),
    "too large": ("a.csv", "wnid,class_index\nn00000001,1000\n", r"'1000', expected .* 0\.\.999"),
    "no number": ("a.csv", "wnid,class_index\nn00000001,x\n", r"'x', expected a class"),
    "half": ("a.csv", "wnid,class_index\nn00000001,1\nn00000002,\n", "only 1 of 2 entries have"),
    "two numbers": (
        "a.csv",
        "wnid,class_index\nn00000001,1\nn00000001,2\n",
        "n00000001 is class 1 and, in entry 2, class 2; correct one",
    ),
    "the devkit's order": (
        "a.csv",
        "wnid,class_index\nn00000001,9\nn00000002,2\n",
        "n00000001 is class 9 and n00000002 class 2; .* unlike ILSVRC2012_ID",
    ),
    "binary": ("a.csv", b"\xff\x00", "is no class file"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_class_files(tmp_path, wrong):
    name, content, words = WRONG[wrong]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataSetError, match=rf"{tmp_path / name}\b.*{words}"):
        read_class_file(tmp_path / name)


def test_refusals(root, classes, tmp_path):
    with pytest.raises(
        DataSetError, match=r"folders of 4 synsets, .* give a class file .*classes="
    ):
        ImageNet(root).split("validation")
    with pytest.raises(DataSetError, match=r"there is no class file .*none\.csv"):
        ImageNet(root, classes=tmp_path / "none.csv").split("validation")
    with pytest.raises(DataSetError, match="holds neither train/ nor val/"):
        ImageNet(tmp_path / "nowhere").split("validation")
    (root / "val" / "other").mkdir()
    with pytest.raises(DataSetError, match=r"val/other is no class folder, those are n"):
        ImageNet(root, classes=classes[0]).split("validation")
    (root / "train").rename(root / "trained")
    with pytest.raises(DataSetError, match="so there is no split 'train' and no 'tuning'"):
        ImageNet(root, classes=classes[0]).split("tuning")
    (root / UNFINISHED).write_text("")
    with pytest.raises(DataSetError, match="is not finished; run the same"):
        ImageNet(root, classes=classes[0]).split("validation")
    with pytest.raises(ValueError, match="no split 'test'"):
        ImageNet(root, attack_split="test")


@pytest.fixture
def real():
    root = os.environ.get("LEADGRAD_DATA")
    if not root or not (Path(root) / "imagenet").is_dir():
        pytest.skip("set LEADGRAD_DATA to a folder with imagenet/ in it")
    return Path(root) / "imagenet"


@pytest.mark.parametrize("file", ["labels.csv", "wnids_1000.csv"])
def test_real_photographs(real, file):
    with (real / "labels.csv").open() as stream:
        rows = {row["file"]: row for row in csv.DictReader(stream)}
    data = ImageNet(real, batch_size=10, classes=real / file)
    files = [path.relative_to(real).as_posix() for path in data.split("validation").paths]
    assert files == sorted(rows)
    grey = 0
    for batch in data.predict_dataloader():
        check_batch(batch)
        assert batch["image"].shape == (10, 3, 224, 224)
        for place, index in enumerate(batch["index"].tolist()):
            row = rows[files[index]]
            assert int(batch["label"][place]) == int(row["class_index"])
            assert data.class_names[int(row["class_index"])] == row["name"]
            image = batch["image"][place]
            if row["mode"] == "L":
                grey += 1
                assert torch.equal(image[0], image[1])
                assert torch.equal(image[0], image[2])
    assert grey == sum(row["mode"] == "L" for row in rows.values()) > 0


def test_real_photographs_are_torchvisions(real):
    transforms = pytest.importorskip("torchvision.transforms")
    for interpolation, resize, crop in (("bilinear", 256, 224), ("bicubic", 272, 256)):
        mode = transforms.InterpolationMode(interpolation)
        theirs = transforms.Compose(
            [
                transforms.Resize(resize, mode),
                transforms.CenterCrop(crop),
                transforms.PILToTensor(),
            ]
        )
        data = ImageNet(
            real,
            classes=real / "labels.csv",
            image_size=crop,
            resize=resize,
            interpolation=interpolation,
        )
        split = data.split("validation")
        for place in range(0, len(split), 4):
            with Image.open(split.paths[place]) as file:
                expected = theirs(file.convert("RGB"))
            assert torch.equal(split.read(torch.tensor([place]))[0][0], expected)


def test_a_million_paths_take_little_memory():
    """Of names as the official ones; a `Path` takes some 350 bytes."""
    from leadgrad.data.path_list import PathList

    names = [f"n{number % 1000:08d}/n{number % 1000:08d}_{number}.JPEG" for number in range(10_000)]
    paths = PathList(names, "/a/long/folder")
    held = paths._names.nbytes + paths._starts.nbytes + paths._ends.nbytes
    assert held / len(names) < 48
    assert np.shares_memory(paths.take([1, 2])._names, paths._names)
