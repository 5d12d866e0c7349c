"""The attack as a Lightning module whose only step is ``predict_step``."""

from __future__ import annotations

from typing import Any, Literal

from lightning.pytorch import LightningModule
from torch import nn

from leadgrad.attacks import Attack, PointAttack
from leadgrad.pipelines.attack.attempt import Attempt, Batch
from leadgrad.pipelines.attack.task import Task, task_of
from leadgrad.pipelines.attack.trial import Tried
from leadgrad.pipelines.runs.directory import Record
from leadgrad.victims import (
    FGM,
    SCENE_STANDARD,
    STANDARD,
    BestOf,
    FixedExits,
    GradientMethod,
    load_published,
    prepare_for_attack,
)
from leadgrad.victims.networks.exits import ExitNetwork
from leadgrad.victims.networks.skipping import set_execution
from leadgrad.victims.occupancy.deciding import Deciding


def default_method(attack: Attack | type[Attack]) -> GradientMethod:
    """FGM; of an attack that shares its budget out among methods, the standard ones."""
    if not attack.shares:
        return FGM()
    kind = attack if isinstance(attack, type) else type(attack)
    return BestOf(SCENE_STANDARD if issubclass(kind, PointAttack) else STANDARD)


class AttackModule(LightningModule):
    """Attacks a network batch by batch: gradients under ``method``, decisions of the exact victim.

    Args:
        network: To logits, of what the data's kind gives it: images (B, 3, H, W) in [0, 1], or the
            coordinates (P, 3) of points and their features. Its decisions go through gates, its
            voxels come from a ``Voxelizer``.
        attack: What to do to it.
        method: What the gradient sees of the decisions; None: ``default_method`` of the attack.
        weights: File to load strictly into the network; None keeps what the network was built with.
        prepare: Attack a copy that is frozen, with BN folded and channels_last; False keeps BN
            apart (slower, the same up to rounding).
        surrogate_precision: ``"bfloat16"`` computes the attack's gradient under autocast; the
            victim's decisions, hence every number reported, stay in float32.
        execution: ``"skip"`` leaves out what the victim does not execute, where its family can
            (``leadgrad.victims.networks.skipping``): faster, the same up to rounding.

    Attributes:
        task: Kind of data; in a predict loop that of its datamodule, unless it is set before.
    """

    task: Task[Any] | None = None

    def __init__(
        self,
        network: nn.Module,
        attack: Attack,
        method: GradientMethod | None = None,
        *,
        weights: str | None = None,
        prepare: bool = True,
        surrogate_precision: Literal["float32", "bfloat16"] = "float32",
        execution: Literal["masked", "skip"] = "masked",
    ) -> None:
        super().__init__()
        if weights is not None:
            load_published(network, weights)
        self.network = network.eval()
        self.victim = prepare_for_attack(network, fold=prepare)
        set_execution(self.victim, execution)
        self.attack = attack
        self.method = default_method(attack) if method is None else method
        self.surrogate_precision = surrogate_precision
        self.first: Tried | None = None  # of the first batch, with which others are compared

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
        name = type(self.network).__name__
        if not any(isinstance(part, ExitNetwork) for part in self.victim.modules()):
            fixed = [each for each in methods if isinstance(each, FixedExits)]
            if fixed and len(fixed) == len(methods):
                return f"{name} has no exits that leadgrad knows, so {self.method} is FGM on it"
        if self.decides or not any(each.leads or each.looks_ahead for each in methods):
            return ""
        return (
            f"{name} has no gates, so {self.method} is FGM on it, and one attack is run; route its "
            "decisions through leadgrad.victims.Gate to lead them"
        )

    def attempt(self, batch: Batch) -> Attempt[Any]:
        """An attack on one batch, not yet begun."""
        return self._task().attempt(self, batch)

    def predict_step(self, batch: Batch, *_: Any) -> Record:
        """Attacks one batch.

        Raises:
            ValueError: What ``Attempt.run`` raises.
        """
        record: Record = self.attempt(batch).run()
        return record

    def _task(self) -> Task[Any]:
        if self.task is None:
            data = getattr(self.trainer, "datamodule", None)
            self.task = task_of(data)
        return self.task
