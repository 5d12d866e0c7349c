"""A batch of images under attack."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from leadgrad.pipelines.attack.attempt import Attempt
from leadgrad.pipelines.attack.trial import Tried
from leadgrad.pipelines.runs.noted import Noted
from leadgrad.pipelines.runs.records import Cost
from leadgrad.pipelines.tasks.images.records import BatchRecord


class ImageAttempt(Attempt[BatchRecord]):
    """An attack on images ``batch["image"]``, (B, 3, H, W) in [0, 1], each a sample of its own.

    Args:
        module: Victim, attack and method.
        batch: What is attacked.
    """

    call = "one float tensor (N, channels, height, width) in [0, 1]"

    @property
    def described(self) -> str:
        """The images in words."""
        return f"images of shape {tuple(self.inputs.shape)}"

    @property
    def inputs(self) -> Tensor:
        """The images."""
        return self.batch["image"]

    def forward(self, network: nn.Module, x: Tensor) -> Tensor:
        """Logits (B, K) of some of the images, or of others in their place."""
        logits: Tensor = network(x.clone())  # a copy, because a network may work in place
        return logits

    def half_logits(self) -> Tensor | None:
        """The exact victim's clean logits (B, K) under bfloat16 alone; None where it is unused."""
        if self.module.surrogate_precision == "float32":
            return None
        with torch.autocast(self.inputs.device.type, torch.bfloat16):
            return self.logits(self.inputs)

    def record(self, adv: Tensor, clean: Tried, after: Tried, cost: Cost) -> BatchRecord:
        """Inputs, logits and decisions before and after."""
        return BatchRecord.of(
            self.batch,
            adv,
            (clean.logits, after.logits),
            (clean.hard, after.hard),
            self.half_logits(),
            [each.choices or 0 for each in clean.decisions],
            cost,
            Noted.of(self.notes, self.index),
        )
