"""Curves against a budget: a panel per victim or attack, a line with its interval per method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from leadgrad.pipelines.report.pictures import figure_png

COLOURS = ("#3478c8", "#c0392b", "#e67e22", "#16a085", "#8e44ad", "#8a8f98", "#5d4037", "#d4ac0d")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""One for each colour, so that curves that coincide can be told from one."""


class Point(NamedTuple):
    """One point of a curve, in percent but for the budget; ``below`` is of the lower panel."""

    budget: float
    value: float
    low: float
    high: float
    below: float | None = None


Curves = Mapping[str, Sequence[Point]]


def curves_figure(
    panels: Mapping[str, Curves], *, budget: str, value: str, below: str | None = None
) -> bytes:
    """As a PNG.

    Args:
        panels: Title to name to points.
        budget: Label of the horizontal axis.
        value: Of the vertical one.
        below: Of a second row of panels, where points tell another number; None: one row.
    """
    rows = 1 if below is None else 2
    figure = Figure(figsize=(0.6 + 3.6 * len(panels), 0.4 + 2.8 * rows), layout="constrained")
    axes = figure.subplots(rows, len(panels), squeeze=False, sharex="col")
    for column, (title, curves) in enumerate(panels.items()):
        upper = axes[0][column]
        _draw(upper, curves, title, value)
        last = upper
        if below is not None:
            lower = axes[1][column]
            if any(point.below for points in curves.values() for point in points):
                _draw_below(lower, curves, below)
                last = lower
            else:  # static networks change nothing
                lower.set_visible(False)
                upper.tick_params(labelbottom=True)
        last.set_xlabel(budget)
    return figure_png(figure)


def tidy(axes: Axes) -> None:
    """Without a frame; with a legend where there is something to tell apart."""
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)


def _draw(axes: Axes, curves: Curves, title: str, value: str) -> None:
    for number, (name, points, colour, marker) in enumerate(_looks(curves)):
        budgets = [point.budget for point in points]
        axes.plot(
            budgets,
            [point.value for point in points],
            color=colour,
            marker=marker,
            markersize=8 - min(number, 4),  # of points in one place, all are seen
            label=name,
        )
        low, high = [point.low for point in points], [point.high for point in points]
        axes.fill_between(budgets, low, high, color=colour, alpha=0.15)
    axes.set_title(title)
    _finish(axes, value)


def _draw_below(axes: Axes, curves: Curves, below: str) -> None:
    for name, points, colour, marker in _looks(curves):
        known = [(p.budget, p.below) for p in points if p.below is not None]
        axes.plot(*zip(*known, strict=True), color=colour, marker=marker, label=name)
    _finish(axes, below)


def _looks(curves: Curves) -> Iterator[tuple[str, list[Point], str, str]]:
    """Name, points by budget, colour and marker of each curve."""
    looks = zip(curves.items(), cycle(COLOURS), cycle(MARKERS), strict=False)
    for (name, points), colour, marker in looks:
        yield name, sorted(points), colour, marker


def _finish(axes: Axes, value: str) -> None:
    axes.set_ylabel(f"{value} (%)")
    axes.set_ylim(bottom=0)
    tidy(axes)
