"""The standard: an ensemble without a parameter but its budget, for adaptive networks and others.

AutoAttack (Croce & Hein 2020) is that for static networks, and says that it cannot be for networks
whose architecture moves with the input. What is added here is the surrogates: each part of the
ensemble takes its gradients under one of several methods, FGM and those that lead or smooth among
them (``leadgrad.victims.STANDARD``). The schedule is fixed, so that a sample's result depends on
the sample alone. Of a budget of B gradients:

1. Parts of about √(10·B) gradients each: 3 of 32 at 100, 10 of 100 at 1,000.
2. The first parts are APGD on the cross-entropy, under each surrogate in turn.
3. The rest are APGD on the targeted DLR loss: towards the class that the victim ranks second,
   under each surrogate in turn, then towards the third, and so on. Goals other than ``Untargeted``
   have no such targets: they get the first kind again, from other random starts.
4. Square, with as many queries of the victim as gradients, asks for no gradient.

A sample leaves when it has fallen.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from leadgrad.attacks.apgd import APGD
from leadgrad.attacks.base import Attack
from leadgrad.attacks.budget import check_budget, part_length
from leadgrad.attacks.goals import Goal, Untargeted
from leadgrad.attacks.losses import Loss, cross_entropy, dlr, targeted_form
from leadgrad.attacks.models import Model, Several, foresees
from leadgrad.attacks.output import Answer, logits_of
from leadgrad.attacks.samples import Samples, by_row
from leadgrad.attacks.seeding import uniform_like
from leadgrad.attacks.square import Square
from leadgrad.attacks.threat import PixelLinf

LEAST_CLASSES = 4
"""That the targeted DLR loss is defined for."""


@dataclass(frozen=True)
class Part:
    """One attack of the ensemble.

    Args:
        surrogate: Number of the surrogate that gradients are taken of; None: Square, of none.
        rank: Of the class that is gone for, by the victim's clean logits, the right one left out
            and counted from 1; None: the goal's own objective.
        evaluations: Gradients, of Square queries.
    """

    surrogate: int | None
    rank: int | None
    evaluations: int

    @property
    def words(self) -> str:
        """As reports name it."""
        if self.surrogate is None:
            return "Square"
        kind = "CE" if self.rank is None else f"DLR to {self.rank}"
        return f"APGD {kind}, method {self.surrogate + 1}"


@dataclass(frozen=True)
class Worst:
    """The worst case of each of N samples.

    Args:
        inputs: Adversarial ones; where no part has won, those of the greatest score.
        part: Number of the part that has won, -1 where none has. Shape: (N,), int64.
        parts: All of them, in order.
    """

    inputs: Tensor
    part: Tensor
    parts: tuple[Part, ...]

    @property
    def evaluations(self) -> Tensor:
        """Gradients that each sample took at most, to the end of its last part. (N,), int64."""
        spent = torch.tensor([0 if p.surrogate is None else p.evaluations for p in self.parts])
        return spent.cumsum(0).to(self.part.device)[self.part]


@dataclass(frozen=True)
class Standard(Attack):
    """The ensemble, for images.

    Args:
        threat: Budget of the perturbation, convention and valid pixels.
        budget: Gradients per sample, at most, over all surrogates; as many queries of Square. APGD
            also asks the victim about each iterate. Under a surrogate that looks ahead an iterate
            takes two gradients, so there are half as many.
    """

    shares: ClassVar[bool] = True

    threat: PixelLinf
    _: KW_ONLY
    budget: int = 1000

    def __post_init__(self) -> None:
        check_budget(self.budget, quick=100, standard=1000)

    def schedule(self, surrogates: int, classes: int) -> tuple[Part, ...]:
        """The parts, in order.

        Args:
            surrogates: Their number.
            classes: Number of logits.
        """
        length = part_length(self.budget)
        targets = classes - 1 if classes >= LEAST_CLASSES and self._aims else 0
        parts = []
        for number in range(self.budget // length):
            rank = None
            if targets and number >= surrogates:
                rank = 1 + (number // surrogates - 1) % targets
            parts.append(Part(number % surrogates, rank, length))
        return (*parts, Part(None, None, self.budget))

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
        """The worst case of each sample; notes which part has won it."""
        surrogates = surrogate.models if isinstance(surrogate, Several) else (surrogate,)
        worst = self.worst(
            surrogates, inputs, labels, victim=victim, eligible=eligible, ids=samples.ids
        )
        samples.notes.add("fallen to", [p.words for p in worst.parts], samples.ids, worst.part)
        return worst.inputs

    def worst(
        self,
        surrogates: tuple[Model, ...],
        inputs: Tensor,
        labels: Tensor,
        *,
        victim: Model,
        eligible: Tensor | None = None,
        ids: Tensor | None = None,
    ) -> Worst:
        """The same, with the part that has won each sample. Only ``__call__`` checks what it gets.

        Args:
            surrogates: At least one, the likeliest first.
            inputs: Clean images. Shape: (N, C, H, W).
            labels: Shape: (N,), int64.
            victim: As of ``Attack.__call__``.
            eligible: Samples worth attacking (N,), bool; None: all.
            ids: Of each sample, for its random numbers. Shape: (N,); None: 0 to N - 1.
        """
        with torch.no_grad():
            clean = logits_of(victim(inputs))
        ids = torch.arange(len(inputs)) if ids is None else ids
        parts = self.schedule(len(surrogates), clean.shape[1])
        ranked = clean.scatter(1, labels[:, None], -torch.inf).argsort(1, descending=True)
        best, by = inputs.clone(), torch.full_like(labels, -1)
        score = torch.full(labels.shape, -torch.inf, dtype=torch.double, device=inputs.device)
        open_ = torch.ones_like(by, dtype=torch.bool) if eligible is None else eligible.clone()
        for number, part in enumerate(parts):
            rows = open_.nonzero().squeeze(1)
            if not len(rows):
                break
            x, y, own = inputs[rows], labels[rows], ids[rows.cpu()]
            if part.surrogate is None:
                adv = self._queried(part, x, y, victim, own)
            else:
                target = None if part.rank is None else ranked[rows, part.rank - 1]
                model = surrogates[part.surrogate]
                adv = self._climbed(part, number, model, x, y, target, clean.shape[1], victim, own)
            with torch.no_grad():
                answer = victim(adv)
            won = self.goal.reached(y, answer)
            reached = self.goal.score(y, answer).double().nan_to_num(-torch.inf)
            better = won | (reached > score[rows])
            best[rows] = torch.where(by_row(better, adv), adv, best[rows])
            score[rows] = torch.maximum(score[rows], reached)
            by[rows[won]] = number
            open_[rows[won]] = False
        return Worst(best, by, parts)

    @property
    def _aims(self) -> bool:
        """Whether any other class will do, so that each can be gone for."""
        return isinstance(self.goal, Untargeted)

    def _climbed(
        self,
        part: Part,
        number: int,
        surrogate: Model,
        inputs: Tensor,
        labels: Tensor,
        target: Tensor | None,
        classes: int,
        victim: Model,
        ids: Tensor,
    ) -> Tensor:
        """APGD from a random start; its first gradient is one of the part's."""
        points = part.evaluations // 2 if foresees(surrogate) else part.evaluations
        attack = APGD(self.threat, cross_entropy, steps=points - 1, goal=self.goal)
        if target is not None:
            goal = _Towards(classes)
            attack, labels = replace(attack, loss=dlr, goal=goal), goal.pairs(labels, target)
        stream = f"standard {number}"
        noise = uniform_like(inputs, seed=self.seed, sample_ids=ids, stream=stream)
        start = inputs + self.threat.eps_255 * self.threat.unit * noise
        return attack.attempt(surrogate, inputs, labels, start, victim=victim)

    def _queried(
        self, part: Part, inputs: Tensor, labels: Tensor, victim: Model, ids: Tensor
    ) -> Tensor:
        search = Square(self.threat, part.evaluations, goal=self.goal, seed=self.seed)
        eligible = torch.ones_like(labels, dtype=torch.bool)
        samples = Samples.of(inputs, None, ids)
        return search.run(victim, inputs, labels, victim=victim, eligible=eligible, samples=samples)


@dataclass(frozen=True)
class _Towards(Goal):
    """Any wrong class, by way of a given one. "Labels" are pairs of the right class and that one.

    In one number, because rows leave an attack, and each takes its label with it.

    Args:
        classes: Number of logits.
    """

    classes: int

    def pairs(self, labels: Tensor, targets: Tensor) -> Tensor:
        """Both (N,) as one (N,)."""
        return labels * self.classes + targets

    def eligible(self, labels: Tensor, answer: Answer) -> Tensor:
        """Rows classified correctly."""
        return ~self.reached(labels, answer)

    def reached(self, labels: Tensor, answer: Answer) -> Tensor:
        """Rows classified wrongly, as whatever."""
        return Untargeted().reached(labels // self.classes, answer)

    def objective(self, answer: Answer, labels: Tensor, loss: Loss = cross_entropy) -> Tensor:
        """Less the loss towards the target. Shape: (N,)."""
        return -targeted_form(loss)(logits_of(answer), labels % self.classes)
