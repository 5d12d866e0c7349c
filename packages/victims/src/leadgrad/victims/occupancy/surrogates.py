"""Surrogates: what LGM puts in the place of a gate's step function."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


class Surrogate(ABC):
    """A differentiable stand-in for the step function of a margin; any shape to the same shape."""

    @abstractmethod
    def __call__(self, margin: Tensor) -> Tensor:
        """Relaxed occupancy ô of each margin."""

    def of_voxels(self) -> Surrogate:
        """Itself for a voxel's margins, 0.5 - d, which are counted in voxel edges."""
        return self

    def held(self, margin: Tensor) -> Surrogate:
        """Itself with what it computes of the margin without a gradient as a constant."""
        return self


@dataclass(frozen=True)
class Sigmoid(Surrogate):
    """ô = sigmoid(λ·q), eq. 15 and 30 in docs/reference/method.md.

    Args:
        slope: λ ≥ 0. Large slopes approach the step; at 0 every unit has half weight.
    """

    slope: float

    def __post_init__(self) -> None:
        _check_slope(self.slope)

    def __call__(self, margin: Tensor) -> Tensor:
        """Relaxed occupancy ô of each margin."""
        return torch.sigmoid(self.slope * margin)


LEAST_SIZE = 1e-4
"""Of the margins of a gate that decides many units per sample."""

MEAN_VOXEL_MARGIN = 0.25
"""Of a coordinate in a voxel, in voxel edges."""

LEAST_SINGLE_SIZE = 3.0
"""Of the margin of a gate that decides one. Chosen of 0.03 to 10 on SkipNet-38 and validation
images: ``LGM()`` is as strong as without a least size, within the error of a thousand images."""


@dataclass(frozen=True)
class RelativeSigmoid(Surrogate):
    """ô = sigmoid(λ·q / mean|q|), the mean over the units that the gate decides in that sample.

    Margins of different gates, networks and training stages differ in size by orders, and with
    them the λ of ``Sigmoid`` that suits; this one is counted in units of the margins themselves.
    Beyond the paper. The mean is a constant to the gradient, over the finite margins, and at least
    ``LEAST_SIZE``. Where a gate decides one unit per sample, that unit's own |q| tells nothing of
    the gate: as a size it would make the gradient grow as 1 / |q|, and the gate that is nearest to
    its decision outweigh all others. So it counts as at least ``LEAST_SINGLE_SIZE``, and nearer
    margins have ``Sigmoid(λ / LEAST_SINGLE_SIZE)``. The gradient is at most a quarter of λ over the
    least size.

    Args:
        slope: λ ≥ 0, without unit.
    """

    slope: float

    def __post_init__(self) -> None:
        _check_slope(self.slope)

    def __call__(self, margin: Tensor) -> Tensor:
        """Relaxed occupancy ô of each margin (B, ...)."""
        return self.held(margin)(margin)

    def of_voxels(self) -> Sigmoid:
        """Sigmoid(λ / 0.25): a voxel's margins have a unit, and so a size that is known before.

        0.25 edges is the mean |0.5 - d| of a position that is uniform in its voxel.
        """
        return Sigmoid(self.slope / MEAN_VOXEL_MARGIN)

    def held(self, margin: Tensor) -> Scaled:
        """With the size of this margin."""
        units = margin.detach().abs().reshape(len(margin), -1)
        counted = units.isfinite()
        # An exact division by 1 where every margin is finite
        size = torch.where(counted, units, 0).mean(1) / counted.to(units.dtype).mean(1)
        least = LEAST_SIZE if units.shape[1] > 1 else LEAST_SINGLE_SIZE
        size = torch.where(size > least, size, least)  # 0 / 0 where none is finite
        return Scaled(self.slope, size.view(-1, *[1] * (margin.ndim - 1)))


@dataclass(frozen=True, eq=False)
class Scaled(Surrogate):
    """ô = sigmoid(λ·q / size), with a size for each sample.

    Args:
        slope: λ ≥ 0, without unit.
        size: Above 0. Shape: (B, 1, ...), as many axes as the margin.
    """

    slope: float
    size: Tensor

    def __call__(self, margin: Tensor) -> Tensor:
        """Relaxed occupancy ô of each margin (B, ...)."""
        return torch.sigmoid(self.slope * margin / self.size)


@dataclass(frozen=True)
class Constant(Surrogate):
    """ô = value whatever the margin: smoothing without a leading gradient.

    The control for D14 in docs/reference/differences.md.

    Args:
        value: Weight of every unit, in [0, 1].
    """

    value: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.value <= 1:
            raise ValueError(f"value is an occupancy and must lie in [0, 1], got {self.value}")

    def __call__(self, margin: Tensor) -> Tensor:
        """The same occupancy for every margin, without a gradient."""
        return torch.full_like(margin, self.value)


def _check_slope(slope: float) -> None:
    if not (math.isfinite(slope) and slope >= 0):
        raise ValueError(f"slope must be finite and at least 0, got {slope}")


DEFAULT = (RelativeSigmoid(5.0), Sigmoid(0.1))
"""What ``LGM()`` tries: together stronger than tuned slopes (docs/results/default-slope.md)."""
