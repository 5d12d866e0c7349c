"""What freezing the decisions overstates, as a picture: a line per victim, a dot per attack."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from matplotlib.figure import Figure

from leadgrad.pipelines.paper.defences import FROZEN, LED, UNLED, WORST
from leadgrad.pipelines.paper.ways import Measured
from leadgrad.pipelines.report.curves import tidy
from leadgrad.pipelines.report.pictures import figure_png

LOOKS = {
    UNLED: ("strongest attack that leads nothing", "#3478c8", "o", "full"),
    LED: ("LGM, as many gradients", "#c0392b", "o", "full"),
    FROZEN: ("Standard, decisions frozen", "#3478c8", "D", "none"),
    WORST: ("Standard", "#c0392b", "D", "none"),
}
"""Label, colour, marker and how it is filled, of each kind of attack."""
LINE = 0.5  # inches


def gaps_figure(found: Sequence[Measured]) -> bytes:
    """As a PNG. Bars are the intervals of the table."""
    victims = list(dict.fromkeys(each.victim.name for each in found))
    figure = Figure(figsize=(8.5, 1.2 + LINE * len(victims)), layout="constrained")
    axes = figure.subplots()
    for number, (kind, (label, colour, marker, fill)) in enumerate(LOOKS.items()):
        low, high, values, rows = [], [], [], []
        for row, victim in enumerate(victims):
            own = [each for each in found if (each.victim.name, each.way.kind) == (victim, kind)]
            if not own:
                continue
            strongest = min((each.left for each in own), key=lambda each: each.value)
            below, above = strongest.interval
            values.append(strongest.value)
            low.append(0.0 if isnan(below) else strongest.value - below)
            high.append(0.0 if isnan(above) else above - strongest.value)
            rows.append(row + 0.14 * (number - 1.5))  # apart, so that none hides another
        axes.errorbar(
            values,
            rows,
            xerr=(low, high),
            color=colour,
            marker=marker,
            fillstyle=fill,
            linestyle="none",
            elinewidth=1,
            label=label if rows else None,
        )
    axes.set_yticks(range(len(victims)), victims)
    axes.set_ylim(len(victims) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel("right before and after the attack, %; lower is a stronger attack")
    tidy(axes)
    return figure_png(figure)
