"""One scene attacked: gradients of its relaxed voxels, and the exact victim's answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from leadgrad.attacks import Attack, PointLinf, confusion, mean_iou, strongest
from leadgrad.pipelines.counting import Counted
from leadgrad.pipelines.records import Cost
from leadgrad.pipelines.scene_records import SceneRecord
from leadgrad.victims import GradientMethod, gradient_method
from leadgrad.victims.change import voxel_changes
from leadgrad.victims.reach import Reach
from leadgrad.victims.voxelize import Voxelizer, Voxels


@dataclass
class SceneAttack:
    """An attack on one scene while it runs; it keeps what the victim was shown.

    Args:
        victim: Voxel network, prepared for attack.
        attack: What to do to it.
        methods: What the gradient sees of the voxels, each in turn; the exact victim picks.
        batch: One scene of the data.
    """

    victim: nn.Module
    attack: Attack
    methods: Sequence[GradientMethod]
    batch: dict[str, Tensor]
    iterate_miou: list[float] = field(default_factory=list)
    candidates: int = 0
    occupied: int = 0
    last: Tensor | None = None

    def run(self) -> SceneRecord:
        """Attacks the scene.

        Raises:
            ValueError: If the batch holds several scenes, the attack's budget is not in metres, or
                the victim's logits are not finite.
        """
        batch = self.batch
        self.reach()  # refuses a budget of pixels
        if len(batch["index"]) != 1:
            raise ValueError(
                f"scenes are attacked one by one, got a batch of {len(batch['index'])}; "
                "use --data.batch_size=1"
            )
        coords, labels = batch["coords"], batch["label"]
        clean = self.logits(coords)

        def answer(x: Tensor) -> Tensor:
            # The attack asks for the clean scene first, which was just decided
            return self.shown(clean if torch.equal(x, coords) else self.logits(x))

        victim = Counted(answer, samples=1)
        surrogates = [
            Counted(partial(self.surrogate, method=method), samples=1) for method in self.methods
        ]
        adv = strongest(
            self.attack, surrogates, coords, labels, victim=victim, sample_ids=batch["index"]
        )
        gradients = sum(surrogate.inputs for surrogate in surrogates)
        adversarial = self.logits(adv)
        last = adversarial.argmax(1) if self.last is None else self.last
        voxelizer = voxelizer_of(self.victim)
        before, after = (voxelizer.occupied(x).cpu() for x in (coords, adv))
        return SceneRecord(
            index=batch["index"].cpu(),
            label=labels.to(torch.uint8).cpu(),
            color=(batch["color"] * 255).round().to(torch.uint8).cpu(),
            clean_inputs=coords.cpu(),
            adv_inputs=adv.cpu(),
            clean_answers=clean.argmax(1).to(torch.uint8).cpu(),
            adv_answers=adversarial.argmax(1).to(torch.uint8).cpu(),
            last_counts=confusion(last, labels, clean.shape[1]).cpu(),
            iterate_miou=torch.tensor(self.iterate_miou, dtype=torch.float64),
            voxels=voxel_changes(before, after, voxelizer.levels),
            candidates=torch.tensor([self.candidates, self.occupied]),
            cost=Cost(gradients, victim.inputs),
        )

    def logits(self, coords: Tensor) -> Tensor:
        """The exact victim's logits (P, K)."""
        with torch.no_grad():
            logits: Tensor = self.victim(coords.clone(), self.batch["color"].clone())
        if not bool(logits.isfinite().all()):
            raise ValueError(
                f"the victim's logits for scene {int(self.batch['index'])} are not finite; "
                "check its weights"
            )
        return logits

    def shown(self, logits: Tensor) -> Tensor:
        """The logits (P, K) that the attack is answered with, which are counted."""
        self.last = logits.argmax(1)
        self.iterate_miou.append(100 * mean_iou(self.last, self.batch["label"], logits.shape[1]))
        return logits

    def surrogate(self, coords: Tensor, method: GradientMethod) -> Tensor:
        """Logits (P, K) whose gradient is that of ``method``, with the attack's reach."""
        with gradient_method(self.victim, method, self.reach()):
            voxels: list[Voxels] = []
            handle = voxelizer_of(self.victim).register_forward_hook(
                lambda module, args, made: voxels.append(made)
            )
            try:
                logits: Tensor = self.victim(coords.clone(), self.batch["color"].clone())
            finally:
                handle.remove()
        self.candidates += len(voxels[0].tensor.coords)
        self.occupied += voxels[0].occupied
        return logits

    def reach(self) -> Reach:
        """How far the attack moves points; one that does not say how far in a step: all the way."""
        threat = self.attack.threat
        if not isinstance(threat, PointLinf):
            raise ValueError(
                f"scenes need a budget in metres, got {threat}; use leadgrad.attacks.PointLinf"
            )
        settings: Any = self.attack
        step_m = getattr(settings, "step_size_m", threat.eps_m)
        return Reach(float(step_m), threat.eps_m, self.batch["coords"])


def voxelizer_of(network: nn.Module) -> Voxelizer:
    """The one voxelizer of a network.

    Raises:
        ValueError: If it has none, or several.
    """
    found = [module for module in network.modules() if isinstance(module, Voxelizer)]
    if len(found) != 1:
        raise ValueError(
            f"{type(network).__name__} has {len(found)} voxelizers, expected one; scenes are "
            "attacked through a voxel network such as leadgrad.victims.minkunet.MinkUNet"
        )
    return found[0]
