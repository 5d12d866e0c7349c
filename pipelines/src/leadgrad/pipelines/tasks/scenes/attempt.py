"""A scene under attack: its points move, and its voxels with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from leadgrad.attacks import Answer, PointLinf, confusion, mean_iou
from leadgrad.attacks.output import logits_of
from leadgrad.pipelines.attack.attempt import Attempt, Batch
from leadgrad.pipelines.attack.trial import Tried
from leadgrad.pipelines.runs.records import Cost
from leadgrad.pipelines.tasks.scenes.records import SceneRecord
from leadgrad.victims import GradientMethod
from leadgrad.victims.occupancy.change import place_changes
from leadgrad.victims.occupancy.partition import Cells, partition_of
from leadgrad.victims.occupancy.reach import Reach

if TYPE_CHECKING:
    from leadgrad.pipelines.attack.module import AttackModule


class SceneAttempt(Attempt[SceneRecord]):
    """An attack on the points of a scene, which keeps what the victim was shown.

    Args:
        module: Victim, attack and method.
        batch: What is attacked, as ``leadgrad.data.scene_batch.SCENE_TABLE`` says.
    """

    call = "coordinates in metres (P, 3) and features (P, F), colours in [0, 1], float tensors"
    whole = True

    def __init__(self, module: AttackModule, batch: Batch) -> None:
        super().__init__(module, batch)
        self.iterate_miou: list[float] = []
        self.candidates = self.occupied = 0
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
        self.candidates += len(made[0].coords)
        self.occupied += made[0].occupied
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
        """Keeps the mIoU of what the victim answers to the attack."""
        logits = logits_of(answer)
        self._require_finite(logits)
        self.last = logits.argmax(1)
        self.iterate_miou.append(100 * mean_iou(self.last, self.labels, logits.shape[1]))
        return answer

    def run(self) -> SceneRecord:
        """Attacks the scene.

        Raises:
            ValueError: If the batch holds several scenes, the attack's budget is not in metres, or
                the victim's logits are not finite.
        """
        self.reach()  # refuses a budget of pixels
        if len(self.index) != 1:
            raise ValueError(
                f"scenes are attacked one by one, got a batch of {len(self.index)}; "
                "use --data.batch_size=1"
            )
        return super().run()

    def record(self, adv: Tensor, clean: Tried, after: Tried, cost: Cost) -> SceneRecord:
        """Points, answers, and the voxels that were born and died."""
        classes = clean.logits.shape[1]
        last = after.logits.argmax(1) if self.last is None else self.last
        features = self.batch["features"]
        if bool(self.batch["from_bytes"]):
            features = (features * 255).round().to(torch.uint8)
        return SceneRecord(
            index=self.index.cpu(),
            label=self.labels.to(torch.uint8).cpu(),
            features=features.cpu(),
            clean_inputs=self.inputs.cpu(),
            adv_inputs=adv.cpu(),
            clean_answers=clean.logits.argmax(1).to(torch.uint8).cpu(),
            adv_answers=after.logits.argmax(1).to(torch.uint8).cpu(),
            last_counts=confusion(last, self.labels, classes).cpu(),
            iterate_miou=torch.tensor(self.iterate_miou, dtype=torch.float64),
            voxels=voxels_changed(clean, after),
            candidates=torch.tensor([self.candidates, self.occupied]),
            cost=cost,
        )


def voxels_changed(clean: Tried, after: Tried) -> Tensor:
    """Voxels born, died and united at strides 1, 2, 4, ..., in all scenes. Shape: (S, 3), int64."""
    (before,), (now,) = clean.places, after.places
    return torch.stack(
        [
            torch.stack([change.entered.sum(), change.left.sum(), change.total.sum()])
            for change in place_changes(before, now)
        ]
    ).cpu()
