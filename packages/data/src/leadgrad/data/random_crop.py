"""Training's preprocessing of photographs: a random part, resized and maybe mirrored."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from leadgrad.data.resize_crop import RESAMPLING, Interpolation, check_interpolation
from leadgrad.data.seeding import random_bits

_TRIES = 10
_HALF = np.uint64(32)
_UNIT = 2.0**-32


@dataclass(frozen=True)
class RandomResizedCrop:
    """Cuts out a random part of an image, resizes it to a square, and mirrors half of them.

    Szegedy et al., "Going Deeper with Convolutions", 2015, section 6, in the form that ImageNet's
    networks are trained with since: the part's share of the area is uniform in `scale`, the
    logarithm of its width over its height is uniform in that of `ratio`. A part that does not fit
    is drawn again, ten times at most; then the largest middle part of an allowed shape is taken.

    What is drawn follows from the seed and the sample's key alone. Of a set of files
    (`leadgrad.data.image_files.ImageFiles`) the whole decoded image is cropped, before any other
    resizing.

    Attributes:
        seed: Seed of the draws.
        scale: Smallest and largest share of the area.
        ratio: Smallest and largest width over height.
        flip: Whether half of the images are mirrored left to right.
        interpolation: Filter of the resizing.

    Raises:
        ValueError: A range is empty or out of its bounds, or there is no such filter.
    """

    seed: int
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = True
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale must be two shares, 0 < low <= high <= 1, got {self.scale}")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio must be two numbers, 0 < low <= high, got {self.ratio}")
        check_interpolation(self.interpolation)

    def __call__(self, images: Tensor, keys: Tensor) -> Tensor:
        """Return parts of images that are in memory, of the images' own size.

        Args:
            images: Squares. Shape: (B, 3, S, S), uint8.
            keys: What each sample's draw depends on, besides the seed. Shape: (B,), int64.

        Returns:
            Shape: (B, 3, S, S), uint8.
        """
        made = [
            np.asarray(self.crop(Image.fromarray(image), len(image), key))
            for image, key in zip(images.permute(0, 2, 3, 1).numpy(), keys.tolist(), strict=True)
        ]
        return torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2).contiguous()

    def crop(self, image: Image.Image, size: int, key: int) -> Image.Image:
        """Return a part of one image.

        Args:
            image: RGB, 8 bits, of any size.
            size: Height and width of the result, in pixels.
            key: What the draw depends on, besides the seed.
        """
        left, top, width, height = self.box(image.width, image.height, key)
        # Cut first: a filter over a part of the whole image would look beyond the part's edge.
        part = image.crop((left, top, left + width, top + height))
        made = part.resize((size, size), RESAMPLING[self.interpolation])
        if self.flip and int(random_bits(key, "mirror", self.seed)[0]) & 1:
            made = made.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return made

    def box(self, width: int, height: int, key: int) -> tuple[int, int, int, int]:
        """Draw a part of an image.

        Args:
            width: Of the image, in pixels.
            height: Of the image, in pixels.
            key: What the draw depends on, besides the seed.

        Returns:
            Left, top, width and height of the part, in pixels.
        """
        low, high = (math.log(bound) for bound in self.ratio)
        for attempt in range(_TRIES):
            for_area, for_shape = self._halves(key, "crop shape", attempt)
            least, most = self.scale
            area = width * height * (least + (most - least) * for_area * _UNIT)
            shape = math.exp(low + (high - low) * for_shape * _UNIT)
            wide, tall = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
            if 0 < wide <= width and 0 < tall <= height:
                down, across = self._halves(key, "crop place", attempt)
                # The modulo's bias is below 1e-5.
                return across % (width - wide + 1), down % (height - tall + 1), wide, tall
        wide = min(width, max(1, round(height * self.ratio[1])))
        tall = min(height, max(1, round(width / self.ratio[0])))
        return (width - wide) // 2, (height - tall) // 2, wide, tall

    def _halves(self, key: int, purpose: str, attempt: int) -> tuple[int, int]:
        """Two random whole numbers below 2**32."""
        bits = random_bits(key, purpose, self.seed, attempt)
        return int((bits >> _HALF)[0]), int((bits & np.uint64(0xFFFFFFFF))[0])
