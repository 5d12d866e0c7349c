"""Photographs in folders: torchvision's order and numbers, one batch whoever serves it."""

import itertools

import numpy as np
import pytest
import torch
from made_photographs import photograph, write_folders, write_photograph
from PIL import Image

from leadgrad.data import ImageFolder, check_batch
from leadgrad.data.class_folders import list_images
from leadgrad.data.contract import DataSetError
from leadgrad.data.folder_report import FolderReport
from leadgrad.data.image_folder_verify import find_image_folder_problems
from leadgrad.data.path_list import PathList

SIZE = {"image_size": 24, "resize": 27}


@pytest.fixture
def root(tmp_path):
    return write_folders(tmp_path / "set", ("b", "a", "B"), train=5, val=3)


def served(loader):
    batches = list(loader)
    for batch in batches:
        check_batch(batch)
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_samples_are_torchvisions(root):
    datasets = pytest.importorskip("torchvision.datasets")
    transforms = pytest.importorskip("torchvision.transforms")
    write_photograph(root / "val" / "a" / "nested" / "z.png", seed=70)
    write_photograph(root / "val" / "a" / "Z.jpg", seed=71, mode="L")
    write_photograph(root / "val" / "a" / "c.jpeg", seed=72, mode="CMYK")
    (root / "val" / "a" / "notes.txt").write_text("not an image")
    steps = [transforms.Resize(27), transforms.CenterCrop(24), transforms.ToTensor()]
    theirs = datasets.ImageFolder(root / "val", transforms.Compose(steps))
    data = ImageFolder(root, **SIZE)
    split = data.split("validation")
    assert [(str(p), int(k)) for p, k in zip(split.paths, split.labels, strict=True)] == (
        theirs.samples
    )
    assert list(data.class_names) == theirs.classes == ["B", "a", "b"]
    ours = served(data.predict_dataloader())
    assert torch.equal(ours["image"], torch.stack([image for image, _ in theirs]))
    assert ours["label"].tolist() == theirs.targets
    assert ours["index"].tolist() == list(range(12))


def test_exif_does_not_turn_an_image(root):
    path = root / "val" / "a" / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: the camera was turned by 90 degrees
    photograph(40, 30).save(path, exif=exif)
    with Image.open(path) as file:
        assert file.getexif()[0x0112] == 6
        stored = np.asarray(file)
    split = ImageFolder(root, image_size=30, resize=30).split("validation")
    images, _ = split.read(torch.tensor([list(split.paths).index(path)]))
    assert np.array_equal(images[0].permute(1, 2, 0).numpy(), stored[:, 5:35])


@pytest.mark.parametrize("loader", ["train", "val", "test", "predict"])
def test_neither_workers_nor_batch_size_change_a_sample(root, loader):
    first, *others = (
        served(
            getattr(
                ImageFolder(root, batch_size, num_workers=workers, seed=3, **SIZE),
                f"{loader}_dataloader",
            )()
        )
        for batch_size, workers in itertools.product((1, 7), (0, 2))
    )
    assert len(first["index"]) == (15 if loader == "train" else 9)
    assert all(same(first, other) for other in others)


def test_training_images_change_with_the_epoch_and_the_seed(root):
    def epoch(number, seed):
        loader = ImageFolder(root, seed=seed, **SIZE).train_dataloader()
        loader.sampler.set_epoch(number)
        batch = served(loader)
        return batch["image"][batch["index"].argsort()]

    first = epoch(0, seed=1)
    assert torch.equal(first, epoch(0, seed=1))
    assert not torch.equal(first, epoch(1, seed=1))
    assert not torch.equal(first, epoch(0, seed=2))


def test_splits_that_there_are(root):
    data = ImageFolder(root, **SIZE)
    assert data.split_names == ("train", "validation")
    assert data.attack_split == "validation"
    write_photograph(root / "test" / "a" / "1.png")
    (root / "val").rename(root / "validation")
    data = ImageFolder(root, **SIZE)
    assert data.split_names == ("train", "validation", "test")
    assert data.attack_split == "test"
    assert data.manifest()["count"] == 1


def test_what_is_left_by_systems_is_not_served(root):
    for place in (root, root / "val", root / "val" / "a"):
        (place / ".DS_Store").write_bytes(b"x")
        (place / "__MACOSX").mkdir()
        write_photograph(place / "__MACOSX" / "a.jpg")
    write_photograph(root / "val" / "a" / "._1.jpg")
    data = ImageFolder(root, **SIZE)
    assert data.class_names == ("B", "a", "b")
    assert len(data.split("validation")) == 9


def test_other_files_are_told_apart(root):
    (root / "val" / "a" / "notes.txt").write_text("x")
    images, others = list_images(root / "val" / "a")
    assert len(images) == 3
    assert others == ["notes.txt"]


def add_class(root):
    (root / "val" / "c").mkdir()


