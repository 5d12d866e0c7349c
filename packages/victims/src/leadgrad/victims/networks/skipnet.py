"""SkipNet with its recurrent gate: blocks are skipped image by image (Wang et al. 2018).

Semantics and state-dict keys of the published networks: docs/reference/images.md, "SkipNet" and
"Checkpoints". Here are the CIFAR network and what that of ImageNet (``skipnet_imagenet``) shares.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leadgrad.victims.networks.gated_resnet import GatedResNet
from leadgrad.victims.networks.layers import (
    CIFAR_MEAN,
    CIFAR_STD,
    BasicBlock,
    GlobalAverage,
    Normalize,
    Projection,
    ResidualBlock,
    init_fan_out,
    stage_geometry,
    strided,
)
from leadgrad.victims.networks.sizes import check_sizes
from leadgrad.victims.networks.skipping import Skipping, on_rows
from leadgrad.victims.occupancy.gates import Gate

EMBEDDING = 10  # width of the gate's embeddings and of its LSTM, as published
State = tuple[Tensor, Tensor]


class LSTMStep(nn.Module):
    """One step of an LSTM, with the names and the initialisation of a one-layer ``nn.LSTM``.

    No ``nn.LSTM``, because cuDNN refuses that one's backward in evaluation mode, which LGM needs
    and FGM never does, and because ``torch.compile`` breaks the graph at it.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight_ih_l0 = nn.Parameter(torch.empty(4 * width, width))
        self.weight_hh_l0 = nn.Parameter(torch.empty(4 * width, width))
        self.bias_ih_l0 = nn.Parameter(torch.empty(4 * width))
        self.bias_hh_l0 = nn.Parameter(torch.empty(4 * width))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(width**-0.5), width**-0.5)

    def forward(self, x: Tensor, state: State) -> State:
        """Input (B, width) and the (hidden, cell) before it to those after it, each (B, width)."""
        weights = (self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.bias_hh_l0)
        hidden, cell = torch.lstm_cell(x, state, *weights)
        return hidden, cell


class RecurrentController(nn.Module):
    """One LSTM shared by all gates; each gate is one time step.

    Args:
        conv: Whether the projection to the score is a conv1x1, as in the release's ImageNet
            network, and no linear layer: the same numbers in another shape.
    """

    proj: nn.Linear | nn.Conv2d

    def __init__(self, *, conv: bool = False) -> None:
        super().__init__()
        self.rnn = LSTMStep(EMBEDDING)
        self.proj = nn.Conv2d(EMBEDDING, 1, 1) if conv else nn.Linear(EMBEDDING, 1)

    def forward(self, embedding: Tensor, state: State) -> tuple[Tensor, State]:
        """Embedding (B, 10) and (hidden, cell) to the margin q (B,) and the next state."""
        state = self.rnn(embedding, state)
        margin = F.linear(state[0], self.proj.weight.flatten(1), self.proj.bias)
        return margin.squeeze(1), state


