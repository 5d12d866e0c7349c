"""One batch under attack: the models that the attack sees, and what is recorded of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Generic

import torch
from torch import Tensor, nn

from leadgrad.attacks import Answer, Model, Notes, Output, strongest
from leadgrad.pipelines.attack.counting import Counted
from leadgrad.pipelines.attack.trial import (
    Tried,
    require_same_gates,
    require_samples_first,
    tried,
)
from leadgrad.pipelines.runs.directory import AnyRecord
from leadgrad.pipelines.runs.records import Cost
from leadgrad.victims import (
    Decision,
    GradientMethod,
    Lookahead,
    deciding_as,
    executed_share,
    gradient_method,
    record_decisions,
)
from leadgrad.victims.occupancy.reach import Reach

if TYPE_CHECKING:
    from leadgrad.pipelines.attack.module import AttackModule

Batch = dict[str, Tensor]
"""As the data serves it: inputs, ``"label"`` by row, ``"index"`` by sample, and more."""


class Attempt(ABC, Generic[AnyRecord]):
    """An attack on one batch. A kind of data says how its batches go through a network.

    Args:
        module: Victim, attack and method.
        batch: What is attacked.

    Attributes:
        notes: What the attack has noted of the samples, by their index.
    """

    call: ClassVar[str]
    """What a network is called with, in words."""

    whole: ClassVar[bool] = False
    """Whether a forward is always of all samples, so that none is left out where it is won."""

    def __init__(self, module: AttackModule, batch: Batch) -> None:
        self.module, self.batch = module, batch
        self.attack, self.victim = module.attack, module.victim
        self.notes = Notes()

    @property
    @abstractmethod
    def inputs(self) -> Tensor:
        """What the attack may change. Shape: (R, ...)."""

    @abstractmethod
    def forward(self, network: nn.Module, x: Tensor) -> Tensor:
        """Logits (R, K) of a network for inputs in the place of the clean ones, which it gets."""

    @abstractmethod
    def record(self, adv: Tensor, clean: Tried, after: Tried, cost: Cost) -> AnyRecord:
        """What is kept of the attack.

        Args:
            adv: What it returned.
            clean: The exact victim before.
            after: And after.
            cost: What it took.
        """

    @property
    def described(self) -> str:
        """The inputs in words."""
        return f"inputs of shape {tuple(self.inputs.shape)}"

    @property
    def labels(self) -> Tensor:
        """Right classes. Shape: (R,)."""
        return self.batch["label"]

    @property
    def index(self) -> Tensor:
        """Position of each sample in the attacked split. Shape: (S,), int64."""
        return self.batch["index"]

    @property
    def owner(self) -> Tensor | None:
        """Number of each row's sample (R,); None where each row is one."""
        return None

    def reach(self) -> Reach | None:
        """How far the attack moves the inputs, for victims that decide on places."""
        return None

    def shown(self, answer: Answer) -> Answer:
        """Takes note of what the exact victim answers to the attack, which gets it back."""
        return answer

    def surrogate(self, x: Tensor, method: GradientMethod | None = None) -> Answer:
        """The answer whose gradient is that of ``method``, by default the module's own."""
        used = self.module.method if method is None else method
        with gradient_method(self.victim, used, self.reach()):
            return self._answered(x)

    def ahead(self, x: Tensor, proposed: Tensor, smoothing: float = 0.0) -> Answer:
        """The answer to ``x`` with the exact victim's decisions at ``proposed``, smoothed."""

        def there() -> Tensor:
            return self.forward(self.victim, proposed)

        with deciding_as(self.victim, there, smoothing=smoothing):
            return self._answered(x)

    def _answered(self, x: Tensor) -> Answer:
        decisions: list[Decision] = []
        with ExitStack() as stack:
            if self.module.surrogate_precision == "bfloat16":
                stack.enter_context(torch.autocast(x.device.type, torch.bfloat16))
            if self.attack.goal.asks_cost:
                decisions = stack.enter_context(record_decisions(self.victim))
            logits = self.forward(self.victim, x)
        return self.answer(logits, [decision.executed for decision in decisions])

    def answer(self, logits: Tensor, occupancies: Sequence[Tensor]) -> Answer:
        """What the attack's goal asks for: logits (R, K), with their cost if it is about that.

        Args:
            logits: Shape: (R, K).
            occupancies: Of the same forward, one (B, ...) per gate, or the hard decisions; not
                looked at without need.
        """
        if not self.attack.goal.asks_cost:
            return logits
        spent = [
            each.to(logits.dtype) if each.dtype == torch.bool else each for each in occupancies
        ]
        return Output(logits, executed_share(self.module.network, spent))

    def tried(self, x: Tensor) -> Tried:
        """The exact victim's answer, with all that it decides."""
        with torch.no_grad():
            return tried(self.victim, lambda victim: self.forward(victim, x))

    def logits(self, x: Tensor) -> Tensor:
        """The exact victim's logits (R, K)."""
        with torch.no_grad():
            return self.forward(self.victim, x)

    def exact(self, x: Tensor) -> Answer:
        """The exact victim's answer."""
        if not self.attack.goal.asks_cost:
            return self.logits(x)
        made = self.tried(x)
        return self.answer(made.logits, made.hard)

    def adversarial(self, victim: Model) -> tuple[Tensor, Cost]:
        """The attack under every candidate of the method, of whose results ``victim`` picks.

        Args:
            victim: Inputs to the exact victim's answer.

        Returns:
            Adversarial inputs, and what they took of the surrogates, summed over the samples.
        """
        surrogates = [self._counted(candidate) for candidate in self.module.candidates()]
        adv = strongest(
            self.attack,
            surrogates,
            self.inputs,
            self.labels,
            victim=victim,
            sample_ids=self.index,
            owner=self.owner,
            notes=self.notes,
        )
        for surrogate in surrogates:
            surrogate.require_looked(type(self.attack).__name__)
        return adv, Cost(
            gradients=sum(surrogate.inputs for surrogate in surrogates),
            answers=sum(surrogate.looked for surrogate in surrogates),
        )

    def _counted(self, method: GradientMethod) -> Counted:
        surrogate = Counted(
            partial(self.surrogate, method=method),
            samples=len(self.index) if self.whole else None,
        )
        if method.looks_ahead:
            if not isinstance(method, Lookahead):
                raise TypeError(
                    f"{type(method).__name__} looks ahead, but is no leadgrad.victims.Lookahead; "
                    "derive it from that"
                )
            surrogate.looking = partial(self.ahead, smoothing=method.smoothing)
            surrogate.taken = method.taken
        return surrogate

    def run(self) -> AnyRecord:
        """Attacks the batch.

        Raises:
            ValueError: If the victim's logits are not finite, whose predictions mean nothing, or
                other gates decide than in the first batch, or than for the clean inputs.
        """
        name, clean = type(self.module.network).__name__, self.tried(self.inputs)
        self.module.first = self.module.first or clean
        require_samples_first(name, [self.module.first, clean])
        self._require_finite(clean.logits)
        known = self.answer(clean.logits, clean.hard)

        def answer(x: Tensor) -> Answer:
            # The attack asks for the clean inputs first, which were just answered
            return self.shown(known if torch.equal(x, self.inputs) else self.exact(x))

        victim = Counted(answer, samples=len(self.index) if self.whole else None)
        adv, cost = self.adversarial(victim)
        after = self.tried(adv)
        require_same_gates(name, clean, after)
        self._require_finite(after.logits)
        return self.record(adv, clean, after, Cost(cost.gradients, cost.answers + victim.inputs))

    def _require_finite(self, logits: Tensor) -> None:
        bad = ~logits.isfinite().all(1)
        if bool(bad.any()):
            owner = torch.arange(len(bad), device=bad.device) if self.owner is None else self.owner
            named = self.index.cpu()[torch.unique(owner[bad]).cpu()].tolist()
            raise ValueError(
                f"the victim's logits of {len(named)} samples are not finite, the first is sample "
                f"{named[0]}; check the weights and that sample"
            )
