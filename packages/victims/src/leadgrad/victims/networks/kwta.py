"""k-winners-take-all activations: k-WTA (Xiao, Zhong & Zheng, ICLR 2020).

Of all activations of a sample at one place of the network, the k greatest keep their value:

    y = o·x,   o = the k greatest of the C·H·W numbers of x,   k = round(share·C·H·W)

It is a defence: y jumps with x wherever o changes, which the frozen gradient cannot see, so that it
misleads attacks. Winners are a decision like any other here, hence can be led. No compute is saved:
every activation is computed before the winners are known.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from leadgrad.victims.networks.cifar_skeleton import CifarSkeleton, projection
from leadgrad.victims.networks.layers import (
    CIFAR_MEAN,
    CIFAR_STD,
    BasicBlock,
)
from leadgrad.victims.occupancy.choice import Choice


class WinnersTakeAll(nn.Module):
    """The activation in a ReLU's place. Has no parameters and no state-dict keys.

    Args:
        share: Of a sample's activations that keep their value; one does at least.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.choice = Choice()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same with 0 for all but the winners of each sample."""
        units = x.flatten(1)
        self.choice.k = max(1, round(self.share * units.shape[1]))  # maps may be of any size
        occupancy: Tensor = self.choice(units)
        return occupancy.view(x.shape) * x


class WinnersBlock(BasicBlock):
    """A basic block with k-WTA in place of both ReLUs."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, share: float) -> None:
        downsample = projection(in_channels, out_channels, stride)
        super().__init__(in_channels, out_channels, stride=stride, downsample=downsample)
        self.winners1 = WinnersTakeAll(share)
        self.winners2 = WinnersTakeAll(share)

    def residual(self, x: Tensor) -> Tensor:
        """R(x), up to and including the last BN."""
        out: Tensor = self.bn2(self.conv2(self.winners1(self.bn1(self.conv1(x)))))
        return out

    def merge(self, residual: Tensor, shortcut: Tensor) -> Tensor:
        """The winners of the sum."""
        out: Tensor = self.winners2(residual + shortcut)
        return out


class KWTA(CifarSkeleton):
    """A CIFAR ResNet of k-WTA blocks: images (B, 3, H, W) in [0, 1] to logits (B, num_classes).

    The stem keeps its ReLU. Scores are the activations themselves, (B, C·H·W). All units count
    alike, and what is spent is the same for every input.

    Args:
        depth: 6n + 2; depth 20 has 9 blocks, hence 18 choices.
        num_classes: Classes.
        share: Of a sample's activations that win, in (0, 1); the paper's are 0.1 and 0.2.
        mean: Normalisation constants of the training data.
        std: Likewise.
        image_size: Height and width of the images; others work too.

    Raises:
        ValueError: If an argument is out of its range.
    """

    backbone_names = ((r"^linear\.", "fc."),)
    gate_names = r"(?!)"  # none: winners have no parameters

    def __init__(
        self,
        depth: int,
        num_classes: int = 10,
        *,
        share: float = 0.1,
        mean: Sequence[float] = CIFAR_MEAN,
        std: Sequence[float] = CIFAR_STD,
        image_size: int = 32,
    ) -> None:
        if not 0 < share < 1:
            raise ValueError(
                f"share is that of the winners and must lie between 0 and 1, got {share}; at 1 "
                "blocks were linear, so take a smaller one, such as 0.1"
            )

        def build(channels: int, out: int, stride: int) -> WinnersBlock:
            return WinnersBlock(channels, out, stride=stride, share=share)

        super().__init__(depth, num_classes, build, mean=mean, std=std, image_size=image_size)
