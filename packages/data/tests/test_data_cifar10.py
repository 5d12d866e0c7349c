import shutil

import numpy as np
import pytest
import torch

from leadgrad.data import CIFAR10, check_batch
from leadgrad.data.augment import CropFlip
from leadgrad.data.cifar_files import find_layout, read_python_batch
from leadgrad.data.cifar_verify import find_problems

STYLES = ["python2", "bytes keys", "2", "3", "4", "5"]


def made_up_batch(size, seed):
    """The same draw as in conftest's writer."""
    data = np.random.default_rng(seed).integers(0, 256, (size, 3072), dtype=np.uint8)
    return data.reshape(-1, 3, 32, 32), (np.arange(size) + seed) % 10


def assert_is_made_up_test_split(split):
    images, labels = made_up_batch(12, 5)
    assert np.array_equal(split.images.numpy(), images)
    assert np.array_equal(split.labels.numpy(), labels)


@pytest.mark.parametrize("style", STYLES)
def test_every_pickle_dialect_reads_the_same(tmp_path, write_cifar, style):
    write_cifar(tmp_path, style=style)
    assert_is_made_up_test_split(CIFAR10(tmp_path).split("test"))
    assert find_problems(tmp_path).problems == ()


@pytest.mark.parametrize("layout", ["py", "bin"])
def test_root_may_be_the_folder_or_its_parent(tmp_path, write_cifar, layout):
    folder = write_cifar(tmp_path, layout=layout)
    renamed = tmp_path / "renamed"
    shutil.copytree(folder, renamed)
    for root in (tmp_path, folder, str(folder), renamed):
        assert_is_made_up_test_split(CIFAR10(root).split("test"))


def test_both_layouts_give_the_same_splits(tmp_path, write_cifar):
    write_cifar(tmp_path / "a", layout="py")
    write_cifar(tmp_path / "b", layout="bin")
    for name in CIFAR10.split_names:
        splits = [CIFAR10(tmp_path / root).split(name) for root in "ab"]
        assert torch.equal(splits[0].images, splits[1].images)
        assert torch.equal(splits[0].labels, splits[1].labels)


def test_the_python_layout_goes_first(tmp_path, write_cifar):
    write_cifar(tmp_path, layout="bin")
    folder = write_cifar(tmp_path, layout="py")
    assert find_layout(tmp_path)[0] == folder


@pytest.mark.parametrize(("size", "tenth"), [(20, 10), (31, 15), (101, 50)])
def test_the_training_file_is_split_8_1_1(tmp_path, write_cifar, size, tenth):
    write_cifar(tmp_path, size=size)
    datamodule = CIFAR10(tmp_path)
    parts = [datamodule.split(name) for name in ("train", "validation", "heldout")]
    assert [len(part) for part in parts] == [5 * size - 2 * tenth, tenth, tenth]
    # Together they are the training file: nothing twice, nothing lost, labels still attached.
    found = {
        image.numpy().tobytes(): int(label)
        for part in parts
        for image, label in zip(part.images, part.labels, strict=True)
    }
    expected = {}
    for seed in range(5):
        for image, label in zip(*made_up_batch(size, seed), strict=True):
            expected[image.tobytes()] = int(label)
    assert found == expected


def test_the_split_depends_on_its_own_seed_alone(tmp_path, write_cifar):
    write_cifar(tmp_path)

    def digest(**arguments):
        return CIFAR10(tmp_path, attack_split="heldout", **arguments).manifest()["sha256"]

    assert digest() == digest(seed=5, batch_size=2)
    assert digest() != digest(split_seed=1)


def test_the_order_of_the_file_system_plays_no_part(tmp_path, write_cifar):
    folder = write_cifar(tmp_path / "a")
    other = tmp_path / "b" / folder.name
    other.mkdir(parents=True)
    for path in sorted(folder.iterdir(), reverse=True):  # created, and listed, the other way round
        shutil.copy(path, other)
    for split in CIFAR10.split_names:
        manifests = [CIFAR10(tmp_path / r, attack_split=split).manifest() for r in "ab"]
        assert manifests[0] == manifests[1]


@pytest.mark.parametrize("split", CIFAR10.split_names)
def test_every_split_can_be_attacked(tmp_path, write_cifar, split):
    write_cifar(tmp_path)
    datamodule = CIFAR10(tmp_path, batch_size=4, attack_split=split)
    for batch in datamodule.predict_dataloader():
        check_batch(batch)
    assert datamodule.manifest()["split"] == split


def test_attacking_the_test_split_reads_the_test_file_alone(tmp_path, write_cifar):
    folder = write_cifar(tmp_path)
    (folder / "data_batch_1").write_bytes(b"damaged")
    assert len(CIFAR10(tmp_path).split("test")) == 12


@pytest.mark.parametrize("num_workers", [0, 2])
def test_loaders_do_not_depend_on_workers_or_batch_size(tmp_path, write_cifar, num_workers):
    write_cifar(tmp_path)
    results = []
    for arguments in ({"batch_size": 80}, {"batch_size": 7, "num_workers": num_workers}):
        loader = CIFAR10(tmp_path, **arguments).train_dataloader()
        loader.sampler.set_epoch(2)
        batches = list(loader)
        results.append([torch.cat([b[key] for b in batches]) for key in batches[0]])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_training_images_are_cropped_and_flipped_as_the_paper_does(tmp_path):
    augmentation = CIFAR10(tmp_path, seed=2).augmentation()
    assert augmentation == CropFlip(padding=4, flip=True, seed=2, cutout=0)
    assert CIFAR10(tmp_path, cutout=8).augmentation().cutout == 8


def test_the_real_archive(real_cifar):
    report = find_problems(real_cifar)
    assert report.problems == ()
    assert any("1017 images" in note for note in report.notes)  # a shortened test file is a note
    datamodule = CIFAR10(real_cifar)
    sizes = {"train": 40_000, "validation": 5_000, "heldout": 5_000, "test": 1_017}
    for name, size in sizes.items():
        split = datamodule.split(name)
        assert len(split) == size
        if name != "test":
            assert torch.bincount(split.labels).tolist() == [size // 10] * 10
    # The published channel means of the training set; a mixed-up channel or row order fails here.
    pixels = datamodule.split("train").images.to(torch.float32) / 255
    means = torch.tensor([0.4914, 0.4822, 0.4465])
    assert torch.allclose(pixels.mean((0, 2, 3)), means, atol=0.002)
    # Neighbouring pixels of photographs resemble each other, along rows and along columns.
    test = datamodule.split("test").images.to(torch.float32)
    assert test.diff(dim=2).abs().mean() < 20
    assert test.diff(dim=3).abs().mean() < 20


def test_the_real_heldout_split_is_pinned(real_cifar):
    """Results on it are only comparable while it holds the same images in the same order."""
    manifest = CIFAR10(real_cifar, attack_split="heldout").manifest()
    assert manifest["sha256"] == "563c9be466de06132da8387684608b26daab097f3bfb1405071a058a8e4c85e9"


def test_the_real_test_file_starts_with_a_cat(real_cifar):
    _, labels = read_python_batch(real_cifar / "cifar-10-batches-py" / "test_batch")
    # The first labels of the official test file: cat, ship, ship, airplane, frog.
    assert labels[:5].tolist() == [3, 8, 8, 0, 6]
