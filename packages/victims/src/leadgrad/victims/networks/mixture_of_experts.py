"""Mixture of experts: a ResNet whose blocks choose among several residual branches by image.

Each block has E experts F_e and a linear router, which sees the means of the block's input. The k
greatest of the router's logits r run, each weighted by its probability (Shazeer et al., ICLR 2017;
with k = 1 Switch, Fedus et al., JMLR 2022), of all experts and not of the chosen:

    p = softmax(r),   x ← ReLU(s(x) + Σ_e o_e·p_e·F_e(x)),   o_e = [r_e is one of the k greatest]

An expert takes all images that choose it: there is no capacity limit, which would make an image's
answer depend on its batch. The training here adds Switch's loss, which keeps experts in use.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leadgrad.victims.networks.cifar_skeleton import CifarSkeleton
from leadgrad.victims.networks.layers import (
    CIFAR_MEAN,
    CIFAR_STD,
    BasicBlock,
    Projection,
    strided,
)
from leadgrad.victims.networks.network import GatedNetwork
from leadgrad.victims.networks.sizes import check_sizes
from leadgrad.victims.networks.skipping import Skipping
from leadgrad.victims.occupancy.choice import Choice
from leadgrad.victims.occupancy.gates import Decision, record_decisions
from leadgrad.victims.training.base import Batch
from leadgrad.victims.training.budgeted import BudgetedClassifier
from leadgrad.victims.training.recipe import Recipe


class ExpertBlock(Skipping, nn.Module):
    """A residual block with several branches: (B, C_in, H, W) to (B, C_out, H/stride, W/stride).

    Args:
        channels: C_in.
        out: C_out.
        stride: Of the experts and of the shortcut.
        experts: E.
        top: k.
    """

    def __init__(self, channels: int, out: int, *, stride: int, experts: int, top: int) -> None:
        super().__init__()
        self.stride = stride
        self.router = nn.Linear(channels, experts)
        self.choice = Choice(top)
        self.experts = nn.ModuleList(
            BasicBlock(channels, out, stride=stride, downsample=None) for _ in range(experts)
        )
        self.downsample = Projection(channels, out, stride) if stride != 1 else nn.Identity()

    def branches(self) -> list[BasicBlock]:
        """The experts, of which only the residual branch is used."""
        return [cast(BasicBlock, expert) for expert in self.experts]

    def forward(self, x: Tensor) -> Tensor:
        """The shortcut and the weighted experts; those that no sample has chosen are left out."""
        logits = self.router(x.mean((2, 3)))
        occupancy = self.choice(logits)
        weights = occupancy * logits.softmax(1)
        total = self.downsample(x)
        for number, expert in enumerate(self.branches()):
            if Choice.idle(occupancy[:, number]):
                continue
            if self.skips(self.choice):
                rows = occupancy[:, number].nonzero().flatten()
                own = weights[rows, number, None, None, None] * expert.residual(x[rows])
                total = total.index_add(0, rows, own)
                continue
            total = total + weights[:, number, None, None, None] * expert.residual(x)
        return F.relu(total)

    def expert_macs(self, size: int) -> int:
        """MACs of one expert for an input of size x size positions."""
        return self.branches()[0].macs(size)


class MixtureOfExperts(CifarSkeleton):
    """A CIFAR ResNet with a choice of experts in each block: images (B, 3, H, W) to logits.

    Images are in [0, 1]. A block that changes the map's shape has a projection for its shortcut.
    In training, every expert's BN sees all samples, those that did not choose it, too.

    Args:
        depth: 6n + 2; depth 20 has 9 blocks, each with a choice.
        num_classes: Classes.
        experts: E, at least 2.
        top: k, how many run, from 1 to E - 1.
        mean: Normalisation constants of the training data.
        std: Likewise.
        image_size: Height and width that costs count for.

    Raises:
        ValueError: If an argument is out of its range.
    """

    backbone_names = ((r"^linear\.", "fc."),)
    gate_names = r"\.router\."

    def __init__(
        self,
        depth: int,
        num_classes: int = 10,
        *,
        experts: int = 4,
        top: int = 1,
        mean: Sequence[float] = CIFAR_MEAN,
        std: Sequence[float] = CIFAR_STD,
        image_size: int = 32,
    ) -> None:
        check_sizes(experts=experts, top=top)
        if top >= experts:
            raise ValueError(
                f"top must be below experts = {experts}, got {top}; with all of them there is "
                "nothing to choose"
            )

        def build(channels: int, out: int, stride: int) -> ExpertBlock:
            return ExpertBlock(channels, out, stride=stride, experts=experts, top=top)

        super().__init__(depth, num_classes, build, mean=mean, std=std, image_size=image_size)
        self.experts = experts

    def backbone_places(self, name: str) -> tuple[str, ...]:
        """A branch's tensor goes to every expert (sparse upcycling, Komatsuzaki et al. 2023)."""
        branch = re.fullmatch(r"(layer\d\.\d+)\.((?:conv|bn)\d\..+)", name)
        if branch is None:
            return (name,)
        return tuple(f"{branch[1]}.experts.{number}.{branch[2]}" for number in range(self.experts))

    def blocks(self) -> list[ExpertBlock]:
        """All blocks, in network order."""
        return [module for module in self.modules() if isinstance(module, ExpertBlock)]

    def expert_macs(self) -> list[int]:
        """MACs of one expert of each block."""
        size, macs = self.stem_size(), []
        for block in self.blocks():
            macs.append(block.expert_macs(size))
            size = strided(size, block.stride)
        return macs

    def unit_costs(self) -> tuple[float, ...]:
        """MACs of one expert of each block; the routers' own, below 1 % of them, are left out."""
        return tuple(float(macs) for macs in self.expert_macs())

    def conditional_macs(self, record: Sequence[Tensor]) -> Tensor:
        """MACs of the experts that run. Shape: (B,), int64. Projections always run."""
        executed = torch.stack([choice.long().sum(1) for choice in record], 1)
        return (executed * executed.new_tensor(self.expert_macs())).sum(1)

    def conditional_macs_total(self) -> int:
        """The same for one image that runs every expert of every block."""
        return self.experts * sum(self.expert_macs())


