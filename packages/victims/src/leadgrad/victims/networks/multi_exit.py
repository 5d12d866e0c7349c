"""Multi-exit ResNet with exits of several kinds: RDI-Net's (Hu et al., *Triple Wins*, ICLR 2020).

RDI-Net trains all exits adversarially, so that accuracy, robustness and compute all gain; an input
leaves at the first exit whose entropy is low. State-dict names are the published ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from leadgrad.victims.networks.exits import (
    ExitNetwork,
    certainty_margin,
    check_exits,
    entropy,
    weights_of,
)
from leadgrad.victims.networks.layers import (
    BasicBlock,
    GlobalAverage,
    Normalize,
    Projection,
    blocks_per_stage,
    init_fan_out,
    stage_geometry,
    strided,
)
from leadgrad.victims.networks.sizes import check_sizes

Rule = Literal["entropy", "confidence"]


class MultiExit(ExitNetwork):
    """A CIFAR ResNet with exits in all three resolutions: images to log-probabilities.

    Images are (B, 3, H, W) in [0, 1], the answer is (B, num_classes). Exits of the first resolution
    have two convs, of the second a residual block, of the third a linear layer alone.

    Args:
        depth: 6n + 2; RDI-Net's is 38.
        num_classes: Classes, at least 2.
        exits: Numbers of blocks after which there is an early exit, ascending; None: RDI-Net's,
            after the second and the fifth block of each resolution's six, or in that proportion.
        rule: What an exit is judged by: its softmax's ``"entropy"``, or its greatest probability
            (``"confidence"``).
        threshold: The exit answers where its entropy is at most this, in nats, in (0, log
            num_classes); or its greatest probability at least, in (1 / num_classes, 1).
        rest: Which exit answers where none is sure: the ``"last"``, or that of ``"least_entropy"``.
        mean: Normalisation constants; RDI-Net has none, which is (0, 0, 0) and (1, 1, 1).
        std: Likewise.
        image_size: Height and width that ``unit_costs`` and MACs count for; a multiple of 32.

    Raises:
        ValueError: If an argument is out of its range.
    """

    foldable: ClassVar[tuple[tuple[str, str], ...]] = (("conv1", "bn1"),)

    def __init__(
        self,
        depth: int,
        num_classes: int = 10,
        *,
        exits: Sequence[int] | None = None,
        rule: Rule = "entropy",
        threshold: float = 0.8,
        rest: Literal["last", "least_entropy"] = "last",
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
        image_size: int = 32,
    ) -> None:
        super().__init__()
        check_sizes(depth=depth, num_classes=num_classes, image_size=image_size)
        per_group, plan = blocks_per_stage(depth), stage_geometry(depth)
        early = _published_exits(per_group) if exits is None else tuple(exits)
        _check(early, len(plan), num_classes, rule, threshold, rest)
        self.rule, self.threshold, self.image_size = rule, threshold, image_size
        self.normalize = Normalize(mean, std)
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.names = [f"group{stage - 1}_layer{index}" for stage, index, *_ in plan]
        for name, (_, _, channels, out, stride) in zip(self.names, plan, strict=True):
            downsample = Projection(channels, out, stride) if stride != 1 else None
            setattr(self, name, BasicBlock(channels, out, stride=stride, downsample=downsample))
        # After which block, by its number; the network's end among them
        self.heads = {end: f"branch_layer{number}" for number, end in enumerate(early, 1)}
        for end, name in self.heads.items():
            group = (end - 1) // per_group
            setattr(self, name, (_convs, _block, _linear)[group](num_classes))
        self.heads[len(plan)] = "fc"
        self.fc = nn.Linear(64, num_classes)
        self.add_gates(len(self.heads), least_entropy=rest == "least_entropy")
        init_fan_out(self)

    def stage(self, number: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Blocks and head of an exit, of the stem's input for the first one."""
        if number == 0:
            x = F.relu(self.bn1(self.conv1(self.normalize(x))), inplace=True)
        ends = (0, *self.heads)
        for name in self.names[ends[number] : ends[number + 1]]:
            x = self.get_submodule(name)(x)
        head = self.heads[ends[number + 1]]
        return x, self.get_submodule(head)(x.mean((2, 3)) if head == "fc" else x)

    def margin(self, logits: Tensor) -> Tensor:
        """Score of going on: entropy - threshold, or logit(threshold) - logit(confidence).

        Args:
            logits: The exit's. Shape: (B, num_classes).

        Returns:
            Shape: (B,).
        """
        if self.rule == "entropy":
            return entropy(logits) - self.threshold
        return certainty_margin(logits, self.threshold)

    def threshold_range(self) -> tuple[float, float]:
        """Of an entropy in nats, or of a greatest probability."""
        return _range(self.rule, self.fc.out_features)

    def stage_macs(self) -> list[int]:
        """MACs of the stage behind each early exit, the next exit's head included."""
        size, spent, macs = self.image_size, 0, []
        for number, name in enumerate(self.names, 1):
            block = self.get_submodule(name)
            assert isinstance(block, BasicBlock)
            size = strided(size, block.stride)
            spent += size * size * weights_of(block)  # all its convs have the size it ends with
            if number in self.heads:
                macs.append(spent + _head_macs(self.get_submodule(self.heads[number]), size))
                spent = 0
        return macs[1:]  # the first stage always runs


