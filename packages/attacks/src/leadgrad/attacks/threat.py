"""Threat models: how far and where an input may be moved, with the unit in the name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import torch
from torch import Tensor


class BudgetError(ValueError):
    """An input left its threat model; the message has the measured excess."""


@dataclass(frozen=True)
class Region:
    """Where each element of one batch may go. All shapes broadcast to the inputs'.

    Args:
        origin: The clean inputs.
        low: Least allowed value, by budget and box.
        high: Greatest allowed value.
        mask: Elements that may move, bool.
    """

    origin: Tensor
    low: Tensor
    high: Tensor
    mask: Tensor

    def project(self, x: Tensor) -> Tensor:
        """The nearest allowed point; elements off the mask return to the origin exactly."""
        return torch.where(self.mask, x.clamp(self.low, self.high), self.origin)

    def part(self, rows: Tensor) -> Region:
        """The region of some rows, by number or as bool (R,); the mask is all rows' or each's."""
        mask = self.mask if len(self.mask) == 1 else self.mask[rows]
        return Region(self.origin[rows], self.low[rows], self.high[rows], mask)


class ThreatModel(ABC):
    """What an attacker may do to an input."""

    @abstractmethod
    def region(self, origin: Tensor) -> Region:
        """The allowed region around a batch of clean inputs (R, ...)."""

    def admit(self, origin: Tensor) -> None:  # noqa: B027 - by default all are
        """Raises ``ValueError`` if these are no clean inputs of this threat model."""

    @abstractmethod
    def check(self, x: Tensor, origin: Tensor) -> None:
        """Raises ``BudgetError`` if ``x`` is not allowed, exactly, without tolerance."""


CONVENTIONS = {"pixel": (1 / 255, 0.0), "doubled": (2 / 255, -1.0)}
"""Name to (size of a unit in the [0, 1] image, least value of the box); the greatest value is 1."""


@dataclass(frozen=True)
class PixelLinf(ThreatModel):
    """L-infinity on images in [0, 1], budget counted in units of a pixel level.

    Args:
        eps_255: Budget in units, e.g. 8.
        convention: ``"pixel"``: a unit is 1/255 and the box [0, 1], the textbook reading.
            ``"doubled"``: a unit is 2/255 and the box [-1, 1], which is what the released program
            computes and the paper's Tables I and II were made with (docs/reference/images.md,
            "Units"): eps 8 is really 16/255, and pixels may go below 0. Never mix the two in one
            table.
        valid_ratio: Share of pixels that may move ("Valid Pxl."): the first int(ratio·H·W)
            positions of one random permutation, the same for all images and channels, hence nested.
        mask_seed: Of that permutation; 1 in the released program.

    Raises:
        ValueError: If eps_255 looks like a fraction of the range instead of a number of units.
    """

    eps_255: float
    convention: Literal["pixel", "doubled"] = "pixel"
    valid_ratio: float = 1.0
    mask_seed: int = 1

    def __post_init__(self) -> None:
        if self.convention not in CONVENTIONS:
            raise ValueError(f'convention must be "pixel" or "doubled", got {self.convention!r}')
        if 0 < self.eps_255 < 0.25:
            raise ValueError(
                f"eps_255={self.eps_255} looks like a fraction of the range; it is counted in "
                f"units of 1/255: did you mean eps_255={round(self.eps_255 * 255, 3):g}?"
            )
        if not 0 <= self.eps_255 <= 255:
            raise ValueError(f"eps_255 must lie in [0, 255] units, got {self.eps_255}")
        if not 0 < self.valid_ratio <= 1:
            raise ValueError(f"valid_ratio must be a share in (0, 1], got {self.valid_ratio}")

    def within(self, eps_255: float) -> PixelLinf:
        """The same with a lesser budget, which may be less than any that is taken from a user."""
        lesser = replace(self)
        object.__setattr__(lesser, "eps_255", eps_255)
        return lesser

    @property
    def unit(self) -> float:
        """Size of one unit in the [0, 1] image."""
        return CONVENTIONS[self.convention][0]

    @property
    def box(self) -> tuple[float, float]:
        """Least and greatest pixel value."""
        return CONVENTIONS[self.convention][1], 1.0

    def admit(self, origin: Tensor) -> None:
        """Refuses what is no batch of clean images: (N, C, H, W), in [0, 1].

        Raises:
            ValueError: With the shape or the range, and what may have made it.
        """
        if origin.ndim != 4:
            raise ValueError(
                f"images must be of shape (N, channels, height, width), got {tuple(origin.shape)}"
            )
        if origin.shape[1] > 4 >= origin.shape[3]:
            raise ValueError(
                f"images of shape {tuple(origin.shape)} have their channels last; give (N, "
                "channels, height, width): images.permute(0, 3, 1, 2)"
            )
        low, high = (float(end) for end in origin.aminmax()) if origin.numel() else (0.0, 0.0)
        if low < 0 or high > 1:
            remedy = "divide bytes by 255"
            if low < 0:
                remedy = "give them as they are before normalisation, the victim's first layer"
            raise ValueError(f"clean images must lie in [0, 1], got {low:g} to {high:g}; {remedy}")

    def mask(self, origin: Tensor) -> Tensor:
        """Pixels that may move. Shape: (1, 1, H, W), bool.

        Raises:
            ValueError: If there is none.
        """
        height, width = origin.shape[-2:]
        if not int(self.valid_ratio * height * width):
            raise ValueError(
                f"valid_ratio={self.valid_ratio} of {height} x {width} pixels is none, so nothing "
                f"may move; give at least {1 / (height * width):.2g}"
            )
        return _pixel_mask(height, width, self.valid_ratio, self.mask_seed).to(origin.device)

    def region(self, origin: Tensor) -> Region:
        """The allowed region around images (N, C, H, W).

        Bounds are rounded towards the origin, so that |x - origin| ≤ eps holds for the stored
        floating point numbers themselves, not up to rounding.
        """
        radius = self.eps_255 * self.unit
        least, greatest = self.box
        wide = origin.double()
        high = rounded((wide + radius).clamp(max=greatest), origin, toward=-torch.inf)
        low = rounded((wide - radius).clamp(min=least), origin, toward=torch.inf)
        return Region(origin, low, high, self.mask(origin))

    def check(self, x: Tensor, origin: Tensor) -> None:
        """Asserts shape, finiteness, budget, mask and box, exactly.

        Raises:
            BudgetError: With the measured excess.
        """
        if x.shape != origin.shape or x.dtype != origin.dtype:
            raise BudgetError(
                f"adversarial inputs are {tuple(x.shape)} {x.dtype}, "
                f"expected {tuple(origin.shape)} {origin.dtype} as the clean ones"
            )
        if not bool(x.isfinite().all()):
            raise BudgetError(f"{int((~x.isfinite()).sum())} adversarial values are not finite")
        if not x.numel():
            return
        moved = (x.double() - origin.double()).abs()
        # The bound is a float64 sum, so it may be passed by half a unit in its last place
        radius = self.eps_255 * self.unit * (1 + 2**-50) + 2**-53
        if float(moved.max()) > radius:
            raise BudgetError(
                f"max |delta| is {float(moved.max()) / self.unit:.9g} units of {self.unit:.6g}, "
                f"allowed are {self.eps_255:g}"
            )
        off = (moved > 0) & ~self.mask(origin)
        if bool(off.any()):
            raise BudgetError(f"{int(off.sum())} values moved outside the valid pixels")
        least, greatest = self.box
        outside = ((x < least) | (x > greatest)) & (moved > 0)
        if bool(outside.any()):
            raise BudgetError(
                f"values in [{float(x.min()):.9g}, {float(x.max()):.9g}] leave the box "
                f"[{least:g}, {greatest:g}]"
            )


def rounded(wide: Tensor, origin: Tensor, *, toward: float) -> Tensor:
    """Float64 bounds in the dtype of ``origin``, rounded in the direction ``toward``."""
    narrow = wide.to(origin.dtype)
    passed = narrow.double() > wide if toward < 0 else narrow.double() < wide
    return torch.where(passed, torch.nextafter(narrow, torch.full_like(narrow, toward)), narrow)


@cache
def _pixel_mask(height: int, width: int, ratio: float, seed: int) -> Tensor:
    order = torch.randperm(height * width, generator=torch.Generator().manual_seed(seed))
    mask = torch.zeros(height * width, dtype=torch.bool)
    mask[order[: int(ratio * height * width)]] = True
    return mask.view(1, 1, height, width)
