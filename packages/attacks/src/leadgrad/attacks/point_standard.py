"""The standard of scenes: gradient attacks from several starts under several surrogates.

As ``Standard`` it has no parameter but its budget, shares that out among its surrogates by a fixed
rule, and keeps of each scene the worst that its victim was shown. Of a budget of B gradients:

1. Parts of about √(10·B) gradients each: 3 of 33 at 100, 10 of 100 at 1,000.
2. The first parts start from the clean scene, under each surrogate in turn; later ones start at
   random in the budget, under the surrogates in turn.
3. A part takes a third of its gradients with steps of ε/2, then of ε/4, then of ε/8, each third
   beginning at the worst point of the part.

There is no Square here: a scene has as many places to search as it has points.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import torch
from torch import Tensor

from leadgrad.attacks.budget import check_budget, part_length
from leadgrad.attacks.models import Model, Several
from leadgrad.attacks.point_gradient import PointIFGSM
from leadgrad.attacks.points import PointAttack, PointLinf, Worst
from leadgrad.attacks.samples import Samples
from leadgrad.attacks.seeding import uniform_like

SHARES = (1 / 2, 1 / 4, 1 / 8)
"""Steps of a part, over ε."""


@dataclass(frozen=True)
class PointStandard(PointAttack):
    """The ensemble, for scenes; notes the part under which each scene was worst.

    Args:
        threat: Budget of the perturbation.
        budget: Gradients per scene, over all surrogates. As many scenes are shown to the victim,
            and three more of each part.
    """

    shares: ClassVar[bool] = True

    threat: PointLinf
    _: KW_ONLY
    budget: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        check_budget(self.budget, quick=30, standard=100)

    @property
    def step_size_m(self) -> float:
        """The greatest step in metres, which says how far a led gradient has to look."""
        return SHARES[0] * self.threat.eps_m

    def lengths(self) -> tuple[int, ...]:
        """Gradients of each part, in order; together the budget."""
        length = part_length(self.budget)
        count = self.budget // length
        return tuple(self.budget // count + (n < self.budget % count) for n in range(count))

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
        """The worst points of each scene; of equals the first."""
        surrogates = surrogate.models if isinstance(surrogate, Several) else (surrogate,)
        worst = Worst.unseen(inputs, samples)
        by = torch.full((samples.count,), -1)
        words = []
        for number, length in enumerate(self.lengths()):
            chosen, again = number % len(surrogates), number // len(surrogates)
            words.append(f"method {chosen + 1}, {f'start {again}' if again else 'clean start'}")
            start = self._start(inputs, samples, number) if again else inputs
            found = self._part(
                surrogates[chosen], labels, start, length, inputs, victim=victim, samples=samples
            )
            better = found.score > worst.score
            worst.score = torch.where(better, found.score, worst.score)
            worst.points = torch.where(samples.rows(better)[:, None], found.points, worst.points)
            by[better.cpu()] = number
        samples.notes.add("worst under", words, samples.ids, by)
        return worst.points

    def _start(self, inputs: Tensor, samples: Samples, number: int) -> Tensor:
        noise = uniform_like(
            inputs,
            seed=self.seed,
            sample_ids=samples.ids,
            stream=f"standard {number}",
            owner=samples.owner,
        )
        return self.threat.region(inputs).project(inputs + self.threat.eps_m * noise)

    def _part(
        self,
        surrogate: Model,
        labels: Tensor,
        x: Tensor,
        length: int,
        origin: Tensor,
        *,
        victim: Model,
        samples: Samples,
    ) -> Worst:
        """What ``length`` gradients find from ``x``."""
        worst = Worst.unseen(origin, samples)
        for number, share in enumerate(SHARES):
            steps = length // len(SHARES) + (number < length % len(SHARES))
            attack = PointIFGSM(self.threat, steps=steps + 1, step_size_m=share * self.threat.eps_m)
            attack.iterate(
                surrogate, labels, x, worst, origin=origin, victim=victim, samples=samples
            )
            x = worst.points
        return worst
