"""Numbers of an attack on scenes as rows of tables, for the terminal and the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from rich.console import Console
from rich.table import Table

from leadgrad.pipelines.tables import class_name, cost_rows, short_class

SIDES = ("clean", "adversarial", "last")


def scene_result_rows(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was measured, as (name, value) rows."""
    change, moved = results["architecture_change"], results["displacement"]
    by_stride = ", ".join(
        f"{value['percent']:.2f} at {stride}" for stride, value in change["strides"].items()
    )
    rows = [
        ("scenes", f"{results['scenes']:,} with {results['points']:,} points"),
        ("mIoU before", percent(results["clean_miou"])),
        ("mIoU after, best iterate", percent(results["adversarial_miou"])),
        ("mIoU after, last iterate", percent(results["last_miou"])),
        (
            "points right",
            " → ".join(percent(results["point_accuracy"][side]) for side in SIDES[:2]),
        ),
        (
            "voxels born and died, of their union",
            f"{percent(change['percent'])} (by stride: {by_stride})",
        ),
        ("points in another voxel", percent(results["changed_voxel_percent"])),
        ("displacement", f"mean {_mm(moved['mean_m'])}, greatest {_mm(moved['max_m'])}"),
        ("Chamfer, Hausdorff", f"{_mm(moved['chamfer_m'])}, {_mm(moved['hausdorff_m'])}"),
        *cost_rows(results),
    ]
    if results["candidate_ratio"] is not None:
        ratio = results["candidate_ratio"]
        rows.append(("candidate voxels over occupied ones", f"{ratio:.3f}"))
    return rows


def scene_setting_rows(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How the numbers were made, as (name, value) rows."""
    data = results["data"]
    return [
        ("victim", short_class(results["victim"])),
        ("gradient method", short_class(results["method"])),
        ("attack", short_class(results["attack"])),
        ("budget", f"{results['threat']['init_args']['eps_m']:g} m along each axis"),
        ("data", f"{data['dataset']} {data['split']}, {data['count']:,} scenes"),
        ("attack time", f"{results['wall_s']:.1f} s, summed over scenes and processes"),
        ("versions", ", ".join(f"{name} {value}" for name, value in results["versions"].items())),
        ("digest", results["digest"]),
    ]


def class_rows(results: Mapping[str, Any], names: list[str]) -> list[tuple[str, list[str]]]:
    """IoU of each class that the labels hold, before and after: Table VI's columns."""
    ious = results["class_iou"]
    return [
        (
            name,
            ["" if ious[side][number] is None else f"{ious[side][number]:.1f}" for side in SIDES],
        )
        for number, name in enumerate(names)
        if ious["clean"][number] is not None
    ]


def title(results: Mapping[str, Any]) -> str:
    """Of the run's pages."""
    names = (class_name(results[part]) for part in ("attack", "victim", "method"))
    return "{} on {} under {}".format(*names)


def print_scene_results(results: Mapping[str, Any], file: IO[str]) -> None:
    """Prints one run."""
    table = Table(title=title(results), show_header=False)
    for row in (*scene_setting_rows(results)[:5], *scene_result_rows(results)):
        table.add_row(*row)
    console = Console(file=file)
    console.print(table)
    console.print("Checks C1 to C21 are for images; leadgrad verify makes C23 to C28 of scenes.")


def percent(value: float | None) -> str:
    """A percentage for people; a dash where no label says what is right."""
    return "–" if value is None or value != value else f"{value:.2f} %"


def _mm(value: float | None) -> str:
    return "–" if value is None else f"{1000 * value:.2f} mm"
