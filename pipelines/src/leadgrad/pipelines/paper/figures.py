"""Plots of a table of images: methods beside FGM, slope sensitivity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from leadgrad.pipelines.attack.task import Difference
from leadgrad.pipelines.paper.tuning import Sweep
from leadgrad.pipelines.report.curves import COLOURS, tidy
from leadgrad.pipelines.report.pictures import figure_png


def gap_figure(gaps: Mapping[str, Mapping[str, Mapping[str, Difference]]]) -> bytes:
    """Accuracy minus FGM's in each row, with its interval, one panel per victim, as a PNG.

    Args:
        gaps: Victim to method to attack to its comparison with FGM.
    """
    attacks = list(
        dict.fromkeys(one for own in gaps.values() for row in own.values() for one in row)
    )
    colours = _coloured(["FGM", *(name for own in gaps.values() for name in own)])
    del colours["FGM"]  # the others have the colours that they have in the curves
    between = 0.16  # of the distance of two attacks
    height_in = 1.4 + (0.2 + between * len(colours)) * 0.8 * len(attacks)
    figure = Figure(figsize=(2 + 3.4 * len(gaps), height_in), layout="constrained")
    panels = figure.subplots(1, len(gaps), squeeze=False, sharey=True, sharex=True)[0]
    for axes, (victim, methods) in zip(panels, gaps.items(), strict=True):
        axes.axvline(0, color="gray", linewidth=1)
        for place, (method, colour) in enumerate(colours.items()):
            for attack, paired in methods.get(method, {}).items():
                height = attacks.index(attack) + between * place
                axes.plot((paired.low, paired.high), (height, height), color=colour)
                axes.plot(paired.points, height, "o", color=colour)
        axes.set(title=victim, xlabel="minus FGM, points (left: stronger)")
        axes.set_yticks(range(len(attacks)), attacks)
        tidy(axes)
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
        tidy(axes)
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
