"""What an attack left of some scenes, to be compared with another attack on the same scenes."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import torch
from torch import Tensor

from leadgrad.pipelines.attack.task import Difference, Outcome
from leadgrad.pipelines.tasks.scenes.records import SceneRun, scenes_of
from leadgrad.pipelines.tasks.scenes.scores import class_ious, mean_class_iou

DRAWS = 2000  # of the bootstrap over scenes
SWAPS = 10_000  # of the permutation test, where there are more ways to swap scenes
AT_ONCE = 500  # ways to swap: of thousands of scenes all would take gigabytes
FEWEST = 3
"""Scenes that an interval needs: the resamplings of two are three numbers."""


@dataclass(frozen=True)
class Measured(Outcome):
    """mIoU of one attack, with an interval from a bootstrap over scenes.

    Args:
        counts: Confusion of each scene. Shape: (S, K, K), int64.
        draws: mIoU in percent of every resampling of the scenes, which are the same for every
            attack on as many, so that two attacks' draws are paired. Shape: (DRAWS,).
    """

    counts: Tensor
    draws: Tensor

    @classmethod
    def of(cls, counts: Tensor) -> Measured:
        """From each scene's confusion, (S, K, K), int64."""
        scenes = len(counts)
        generator = torch.Generator().manual_seed(0)
        picks = torch.randint(0, scenes, (DRAWS, scenes), generator=generator)
        weights = torch.zeros(DRAWS, scenes, dtype=torch.float64)
        weights.scatter_add_(1, picks, torch.ones_like(picks, dtype=torch.float64))
        return cls(counts, _mious(weights, counts))

    @property
    def value(self) -> float:
        """MIoU of all scenes together, in percent."""
        return mean_class_iou(self.counts.sum(0))

    @property
    def interval(self) -> tuple[float, float]:
        """Of 95 %."""
        return _ends(self.draws, len(self.counts))

    def minus(self, other: Outcome) -> Difference:
        """Of the mIoUs, with its paired interval; p of swapping the two in some of the scenes."""
        assert isinstance(other, Measured), "of one kind of data"
        between = _ends(self.draws - other.draws, len(self.counts))
        return Difference(self.value - other.value, *between, _swapped(self.counts, other.counts))


def _mious(weights: Tensor, counts: Tensor) -> Tensor:
    """MIoU in percent of scenes (S, K, K) weighted by each row of (D, S). Shape: (D,)."""
    matrices = (weights @ counts.flatten(1).double()).view(len(weights), *counts.shape[1:])
    return class_ious(matrices).nanmean(1)


def _ends(draws: Tensor, scenes: int) -> tuple[float, float]:
    """95 % interval of resamplings; NaN of so few scenes that it would say nothing."""
    if scenes < FEWEST:
        return nan, nan
    low, high = draws.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def _swapped(one: Tensor, other: Tensor) -> float | None:
    """Two-sided p of a permutation test: were the attacks alike, either could have made a scene.

    Exact where all ways to swap scenes can be tried, else of ``SWAPS`` random ones and the one
    that was seen. None of too few scenes.

    Args:
        one: Confusions under an attack. Shape: (S, K, K), int64.
        other: Under another, of the same scenes.
    """
    scenes = len(one)
    if scenes < FEWEST:
        return None
    if 2**scenes <= SWAPS:
        ways = torch.arange(2**scenes)[:, None] >> torch.arange(scenes)
        kept = (ways & 1).double()  # the last one, no swap, among them
    else:
        generator = torch.Generator().manual_seed(0)
        kept = torch.randint(0, 2, (SWAPS + 1, scenes), generator=generator).double()
        kept[-1] = 1
    both, weights = torch.cat([one, other]), torch.cat([kept, 1 - kept], 1)
    gaps = torch.cat(
        [
            (_mious(part, both) - _mious(1 - part, both)).abs()
            for part in weights.split(AT_ONCE)  # type: ignore[no-untyped-call]
        ]
    )
    if bool(gaps.isnan().any()):
        return None  # scenes without a label tell nothing
    # Roundings must not tell apart what is the same
    return float((gaps >= gaps[-1] - 1e-9).double().mean())


def confusions(run: SceneRun, *, clean: bool = False) -> Tensor:
    """Each scene's confusion after the attack, or before. Shape: (S, K, K), int64."""
    return torch.stack(
        [r.confusion(r.clean_answers if clean else r.adv_answers) for r in scenes_of(run)]
    )