def balance(decision: Decision) -> Tensor:
    """Switch's load-balancing loss of one choice: E·Σ_e f_e·P_e; 1 where all experts weigh alike.

    f is the share of the chosen that each expert is, a constant to the gradient, and P the mean of
    the router's probabilities, over the samples.

    Args:
        decision: Of a choice of k of E with k below E. Shapes: (B, E).
    """
    chosen = decision.occupancy.detach().mean(0) / (decision.choices or 1)
    # The margins are the router's logits less one number for each sample
    probability = decision.margin.softmax(1).mean(0)
    return len(chosen) * (chosen * probability).sum()


class MixtureClassifier(BudgetedClassifier):
    """Trains a mixture of experts, straight through noisy choices, with Switch's balancing loss.

    There is no budget, as k experts run in any case. Logs ``train/balance_loss``, the mean over the
    choices times its weight, beside what ``BudgetedClassifier`` logs.

    Args:
        network: To train, whose decisions are all choices of experts.
        recipe: Optimiser and learning rate; None: the published one of ResNets.
        balance_weight: Of the balancing loss; 0.01 is published.
        temperature: See ``BudgetedClassifier``.
        noise_seed: See ``BudgetedClassifier``.
        label_smoothing: See ``Classifier``.
        channels_last: See ``Classifier``.

    Raises:
        ValueError: If a number is out of its range.
    """

    def __init__(
        self,
        network: GatedNetwork,
        recipe: Recipe | None = None,
        *,
        balance_weight: float = 0.01,
        temperature: float = 1.0,
        noise_seed: int = 0,
        label_smoothing: float = 0.0,
        channels_last: bool = False,
    ) -> None:
        if not balance_weight >= 0:
            raise ValueError(f"balance_weight must be at least 0, got {balance_weight}")
        super().__init__(
            network,
            recipe,
            budget=None,
            temperature=temperature,
            noise_seed=noise_seed,
            label_smoothing=label_smoothing,
            channels_last=channels_last,
        )
        self.balance_weight = balance_weight

    def training_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy, and what keeps the experts in use."""
        with record_decisions(self.network) as decisions:
            loss, terms = super().training_loss(batch)
        mean = torch.stack([balance(each) for each in decisions]).mean()
        terms["balance_loss"] = self.balance_weight * mean
        return loss + terms["balance_loss"], terms
