"""Images that stay in their files: the same batches, order and digest as those in memory."""

import numpy as np
import pytest
import torch
from PIL import Image

from leadgrad.data import ImageDataModule
from leadgrad.data.base import ImageSplit
from leadgrad.data.contract import DataSetError
from leadgrad.data.image_files import ImageFiles, middle_square

SIZE = 8


class Folder(ImageDataModule):
    num_classes, class_names, image_size = 2, ("a", "b"), SIZE

    def __init__(self, paths, *, lazy=True, **settings):
        self.paths, self.lazy = paths, lazy
        super().__init__(**settings)

    def load_split(self, name):
        files = ImageFiles(self.paths, [number % 2 for number in range(len(self.paths))], SIZE)
        return files if self.lazy else ImageSplit(*files.read(torch.arange(len(files))))


@pytest.fixture
def paths(tmp_path):
    random = np.random.default_rng(0)
    made = []
    for number, (height, width) in enumerate([(8, 8), (12, 8), (9, 31), (8, 8), (16, 16)]):
        made.append(tmp_path / f"{number}.png")
        Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(made[-1])
    Image.open(made[3]).convert("L").save(made[3])
    return made


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("loader", ["train", "val", "predict"])
def test_batches_are_those_of_memory(paths, loader):
    lazy, whole = (Folder(paths, lazy=lazy, batch_size=2, seed=3) for lazy in (True, False))
    pairs = zip(
        getattr(lazy, f"{loader}_dataloader")(),
        getattr(whole, f"{loader}_dataloader")(),
        strict=True,
    )
    assert all(same(one, other) for one, other in pairs)


def test_the_manifest_is_that_of_memory(paths):
    lazy, whole = (Folder(paths, lazy=lazy, limit=4).manifest() for lazy in (True, False))
    assert lazy == whole
    assert lazy["count"] == 4


def test_grey_images_become_rgb_and_others_are_cut_to_their_middle(paths):
    images, labels = ImageFiles(paths, [0, 1, 0, 1, 0], SIZE).read(torch.tensor([3, 2]))
    assert images.shape == (2, 3, SIZE, SIZE)
    assert torch.equal(images[0, 0], images[0, 1])
    assert labels.tolist() == [1, 0]
    assert middle_square(Image.new("RGB", (31, 9)), SIZE).size == (SIZE, SIZE)


def test_a_damaged_file_is_named(paths):
    paths[1].write_bytes(paths[1].read_bytes()[:60])
    with pytest.raises(DataSetError, match=r"1\.png is missing or no image"):
        next(iter(Folder(paths, batch_size=5).predict_dataloader()))


def test_a_file_that_does_not_come_to_the_size_is_named(paths):
    files = ImageFiles(paths, [0] * 5, SIZE, prepare=lambda image, size: image)
    with pytest.raises(DataSetError, match=r"1\.png has come to \(12, 8, 3\)"):
        files.read(torch.arange(2))


def test_as_many_labels_as_images(paths):
    with pytest.raises(DataSetError, match="5 images and 4 labels"):
        ImageFiles(paths, [0] * 4, SIZE)
