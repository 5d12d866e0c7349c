"""Plots of a table: accuracy and change against the budget, LGM beside FGM, slope sensitivity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from leadgrad.pipelines.paper.tuning import Sweep
from leadgrad.pipelines.report.pictures import figure_png
from leadgrad.pipelines.tasks.images.paired import Paired

COLOURS = ("#3478c8", "#c0392b", "#e67e22", "#16a085", "#8e44ad", "#8a8f98")


@dataclass(frozen=True)
class Point:
    """One cell of a curve: budget, accuracy with its interval, architecture change in percent."""

    eps_255: float
    accuracy: float
    low: float
    high: float
    change: float


def budget_figure(curves: Mapping[str, Mapping[str, Sequence[Point]]]) -> bytes:
    """Accuracy (above) and architecture change (below) against FGSM's budget, as a PNG.

    Args:
        curves: Victim (or ``"static"``) to method (or network) to points.
    """
    figure = Figure(figsize=(3.4 * len(curves), 5.6), layout="constrained")
    axes = figure.subplots(2, len(curves), squeeze=False, sharex=True)
    for column, (victim, methods) in enumerate(curves.items()):
        upper, lower = axes[0][column], axes[1][column]
        for (method, points), colour in zip(methods.items(), cycle(COLOURS), strict=False):
            budgets = [point.eps_255 for point in points]
            accuracy = [point.accuracy for point in points]
            upper.plot(budgets, accuracy, "o-", color=colour, label=method)
            low, high = ([getattr(p, end) for p in points] for end in ("low", "high"))
            upper.fill_between(budgets, low, high, color=colour, alpha=0.15)
            changes = [point.change for point in points]
            lower.plot(budgets, changes, "o-", color=colour, label=method)
        upper.set(title=victim, ylabel="accuracy (%)")
        upper.set_ylim(bottom=0)
        _tidy(upper)
        if any(point.change for points in methods.values() for point in points):
            lower.set(xlabel="FGSM ε (units)", ylabel="architecture change (%)")
            lower.set_ylim(bottom=0)
            _tidy(lower)
        else:  # static networks
            lower.set_visible(False)
            upper.set_xlabel("FGSM ε (units)")
            upper.tick_params(labelbottom=True)
    return figure_png(figure)


def gap_figure(gaps: Mapping[str, Mapping[str, Mapping[str, Paired]]]) -> bytes:
    """Accuracy minus FGM's in each row, with its interval, one panel per victim, as a PNG.

    Args:
        gaps: Victim to method to attack to its comparison with FGM.
    """
    attacks = list(
        dict.fromkeys(one for own in gaps.values() for row in own.values() for one in row)
    )
    colours = _coloured(["FGM", *(name for own in gaps.values() for name in own)])
    del colours["FGM"]  # the others have the colours that they have in ``budget_figure``
    between = 0.16  # of the distance of two attacks
    height_in = 1.4 + (0.2 + between * len(colours)) * 0.8 * len(attacks)
    figure = Figure(figsize=(2 + 3.4 * len(gaps), height_in), layout="constrained")
    panels = figure.subplots(1, len(gaps), squeeze=False, sharey=True, sharex=True)[0]
    for axes, (victim, methods) in zip(panels, gaps.items(), strict=True):
        axes.axvline(0, color="gray", linewidth=1)
        for place, (method, colour) in enumerate(colours.items()):
            for attack, paired in methods.get(method, {}).items():
                height = attacks.index(attack) + between * place
                axes.plot(paired.interval(), (height, height), color=colour)
                axes.plot(paired.difference, height, "o", color=colour)
        axes.set(title=victim, xlabel="minus FGM, points (left: stronger)")
        axes.set_yticks(range(len(attacks)), attacks)
        _tidy(axes)
    panels[0].invert_yaxis()
    _legend_below(figure, colours)
    return figure_png(figure)


def sweep_figure(sweeps: Sequence[Sweep]) -> bytes:
    """Accuracy on the tuning images against the slope, one panel per weights, as a PNG.

    A record may hold several weights of one victim, told apart by their SHA-256. A row has one
    colour throughout; FGM's is a dashed line. Of tries that differ in step size, the best counts.
    """
    victims = list(dict.fromkeys((sweep.victim, sweep.sha256) for sweep in sweeps))
    colours = _coloured(sweep.row for sweep in sweeps)
    figure = Figure(figsize=(4.6 * max(1, len(victims)), 3.9), layout="constrained")
    for axes, victim in zip(
        figure.subplots(1, max(1, len(victims)), squeeze=False)[0], victims, strict=False
    ):
        for sweep in sweeps:
            if (sweep.victim, sweep.sha256) == victim:
                _draw_sweep(axes, sweep, colours[sweep.row])
        axes.set(
            title=f"{victim[0]}, {victim[1][:8]}",
            xlabel="slope λ",
            ylabel="accuracy (%)",
            xscale="log",
        )
        _tidy(axes)
    _legend_below(figure, colours, Line2D([], [], color="gray", linestyle="--", label="FGM"))
    return figure_png(figure)


def _draw_sweep(axes: Axes, sweep: Sweep, colour: str) -> None:
    best: dict[float | None, float] = {}
    for one in sweep.tries:
        percent = 100 * one.right / one.count
        best[one.slope] = min(best.get(one.slope, 100.0), percent)
    if sweep.method == "FGM":
        axes.axhline(min(best.values()), color=colour, linestyle="--", linewidth=1)
        return
    points = sorted((slope, percent) for slope, percent in best.items() if slope is not None)
    axes.plot(*zip(*points, strict=True), "o-", color=colour)


def _coloured(names: Iterable[str]) -> dict[str, str]:
    return dict(zip(dict.fromkeys(names), cycle(COLOURS), strict=False))


def _legend_below(figure: Figure, colours: Mapping[str, str], *more: Line2D) -> None:
    """One legend for all panels: a line with dots for each name, then ``more``."""
    lines = [Line2D([], [], color=c, marker="o", label=name) for name, c in colours.items()]
    figure.legend(
        handles=[*lines, *more], loc="outside lower center", ncols=6, frameon=False, fontsize=8
    )


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)
