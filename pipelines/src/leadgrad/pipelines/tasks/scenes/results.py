"""results.json of an attack on scenes: every number from the saved scenes and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from leadgrad.pipelines.attack.results import cost
from leadgrad.pipelines.runs.directory import digest
from leadgrad.pipelines.runs.noted import counted
from leadgrad.pipelines.tasks.scenes.records import SceneRecord, SceneRun
from leadgrad.pipelines.tasks.scenes.scores import Displacement, class_ious, mean_class_iou
from leadgrad.victims.occupancy.partition import Partition


def measure_scenes(run: SceneRun, partition: Partition) -> dict[str, Any]:
    """The measured part of results.json, from the saved scenes.

    All mIoUs are of one confusion matrix over the points of all scenes, over the classes that the
    labels hold. ``adversarial`` is the iterate that the attack returned, ``last`` the last one that
    it showed the victim.

    Args:
        run: With finished scenes.
        partition: The victim's.
    """
    sides = ("clean", "adversarial", "last")
    counts: dict[str, Tensor] = {}
    voxels = torch.zeros((), dtype=torch.int64)
    candidates = torch.zeros(2, dtype=torch.int64)
    points, scenes, costs, notes = 0, [], [], []
    moved = 0
    for batch in run.records():
        costs.append(batch.cost)
        notes.append(batch.noted)
        for record in batch.scenes:
            own = dict(zip(sides, _confusions(record), strict=True))
            for side, matrix in own.items():
                counts[side] = counts[side] + matrix if side in counts else matrix
            voxels = voxels + record.voxels
            candidates += record.candidates
            moved += changed_cell(record, partition)
            points += len(record.label)
            scenes.append(_scene(record, own))
    return {
        "inputs": "scenes",
        "scenes": len(scenes),
        "points": points,
        **{f"{side}_miou": mean_class_iou(matrix) for side, matrix in counts.items()},
        "class_iou": {side: _plain(class_ious(matrix)) for side, matrix in counts.items()},
        "point_accuracy": {
            side: 100 * int(matrix.diag().sum()) / max(1, int(matrix.sum()))
            for side, matrix in counts.items()
        },
        "counts": {
            **{side: int(matrix.diag().sum()) for side, matrix in counts.items()},
            "labelled": int(counts["clean"].sum()) if counts else 0,
        },
        "architecture_change": architecture_change(voxels),
        "changed_voxel_percent": 100 * moved / points,
        "candidate_ratio": float(candidates[0] / candidates[1]) if int(candidates[1]) else None,
        "displacement": _worst(scenes),
        **cost(costs, len(scenes)),
        **counted(notes),
        "per_scene": scenes,
        "digest": digest(run.records()),
        "wall_s": round(run.seconds(), 3),
    }


def architecture_change(voxels: Tensor) -> dict[str, Any]:
    """Voxels born and died over their union, at every stride; the headline is all strides together.

    The paper defines no change ratio for point clouds (docs/reference/scenes.md, "Metrics").

    Args:
        voxels: Born, died and united at strides 1, 2, 4, ..., summed over scenes. Shape: (S, 3),
            int64.
    """
    strides = {
        str(2**level): {
            "percent": 100 * float(born + died) / max(1, int(union)),
            "born": int(born),
            "died": int(died),
            "union": int(union),
        }
        for level, (born, died, union) in enumerate(voxels)
    }
    changed, union = int(voxels[:, :2].sum()), int(voxels[:, 2].sum())
    return {"percent": 100 * changed / max(1, union), "strides": strides}


def changed_cell(record: SceneRecord, partition: Partition) -> int:
    """Number of points that are in another cell than before."""
    before, after = (partition.index(x) for x in (record.clean_inputs, record.adv_inputs))
    return int((before != after).any(1).sum())


def _confusions(record: SceneRecord) -> tuple[Tensor, Tensor, Tensor]:
    clean, adv = (record.confusion(a) for a in (record.clean_answers, record.adv_answers))
    return clean, adv, record.last_counts


def _scene(record: SceneRecord, own: Mapping[str, Tensor]) -> dict[str, Any]:
    return {
        "index": int(record.index),
        "points": len(record.label),
        **{f"{side}_miou": _number(mean_class_iou(matrix)) for side, matrix in own.items()},
        "evaluations": len(record.iterate_miou),
        "displacement": {
            name: _number(value)
            for name, value in Displacement.of(record.clean_inputs, record.adv_inputs)
            .as_json()
            .items()
        },
    }


def _worst(scenes: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Means over scenes of the mean figures, maxima of the others."""
    out: dict[str, float | None] = {}
    for name in scenes[0]["displacement"] if scenes else ():
        values = [scene["displacement"][name] for scene in scenes]
        known = [value for value in values if value is not None]
        greatest = name.startswith("max") or name == "hausdorff_m"
        out[name] = None if not known else max(known) if greatest else sum(known) / len(known)
    return out


def _plain(values: Tensor) -> list[float | None]:
    return [_number(value) for value in values.tolist()]


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return None if value != value else value
