"""Scenes under attack: their points move, and their voxels with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from leadgrad.attacks import Answer, PointLinf, Samples, confusion
from leadgrad.attacks.output import logits_of
from leadgrad.attacks.segmentation import mean_ious
from leadgrad.pipelines.attack.attempt import Attempt, Batch
from leadgrad.pipelines.attack.trial import Tried
from leadgrad.pipelines.runs.noted import Noted
from leadgrad.pipelines.runs.records import Cost
from leadgrad.pipelines.tasks.scenes.records import SceneBatch, SceneRecord
from leadgrad.victims import GradientMethod
from leadgrad.victims.occupancy.change import place_changes
from leadgrad.victims.occupancy.partition import Cells, partition_of
from leadgrad.victims.occupancy.reach import Reach

if TYPE_CHECKING:
    from leadgrad.pipelines.attack.module import AttackModule


class SceneAttempt(Attempt[SceneBatch]):
    """An attack on the points of some scenes, which keeps what the victim was shown.

    Args:
        module: Victim, attack and method.
        batch: What is attacked, as ``leadgrad.data.scene_batch.SCENE_TABLE`` says.
    """

    call = "coordinates in metres (P, 3) and features (P, F), colours in [0, 1], float tensors"
    whole = True

    def __init__(self, module: AttackModule, batch: Batch) -> None:
        super().__init__(module, batch)
        self.samples = Samples.of(self.inputs, self.owner, self.index.cpu())
        self.iterate_miou: list[Tensor] = []
        self.candidates = torch.zeros(len(self.index), 2, dtype=torch.int64)
        self.last: Tensor | None = None

    @property
    def inputs(self) -> Tensor:
        """Coordinates (P, 3) in metres."""
        return self.batch["coords"]

    @property
    def owner(self) -> Tensor:
        """The scene of each point. Shape: (P,)."""
        return self.batch["scene"]

    def forward(self, network: nn.Module, x: Tensor) -> Tensor:
        """Logits (P, K) of the scenes with their points at ``x``."""
        scenes = () if len(self.index) == 1 else (self.owner,)
        logits: Tensor = network(x.clone(), self.batch["features"].clone(), *scenes)
        return logits

    def surrogate(self, x: Tensor, method: GradientMethod | None = None) -> Answer:
        """As its base; counts the cells that are computed for it."""
        made: list[Cells] = []
        handle = partition_of(self.victim).register_forward_hook(
            lambda module, args, cells: made.append(cells)
        )
        try:
            answer = super().surrogate(x, method)
        finally:
            handle.remove()
        self.candidates += made[0].counts(len(self.index)).to(self.candidates)
        return answer

    def reach(self) -> Reach:
        """How far the attack moves points; one that does not say how far in a step: all the way.

        Raises:
            ValueError: If the attack's budget is not in metres.
        """
        threat = self.attack.threat
        if not isinstance(threat, PointLinf):
            raise ValueError(
                f"scenes need a budget in metres, got {threat}; use leadgrad.attacks.PointLinf"
            )
        settings: Any = self.attack
        step_m = getattr(settings, "step_size_m", threat.eps_m)
        return Reach(float(step_m), threat.eps_m, self.inputs)

    def shown(self, answer: Answer) -> Answer:
        """Keeps the mIoU of what the victim answers to the attack, by scene."""
        logits = logits_of(answer)
        self._require_finite(logits)
        self.last = logits.argmax(1)
        mious = mean_ious(self.last, self.labels, logits.shape[1], self.samples)
        self.iterate_miou.append(100 * mious.cpu())
        return answer

    def run(self) -> SceneBatch:
        """Attacks the scenes.

        Raises:
            ValueError: If the attack's budget is not in metres, or the victim's logits are not
                finite.
        """
        self.reach()  # refuses a budget of pixels
        return super().run()

    def record(self, adv: Tensor, clean: Tried, after: Tried, cost: Cost) -> SceneBatch:
        """Points, answers, and the voxels that were born and died."""
        classes = clean.logits.shape[1]
        last = after.logits.argmax(1) if self.last is None else self.last
        shown = (
            torch.stack(self.iterate_miou) if self.iterate_miou else torch.empty(0, len(self.index))
        )
        voxels = voxels_changed(clean, after)
        made = []
        for number in range(len(self.index)):
            own = self.owner == number
            features, label = self.batch["features"][own], self.labels[own]
            if bool(self.batch["from_bytes"][number]):
                features = (features * 255).round().to(torch.uint8)
            before, now = (
                side.logits[own].argmax(1).to(torch.uint8).cpu() for side in (clean, after)
            )
            made.append(
                SceneRecord(
                    index=self.index[number : number + 1].cpu(),
                    label=label.to(torch.uint8).cpu(),
                    features=features.cpu(),
                    clean_inputs=self.inputs[own].cpu(),
                    adv_inputs=adv[own].cpu(),
                    clean_answers=before,
                    adv_answers=now,
                    last_counts=confusion(last[own], label, classes).cpu(),
                    iterate_miou=shown[:, number].double(),
                    voxels=voxels[number],
                    candidates=self.candidates[number].cpu(),
                )
            )
        return SceneBatch(tuple(made), cost, Noted.of(self.notes, self.index.cpu()))


def voxels_changed(clean: Tried, after: Tried) -> Tensor:
    """Cells born, died and united at each stride, by scene. Shape: (B, S, 3), int64."""
    (before,), (now,) = clean.places, after.places
    levels = [
        torch.stack([change.entered, change.left, change.total], 1)
        for change in place_changes(before, now)
    ]
    return torch.stack(levels, 1).cpu()
