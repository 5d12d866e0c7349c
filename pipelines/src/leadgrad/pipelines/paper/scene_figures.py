"""Plot of a scene table: mIoU against the budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from leadgrad.pipelines.report.pictures import figure_png
from leadgrad.pipelines.tasks.scenes.outcome import Measured

COLOURS = ("#8a8f98", "#b9bcc2", "#d8dade", "#3478c8", "#16a085", "#c0392b", "#e67e22", "#8e44ad")


def budget_figure(curves: Mapping[str, Sequence[tuple[float, Measured]]]) -> bytes:
    """A line per method with its interval, as a PNG.

    Args:
        curves: Method to (ε in voxels, mIoU).
    """
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for (method, points), colour in zip(curves.items(), COLOURS, strict=False):
        points = sorted(points, key=lambda point: point[0])
        budgets = [eps for eps, _ in points]
        axes.plot(budgets, [own.miou for _, own in points], "o-", color=colour, label=method)
        low, high = [own.low for _, own in points], [own.high for _, own in points]
        axes.fill_between(budgets, low, high, color=colour, alpha=0.15)
    axes.set(xlabel="ε (voxel edges)", ylabel="mIoU (%)")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure_png(figure)
