"""FGM and LGM of voxel networks: which of their three step functions are relaxed, by what.

A point's colour enters a voxel (input), the voxel takes part in convolutions (occupancy), and its
logits come back to the point (output). Where colours say nothing of positions, as in ScanNet, a
gradient of the coordinates exists only through relaxed input and output, so FGM relaxes those too;
what it freezes is the occupancy (3D reference page, 3.4 to 3.6). The three have slopes of their own
in the released program and one common slope in the paper's text.
"""

from __future__ import annotations

from dataclasses import dataclass

from leadgrad.victims.gates import FGM, LGM, GradientMethod
from leadgrad.victims.surrogates import Sigmoid, Surrogate


@dataclass(frozen=True)
class VoxelFGM(FGM):
    """Frozen voxels; soft input and output, over each point's own voxel alone.

    Args:
        input: Of the weight of a point in its voxel's features; None: ``Sigmoid(20.0)``, the
            release's on ScanNet.
        output: Of the voxel's weight in the point's logits; None: as the input.
    """

    input: Surrogate | None = None
    output: Surrogate | None = None

    def __post_init__(self) -> None:
        _fill_in(self, "input", Sigmoid(20.0))


@dataclass(frozen=True)
class VoxelLGM(LGM):
    """Led voxels: every candidate voxel is computed, weighted by its relaxed occupancy ô.

    Args:
        surrogate: Of the occupancy; None: ``Sigmoid(10.0)``, the release's on ScanNet from
            ε = 0.01 m on.
        forward: As of ``LGM``; only ``"soft"`` has a meaning here.
        input: As of ``VoxelFGM``; None: as the occupancy.
        output: Likewise.
        any_axis: Of ``candidate_pairs``: the released program's looser choice of candidates.
    """

    surrogate: Surrogate | None = None
    input: Surrogate | None = None
    output: Surrogate | None = None
    any_axis: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.forward != "soft":
            raise ValueError(
                f'voxels have no forward="{self.forward}": a candidate that is not occupied has no '
                'hard value to keep; use "soft"'
            )
        _fill_in(self, "surrogate", Sigmoid(10.0))


def _fill_in(method: GradientMethod, name: str, surrogate: Surrogate) -> None:
    """Sets a field that is None. As the field's default the surrogate would be wrong.

    The command line would hand its slope on to a surrogate of another class.
    """
    if getattr(method, name) is None:
        object.__setattr__(method, name, surrogate)  # the dataclass is frozen


@dataclass(frozen=True)
class Relations:
    """The surrogates of a method; ``occupancy`` is None where voxels are frozen."""

    input: Surrogate
    output: Surrogate
    occupancy: Surrogate | None
    any_axis: bool = False


def relations(method: GradientMethod) -> Relations:
    """What a method relaxes in a voxel network.

    Args:
        method: ``VoxelFGM`` or ``VoxelLGM``; a plain ``FGM()`` or ``LGM(surrogate)`` stands for one
            of them with its defaults, or with the one surrogate throughout.

    Raises:
        ValueError: For ``LGM()``, whose surrogates are of margins without a unit.
        TypeError: For other methods.
    """
    if isinstance(method, VoxelFGM):
        assert method.input is not None, "filled in by the constructor"
        return Relations(method.input, method.output or method.input, None)
    if isinstance(method, FGM):
        return relations(VoxelFGM())
    if not isinstance(method, LGM):
        raise TypeError(f"voxel networks know VoxelFGM and VoxelLGM, got {method}")
    surrogate = method.surrogate
    if surrogate is None:
        raise ValueError(
            "LGM() has no surrogate for voxels; use VoxelLGM(), or LGM(Sigmoid(10.0)) with one "
            "slope per voxel edge"
        )
    if not isinstance(method, VoxelLGM):
        return Relations(surrogate, surrogate, surrogate)
    return Relations(
        method.input or surrogate, method.output or surrogate, surrogate, method.any_axis
    )
