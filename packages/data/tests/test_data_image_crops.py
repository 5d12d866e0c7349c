"""Preprocessing of photographs: torchvision's pixels in evaluation, seeded parts in training."""

import math

import numpy as np
import pytest
import torch
from made_photographs import photograph
from PIL import Image

from leadgrad.data.image_files import ImageFiles
from leadgrad.data.loaders import BatchReader, ImageSplit
from leadgrad.data.random_crop import RandomResizedCrop
from leadgrad.data.resize_crop import ResizeCrop

SIZES = [(500, 375), (375, 500), (256, 256), (341, 256), (57, 43), (900, 101), (333, 500), (20, 21)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("interpolation", "resize", "crop"),
    [("bilinear", 256, 224), ("bicubic", 256, 224), ("bicubic", 235, 224), ("bilinear", 101, 64)],
)
def test_evaluation_is_torchvisions(size, interpolation, resize, crop):
    transforms = pytest.importorskip("torchvision.transforms")
    theirs = transforms.Compose(
        [
            transforms.Resize(resize, transforms.InterpolationMode(interpolation)),
            transforms.CenterCrop(crop),
            transforms.PILToTensor(),
        ]
    )
    image = photograph(*size)
    ours = np.asarray(ResizeCrop(resize, interpolation)(image, crop)).transpose(2, 0, 1)
    assert np.array_equal(ours, theirs(image).numpy())


def test_an_image_of_the_crops_size_is_left_alone():
    image = photograph(64, 64)
    assert np.array_equal(np.asarray(ResizeCrop(64)(image, 64)), np.asarray(image))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"resize": 0}, "at least 1 pixel"), ({"resize": 9, "interpolation": "nearest"}, "'nearest'")],
)
def test_what_evaluation_refuses(arguments, words):
    with pytest.raises(ValueError, match=words):
        ResizeCrop(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [{"scale": (0, 1)}, {"scale": (0.5, 0.4)}, {"scale": (0.5, 2)}, {"ratio": (2, 1)}],
)
def test_what_training_refuses(arguments):
    with pytest.raises(ValueError, match=r"low <= high"):
        RandomResizedCrop(seed=0, **arguments)
    with pytest.raises(ValueError, match="interpolation"):
        RandomResizedCrop(seed=0, interpolation="nearest")


def test_parts_are_of_the_published_sizes_and_places():
    crop, width, height = RandomResizedCrop(seed=1), 500, 375
    boxes = np.array([crop.box(width, height, key) for key in range(4000)])
    left, top, wide, tall = boxes.T
    assert (left >= 0).all()
    assert (top >= 0).all()
    assert (left + wide <= width).all()
    assert (top + tall <= height).all()
    share = wide * tall / (width * height)
    assert 0.079 < share.min() < 0.09
    assert 0.97 < share.max() <= 1
    shape = np.log(wide / tall)
    assert np.abs(shape).max() < math.log(4 / 3) + 0.01
    assert abs(np.median(shape[share < 0.3])) < 0.02
    # Every part that fits is equally likely: below the size that always fits shares are uniform.
    small = share[share < 0.5]
    assert abs(small.mean() - (0.08 + 0.5) / 2) < 0.01
    room = (width - wide) > 100
    assert abs((left / np.maximum(1, width - wide))[room].mean() - 0.5) < 0.02


def test_parts_are_as_torchvisions():
    transforms = pytest.importorskip("torchvision.transforms")
    torch.manual_seed(0)
    image = photograph(500, 375)
    crop = transforms.RandomResizedCrop(224)
    theirs = np.array([crop.get_params(image, crop.scale, crop.ratio) for _ in range(4000)])
    ours = np.array([RandomResizedCrop(seed=2).box(500, 375, key) for key in range(4000)])
    ours = ours[:, [1, 0, 3, 2]]  # theirs: top, left, height, width
    for tenth in range(1, 10):
        apart = np.quantile(ours, tenth / 10, axis=0) - np.quantile(theirs, tenth / 10, axis=0)
        assert np.abs(apart).max() < 15, "pixels, of 500 x 375"


@pytest.mark.parametrize("size", [(900, 20), (20, 900)])
def test_where_no_part_fits_the_middle_is_taken(size):
    transforms = pytest.importorskip("torchvision.transforms")
    scale, ratio = (0.9, 1.0), (3 / 4, 4 / 3)
    theirs = transforms.RandomResizedCrop.get_params(photograph(*size), scale, ratio)
    left, top, wide, tall = RandomResizedCrop(seed=0, scale=scale).box(*size, key=3)
    assert [top, left, tall, wide] == list(theirs)


def test_whole_images_are_torchvisions_resize_and_half_are_mirrored():
    image = photograph(90, 60)
    crop = RandomResizedCrop(seed=0, scale=(1, 1), ratio=(1.5, 1.5), interpolation="bicubic")
    plain = np.asarray(image.resize((32, 32), Image.Resampling.BICUBIC))
    mirrored = 0
    for key in range(200):
        made = np.asarray(crop.crop(image, 32, key))
        if not np.array_equal(made, plain):
            assert np.array_equal(made, plain[:, ::-1])
            mirrored += 1
    assert 70 < mirrored < 130
    never = RandomResizedCrop(0, (1, 1), (1.5, 1.5), flip=False, interpolation="bicubic")
    assert all(np.array_equal(np.asarray(never.crop(image, 32, key)), plain) for key in range(20))


@pytest.fixture
def files(tmp_path):
    paths = []
    for number, size in enumerate(SIZES):
        paths.append(tmp_path / f"{number}.png")
        photograph(*size, seed=number).save(paths[-1])
    return ImageFiles(paths, list(range(len(SIZES))), 32, ResizeCrop(36))


def test_a_samples_part_depends_on_its_key_alone(files):
    reader = BatchReader(files, RandomResizedCrop(seed=4))
    count = len(files)
    keys = [3 * count + 6, 3 * count + 1, 6, 3 * count + 1]
    batch = reader.__getitems__(keys)
    for place, key in enumerate(keys):
        assert torch.equal(reader[key]["image"], batch["image"][place])
    assert batch["label"].tolist() == batch["index"].tolist() == [6, 1, 6, 1]
    assert not torch.equal(batch["image"][0], batch["image"][2]), "another epoch, another part"
    other = BatchReader(files, RandomResizedCrop(seed=5)).__getitems__(keys)
    assert not torch.equal(other["image"], batch["image"])


def test_images_in_memory_are_cropped_likewise():
    squares = [photograph(48, 48, seed) for seed in range(3)]
    images = np.stack([np.asarray(image).transpose(2, 0, 1) for image in squares])
    crop = RandomResizedCrop(seed=6)
    reader = BatchReader(ImageSplit.of(images, np.arange(3)), crop)
    batch = reader.__getitems__([4, 3])
    for place, key in enumerate([4, 3]):
        made = np.asarray(crop.crop(squares[key % 3], 48, key)).transpose(2, 0, 1)
        assert torch.equal(batch["image"][place], torch.tensor(made) / 255)
