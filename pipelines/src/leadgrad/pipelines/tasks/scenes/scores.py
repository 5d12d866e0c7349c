"""Numbers of attacked scenes: IoUs from integer counts, displacements."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from leadgrad.pipelines.tasks.scenes.records import SceneBatch

NEIGHBOURS = 5  # of the outlier score, as IF-Defense's kNN distance


def class_ious(counts: Tensor) -> Tensor:
    """IoU of each class in percent, NaN where no point has the label. Shape: (..., K), float64.

    Args:
        counts: Labels in rows, answers in columns, summed over scenes. Shape: (..., K, K).
    """
    both = counts.diagonal(dim1=-2, dim2=-1).double()
    labelled = counts.sum(-1)
    union = counts.sum(-2) + labelled - both
    return torch.where(labelled > 0, 100 * both / union, torch.nan)


def mean_class_iou(counts: Tensor) -> float:
    """MIoU of a set of scenes in percent: the mean over the classes that its labels hold."""
    return float(class_ious(counts).nanmean())


@dataclass(frozen=True)
class Displacement:
    """How far points moved, and how far apart the two clouds are, in metres.

    Args:
        mean_m: Mean length of a point's move.
        max_m: Greatest.
        max_axis_m: Greatest move along an axis, which the budget bounds.
        chamfer_m: Mean distance to the nearest point of the other cloud, averaged over both
            directions; not squared.
        hausdorff_m: Greatest such distance, of both directions.
        outlier_ratio: Mean distance to the five nearest neighbours within the adversarial cloud,
            over the same of the clean one; NaN for clouds of fewer than six points.
    """

    mean_m: float
    max_m: float
    max_axis_m: float
    chamfer_m: float
    hausdorff_m: float
    outlier_ratio: float

    @classmethod
    def of(cls, clean: Tensor, adv: Tensor) -> Displacement:
        """Of one scene's points before and after, both (P, 3) in metres."""
        before, after = clean.double().numpy(), adv.double().numpy()
        # Around the scene's own origin, where single-precision steps are smallest
        before, after = before - before.mean(0), after - before.mean(0)
        moved = after - before
        lengths = np.linalg.norm(moved, axis=1)
        trees = cKDTree(before), cKDTree(after)
        there, back = trees[0].query(after)[0], trees[1].query(before)[0]
        return cls(
            mean_m=float(lengths.mean()),
            max_m=float(lengths.max()),
            max_axis_m=float(np.abs(moved).max()),
            chamfer_m=float((there.mean() + back.mean()) / 2),
            hausdorff_m=float(max(there.max(), back.max())),
            outlier_ratio=_spread(trees[1], after) / _spread(trees[0], before),
        )

    def as_json(self) -> dict[str, float]:
        """As plain values."""
        return asdict(self)


def _spread(tree: cKDTree, points: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    """Mean distance to the nearest neighbours; a point's own distance is left out."""
    if len(points) <= NEIGHBOURS:
        return float("nan")
    distances, _ = tree.query(points, NEIGHBOURS + 1)
    return float(distances[:, 1:].mean())


class RunningMIoU:
    """MIoU of the scenes that this process has attacked so far, for TensorBoard."""

    def __init__(self) -> None:
        self.counts: dict[str, Tensor] = {}
        self.scenes = 0

    def update(self, record: SceneBatch) -> None:
        """Adds the scenes of a batch."""
        self.scenes += len(record.scenes)
        for scene in record.scenes:
            for name, answers in (("clean", scene.clean_answers), ("after", scene.adv_answers)):
                own = scene.confusion(answers)
                self.counts[name] = self.counts[name] + own if name in self.counts else own

    def curves(self) -> tuple[dict[str, float], int]:
        """Before and after, in percent; and the scenes so far."""
        values = {f"miou/{name}": mean_class_iou(own) for name, own in self.counts.items()}
        return values, self.scenes
