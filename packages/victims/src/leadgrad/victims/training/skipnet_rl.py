"""SkipNet's second stage, hybrid reinforcement learning (Wang et al. 2018).

The gates become a policy: an action a_k ~ Bernoulli(sigmoid(q_k)) per gate and image, rewarded for
skipping and, in the end, for a low cross-entropy. Started from the supervised stage's weights. See
docs/reference/images.md, "Training SkipNet".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from leadgrad.victims.networks.skipnet import SkippingResNet
from leadgrad.victims.occupancy.deciding import gradient_method
from leadgrad.victims.occupancy.gates import record_decisions
from leadgrad.victims.occupancy.methods import GradientMethod
from leadgrad.victims.training.base import Batch
from leadgrad.victims.training.recipe import Recipe, SGDSteps
from leadgrad.victims.training.skipnet import SkipNetClassifier, computation_percent


@dataclass(frozen=True)
class SampledActions(GradientMethod):
    """Executes each unit with probability sigmoid(q); no gradient through the sample."""

    @property
    def leads(self) -> bool:
        """It draws decisions, and freezes them."""
        return False

    def occupancy(self, margin: Tensor, hard: Tensor) -> Tensor:
        """The sampled action as 0 or 1."""
        action = torch.bernoulli(torch.sigmoid(margin.detach().float())).to(margin.dtype)
        # An exact zero with a graph: a block that nobody executes is then not left out, whose
        # parameters distributed training expects a gradient of
        return action + 0.0 * margin


class HybridRLClassifier(SkipNetClassifier):
    """Trains weights by the cross-entropy of the sampled path, gates by a policy gradient too.

    With r_k = (alpha / K)·(1 - a_k) and R_k = Σ_{j≥k} r_j - CE, both of one sample and detached,

        loss = mean CE - rl_weight · mean over samples of Σ_k R_k · log π(a_k).

    On ImageNet the release ends with -CE·alpha / K in place of -CE (``scaled_end``).

    The returns are per sample; the ImageNet release mixed samples by broadcasting (D21 in
    docs/reference/differences.md).

    Args:
        network: With the supervised stage's weights.
        recipe: Optimiser and learning rate; None: the published one.
        alpha: Reward for skipping all K blocks; CIFAR's tuner tried 0.1, 0.01 and 0.001. ImageNet
            0.01.
        rl_weight: CIFAR's is published as 0.01 times the sum over a batch of 128, hence 1.28 of the
            mean; ImageNet's as 0.01 of the mean.
        scaled_end: Whether the cross-entropy counts alpha / K in the return, as ImageNet's does.
        sharpening: What the weight and bias of the scores' projection are multiplied by before the
            first step, not again on resuming: the policy then begins near the hard rule. ImageNet
            20, CIFAR 1.
        label_smoothing: See ``Classifier``.
        channels_last: See ``Classifier``.
    """

    network: SkippingResNet
    # On CIFAR, batch 128, 10,000 steps; the published rate's drops lie beyond the end of the run
    published = SGDSteps(lr=1e-4)

    def __init__(
        self,
        network: SkippingResNet,
        recipe: Recipe | None = None,
        *,
        alpha: float = 0.1,
        rl_weight: float = 1.28,
        scaled_end: bool = False,
        sharpening: float = 1.0,
        label_smoothing: float = 0.0,
        channels_last: bool = False,
    ) -> None:
        super().__init__(
            network, recipe, label_smoothing=label_smoothing, channels_last=channels_last
        )
        if not alpha >= 0:
            raise ValueError(f"alpha is a reward and must be at least 0, got {alpha}")
        if not rl_weight >= 0:
            raise ValueError(f"rl_weight must be at least 0, got {rl_weight}")
        if not sharpening > 0:
            raise ValueError(f"sharpening is a factor and must be above 0, got {sharpening}")
        self.alpha = alpha
        self.rl_weight = rl_weight
        self.scaled_end = scaled_end
        self.sharpening = sharpening

    def on_train_start(self) -> None:
        """Sharpens the scores of a run that begins."""
        if self.trainer.global_step == 0:
            with torch.no_grad():
                for parameter in self.network.control.proj.parameters():
                    parameter.mul_(self.sharpening)

    def training_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the sampled path plus the weighted policy-gradient term."""
        with (
            gradient_method(self.network, SampledActions()),
            record_decisions(self.network) as decisions,
        ):
            logits = self(batch["image"])
        cross_entropy = F.cross_entropy(
            logits, batch["label"], reduction="none", label_smoothing=self.label_smoothing
        )
        margins = torch.stack([decision.margin.float() for decision in decisions])
        actions = torch.stack([decision.occupancy.detach().float() for decision in decisions])
        end = self.alpha / len(margins) if self.scaled_end else 1.0
        policy = policy_loss(margins, actions, cross_entropy, alpha=self.alpha, end_weight=end)
        percent = computation_percent(list(actions > 0.5)).mean()
        loss = cross_entropy.mean()
        terms = {"cross_entropy": loss, "policy_loss": policy, "computation_percent": percent}
        return loss + self.rl_weight * policy, terms


def policy_loss(
    margins: Tensor,
    actions: Tensor,
    cross_entropy: Tensor,
    *,
    alpha: float,
    end_weight: float = 1.0,
) -> Tensor:
    """- mean over samples of Σ_k R_k · log π(a_k), whose gradient is the policy gradient.

    Args:
        margins: Scores q, with their graph. Shape: (K, B).
        actions: 1 executed, 0 skipped. Shape: (K, B).
        cross_entropy: Of each sample's path. Shape: (B,).
        alpha: Reward for skipping all K blocks.
        end_weight: Of the cross-entropy in the returns.
    """
    rewards = alpha / len(actions) * (1 - actions)
    to_come = rewards.flip(0).cumsum(0).flip(0)
    returns = to_come - end_weight * cross_entropy.detach().float()
    log_policy = -F.binary_cross_entropy_with_logits(margins, actions, reduction="none")
    return -(returns * log_policy).sum(0).mean()
