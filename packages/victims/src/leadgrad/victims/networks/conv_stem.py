"""A stem of convolutions in place of a ViT's cut into patches (Xiao et al., NeurIPS 2021).

    3×3 convs with batch norm and ReLU: half the width at full size, then one of stride 2 for each
    halving of the image down to its patches; then a 1×1 conv to the width

The tokens are as many as patches. Small ViTs learn far faster behind it, and from few images:
without one they need hundreds of epochs of CIFAR-10.
"""

from __future__ import annotations

import itertools

from torch import Tensor, nn


class ConvStem(nn.Sequential):
    """Images (B, 3, H, W) to tokens (B, N, width), N = H·W / patch², row by row.

    Args:
        patch: Height and width of what one token stands for, a power of 2.
        width: Of a token, even.

    Raises:
        ValueError: If the patch is no power of 2 of at least 2, or the width is odd.
    """

    def __init__(self, patch: int, width: int) -> None:
        halvings = patch.bit_length() - 1
        if patch < 2 or patch != 2**halvings:
            raise ValueError(
                f"patch must be a power of 2 of at least 2 for a stem of convs, got {patch}; "
                "choose 2, 4 or 8, or stem='patch'"
            )
        if width % 2:
            raise ValueError(f"width must be even for a stem of convs, got {width}")
        channels = [3, width // 2] + [width] * halvings
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(itertools.pairwise(channels)):
            stride = 2 if number else 1
            layers += [
                nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers, nn.Conv2d(width, width, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) to tokens (B, N, width)."""
        x = images
        for layer in self:
            x = layer(x)
        return x.flatten(2).transpose(1, 2)
