"""The 1,797 scanned digits that come with scikit-learn: real images without a download.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
Learning Repository, 1998 (the test part of that set, 8x8 pixels, values 0..16).
"""

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F

from leadgrad.data.augment import CropFlip
from leadgrad.data.base import ImageDataModule
from leadgrad.data.loaders import ImageSplit
from leadgrad.data.splits import stratified_split

_SIZES = {"test": 300, "validation": 200, "train": 1297}


class Digits(ImageDataModule):
    """Handwritten digits at CIFAR-10's size: 32x32 RGB, three equal channels.

    The 8x8 scans are enlarged fourfold by bilinear interpolation (half-pixel centres) and rounded
    to 8 bits. All weights are multiples of 1/64 and all values are small integers, so the
    interpolation is exact and the pixels are the same on every machine.

    Splits: 1,297 train, 200 validation and 300 test images, stratified, with `split_seed`.
    Training images are moved by up to two pixels and never mirrored.

    Args:
        batch_size: Samples per batch and device.
        num_workers: Loader processes.
        seed: Seed of the training order and of the augmentation.
        limit: Serve only the first `limit` samples of the attacked split. None serves all.
        attack_split: Split that `predict_dataloader` serves.
        split_seed: Seed of the split.

    Raises:
        ValueError: An argument is out of its range.
    """

    num_classes = 10
    class_names = tuple("0123456789")
    image_size = 32

    def __init__(
        self,
        batch_size: int = 64,
        *,
        num_workers: int = 0,
        seed: int = 0,
        limit: int | None = None,
        attack_split: Literal["train", "validation", "test"] = "test",
        split_seed: int = 0,
    ) -> None:
        super().__init__(
            batch_size,
            num_workers=num_workers,
            seed=seed,
            limit=limit,
            attack_split=attack_split,
        )
        self.split_seed = split_seed

    def load_split(self, name: str) -> ImageSplit:
        """Cut one split out of the bundled scans."""
        from sklearn.datasets import load_digits  # slow to import, and needed here alone

        scans, labels = load_digits(return_X_y=True)
        members = stratified_split(labels.astype(np.int64), _SIZES, seed=self.split_seed)[name]
        small = torch.from_numpy(scans[members].astype(np.float32)).reshape(-1, 1, 8, 8)
        large = F.interpolate(small, scale_factor=4, mode="bilinear", align_corners=False)
        grey = (large * 255 / 16).round().to(torch.uint8)
        return ImageSplit(
            grey.repeat(1, 3, 1, 1), torch.from_numpy(labels[members].astype(np.int64))
        )

    def augmentation(self) -> CropFlip:
        """Return shifts by up to two pixels: half a pixel of the original scan."""
        return CropFlip(padding=2, flip=False, seed=self.seed)
