"""Numbers of an attack on scenes as rows of tables, for the terminal and the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leadgrad.pipelines.report.words import cost_rows, noted_rows, short_class

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
        *noted_rows(results),
    ]
    if results["candidate_ratio"] is not None:
        ratio = results["candidate_ratio"]
        rows.append(("candidate voxels over occupied ones", f"{ratio:.3f}"))
    return rows


def threat_words(threat: Mapping[str, Any]) -> str:
    """A budget of metres in words; any other threat model as it would be written in Python."""
    eps_m = threat.get("init_args", {}).get("eps_m")
    return short_class(threat) if eps_m is None else f"{eps_m:g} m along each axis"


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


def percent(value: float | None) -> str:
    """A percentage for people; a dash where no label says what is right."""
    return "–" if value is None or value != value else f"{value:.2f} %"


def _mm(value: float | None) -> str:
    return "–" if value is None else f"{1000 * value:.2f} mm"
