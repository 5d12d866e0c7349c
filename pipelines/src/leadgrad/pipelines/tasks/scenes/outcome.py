"""What an attack left of some scenes, to be compared with another attack on the same scenes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from leadgrad.pipelines.attack.task import Difference, Outcome
from leadgrad.pipelines.tasks.scenes.records import SceneRun, scenes_of
from leadgrad.pipelines.tasks.scenes.scores import class_ious, mean_class_iou

DRAWS = 2000  # of the bootstrap over scenes


@dataclass(frozen=True)
class Measured(Outcome):
    """mIoUs of one cell with intervals from a bootstrap over scenes.

    Args:
        miou: In percent, of all scenes.
        low: Lower end of the 95 % interval.
        high: Its upper end.
        draws: mIoU of every resampling of the scenes. Shape: (DRAWS,).
    """

    miou: float
    low: float
    high: float
    draws: Tensor

    @classmethod
    def of(cls, counts: Tensor) -> Measured:
        """From each scene's confusion, (S, K, K), int64.

        The resamplings are the same for every cell, so two cells' draws are paired.
        """
        scenes = len(counts)
        generator = torch.Generator().manual_seed(0)
        picks = torch.randint(0, scenes, (DRAWS, scenes), generator=generator)
        weights = torch.zeros(DRAWS, scenes, dtype=torch.float64)
        weights.scatter_add_(1, picks, torch.ones_like(picks, dtype=torch.float64))
        matrices = (weights @ counts.flatten(1).double()).view(DRAWS, *counts.shape[1:])
        draws = class_ious(matrices).nanmean(1)
        low, high = draws.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
        return cls(mean_class_iou(counts.sum(0)), low, high, draws)

    @property
    def value(self) -> float:
        """MIoU in percent."""
        return self.miou

    @property
    def interval(self) -> tuple[float, float]:
        """Of 95 %."""
        return self.low, self.high

    def minus(self, other: Outcome) -> Difference:
        """Of the mIoUs, with its paired interval; a bootstrap gives no p."""
        assert isinstance(other, Measured), "of one kind of data"
        ends = (self.draws - other.draws).quantile(
            torch.tensor([0.025, 0.975], dtype=torch.float64)
        )
        return Difference(self.miou - other.miou, float(ends[0]), float(ends[1]), None)


def confusions(run: SceneRun, *, clean: bool = False) -> Tensor:
    """Each scene's confusion after the attack, or before. Shape: (S, K, K), int64."""
    return torch.stack(
        [r.confusion(r.clean_answers if clean else r.adv_answers) for r in scenes_of(run)]
    )
