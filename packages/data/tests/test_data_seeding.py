import numpy as np
import pytest
import torch
import torch.nn.functional as F

from leadgrad.data.augment import CropFlip
from leadgrad.data.seeding import _mix, permutation, random_bits
from leadgrad.data.splits import stratified_split


def test_the_mixer_is_splitmix64():
    # First outputs of SplitMix64 from state 0, as published with the reference implementation.
    golden = np.uint64(0x9E3779B97F4A7C15)
    state = golden * np.arange(1, 4, dtype=np.uint64)
    assert [hex(v) for v in _mix(state)] == [
        "0xe220a8397b1dcdaf",
        "0x6e789e6aa1b965f4",
        "0x6c45d188009454f",
    ]


def test_streams_are_pinned():
    """A changed stream changes every split, order and augmentation: that must not go unnoticed."""
    assert permutation(8, "pinned", 3, 1).tolist() == [6, 0, 1, 2, 4, 3, 5, 7]


def test_a_draw_depends_on_its_own_index_alone():
    whole = random_bits(np.arange(100), "x", 1)
    assert np.array_equal(whole[[7, 3]], random_bits([7, 3], "x", 1))


def test_purposes_and_keys_give_different_streams():
    streams = [
        random_bits(np.arange(50), "a", 1, 2),
        random_bits(np.arange(50), "b", 1, 2),
        random_bits(np.arange(50), "a", 1, 3),
        random_bits(np.arange(50), "a", 12),
    ]
    assert len(np.unique(np.concatenate(streams))) == 200


def test_bits_are_balanced():
    bits = np.unpackbits(random_bits(np.arange(4000), "balance").view(np.uint8)).reshape(4000, 64)
    # Five standard deviations of a fair coin.
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 5 * 0.5 / np.sqrt(4000)


@pytest.mark.parametrize("shares", [(0.8, 0.1, 0.1), (0.5, 0.3, 0.2)])
@pytest.mark.parametrize("size", [10, 99, 1000])
def test_a_split_is_a_partition_with_exact_sizes_and_class_shares(size, shares):
    labels = np.random.default_rng(size).integers(0, 4, size)
    counts = [round(size * share) for share in shares[1:]]
    sizes = {"a": size - sum(counts), "b": counts[0], "c": counts[1]}
    parts = stratified_split(labels, sizes, seed=0)
    assert {name: len(part) for name, part in parts.items()} == sizes
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(size))
    for part in parts.values():
        expected = np.bincount(labels, minlength=4) * len(part) / size
        assert np.abs(np.bincount(labels[part], minlength=4) - expected).max() <= 2


def test_prefixes_of_a_part_are_balanced_and_classes_do_not_take_turns():
    labels = np.repeat(np.arange(10), 50)
    part = stratified_split(labels, {"a": 400, "b": 100}, seed=0)["b"]
    for end in range(10, 101, 10):
        assert set(np.bincount(labels[part[:end]], minlength=10)) == {end // 10}
    assert labels[part[:10]].tolist() != labels[part[10:20]].tolist()


def test_another_seed_gives_another_split():
    labels = np.zeros(100, dtype=np.int64)
    first, second = (stratified_split(labels, {"a": 50, "b": 50}, seed=s)["a"] for s in (0, 1))
    assert set(first.tolist()) != set(second.tolist())


@pytest.mark.parametrize("sizes", [{"a": 5, "b": 4}, {"a": 11, "b": -1}])
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(ValueError, match="sum to the 10"):
        stratified_split(np.zeros(10, dtype=np.int64), sizes, seed=0)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("padding", [0, 2, 4])
def test_every_augmented_image_is_some_crop_of_the_padded_original(padding, flip):
    torch.manual_seed(0)
    images = torch.randint(1, 256, (40, 3, 8, 8), dtype=torch.uint8)
    augmented = CropFlip(padding=padding, flip=flip, seed=5)(images, torch.arange(40))
    seen = set()
    for image, result in zip(F.pad(images, [padding] * 4), augmented, strict=True):
        matches = []
        for top in range(2 * padding + 1):
            for left in range(2 * padding + 1):
                crop = image[:, top : top + 8, left : left + 8]
                if torch.equal(crop, result):
                    matches.append((top, left, False))
                if torch.equal(crop.flip(2), result):
                    matches.append((top, left, True))
        assert len(matches) == 1  # a reference loop finds exactly one way to get the result
        seen.add(matches[0])
    assert {mirrored for _, _, mirrored in seen} == ({False, True} if flip else {False})
    assert padding == 0 or len({place[:2] for place in seen}) > 10


def test_augmentation_does_not_depend_on_the_rest_of_the_batch():
    images = torch.randint(0, 256, (10, 3, 8, 8), dtype=torch.uint8)
    augment = CropFlip(padding=3, flip=True, seed=1)
    whole = augment(images, torch.arange(10))
    alone = torch.cat([augment(images[i : i + 1], torch.tensor([i])) for i in range(10)])
    assert torch.equal(whole, alone)


def test_all_places_are_about_equally_likely():
    images = torch.zeros(9000, 3, 1, 1, dtype=torch.uint8)
    images[:] = 255
    # A 1x1 image padded by one stays in view at one of nine places.
    augmented = CropFlip(padding=1, flip=False, seed=0)(images, torch.arange(9000))
    hits = int((augmented[:, 0, 0, 0] == 255).sum())
    assert abs(hits - 1000) < 5 * (9000 * (1 / 9) * (8 / 9)) ** 0.5


@pytest.mark.parametrize("cutout", [1, 3, 8, 20])
def test_cutout_hides_one_square_around_a_pixel(cutout):
    """Reference: the square of each of the 48 pixels; at the border less of it is in the image."""
    images = torch.zeros(2000, 3, 6, 8, dtype=torch.uint8)
    keys = torch.arange(2000)
    augmented = CropFlip(padding=2, flip=True, seed=3, cutout=cutout)(images, keys)
    squares = []
    for row in range(6):
        for column in range(8):
            hidden = torch.zeros(3, 6, 8, dtype=torch.uint8)
            top, left = row - cutout // 2, column - cutout // 2
            hidden[:, max(top, 0) : top + cutout, max(left, 0) : left + cutout] = 128
            squares.append(hidden)
    found = {image.numpy().tobytes() for image in augmented}
    assert found == {square.numpy().tobytes() for square in squares}


def test_cutout_leaves_the_rest_as_it_would_be():
    images = torch.randint(129, 256, (50, 3, 8, 8), dtype=torch.uint8)
    keys = torch.arange(50)
    plain = CropFlip(padding=2, flip=True, seed=3)(images, keys)
    cut = CropFlip(padding=2, flip=True, seed=3, cutout=4)(images, keys)
    hidden = cut == 128
    assert torch.equal(cut[~hidden], plain[~hidden])
    assert 4 * 50 * 3 <= int(hidden.sum()) <= 16 * 50 * 3
    alone = CropFlip(padding=2, flip=True, seed=3, cutout=4)(images[7:8], keys[7:8])
    assert torch.equal(alone[0], cut[7])


@pytest.mark.parametrize("name", ["padding", "cutout"])
def test_negative_sizes_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must not be negative, got -1"):
        CropFlip(**{"padding": 2, "flip": True, "seed": 0, name: -1})
