"""What the sets of photographs in files have in common: their preprocessing."""

from pathlib import Path

from leadgrad.data.base import ImageDataModule
from leadgrad.data.class_folders import Listing
from leadgrad.data.image_files import ImageFiles
from leadgrad.data.random_crop import RandomResizedCrop
from leadgrad.data.resize_crop import Interpolation, ResizeCrop


class Photographs(ImageDataModule):
    """Serves photographs of any size from their files, which stay on disk.

    All but training images are resized so that the short side has `resize` pixels, and cut to the
    square in the middle (`ResizeCrop`). Training images are random parts (`RandomResizedCrop`).

    Args:
        root: Folder of the splits.
        batch_size: Samples per batch and device.
        num_workers: Loader processes. Reading and preparing a photograph takes some milliseconds,
            so training wants as many as there are cores.
        seed: Seed of the training order and of the augmentation.
        limit: Serve only the first `limit` samples of the attacked split. None serves all.
        attack_split: Split that `predict_dataloader` serves.
        image_size: Height and width that the images come to have, in pixels.
        resize: Length of the short side before the square is cut out, in pixels.
        interpolation: Filter of all resizing.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        root: str | Path,
        batch_size: int,
        *,
        num_workers: int,
        seed: int,
        limit: int | None,
        attack_split: str,
        image_size: int,
        resize: int,
        interpolation: Interpolation,
    ) -> None:
        super().__init__(
            batch_size, num_workers=num_workers, seed=seed, limit=limit, attack_split=attack_split
        )
        if image_size < 1:
            raise ValueError(f"image_size must be at least 1 pixel, got {image_size}")
        if resize < image_size:
            raise ValueError(
                f"resize must be at least image_size={image_size}, which is cut out of it, "
                f"got {resize}"
            )
        self.root = Path(root)
        self.image_size = image_size
        self.resize = resize
        self.interpolation = interpolation
        self._prepare = ResizeCrop(resize, interpolation)

    def augmentation(self) -> RandomResizedCrop:
        """Return random parts of 8 to 100 % of the area, half of them mirrored."""
        return RandomResizedCrop(seed=self.seed, interpolation=self.interpolation)

    def _files(self, listing: Listing) -> ImageFiles:
        return ImageFiles(listing.paths, listing.labels, self.image_size, self._prepare)
