"""A tiny made-up stand-in for CIFAR-10: the same keys, shapes and splits, no files."""

from typing import Literal

import numpy as np

from leadgrad.data.augment import CropFlip
from leadgrad.data.base import ImageDataModule
from leadgrad.data.loaders import ImageSplit
from leadgrad.data.seeding import random_bits

# Cells per side of a class's colour pattern.
_CELLS = 4


class FakeCIFAR10(ImageDataModule):
    """Coloured patterns, one per class, under noise: a small network learns them within seconds.

    An image is its class's 4x4 pattern of random colours, enlarged to the image size, plus noise
    of each pixel's own. Labels take turns, so every prefix is balanced.

    Args:
        batch_size: Samples per batch and device.
        num_workers: Loader processes.
        seed: Seed of the training order and of the augmentation.
        limit: Serve only the first `limit` samples of the attacked split. None serves all.
        attack_split: Split that `predict_dataloader` serves.
        image_size: Height and width in pixels, a multiple of 4.
        num_classes: Number of classes.
        train_size: Number of training images; the other splits hold `eval_size` each.
        eval_size: Number of images of each of the validation, heldout and test splits.
        noise_255: Largest noise, in 8-bit steps, added to or taken from a pixel.
        data_seed: Seed of the patterns and of the noise.

    Raises:
        ValueError: An argument is out of its range.
    """

    split_names = ("train", "validation", "heldout", "test")

    def __init__(
        self,
        batch_size: int = 64,
        *,
        num_workers: int = 0,
        seed: int = 0,
        limit: int | None = None,
        attack_split: Literal["train", "validation", "heldout", "test"] = "test",
        image_size: int = 32,
        num_classes: int = 10,
        train_size: int = 320,
        eval_size: int = 80,
        noise_255: int = 48,
        data_seed: int = 0,
    ) -> None:
        super().__init__(
            batch_size,
            num_workers=num_workers,
            seed=seed,
            limit=limit,
            attack_split=attack_split,
        )
        if image_size < _CELLS or image_size % _CELLS != 0:
            raise ValueError(f"image_size must be a multiple of {_CELLS}, got {image_size}")
        if not 0 <= noise_255 <= 127:
            raise ValueError(f"noise_255 must be in 0..127, got {noise_255}")
        for name, value in {
            "num_classes": num_classes,
            "train_size": train_size,
            "eval_size": eval_size,
        }.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.image_size = image_size
        self.num_classes = num_classes
        self.class_names = tuple(f"pattern {k}" for k in range(num_classes))
        self.train_size = train_size
        self.eval_size = eval_size
        self.noise_255 = noise_255
        self.data_seed = data_seed

    def load_split(self, name: str) -> ImageSplit:
        """Draw one split."""
        size = self.train_size if name == "train" else self.eval_size
        labels = np.arange(size, dtype=np.int64) % self.num_classes
        cells = (self.num_classes, 3, _CELLS, _CELLS)
        colours = random_bits(np.arange(np.prod(cells)), "fake pattern", self.data_seed)
        # Colours keep away from 0 and 255, so that the noise need not be cut off.
        room = np.uint64(256 - 2 * self.noise_255)
        pattern = (colours % room).astype(np.int64).reshape(cells) + self.noise_255
        scale = self.image_size // _CELLS
        clean = pattern.repeat(scale, axis=2).repeat(scale, axis=3)[labels]
        bits = random_bits(np.arange(clean.size), f"fake noise of {name}", self.data_seed)
        noise = (bits % np.uint64(2 * self.noise_255 + 1)).astype(np.int64) - self.noise_255
        return ImageSplit.of((clean + noise.reshape(clean.shape)).astype(np.uint8), labels)

    def augmentation(self) -> CropFlip:
        """Return CIFAR-10's augmentation without the flip, which would mirror the patterns."""
        return CropFlip(padding=self.image_size // 16, flip=False, seed=self.seed)