class SkippingResNet(Skipping, GatedResNet):
    """A ResNet whose blocks are skipped: images (B, 3, H, W) in [0, 1] to logits.

    x_k = o_k·B_k(x_{k-1}) + (1 - o_k)·s_k for every block after the first, with o_k = 1 where the
    margin is above 0 (strictly) and s_k the block's shortcut: x_{k-1}, or its projection without
    ReLU.

    A subclass makes its blocks by ``_add``, and ``control`` and ``gates`` after them.

    Args:
        image_size: Height and width that ``conditional_macs`` counts for.
    """

    backbone_names = ((r"^layer(\d)\.(\d+)\.", r"group\1_layer\2."), (r"^linear\.", "fc."))
    gate_names = r"^control\.|^group\d_gate|^group\d_ds"  # ds: a second name of the projection

    control: RecurrentController
    gates: nn.ModuleList

    def __init__(self, image_size: int) -> None:
        super().__init__(image_size)
        self._names: list[str] = []

    def _add(self, group: int, index: int, block: ResidualBlock, channels: int) -> None:
        """Registers the next block, and the embedding of its result (B, channels, H, W)."""
        if block.downsample is not None:
            # The release registers the projection under a second name; checkpoints have both.
            self.add_module(f"group{group}_ds{index}", block.downsample)
        self.add_module(f"group{group}_layer{index}", block)
        embed = nn.Sequential(GlobalAverage(), nn.Conv2d(channels, EMBEDDING, 1))
        self.add_module(f"group{group}_gate{index}", embed)
        self._names.append(f"group{group}_{{}}{index}")

    def blocks(self) -> list[ResidualBlock]:
        """B_0 ... B_K; the first is always executed."""
        blocks = [self.get_submodule(name.format("layer")) for name in self._names]
        return [block for block in blocks if isinstance(block, ResidualBlock)]

    def embeddings(self) -> list[nn.Module]:
        """One per block, read after it; the last one feeds no gate (the release has it too)."""
        return [self.get_submodule(name.format("gate")) for name in self._names]

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to logits (B, num_classes)."""
        x = self.stem(images)
        first, *skippable = self.blocks()
        x = first(x)
        state = (x.new_zeros(len(x), EMBEDDING), x.new_zeros(len(x), EMBEDDING))
        for block, embed, gate in zip(skippable, self.embeddings(), self.gates, strict=False):
            margin, state = self.control(embed(x).flatten(1), state)
            occupancy = gate(margin)
            skip = block.shortcut(x)
            if self.skips(gate):
                x = on_rows(block.on_shortcut, x, occupancy, skip)
                continue
            if Gate.idle(occupancy):
                x = skip
                continue
            branch = block.merge(block.residual(x), skip)
            # o·branch + (1 - o)·skip in one kernel, exact at o in {0, 1}
            x = torch.lerp(skip, branch, occupancy.view(-1, 1, 1, 1))
        return self.head(x)

    def unit_costs(self) -> tuple[float, ...]:
        """MACs of each skippable block."""
        return tuple(float(macs) for macs in self._block_macs())

    def conditional_macs(self, record: Sequence[Tensor]) -> Tensor:
        """MACs of the executed skippable blocks. Shape: (B,), int64. Projections always run."""
        executed = torch.stack([decision.long() for decision in record], 1)
        return executed @ executed.new_tensor(self._block_macs())

    def conditional_macs_total(self) -> int:
        """The same for one image with every block executed."""
        return sum(self._block_macs())

    def _block_macs(self) -> list[int]:
        size, macs = self.stem_size(), []
        for block in self.blocks():
            macs.append(block.macs(size))
            size = strided(size, block.stride)
        return macs[1:]


class SkipNet(SkippingResNet):
    """A CIFAR SkipNet: images (B, 3, H, W) in [0, 1] to logits (B, num_classes).

    Args:
        depth: 6n + 2; depth 110 has 54 blocks and 53 gates.
        num_classes: Classes.
        mean: Normalisation constants of the training data.
        std: Likewise.
        image_size: Height and width that ``conditional_macs`` counts for.
    """

    def __init__(
        self,
        depth: int,
        num_classes: int = 10,
        *,
        mean: Sequence[float] = CIFAR_MEAN,
        std: Sequence[float] = CIFAR_STD,
        image_size: int = 32,
    ) -> None:
        check_sizes(num_classes=num_classes)
        super().__init__(image_size)
        self.normalize = Normalize(mean, std)
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        for group, index, channels, out, stride in stage_geometry(depth):
            downsample = Projection(channels, out, stride) if stride != 1 else None
            block = BasicBlock(channels, out, stride=stride, downsample=downsample)
            self._add(group, index, block, out)
        self.control = RecurrentController()
        # Our own choice: open gates at first. From closed ones, which the release's random bias
        # gives half of the time, short runs get stuck with every block skipped.
        nn.init.constant_(self.control.get_parameter("proj.bias"), 0.3)
        self.gates = nn.ModuleList(Gate() for _ in self._names[1:])
        self.fc = nn.Linear(64, num_classes)
        init_fan_out(self)
        nn.init.normal_(self.fc.weight, std=(2 / self.fc.weight.numel()) ** 0.5)
