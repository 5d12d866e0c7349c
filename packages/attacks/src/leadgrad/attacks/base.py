"""What every attack is: surrogate, inputs, labels and victim to inputs within the threat model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from leadgrad.attacks.goals import Goal, Untargeted
from leadgrad.attacks.models import Model, apart
from leadgrad.attacks.notes import Notes
from leadgrad.attacks.output import Answer
from leadgrad.attacks.samples import Samples, by_row
from leadgrad.attacks.threat import ThreatModel


@dataclass(frozen=True)
class Attack(ABC):
    """Base of attacks. A subclass implements ``run``; the call around it enforces the rules.

    An attack knows models only as callables, hence nothing of gates: what leads its gradient is the
    surrogate that it is called with. A batch has R rows that belong to S samples: images are rows
    of their own, the points of a scene are rows of one sample.

    Args:
        threat: What the attacker may do.
        goal: What the attacker wants.
        skip_misclassified: Leave rows as they are that the goal does not call eligible: those that
            the victim gets wrong already, as the paper does. They then count as wrong before and
            after.
        seed: Of all that the attack draws, together with each sample's id.

    Attributes:
        ignored: Label of rows that count for nothing; None where every row has a class.
        shares: Whether, given ``Several`` surrogates, it shares its budget out among them; else it
            is run under each in turn (``strongest``).
        wins: Whether a sample can be won, with nothing left to gain; else ``standing`` has only a
            score, of -1 to 0.
    """

    ignored: ClassVar[int | None] = None
    shares: ClassVar[bool] = False
    wins: ClassVar[bool] = True

    threat: ThreatModel
    _: KW_ONLY
    goal: Goal = Untargeted()  # noqa: RUF009 - a frozen value
    skip_misclassified: bool = True
    seed: int = 0

    def __call__(
        self,
        surrogate: Model,
        inputs: Tensor,
        labels: Tensor,
        *,
        victim: Model,
        sample_ids: Tensor | None = None,
        owner: Tensor | None = None,
        notes: Notes | None = None,
    ) -> Tensor:
        """Attacks a batch.

        Args:
            surrogate: Model that gradients are taken of. Like the victim, it may change what it is
                given in place: it gets a copy.
            inputs: Clean inputs. Shape: (R, ...), floating point.
            labels: Right classes, from 0. Shape: (R,), any integer type.
            victim: Model that decides what is right, and what is best where the attack chooses.
            sample_ids: Id of each sample for its random numbers. Shape: (S,); 0 to S-1 if None.
            owner: Number of each row's sample, from 0. Shape: (R,); None where each row is one, or,
                for points, where all are of one scene.
            notes: Takes what the attack notes of samples; None: nobody does.

        Returns:
            Adversarial inputs in the inputs' shape and dtype, detached.

        Raises:
            TypeError: If inputs are not floating point, labels or ids not integers, the threat is
                no threat model, or a model returns something else than logits.
            ValueError: If shapes disagree, the threat model does not admit the inputs (images that
                are normalised, or bytes, or with channels last), a label is no class of the model,
                or a value or a gradient is not finite.
            BudgetError: If ``run`` returned what the threat model forbids even after projection.
        """
        if not isinstance(self.threat, ThreatModel):
            raise TypeError(
                f"{type(self).__name__} needs a threat model, such as PixelLinf(8), got "
                f"{self.threat!r}"
            )
        _validate(inputs, labels, self.ignored)
        samples = self.samples(inputs, owner, sample_ids)
        samples = samples if notes is None else replace(samples, notes=notes)
        greatest = _greatest(labels, self.ignored)
        surrogate, victim = apart(surrogate, greatest), apart(victim, greatest)
        # Lightning's predict loop may run in inference mode, where no graph can be built and whose
        # tensors can never require a gradient; hence leaving it, and the copies.
        with torch.inference_mode(False), torch.enable_grad():
            inputs, labels = inputs.detach().clone(), labels.clone().long()
            if not len(inputs):
                return inputs
            self.threat.admit(inputs)
            eligible = torch.ones_like(labels, dtype=torch.bool)
            if self.skip_misclassified:
                with torch.no_grad():
                    eligible = self.goal.eligible(labels, victim(inputs))
            moved = self.run(
                surrogate, inputs, labels, victim=victim, eligible=eligible, samples=samples
            )
            chosen = by_row(eligible, inputs)
            adv = torch.where(chosen, self.threat.region(inputs).project(moved.detach()), inputs)
            self.threat.check(adv, inputs)
            return adv

    @abstractmethod
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
        """The attack itself, on clean copies with gradients on; ``eligible`` is (R,), bool."""

    def samples(self, rows: Tensor, owner: Tensor | None, ids: Tensor | None) -> Samples:
        """The samples of a batch's rows (R, ...); see ``Samples.of``."""
        return Samples.of(rows, owner, ids)

    def objective(self, answer: Answer, labels: Tensor) -> Tensor:
        """What the attack raises, by row: here its goal's, with the cross-entropy. Shape: (R,)."""
        return self.goal.objective(answer, labels)

    def standing(self, answer: Answer, labels: Tensor, samples: Samples) -> Standing:
        """How far it has come with each sample, judged by the victim's answer to its rows.

        A sample is won when all its rows have reached the goal; its score is the mean of theirs.
        """
        won = samples.all(self.goal.reached(labels, answer))
        return Standing(won, samples.mean(self.goal.score(labels, answer)))


@dataclass(frozen=True)
class Standing:
    """What an attack has reached with each of S samples.

    Args:
        won: Whether there is nothing left to gain. Shape: (S,), bool.
        score: The greater, the better for the attack. Shape: (S,), float64.
    """

    won: Tensor
    score: Tensor


def _greatest(labels: Tensor, ignored: int | None) -> int:
    """The greatest class among the labels, -1 where there is none."""
    counted = labels if ignored is None else labels[labels != ignored]
    return int(counted.max()) if len(counted) else -1


def _validate(inputs: Tensor, labels: Tensor, ignored: int | None) -> None:
    for name, given in (("inputs", inputs), ("labels", labels)):
        if not isinstance(given, Tensor):
            raise TypeError(f"{name} must be a tensor, got a {type(given).__name__}")
    if not inputs.is_floating_point():
        raise TypeError(
            f"inputs must be floating point, images in [0, 1], got {inputs.dtype}; "
            "divide bytes by 255"
        )
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise TypeError(f"labels must be class indices of an integer type, got {labels.dtype}")
    if labels.shape != inputs.shape[:1]:
        raise ValueError(
            f"labels must be class indices of shape ({len(inputs)},), got {tuple(labels.shape)}"
        )
    negative = labels < 0
    if bool(negative.any()):
        hint = "" if ignored is None else f", or {ignored} to leave a row out"
        raise ValueError(
            f"labels must be classes from 0 on{hint}, got {int(labels[negative][0])} at row "
            f"{int(negative.nonzero()[0])}; leave out samples without a class"
        )
    finite = inputs.flatten(1).isfinite().all(1) if inputs.numel() else inputs.new_ones(0).bool()
    if not bool(finite.all()):
        first = int((~finite).nonzero()[0])
        raise ValueError(
            f"{int((~finite).sum())} of {len(inputs)} inputs hold NaN or infinity, the first is "
            f"number {first} of its batch; repair or leave out that sample"
        )