class _Head(nn.Sequential):
    foldable: ClassVar[tuple[tuple[str, str], ...]] = (("1", "2"), ("5", "6"))


def _convs(num_classes: int) -> nn.Module:
    """Of maps of 16 channels. Places in the sequence are the published names' numbers."""
    return _Head(
        nn.MaxPool2d(2),
        nn.Conv2d(16, 64, 5, padding=2, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        GlobalAverage(),
        nn.Flatten(),
        nn.Linear(32, num_classes),
    )


def _block(num_classes: int) -> nn.Module:
    """Of maps of 32 channels."""
    block = BasicBlock(32, 32, stride=1, downsample=None)
    return nn.Sequential(
        nn.MaxPool2d(2), block, GlobalAverage(), nn.Flatten(), nn.Linear(32, num_classes)
    )


def _linear(num_classes: int) -> nn.Module:
    """Of maps of 64 channels."""
    return nn.Sequential(GlobalAverage(), nn.Flatten(), nn.Linear(64, num_classes))


def _head_macs(head: nn.Module, size: int) -> int:
    """MACs of an exit's head on maps of ``size`` x ``size``."""
    spent = 0
    for part in [head] if isinstance(head, nn.Linear) else head.children():
        if isinstance(part, nn.MaxPool2d):
            size //= 2
        spent += weights_of(part) * (1 if isinstance(part, nn.Linear) else size * size)
    return spent


def _published_exits(per_group: int) -> tuple[int, ...]:
    """After blocks 2 and 5 of each group of six; of smaller groups in the same proportion."""
    own = sorted({max(1, per_group // 3), max(1, 5 * per_group // 6)})
    every = [group * per_group + number for group in range(3) for number in own]
    return tuple(number for number in every if number < 3 * per_group)


def _range(rule: str, num_classes: int) -> tuple[float, float]:
    return (0.0, math.log(num_classes)) if rule == "entropy" else (1 / num_classes, 1.0)


def _check(
    exits: Sequence[int], blocks: int, num_classes: int, rule: str, threshold: float, rest: str
) -> None:
    check_exits(exits, blocks)
    if rest not in ("last", "least_entropy"):
        raise ValueError(f'rest must be "last" or "least_entropy", got {rest!r}')
    if rule not in ("entropy", "confidence"):
        raise ValueError(f'rule must be "entropy" or "confidence", got {rule!r}')
    low, high = _range(rule, num_classes)
    if not low < threshold < high:
        unit = "nats" if rule == "entropy" else "probability"
        raise ValueError(
            f"threshold of {rule} must lie between {low:g} and {high:g} ({unit}) with "
            f"{num_classes} classes, got {threshold}; beyond, no exit or every exit is sure"
        )
