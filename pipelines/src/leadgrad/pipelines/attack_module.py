"""The attack as a Lightning module whose only step is ``predict_step``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from leadgrad.attacks import Answer, Attack, Model, Output, strongest
from leadgrad.pipelines.counting import Counted
from leadgrad.pipelines.records import BatchRecord, Cost
from leadgrad.pipelines.scene_attack import SceneAttack
from leadgrad.pipelines.scene_records import SceneRecord
from leadgrad.pipelines.trial import Tried, require_same_gates, require_samples_first, tried
from leadgrad.victims import (
    FGM,
    Decision,
    GradientMethod,
    deciding_as,
    executed_share,
    gradient_method,
    load_published,
    prepare_for_attack,
    record_decisions,
)
from leadgrad.victims.deciding import Deciding


class AttackModule(LightningModule):
    """Attacks a network batch by batch: gradients under ``method``, decisions of the exact victim.

    Args:
        network: Images (B, 3, H, W) in [0, 1] to logits; its decisions go through gates. Or points,
            coordinates (P, 3) and colours, to logits; its voxels come from a ``Voxelizer``.
        attack: What to do to it.
        method: What the gradient sees of the decisions.
        weights: File to load strictly into the network; None keeps what the network was built with.
        prepare: Attack a copy that is frozen, with BN folded and channels_last; False keeps BN
            apart (slower, the same up to rounding).
        surrogate_precision: ``"bfloat16"`` computes the attack's gradient under autocast; the
            victim's decisions, hence every number reported, stay in float32.
    """

    def __init__(
        self,
        network: nn.Module,
        attack: Attack,
        method: GradientMethod = FGM(),  # noqa: B008 - a frozen value
        *,
        weights: str | None = None,
        prepare: bool = True,
        surrogate_precision: Literal["float32", "bfloat16"] = "float32",
    ) -> None:
        super().__init__()
        if weights is not None:
            load_published(network, weights)
        self.network = network.eval()
        self.victim = prepare_for_attack(network, fold=prepare)
        self.attack = attack
        self.method = method
        self.surrogate_precision = surrogate_precision
        self._first: Tried | None = None  # of the first batch, with which others are compared

    def surrogate(self, images: Tensor, method: GradientMethod | None = None) -> Answer:
        """The answer whose gradient is that of ``method``, by default the module's own."""
        with gradient_method(self.victim, self.method if method is None else method):
            return self._answered(images)

    def ahead(self, images: Tensor, proposed: Tensor) -> Answer:
        """The answer to ``images`` with the exact victim's decisions at ``proposed``."""
        with deciding_as(self.victim, lambda: self.victim(proposed.clone())):
            return self._answered(images)

    def _answered(self, images: Tensor) -> Answer:
        half = self.surrogate_precision == "bfloat16"
        decisions: list[Decision] = []
        with ExitStack() as stack:
            if half:
                stack.enter_context(torch.autocast(images.device.type, torch.bfloat16))
            if self.attack.goal.asks_cost:
                decisions = stack.enter_context(record_decisions(self.victim))
            # A copy, because a network may work in place
            logits: Tensor = self.victim(images.clone())
        return self.answer(logits, [decision.executed for decision in decisions])

    def answer(self, logits: Tensor, occupancies: Sequence[Tensor]) -> Answer:
        """What the attack's goal asks for: logits (B, K), with their cost if it is about that.

        Args:
            logits: Shape: (B, K).
            occupancies: Of the same forward, one (B, ...) per gate, or the hard decisions; not
                looked at without need.
        """
        if not self.attack.goal.asks_cost:
            return logits
        spent = [
            each.to(logits.dtype) if each.dtype == torch.bool else each for each in occupancies
        ]
        return Output(logits, executed_share(self.network, spent))

    def candidates(self) -> tuple[GradientMethod, ...]:
        """The methods that the attack is run under: FGM alone where the victim decides nothing.

        Every method is the same there, so that a second attack would be the first one again.
        """
        return self.method.candidates() if self.decides else (FGM(),)

    @property
    def decides(self) -> bool:
        """Whether the victim has a module that decides."""
        return any(isinstance(part, Deciding) for part in self.victim.modules())

    def note(self) -> str:
        """What a user should hear before the attack; empty if nothing."""
        methods = self.method.candidates()
        if self.decides or not any(each.leads or each.looks_ahead for each in methods):
            return ""
        name = type(self.network).__name__
        return (
            f"{name} has no gates, so {self.method} is FGM on it, and one attack is run; route its "
            "decisions through leadgrad.victims.Gate to lead them"
        )

    def adversarial(
        self, images: Tensor, labels: Tensor, *, victim: Model, sample_ids: Tensor
    ) -> tuple[Tensor, Cost]:
        """The attack under every candidate of the method, of whose results ``victim`` picks.

        Args:
            images: Shape: (B, 3, H, W), in [0, 1].
            labels: Shape: (B,).
            victim: Images to the exact victim's answer.
            sample_ids: Shape: (B,).

        Returns:
            Adversarial images, and what they took of the surrogates, summed over the samples.
        """
        surrogates = [
            Counted(
                partial(self.surrogate, method=candidate),
                looking=self.ahead if candidate.looks_ahead else None,
            )
            for candidate in self.candidates()
        ]
        adv = strongest(
            self.attack, surrogates, images, labels, victim=victim, sample_ids=sample_ids
        )
        for surrogate in surrogates:
            surrogate.require_looked(type(self.attack).__name__)
        return adv, Cost(
            gradients=sum(surrogate.inputs for surrogate in surrogates),
            answers=sum(surrogate.looked for surrogate in surrogates),
        )

    def decide(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The exact victim's logits (B, K) and decisions, one bool tensor (B, ...) per gate."""
        made = self.tried(images)
        return made.logits, [decision.hard for decision in made.decisions]

    def tried(self, images: Tensor) -> Tried:
        """The exact victim's logits (B, K) and decisions, with their margins and gates."""
        with torch.no_grad():
            return tried(self.victim, lambda victim: victim(images.clone()))

    def logits(self, images: Tensor) -> Tensor:
        """The exact victim's logits (B, K)."""
        return self.decide(images)[0]

    def exact(self, images: Tensor) -> Answer:
        """The exact victim's answer."""
        return self.answer(*self.decide(images))

    def predict_step(self, batch: dict[str, Tensor], *_: Any) -> BatchRecord | SceneRecord:
        """Attacks one batch: of images, or one scene if it holds coordinates.

        Raises:
            ValueError: What ``attack_images`` or ``SceneAttack`` raises.
        """
        if "coords" in batch:
            return SceneAttack(self.victim, self.attack, self.candidates(), batch).run()
        return self.attack_images(batch)

    def attack_images(self, batch: dict[str, Tensor]) -> BatchRecord:
        """Attacks one batch of images.

        Raises:
            ValueError: If the victim's logits are not finite, whose predictions mean nothing, or
                other gates decide than in the first batch, or than for the clean images.
        """
        images, name = batch["image"], type(self.network).__name__
        clean = self.tried(images)
        self._first = self._first or clean
        require_samples_first(name, [self._first, clean])
        _check_finite(clean.logits, batch["index"])

        clean_units = [each.hard for each in clean.decisions]
        clean_answer = self.answer(clean.logits, clean_units)

        def answer(x: Tensor) -> Answer:
            # The attack asks for the clean images first, which were just decided
            return clean_answer if torch.equal(x, images) else self.exact(x)

        victim = Counted(answer)
        adv, cost = self.adversarial(
            images, batch["label"], victim=victim, sample_ids=batch["index"]
        )
        after = self.tried(adv)
        require_same_gates(name, clean, after)
        _check_finite(after.logits, batch["index"])
        record = BatchRecord.of(
            batch,
            adv,
            (clean.logits, after.logits),
            (clean_units, [each.hard for each in after.decisions]),
            self.half_logits(images),
            [each.choices or 0 for each in clean.decisions],
        )
        return replace(record, cost=replace(cost, answers=cost.answers + victim.inputs))

    def half_logits(self, images: Tensor) -> Tensor | None:
        """The exact victim's logits (B, K) under bfloat16 alone; None where it is not used."""
        if self.surrogate_precision == "float32":
            return None
        with torch.no_grad(), torch.autocast(images.device.type, torch.bfloat16):
            logits: Tensor = self.victim(images.clone())
        return logits


def _check_finite(logits: Tensor, index: Tensor) -> None:
    bad = ~logits.isfinite().all(1)
    if bool(bad.any()):
        raise ValueError(
            f"the victim's logits of {int(bad.sum())} samples are not finite, the first is sample "
            f"{int(index[bad][0])}; check the weights and that image"
        )
