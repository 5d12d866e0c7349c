"""Images that are read from their files when a batch asks for them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from leadgrad.data.contract import DataSetError
from leadgrad.data.loaders import ImageSource


class ImageFiles(ImageSource):
    """The samples of one split, each a file of any format that Pillow reads.

    Args:
        paths: Of the images, in an order that never changes.
        labels: Class numbers. Shape: (N,).
        image_size: Height and width that every image comes to have, in pixels.
        prepare: Makes an RGB image of this size; None resizes the short side, bicubic, and takes
            the square in the middle.

    Raises:
        DataSetError: There are other numbers of images and labels.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        labels: Sequence[int],
        image_size: int,
        prepare: Callable[[Image.Image, int], Image.Image] | None = None,
    ) -> None:
        if len(paths) != len(labels):
            raise DataSetError(f"there are {len(paths)} images and {len(labels)} labels")
        self.paths = tuple(Path(path) for path in paths)
        self.labels = torch.tensor(list(labels), dtype=torch.int64)
        self.image_size = image_size
        self.prepare = middle_square if prepare is None else prepare

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.paths)

    def read(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return some samples.

        Raises:
            DataSetError: A file is missing, damaged, or does not come to have the size.
        """
        images = [self._image(self.paths[number]) for number in index.tolist()]
        return torch.from_numpy(np.stack(images)), self.labels[index]

    def first(self, limit: int | None) -> "ImageFiles":
        """Return the first `limit` samples, or all of them."""
        labels = self.labels[:limit].tolist()
        return ImageFiles(self.paths[:limit], labels, self.image_size, self.prepare)

    def _image(self, path: Path) -> NDArray[np.uint8]:
        """One image. Shape: (3, H, W)."""
        try:
            with Image.open(path) as file:
                made = self.prepare(file.convert("RGB"), self.image_size)
        except (OSError, ValueError, SyntaxError) as error:
            raise DataSetError(f"{path} is missing or no image ({error}); restore it") from error
        pixels = np.asarray(made)
        if pixels.shape != (self.image_size, self.image_size, 3):
            raise DataSetError(
                f"{path} has come to {pixels.shape}, expected "
                f"({self.image_size}, {self.image_size}, 3); let prepare resize it"
            )
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def middle_square(image: Image.Image, size: int) -> Image.Image:
    """The middle of an image whose short side is resized to `size` pixels, bicubic."""
    scale = size / min(image.size)
    width, height = (max(size, round(scale * side)) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    return resized.crop((left, top, left + size, top + size))
