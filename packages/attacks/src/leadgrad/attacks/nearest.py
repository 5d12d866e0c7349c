"""The least budget with which an attack succeeds, per sample, by bisection.

One run tells the accuracy at every budget up to the greatest: of each sample the least ε that was
found to succeed, an upper bound of its distance to the nearest adversarial image. Attacks are not
monotone: a budget may fail where a smaller one succeeds, and bisection then stops above.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from leadgrad.attacks.base import Attack
from leadgrad.attacks.models import Model, Several
from leadgrad.attacks.samples import Samples, by_row
from leadgrad.attacks.standard import Standard
from leadgrad.attacks.strongest import strongest
from leadgrad.attacks.threat import PixelLinf

LEAST = "least ε of 255"
"""What it notes of each sample."""


@dataclass(frozen=True)
class Nearest(Attack):
    """Another attack at ever closer budgets; a sample keeps its result at the least that succeeds.

    Several surrogates are shared out or tried in turn, as the other attack does with them. Costs
    one attack per sample for the greatest budget, and log2(eps_255 / resolution_255) more where
    that succeeds.

    Args:
        threat: The greatest budget, convention and valid pixels.
        attack: What is run at each budget; of its threat, goal and seed nothing counts. None:
            ``Standard`` of 100 gradients.
        resolution_255: Least difference of two budgets, in the units of ``eps_255``.
    """

    shares: ClassVar[bool] = True

    threat: PixelLinf
    _: KW_ONLY
    attack: Attack | None = None
    resolution_255: float = 0.25

    def __post_init__(self) -> None:
        if not 0 < self.resolution_255 <= self.threat.eps_255:
            raise ValueError(
                f"resolution_255 must be above 0 and at most eps_255={self.threat.eps_255:g}, got "
                f"{self.resolution_255}"
            )
        inner = self.attack
        if inner is not None and (
            isinstance(inner, Nearest) or not isinstance(inner.threat, PixelLinf)
        ):
            raise ValueError(
                f"attack must be one on images with a budget of its own, such as Standard, got "
                f"{type(inner).__name__}"
            )

    def run(
        self,
        surrogate: Model,
        inputs: Tensor,
        labels: Tensor,
        *,
        victim: Model,
        eligible: Tensor,
        samples: Samples,
    ) -> Tensor:
        """Each sample's result at its least successful budget, of which it takes a note.

        Where none succeeds, the result at the greatest.
        """
        levels = math.ceil(self.threat.eps_255 / self.resolution_255 - 1e-9)
        failed = torch.zeros_like(labels)
        succeeded = torch.full_like(labels, levels + 1)
        adv, asked = inputs.clone(), torch.full_like(labels, levels)
        open_ = eligible.clone()
        while bool(open_.any()):
            for level in torch.unique(asked[open_]).tolist():
                rows = open_ & (asked == level)
                moved, won = self._at(
                    level, surrogate, inputs[rows], labels[rows], victim, samples.part(rows)
                )
                kept = won if level < levels else torch.ones_like(won)  # the greatest, in any case
                adv[rows] = torch.where(by_row(kept, inputs), moved, adv[rows])
                succeeded[rows] = torch.where(won, level, succeeded[rows])
                failed[rows] = torch.where(won, failed[rows], level)
            open_ = open_ & (succeeded <= levels) & (succeeded - failed > 1)
            asked = (failed + succeeded) // 2
        words = [f"{self._eps_255(level):g}" for level in range(1, levels + 1)]
        least = torch.where(succeeded <= levels, succeeded - 1, -1)
        samples.notes.add(LEAST, words, samples.ids, least)
        return adv

    def _eps_255(self, level: int) -> float:
        """The budget of a level, from 1."""
        return min(level * self.resolution_255, self.threat.eps_255)

    def _at(
        self,
        level: int,
        surrogate: Model,
        inputs: Tensor,
        labels: Tensor,
        victim: Model,
        samples: Samples,
    ) -> tuple[Tensor, Tensor]:
        """Inputs at one budget, and whether they succeed."""
        threat = self.threat.within(self._eps_255(level))
        chosen: Attack = Standard(threat, budget=100) if self.attack is None else self.attack
        settings: dict[str, Any] = {"threat": threat, "goal": self.goal, "seed": self.seed}
        moved = strongest(
            replace(chosen, skip_misclassified=False, **settings),
            surrogate.models if isinstance(surrogate, Several) else (surrogate,),
            inputs,
            labels,
            victim=victim,
            sample_ids=samples.ids,
        )
        with torch.no_grad():
            return moved, self.goal.reached(labels, victim(moved))
