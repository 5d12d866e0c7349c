"""The batch table: the one thing data, victims and attacks have to agree on."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

# A pixel may miss the 8-bit grid by this much, in units of one grid step.
_GRID_TOLERANCE_255 = 1e-2


@dataclass(frozen=True)
class Entry:
    """One row of the batch table.

    Attributes:
        shape: Shape, with B samples and images of H x W pixels.
        dtype: Element type.
        meaning: What the values are, with their unit.
    """

    shape: str
    dtype: torch.dtype
    meaning: str


BATCH_TABLE: Mapping[str, Entry] = {
    "image": Entry("(B, 3, H, W)", torch.float32, "RGB in [0, 1], every value k/255"),
    "label": Entry("(B,)", torch.int64, "class number, 0..num_classes-1"),
    "index": Entry("(B,)", torch.int64, "position in the split that is served, 0..N-1"),
}


class BatchError(ValueError):
    """A batch that breaks the batch table."""


def check_batch(batch: Mapping[str, Tensor]) -> None:
    """Check a batch against the batch table.

    Args:
        batch: See `BATCH_TABLE`. Further keys are allowed and not looked at.

    Raises:
        BatchError: A key is missing, or a shape, dtype or value is not the table's.
    """
    check_entries(batch, BATCH_TABLE, "BATCH_TABLE")
    image = batch["image"]
    if image.ndim != 4 or image.shape[1] != 3:
        raise BatchError(f"batch['image'] must be (B, 3, H, W), got {tuple(image.shape)}")
    if len(image) == 0:
        raise BatchError("batch['image'] holds no sample; leave empty batches out")
    for key in ("label", "index"):
        _check_numbers(key, batch[key], len(image))
    _check_pixels(image)


def check_entries(batch: Mapping[str, Tensor], table: Mapping[str, Entry], name: str) -> None:
    """Check that a batch has a tensor of the right dtype for every row of a table.

    Args:
        batch: Further keys are allowed and not looked at.
        table: The rows.
        name: What messages call the table.

    Raises:
        BatchError: A key is missing, or its value is no tensor or of another dtype.
    """
    for key, entry in table.items():
        if key not in batch:
            raise BatchError(f"batch has no {key!r}, only {sorted(batch)}; see {name}")
        value = batch[key]
        if not isinstance(value, Tensor):
            raise BatchError(f"batch[{key!r}] must be a tensor, got {type(value).__name__}")
        if value.dtype != entry.dtype:
            raise BatchError(
                f"batch[{key!r}] must be {entry.dtype}, got {value.dtype}; {entry.meaning}"
            )


def _check_numbers(key: str, numbers: Tensor, batch_size: int) -> None:
    if tuple(numbers.shape) != (batch_size,):
        raise BatchError(
            f"batch[{key!r}] must be {(batch_size,)}, one number per image, "
            f"got {tuple(numbers.shape)}; one-hot labels need argmax(1)"
        )
    if int(numbers.min()) < 0:
        raise BatchError(f"batch[{key!r}] must not be negative, got {int(numbers.min())}")


def _check_pixels(image: Tensor) -> None:
    bad = ~torch.isfinite(image)
    if bad.any():
        first = tuple(int(i) for i in bad.nonzero()[0])
        raise BatchError(
            f"batch['image'] must be finite, got {int(bad.sum())} NaN or infinite values, "
            f"the first at (sample, channel, row, column) {first}"
        )
    low, high = float(image.min()), float(image.max())
    if low < 0 or high > 1:
        remedy = (
            "this looks like 0..255: divide by 255"
            if low >= 0
            else "this looks normalised: normalisation is the network's first layer"
        )
        raise BatchError(f"batch['image'] must be in [0, 1], got {low:g} to {high:g}; {remedy}")
    steps = image * 255
    off = float((steps - steps.round()).abs().max())
    if off > _GRID_TOLERANCE_255:
        raise BatchError(
            f"batch['image'] must hold whole multiples of 1/255, one is off by {off:.3f}/255; "
            "quantise to uint8 after resizing"
        )
