"""Relation functions: how much a point belongs to a voxel.

Eq. 29 and 30 and Table VII of the paper; docs/reference/method.md, "Relation functions".
Along each axis the point is at distance d from the voxel's centre, in voxel edges, and inside it
where the margin 0.5 - d is positive. The relation is the product over the three axes of a step
function of that margin; a surrogate in place of the step makes it differentiable. Eq. 30 is
``Sigmoid``, the surrogate of eq. 15; Table VII's other two are here. The paper gives neither's
parameters, nor does the released program hold them (D44 in docs/reference/differences.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from leadgrad.victims.occupancy.surrogates import Surrogate


@dataclass(frozen=True)
class Relations:
    """What a gradient method relaxes in a voxel network, and by what.

    A point's features enter a voxel (input), the voxel takes part in convolutions (occupancy), and
    its logits come back to the point (output): three step functions of the same margins.

    Args:
        input: Of the weight of a point in its voxel's features.
        output: Of the voxel's weight in the point's logits.
        occupancy: Of the voxel; None where voxels are frozen, and no candidates are computed.
        any_axis: Of ``candidate_pairs``: the released program's looser choice of candidates.
    """

    input: Surrogate
    output: Surrogate
    occupancy: Surrogate | None
    any_axis: bool = False


@dataclass(frozen=True)
class BilinearInterpolation(Surrogate):
    """max(0, 1 - d): the weights of trilinear interpolation between voxel centres."""

    def __call__(self, margin: Tensor) -> Tensor:
        """Relation along one axis, 1 at the centre, 0.5 on the face, 0 in the next centre."""
        return (margin + 0.5).clamp_min(0)


@dataclass(frozen=True)
class RBF(Surrogate):
    """exp(-d² / s²), a Gaussian around the voxel's centre.

    Args:
        square_width: s², in squared voxel edges. By default the relation is 0.5 on a face.
    """

    square_width: float = 0.25 / math.log(2)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.square_width) and self.square_width > 0):
            raise ValueError(
                f"square_width must be finite and above 0, got {self.square_width} voxel edges²"
            )

    def __call__(self, margin: Tensor) -> Tensor:
        """Relation along one axis, 1 at the centre."""
        return torch.exp(-((0.5 - margin) ** 2) / self.square_width)


def relation(surrogate: Surrogate, margins: Tensor) -> Tensor:
    """r̂ of each point-voxel pair, the product over the axes.

    Args:
        surrogate: Of the step function.
        margins: 0.5 - |centre - position| in voxel edges. Shape: (P, 3).

    Returns:
        Shape: (P,).
    """
    x, y, z = surrogate(margins).unbind(1)
    return x * y * z
