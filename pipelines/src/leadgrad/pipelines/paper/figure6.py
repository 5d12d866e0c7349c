"""Figure 6: what LGM puts in the place of step functions, and the gradients of that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from leadgrad.pipelines.report.curves import COLOURS
from leadgrad.pipelines.report.pictures import figure_bytes
from leadgrad.victims import Constant, RelativeSigmoid, Sigmoid
from leadgrad.victims.occupancy.relations import RBF, BilinearInterpolation
from leadgrad.victims.occupancy.surrogates import Surrogate
from leadgrad.victims.weights.atomic import write_atomically

GATE_REACH = 5.0
"""Greatest margin that is drawn, of gates."""

VOXEL_REACH = 1.5
"""Greatest distance from a voxel's centre that is drawn, in voxel edges."""

POINTS = 2001


def figure6(slopes: Sequence[float], voxel_slopes: Sequence[float], path: Path) -> None:
    """Draws surrogates of gates against the margin, and relations against the place in a voxel.

    Args:
        slopes: λ of the sigmoids in place of a gate's step.
        voxel_slopes: λ of those in place of a voxel's, whose margins are in voxel edges.
        path: Of the picture, in the format of its suffix.

    Raises:
        ValueError: If a slope is not finite and at least 0, or there is no such format.
    """
    gates: dict[str, Surrogate] = {f"Sigmoid, λ = {one:g}": Sigmoid(one) for one in slopes}
    gates["RelativeSigmoid, λ = 5, a unit alone"] = RelativeSigmoid(5.0)
    gates["Constant, 0.5"] = Constant()
    voxels: dict[str, Surrogate] = {f"Sigmoid, λ = {one:g}": Sigmoid(one) for one in voxel_slopes}
    rbf = RBF()
    voxels["BI"] = BilinearInterpolation()
    voxels[f"RBF, s² = {rbf.square_width:.3f}"] = rbf
    figure = Figure(figsize=(13, 8.5), layout="constrained")
    panels = figure.subplots(2, 2)
    margin = torch.linspace(-GATE_REACH, GATE_REACH, POINTS, dtype=torch.float64)
    place = torch.linspace(-VOXEL_REACH, VOXEL_REACH, POINTS, dtype=torch.float64)
    _draw(panels[:, 0], gates, margin, lambda q: q)
    _draw(panels[:, 1], voxels, place, lambda u: 0.5 - u.abs())
    panels[0, 0].set(title="A gate's occupancy", ylabel="occupancy")
    panels[1, 0].set(title="Its gradient", xlabel="margin q", ylabel="d occupancy / d q")
    panels[0, 1].set(title="A point's relation to a voxel, along one axis", ylabel="relation")
    panels[1, 1].set(
        title="Its gradient by the point's place",
        xlabel="distance from the voxel's centre, voxel edges",
        ylabel="d relation / d place",
    )
    content = figure_bytes(figure, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)


def _draw(
    panels: Sequence[Axes],
    functions: Mapping[str, Surrogate],
    x: Tensor,
    margin: Callable[[Tensor], Tensor],
) -> None:
    """Values above and gradients below, with the exact step in black."""
    step = (margin(x) > 0).double()
    panels[0].plot(x, step, color="black", linewidth=1.2, label="step (the exact network)")
    panels[1].axhline(0, color="black", linewidth=1.2, label="step: 0 wherever there is one")
    for (name, function), colour in zip(functions.items(), cycle(COLOURS), strict=False):
        values, gradients = value_and_gradient(function, x, margin)
        style = "-" if isinstance(function, Sigmoid) else "--"
        panels[0].plot(x, values, style, color=colour, label=name)
        panels[1].plot(x, gradients, style, color=colour, label=name)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="best")


def value_and_gradient(
    function: Surrogate, x: Tensor, margin: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """A surrogate at some places, and its derivative there, each (N,).

    Args:
        function: Of the margin.
        x: Places, each a sample of its own. Shape: (N,).
        margin: Of a place.
    """
    places = x.clone().requires_grad_()
    values = function(margin(places))
    if not values.requires_grad:  # a constant
        return values, torch.zeros_like(x)
    (gradients,) = torch.autograd.grad(values.sum(), places)
    return values.detach(), gradients
