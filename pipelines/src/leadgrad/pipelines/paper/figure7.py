"""Figure 7: which gates execute for which classes, before and after two attacks, as pictures."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from leadgrad.pipelines.paper.class_groups import FEW, Groups, class_groups
from leadgrad.pipelines.paper.execution_rates import (
    METHODS,
    Decided,
    Panel,
    components,
    panels,
    shown,
)
from leadgrad.pipelines.paper.point_labels import label_points
from leadgrad.pipelines.report.pictures import figure_bytes, figure_format
from leadgrad.pipelines.report.words import class_name, network_name
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.pipelines.tasks.images.records import BatchRecord
from leadgrad.pipelines.tasks.images.words import threat_words
from leadgrad.victims.weights.atomic import write_atomically

MAP_INCHES = 1.15


def figure7(
    fgm: RunDirectory[BatchRecord],
    lgm: RunDirectory[BatchRecord],
    path: Path,
    groups_file: Path | None = None,
) -> list[Path]:
    """Draws the figure and writes its numbers.

    Args:
        fgm: A finished run under FGM.
        lgm: One under LGM, of the same attack on the same victim and images.
        path: Of the picture, in the format of its suffix. The numbers have its name with ``.csv``;
            where gates decide maps, a second picture has it with ``-maps`` added.
        groups_file: As of ``class_groups``.

    Returns:
        What was written.

    Raises:
        RunError: If the runs cannot stand beside each other.
        ValueError: If the file of groups does not fit, or there is no such format.
    """
    figure_format(path)  # before the work
    classes = fgm.run()["classes"]
    groups = class_groups(classes, groups_file)
    made, decided = panels({METHODS[0]: fgm, METHODS[1]: lgm})
    title = _title(fgm, len(decided[METHODS[0]].label))
    path.parent.mkdir(parents=True, exist_ok=True)
    written = [path, path.with_suffix(".csv")]
    write_atomically(path, figure_bytes(_matrices(made, classes, groups, title), path))
    write_atomically(written[1], table(made, classes, groups).encode())
    if decided[METHODS[0]].maps:
        written.append(path.with_name(f"{path.stem}-maps{path.suffix}"))
        write_atomically(written[-1], figure_bytes(_maps(decided, title), path))
    return written


def _title(run: RunDirectory[BatchRecord], images: int) -> str:
    model, data = run.run()["config"]["model"], run.run()["fingerprint"]["data"]
    victim = network_name(model["network"])
    budget = threat_words(model["attack"]["init_args"]["threat"])
    return (
        f"{victim}, {class_name(model['attack'])}, {budget}; {images:,} images of "
        f"{data['dataset']}'s {data['split']} split that were right before"
    )


def table(made: Sequence[Panel], classes: Sequence[str], groups: Groups) -> str:
    """All numbers as CSV: a line per panel and class; empty where a row has no image."""
    group_of = {number: name for name, members in groups.items() for number in members}
    gates = made[0].rates.shape[1]
    kept = shown(made)
    names = [f"gate {number}" for number in range(1, gates + 1)]
    rows = []
    for panel in made:
        points, _ = components(panel)
        for number, name in enumerate(classes):
            rates = ["" if np.isnan(rate) else f"{rate:.6f}" for rate in panel.rates[number]]
            where = [f"{value:.6f}" if kept[number] else "" for value in points[number]]
            head = [panel.letter, panel.title, panel.rows, number, name, group_of[number]]
            rows.append([*head, int(panel.count[number]), *rates, *where])
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    head = ["panel", "attack", "rows", "class", "name", "group", "images", *names]
    writer.writerow([*head, "component 1", "component 2"])
    writer.writerows(rows)
    return buffer.getvalue()


def _matrices(made: Sequence[Panel], classes: Sequence[str], groups: Groups, title: str) -> Figure:
    """Heat maps above, scatters below."""
    few = len(classes) <= FEW
    alone = all(len(members) == 1 for members in groups.values())
    palette = colormaps["tab10" if len(groups) <= 10 else "tab20"]
    colours = {name: to_hex(palette(number % palette.N)) for number, name in enumerate(groups)}
    figure = Figure(figsize=(16, 8.2), layout="constrained")
    figure.suptitle(title)
    above, below = figure.subplots(2, len(made), height_ratios=(1.25, 1))
    order = [number for members in groups.values() for number in members]
    drawn = None
    for axes, panel in zip(above, made, strict=True):
        drawn = axes.imshow(
            panel.rates[order], vmin=0, vmax=1, cmap="YlGnBu", aspect="auto", interpolation="none"
        )
        axes.set_title(f"({panel.letter}) {panel.title},\nby {panel.rows}", fontsize=10)
        axes.set_xlabel("gate")
        gates = panel.rates.shape[1]
        step = max(1, gates // 8)
        axes.set_xticks(range(0, gates, step), [str(n + 1) for n in range(0, gates, step)])
        axes.set_yticks([])
        _mark_groups(axes, groups)
    _label_rows(above[0], order, classes if few else None, groups, colours)
    assert drawn is not None  # there are five
    figure.colorbar(drawn, ax=above, label="share executed", fraction=0.02, pad=0.01)
    kept = shown(made)
    for axes, panel in zip(below, made, strict=True):
        _scatter(axes, panel, kept, classes if few else None, groups, colours)
    if not alone:
        handles = [
            Line2D([], [], marker="o", linestyle="", color=colour, label=name)
            for name, colour in colours.items()
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=7, frameon=False)
    return figure


def _scatter(
    axes: Axes,
    panel: Panel,
    kept: NDArray[np.bool_],
    classes: Sequence[str] | None,
    groups: Groups,
    colours: Mapping[str, str],
) -> None:
    """Principal components of the classes that every panel has, named where they are few."""
    points, shares = components(panel)
    own = {name: [one for one in members if kept[one]] for name, members in groups.items()}
    for name, members in own.items():
        x, y = points[members].T
        axes.scatter(x, y, s=6 if classes is None else 14, color=colours[name])
    axes.set_title(f"({panel.letter})", fontsize=10)
    axes.set_xlabel(f"component 1 ({100 * shares[0]:.0f} % of variance)", fontsize=8)
    axes.set_ylabel(f"component 2 ({100 * shares[1]:.0f} %)", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.locator_params(nbins=4)
    axes.margins(0.2)
    axes.spines[["top", "right"]].set_visible(False)
    if classes is not None:
        listed = [(one, colours[name]) for name, members in own.items() for one in members]
        numbers = [one for one, _ in listed]
        names = [classes[one] for one in numbers]
        label_points(axes, points[numbers], names, [colour for _, colour in listed])


def _mark_groups(axes: Axes, groups: Groups) -> None:
    """Lines between groups of several classes."""
    sizes = [len(members) for members in groups.values()]
    if max(sizes) > 1:
        for edge in np.cumsum(sizes)[:-1]:
            axes.axhline(edge - 0.5, color="black", linewidth=0.6)


def _label_rows(
    axes: Axes,
    order: Sequence[int],
    classes: Sequence[str] | None,
    groups: Groups,
    colours: Mapping[str, str],
) -> None:
    """Names of few classes, or of the groups of many, in their groups' colours."""
    if classes is not None:
        axes.set_yticks(range(len(order)), [classes[number] for number in order], fontsize=8)
        names = [name for name, members in groups.items() for _ in members]
    else:
        names = list(groups)
        edges = np.cumsum([0, *(len(members) for members in groups.values())])
        axes.set_yticks((edges[:-1] + edges[1:] - 1) / 2, names, fontsize=8)
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        label.set_color(colours[name])


