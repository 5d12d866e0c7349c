"""What a data set of one's own must state and hold, checked before any work is done on it."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from leadgrad.data.loaders import ImageSource, ImageSplit


class DataSetError(ValueError):
    """A data set does not state, or does not hold, what its base class asks for."""


class _Required:
    """A class attribute that a subclass has to set; until then reading it says so."""

    def __init__(self, meaning: str) -> None:
        self.meaning = meaning

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, owner: object | None, kind: type) -> Any:
        if owner is None:
            return self
        raise DataSetError(
            f"{kind.__name__} states no {self.name}; set {self.meaning} in the class, or in "
            "__init__"
        )


def required(meaning: str) -> Any:
    """Mark a class attribute that every data set has to set.

    Args:
        meaning: What it is, for the `DataSetError` of whoever reads it before.
    """
    return _Required(meaning)


def is_stated(kind: type, name: str) -> bool:
    """Whether a class itself sets a required attribute, so that all of its objects have it."""
    return not isinstance(getattr(kind, name), _Required)


def check_classes(num_classes: Any, class_names: Any, where: str) -> None:
    """Check that there is one name for each class.

    Args:
        num_classes: Number of classes.
        class_names: Name of each class.
        where: Whose they are, for the error.

    Raises:
        DataSetError: There is no class, or the names are no strings, or not as many.
    """
    if isinstance(num_classes, bool) or not isinstance(num_classes, Integral) or num_classes < 1:
        raise DataSetError(f"{where}: num_classes must be a number above 0, got {num_classes!r}")
    if not isinstance(class_names, tuple | list) or not all(
        isinstance(name, str) for name in class_names
    ):
        raise DataSetError(f"{where}: class_names must be a tuple of strings, got {class_names!r}")
    if len(class_names) != num_classes:
        raise DataSetError(
            f"{where}: {len(class_names)} class_names for num_classes={num_classes}; give one each"
        )


def check_images(split: Any, where: str, *, num_classes: int, image_size: int | None) -> None:
    """Check the samples of a split.

    Args:
        split: What `load_split` returned.
        where: What to call it in an error.
        num_classes: Number of classes.
        image_size: Height and width, or None for any.

    Raises:
        DataSetError: It is no `ImageSplit`, holds no sample, or its images are no uint8
            (N, 3, H, W) or its labels no int64 (N,) of 0..num_classes-1.
    """
    if not isinstance(split, ImageSource):
        raise DataSetError(
            f"{where} must be an ImageSplit, got {type(split).__name__}; "
            "return ImageSplit.of(images, labels)"
        )
    if not isinstance(split, ImageSplit):  # the others are read, and checked, batch by batch
        if len(split) == 0:
            raise DataSetError(f"{where}: holds no sample")
        split = ImageSplit(*split.read(torch.arange(1)))
    for name, value in (("images", split.images), ("labels", split.labels)):
        if not isinstance(value, Tensor):
            raise DataSetError(
                f"{where}: {name} must be a tensor, got {type(value).__name__}; return "
                "ImageSplit.of(images, labels)"
            )
    images, labels = split.images, split.labels
    _check_pixels(images, where, image_size)
    if labels.dtype != torch.int64 or labels.ndim != 1:
        remedy = "argmax(1)" if labels.ndim == 2 else "flatten().long()"
        raise DataSetError(
            f"{where}: labels must be (N,) int64, got {tuple(labels.shape)} {_name(labels)}; "
            f"use labels.{remedy}"
        )
    if len(labels) != len(images):
        raise DataSetError(f"{where}: holds {len(images)} images and {len(labels)} labels")
    wrong = torch.nonzero((labels < 0) | (labels >= num_classes)).flatten()
    if len(wrong):
        raise DataSetError(
            f"{where}: {len(wrong)} labels are not in 0..{num_classes - 1}, the first is "
            f"{int(labels[wrong[0]])} of sample {int(wrong[0])}"
        )


def _check_pixels(images: Tensor, where: str, image_size: int | None) -> None:
    shape = tuple(images.shape)
    if images.ndim != 4 or shape[1] != 3:
        raise DataSetError(
            f"{where}: images must be (N, 3, H, W), got {shape}{_axes_remedy(shape)}"
        )
    if len(images) == 0:
        raise DataSetError(f"{where}: holds no sample")
    if images.dtype != torch.uint8:
        remedy = ""
        if images.is_floating_point():
            unit = bool(images.max() <= 1)
            remedy = f"; use {'(255 * images)' if unit else 'images'}.round().to(torch.uint8)"
        raise DataSetError(f"{where}: images must be uint8 of 0..255, got {_name(images)}{remedy}")
    if image_size is not None and shape[2:] != (image_size, image_size):
        raise DataSetError(
            f"{where}: images are {shape[2]} x {shape[3]} pixels, image_size says {image_size}"
        )


def _axes_remedy(shape: Sequence[int]) -> str:
    if len(shape) == 4 and shape[3] == 3:
        return "; use images.permute(0, 3, 1, 2)"
    if len(shape) == 4 and shape[1] == 1:
        return "; use images.repeat(1, 3, 1, 1)"
    if len(shape) == 3:
        return "; of grey images use images[:, None].repeat(1, 3, 1, 1)"
    return ""


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
