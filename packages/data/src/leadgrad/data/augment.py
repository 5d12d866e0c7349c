"""Random crop and horizontal flip of a whole batch, drawn per sample."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from leadgrad.data.seeding import random_bits

# Values of one 21-bit field of a draw.
_FIELD = np.uint64(1 << 21)


@dataclass(frozen=True)
class CropFlip:
    """Pad with black, crop back to the old size at a random place, and maybe mirror.

    Attributes:
        padding: Pixels added on each side; the image moves by at most as many.
        flip: Whether half of the images are mirrored left to right.
        seed: Seed of the draws.
    """

    padding: int
    flip: bool
    seed: int

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
        return padded.flatten(2).gather(2, pixels).reshape(images.shape)
