"""Random crop, horizontal flip and cutout of a whole batch, drawn per sample."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from leadgrad.data.seeding import random_bits

# Values of one 21-bit field of a draw.
_FIELD = np.uint64(1 << 21)

# What a square that is cut out is filled with: CIFAR's mean is near it, so that it says nothing.
_GREY = 128


@dataclass(frozen=True)
class CropFlip:
    """Pad with black, crop back to the old size at a random place, maybe mirror, cut a square out.

    Attributes:
        padding: Pixels added on each side; the image moves by at most as many.
        flip: Whether half of the images are mirrored left to right.
        seed: Seed of the draws.
        cutout: Side in pixels of the grey square that hides a part of each image (DeVries & Taylor,
            "Improved Regularization of Convolutional Neural Networks with Cutout", 2017). Its
            centre is any pixel, so that at the border less is hidden. 0 hides nothing.

    Raises:
        ValueError: `padding` or `cutout` is negative.
    """

    padding: int
    flip: bool
    seed: int
    cutout: int = 0

    def __post_init__(self) -> None:
        for name in ("padding", "cutout"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"{name} must not be negative, got {getattr(self, name)}; 0 is none"
                )

    def __call__(self, images: Tensor, keys: Tensor) -> Tensor:
        """Return the augmented images.

        Args:
            images: Shape: (B, 3, H, W), uint8.
            keys: What each sample's draw depends on, besides the seed. Shape: (B,), int64.

        Returns:
            Shape: (B, 3, H, W), uint8.
        """
        count, channels, height, width = images.shape
        bits = random_bits(keys.numpy(), "augment", self.seed)
        places = np.uint64(2 * self.padding + 1)
        # Three separate fields of the 64 bits; the modulo's bias is below 1e-5.
        top = torch.from_numpy(((bits >> np.uint64(43)) % places).astype(np.int64))
        left = torch.from_numpy(((bits >> np.uint64(22)) % _FIELD % places).astype(np.int64))
        rows = top[:, None] + torch.arange(height)
        columns = torch.arange(width).expand(count, width)
        if self.flip:
            mirrored = torch.from_numpy((bits & np.uint64(1)).astype(bool))
            columns = torch.where(mirrored[:, None], columns.flip(1), columns)
        columns = columns + left[:, None]
        # One gather on flattened pixels does crop and flip for the whole batch; indexing the four
        # dimensions directly takes seven times as long.
        padded = F.pad(images, [self.padding] * 4)
        pixels = rows[:, :, None] * padded.shape[3] + columns[:, None, :]
        pixels = pixels.reshape(count, 1, -1).expand(count, channels, height * width)
        cropped = padded.flatten(2).gather(2, pixels).reshape(images.shape)
        return self._cut(cropped, keys) if self.cutout else cropped

    def _cut(self, images: Tensor, keys: Tensor) -> Tensor:
        bits = random_bits(keys.numpy(), "cutout", self.seed)
        hidden = torch.ones((), dtype=torch.bool)
        for field, size, axis in (
            (bits >> np.uint64(43), images.shape[2], (1, 1, -1, 1)),
            (bits >> np.uint64(22), images.shape[3], (1, 1, 1, -1)),
        ):
            centre = torch.from_numpy((field % _FIELD % np.uint64(size)).astype(np.int64))
            first = centre.view(-1, 1, 1, 1) - self.cutout // 2
            place = torch.arange(size).view(axis)
            hidden = hidden & (place >= first) & (place < first + self.cutout)
        return images.masked_fill(hidden, _GREY)
