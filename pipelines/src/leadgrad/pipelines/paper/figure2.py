"""Figure 2: a logit across a gate's decision, what FGM and LGM see of it, and where they step."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from leadgrad.data import ImageDataModule
from leadgrad.pipelines.paper.gate_line import (
    Candidate,
    Line,
    candidates,
    clearest,
    opposed,
    pieces,
)
from leadgrad.pipelines.report.curves import COLOURS
from leadgrad.pipelines.report.pictures import figure_bytes, figure_format
from leadgrad.pipelines.runs.zoo import Card
from leadgrad.victims.weights.atomic import write_atomically

FGM_COLOUR, LGM_COLOUR = COLOURS[0], COLOURS[1]


@dataclass(frozen=True)
class Settings:
    """What the figure is made of.

    Args:
        images: The split's first, among which an example is looked for.
        slope: λ of LGM's sigmoid.
        step_255: Of both methods, in pixel levels.
    """

    images: int = 100
    slope: float = 5.0
    step_255: float = 1.0

    def __post_init__(self) -> None:
        if self.images < 1 or not self.step_255 > 0:
            raise ValueError(
                f"images must be at least 1 and step_255 above 0, got {self.images} and "
                f"{self.step_255}"
            )


def figure2(card: Card, data: ImageDataModule, split: str, settings: Settings, path: Path) -> str:
    """Finds an example, draws it, and writes the line as CSV beside the PNG.

    Args:
        card: The victim.
        data: Its images.
        split: Of them.
        settings: Number of images, slope and step.
        path: Of the picture, in the format of its suffix.

    Returns:
        How typical the example is, in words.

    Raises:
        ValueError: If there is no example, or no such format.
    """
    figure_format(path)  # before the work
    batch = next(data.batches(split, settings.images, count=settings.images))
    victim = card.load()
    images, labels, slope, step = batch["image"], batch["label"], settings.slope, settings.step_255
    found = candidates(victim, images, labels, slope=slope, step_255=step)
    one, line = clearest(victim, images, found, slope=slope, step_255=step, labels=labels)
    apart = opposed(found)
    led = sum(each.gap > 0 for each in apart)
    said = (
        f"chosen of {len(found):,} units near their decision: on {len(apart)} of their lines the "
        f"methods step apart,\nand LGM's step ends lower on {led} of those"
    )
    name = data.class_names[int(labels[one.image])]
    where = f"image {one.image} of {type(data).__name__}'s {split} split, class {name}"
    title = f"{card.name}, {where}: unit {one.unit} of gate {one.gate + 1}\n{said}"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, figure_bytes(_drawn(one, line, settings, title), path))
    write_atomically(path.with_suffix(".csv"), table(line).encode())
    return said


def table(line: Line) -> str:
    """The line as CSV, a place per row."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["t, pixel levels", "logit", "LGM's logit", "margin", "units flipped"])
    columns = (line.t_255, line.hard, line.soft, line.margin, line.flips)
    for row in zip(*(column.tolist() for column in columns), strict=True):
        writer.writerow([f"{value:.6g}" for value in row])
    return buffer.getvalue()


def _drawn(one: Candidate, line: Line, settings: Settings, title: str) -> Figure:
    figure = Figure(figsize=(9.5, 7.6), layout="constrained")
    figure.suptitle(title, fontsize=10)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2.6, 1))
    step = settings.step_255
    for number, piece in enumerate(pieces(line)):
        label = "exact logit; it jumps where units flip" if not number else None
        above.plot(line.t_255[piece], line.hard[piece], color="black", linewidth=1.6, label=label)
    above.plot(
        line.t_255,
        line.soft + line.shift,
        color=LGM_COLOUR,
        linewidth=1.2,
        alpha=0.55,
        label=f"LGM's logit, sigmoid with λ = {settings.slope:g} (moved by {line.shift:+.2f})",
    )
    for name, slope, colour in (("FGM", one.fgm, FGM_COLOUR), ("LGM", one.lgm, LGM_COLOUR)):
        end = one.after_fgm if name == "FGM" else one.after_lgm
        _step(above, one.now, slope, end, step, name, colour)
    above.plot(0, one.now, "o", color="black", markersize=8, label="present point", zorder=5)
    above.set_ylabel("logit of the true class")
    below.plot(line.t_255, line.margin, color="black", linewidth=1.4)
    below.axhline(0, color="gray", linewidth=0.8)
    below.set(
        xlabel="place on the line, pixel levels of 1/255; along it the margin changes fastest",
        ylabel="the unit's margin\n(above 0: executed)",
    )
    for axes in (above, below):
        for number, crossing in enumerate(line.crossings.tolist()):
            label = None if number else "the unit's decision"
            axes.axvline(crossing, color="gray", linestyle=":", linewidth=1, label=label)
        axes.spines[["top", "right"]].set_visible(False)
    above.legend(loc="best", frameon=False, fontsize=8)
    return figure


def _step(
    axes: Axes, now: float, slope: float, end: float, step: float, name: str, colour: str
) -> None:
    """A method's tangent, what it promises at its step's end, and what is there."""
    to = -step if slope > 0 else step
    promised = now + slope * to
    axes.plot((-to, to), (now - slope * to, promised), "--", color=colour, linewidth=1.2)
    axes.plot(to, promised, "o", markerfacecolor="white", color=colour, markersize=7)
    axes.annotate(
        "",
        (to, end),
        (to, promised),
        arrowprops={"arrowstyle": "->", "color": colour, "linewidth": 1.2},
    )
    axes.plot(
        to,
        end,
        "s",
        color=colour,
        markersize=7,
        label=f"{name}: tangent and step; promised {promised - now:+.3f}, reached {end - now:+.3f}",
    )
