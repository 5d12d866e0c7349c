"""Evaluation's preprocessing: the short side to a size, then the square in the middle.

After the published evaluation of ImageNet's networks, in torchvision's arithmetic, so that the
pixels are the same: the longer side is cut to whole pixels, the place of the crop is rounded half
to even. Pillow's filters widen with the scale when they shrink (antialiasing).
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from PIL import Image

Interpolation: TypeAlias = Literal["bilinear", "bicubic"]

RESAMPLING: dict[Interpolation, Image.Resampling] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


@dataclass(frozen=True)
class ResizeCrop:
    """Resizes an image so that its short side has `resize` pixels, and cuts out its middle.

    Attributes:
        resize: Length of the short side, in pixels.
        interpolation: Filter of the resizing.

    Raises:
        ValueError: `resize` is below 1, or there is no such filter.
    """

    resize: int
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        if self.resize < 1:
            raise ValueError(f"resize must be at least 1 pixel, got {self.resize}")
        check_interpolation(self.interpolation)

    def __call__(self, image: Image.Image, size: int) -> Image.Image:
        """Return the middle of the resized image.

        Args:
            image: RGB, 8 bits, of any size.
            size: Height and width of the result in pixels, at most `resize`.
        """
        short = min(image.size)
        width, height = (int(self.resize * side / short) for side in image.size)
        resized = image.resize((width, height), RESAMPLING[self.interpolation])
        left, top = round((width - size) / 2), round((height - size) / 2)
        return resized.crop((left, top, left + size, top + size))


def check_interpolation(name: str) -> None:
    """Refuse a filter that there is not.

    Raises:
        ValueError: It is none of `Interpolation`.
    """
    if name not in get_args(Interpolation):
        raise ValueError(f"interpolation must be one of {get_args(Interpolation)}, got {name!r}")
