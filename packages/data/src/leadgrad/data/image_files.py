"""Images that are read from their files when a batch asks for them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from leadgrad.data.contract import DataSetError
from leadgrad.data.loaders import Augmentation, ImageSource
from leadgrad.data.path_list import PathList
from leadgrad.data.random_crop import RandomResizedCrop

Prepare: TypeAlias = Callable[[Image.Image, int], Image.Image]

# What Pillow raises of files that are none of its formats, cut off, or of absurd dimensions.
UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


class ImageFiles(ImageSource):
    """The samples of one split, each a file of any format that Pillow reads.

    Grey, palette and CMYK files become RGB. The rotation that a camera noted in a file (EXIF) is
    not applied: published accuracies on ImageNet come from readers that do not look at it. JPEGs
    are decoded in full; Pillow's draft mode would be faster and change the pixels.

    Pillow decodes, rather than torchvision's `decode_jpeg`. On 100 photographs of ImageNet both
    gave the same pixels; Pillow took 1.8 to 2.2 ms a file on one thread, torchvision 1.3 ms. What
    that saves is a sixth of the 3.4 ms that reading and preparing an image takes, for which another
    package would have to be installed, which reads fewer formats.

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
        labels: Sequence[int] | NDArray[np.int64] | Tensor,
        image_size: int,
        prepare: Prepare | None = None,
    ) -> None:
        if len(paths) != len(labels):
            raise DataSetError(f"there are {len(paths)} images and {len(labels)} labels")
        self.paths = paths if isinstance(paths, PathList) else PathList(paths)
        self.labels = torch.as_tensor(labels, dtype=torch.int64)
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
        return self._stack(index, [self.prepare] * len(index))

    def augmented(
        self, index: Tensor, keys: Tensor, augmentation: Augmentation
    ) -> tuple[Tensor, Tensor]:
        """Return some samples for training; a `RandomResizedCrop` is given the whole images.

        Raises:
            DataSetError: A file is missing, damaged, or does not come to have the size.
        """
        if not isinstance(augmentation, RandomResizedCrop):
            return super().augmented(index, keys, augmentation)

        def cropping(key: int) -> Prepare:
            return lambda image, size: augmentation.crop(image, size, key)

        return self._stack(index, [cropping(key) for key in keys.tolist()])

    def first(self, limit: int | None) -> "ImageFiles":
        """Return the first `limit` samples, or all of them."""
        return ImageFiles(self.paths[:limit], self.labels[:limit], self.image_size, self.prepare)

    def _stack(self, index: Tensor, makers: Sequence[Prepare]) -> tuple[Tensor, Tensor]:
        images = [
            self._image(self.paths[number], make)
            for number, make in zip(index.tolist(), makers, strict=True)
        ]
        return torch.from_numpy(np.stack(images)), self.labels[index]

    def _image(self, path: Path, make: Prepare) -> NDArray[np.uint8]:
        """One image. Shape: (3, H, W)."""
        try:
            with Image.open(path) as file:
                made = make(file.convert("RGB"), self.image_size)
        except UNREADABLE as error:
            raise DataSetError(
                f"{path} is missing or no image ({error}); restore it, and let `leadgrad "
                "verify-data` list all such files of the folder"
            ) from error
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