def sort_nothing(root):
    (root / "val").rename(root / "old")
    write_photograph(root / "val" / "1.jpg")


def empty_class(root):
    for path in (root / "val" / "a").iterdir():
        path.unlink()


def take_away(root):
    (root / "train").rename(root / "trained")
    (root / "val").rename(root / "valid")


WRONG = {
    "a class of validation alone": (add_class, r"val/c is a class that .*train lacks; add"),
    "two folders of one split": (lambda r: (r / "validation").mkdir(), r"holds both val/ and"),
    "no split": (take_away, r"none of train/, val/, validation/, test/; put"),
    "no image of a class": (empty_class, r"val/a holds no image; restore the images, or remove"),
    "unsorted": (sort_nothing, r"no folder with an image, but 1 images that are sorted into none"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_refusals(root, wrong):
    change, words = WRONG[wrong]
    change(root)
    with pytest.raises(DataSetError, match=words):
        ImageFolder(root, **SIZE).split("validation")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"image_size": 0}, "image_size must be at least 1"),
        ({"image_size": 224, "resize": 223}, "at least image_size=224.* got 223"),
        ({"interpolation": "nearest"}, "'nearest'"),
    ],
)
def test_arguments_out_of_range(root, arguments, words):
    with pytest.raises(ValueError, match=words):
        ImageFolder(root, **arguments)


@pytest.mark.parametrize("content", [b"", b"no image", "half"])
def test_a_damaged_file_is_named(root, content):
    path = root / "val" / "a" / "ILSVRC2012_val_00000099.JPEG"
    write_photograph(path)
    path.write_bytes(path.read_bytes()[:400] if content == "half" else content)
    with pytest.raises(
        DataSetError, match=rf"{path} is missing .*; restore .* `leadgrad verify-data`"
    ):
        served(ImageFolder(root, **SIZE).predict_dataloader())


@pytest.mark.parametrize("decode", [False, True])
def test_every_fault_of_a_folder_is_named(root, decode):
    told = []
    assert find_image_folder_problems(root, decode=decode, tell=told.append) == FolderReport((), ())
    assert told[0] == "train/B, folder 1 of 3"
    cut, text = root / "val" / "a" / "x.jpg", root / "train" / "b" / "x.png"
    write_photograph(cut).write_bytes(cut.read_bytes()[:-40])
    text.write_text("no image")
    write_photograph(root / "val" / "c" / "1.jpg")
    write_photograph(root / "val" / "loose.jpg")
    for path in (root / "val" / "b").iterdir():
        path.unlink()
    (root / "val" / "b" / "notes.txt").write_text("x")
    report = find_image_folder_problems(root, decode=decode)
    words = (
        f"{text}: cannot be decoded (cannot identify image file",
        f"{cut}: cannot be decoded (image file is truncated",
        f"{root}/val/b: holds no image; restore it",
        f"{root}/val/c: is a class that {root}/train lacks",
        f"{root}/val: 1 images lie in no class folder, the first is loose.jpg",
    )
    assert len(report.problems) == len(words)
    assert all(p.startswith(word) for p, word in zip(report.problems, words, strict=True))
    assert report.notes == (
        f"{root}/val/b/notes.txt: is no image by its name and will not be served",
    )
    (root / "validation").mkdir()
    (problem,) = find_image_folder_problems(root).problems
    assert "holds both val/ and validation/" in problem


def test_paths_in_little_memory():
    names = ["a/1.jpg", "b/ü.jpg", "b/\udcff.jpg", "c"]
    paths = PathList(names, "/root")
    assert [str(path) for path in paths] == [f"/root/{name}" for name in names]
    assert [str(path) for path in paths[1:3]] == [f"/root/{name}" for name in names[1:3]]
    assert str(paths[-1]) == "/root/c"
    assert [str(path) for path in paths.take([3, 0])] == ["/root/c", "/root/a/1.jpg"]
    assert len(paths[:None]) == 4
    assert len(PathList([])) == 0
    with pytest.raises(IndexError):
        paths[4]


def resident_mebibytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20


def test_memory_does_not_grow_with_the_images_read(root):
    """2,000 images of 128 x 128, which are 94 MiB; the first 200 warm up."""
    paths = list(ImageFolder(root).split("train").paths)
    many = ImageFolder(root, batch_size=20, image_size=128, resize=128)
    listing = many.split("train")
    listing.paths, listing.labels = PathList(paths * 134), torch.zeros(2010, dtype=torch.int64)
    sizes = []
    for batches in (many.batches("train", 20, count=2000), many.train_dataloader()):
        for number, _ in enumerate(batches):
            if number == 10:
                sizes.append(resident_mebibytes())
        sizes.append(resident_mebibytes())
    assert sizes[1] - sizes[0] < 25
    assert sizes[3] - sizes[2] < 25