def _maps(decided: Mapping[str, Decided], title: str) -> Figure:
    """The mean mask of each gate that decides one: before, after, and what was changed."""
    frozen = decided[METHODS[0]]
    gates = list(frozen.maps)
    rows = ["before", *(f"after {name}" for name in METHODS)]
    rows += [f"{name} - before" for name in METHODS]
    size = (1.6 + MAP_INCHES * len(gates), 0.9 + MAP_INCHES * len(rows))
    engine = ConstrainedLayoutEngine(w_pad=0.08)  # a label at the edge would be cut
    figure = Figure(figsize=size, layout=engine)
    figure.suptitle("\n".join(title.split("; ")), fontsize=9)
    panels_ = figure.subplots(len(rows), len(gates), squeeze=False)
    changes = [
        decided[name].maps[gate][1] - frozen.maps[gate][0] for name in METHODS for gate in gates
    ]
    most = max(0.01, *(float(np.abs(change).max()) for change in changes))
    shares, differences = None, None
    for column, gate in enumerate(gates):
        before = frozen.maps[gate][0]
        after = [decided[name].maps[gate][1] for name in METHODS]
        for axes, one in zip(panels_[:3, column], (before, *after), strict=True):
            shares = axes.imshow(one, vmin=0, vmax=1, cmap="YlGnBu", interpolation="none")
        for axes, one in zip(panels_[3:, column], after, strict=True):
            differences = axes.imshow(
                one - before, vmin=-most, vmax=most, cmap="RdBu_r", interpolation="none"
            )
        height, width = before.shape
        panels_[0, column].set_title(f"gate {gate + 1}\n{height}x{width}", fontsize=8)
    for axes in panels_.flat:
        axes.set(xticks=[], yticks=[])
    for name, axes in zip(rows, panels_[:, 0], strict=True):
        axes.set_ylabel(name, fontsize=8)
    assert shares is not None
    assert differences is not None
    figure.colorbar(shares, ax=list(panels_[:3].flat), label="share executed")
    figure.colorbar(differences, ax=list(panels_[3:].flat), label="change")
    return figure
