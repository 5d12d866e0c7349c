"""Token halting: A-ViT (Yin et al., CVPR 2022), a ViT whose tokens stop when they are done.

Behind each block j every patch token has a halting score of its first channel. It takes part in
block l + 1 while the sum of its scores is below 1 - eps:

    h_j = sigmoid(γ·x_j[0] - β),   q_l = 1 - eps - Σ_{j ≤ l} h_j,   o_l = [q_l > 0]

A halted token keeps its value and serves as no key. The class token never halts, and classifies
behind the last block; the published one averages its states by the halting scores. Training is
``leadgrad.victims.training.budgeted``'s, whose budget is in place of the published ponder loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from leadgrad.victims.networks.layers import CIFAR_MEAN, CIFAR_STD
from leadgrad.victims.networks.masked_vit import MaskedViT, Stem
from leadgrad.victims.occupancy.gates import Gate


class TokenHalting(MaskedViT):
    """A ViT with a gate for each token before each block but the first: images to logits.

    Scores are above 0, so margins only fall along the depth, and a token that has halted stays so
    without a product of occupancies. In a product a relaxed token would fade with every gate that
    it has passed, and the gates would record other occupancies than the network uses. Noise, as
    training adds it, may let a token sit out one block alone.

    Args:
        image_size: Height and width of the images, a multiple of ``patch``.
        patch: Height and width of a patch.
        width: Of a token, a multiple of ``heads``.
        depth: Blocks, at least 2.
        heads: Of the attention.
        stem: "patch", as timm's, or "conv", with which a small network learns faster.
        num_classes: Classes.
        gamma: γ, above 0; 5 is published.
        beta: β; 10 is published, where hardly a token halts before training.
        eps: In (0, 1), so that a single score can halt.
        mean: Normalisation constants of the training data.
        std: Likewise.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        *,
        image_size: int = 32,
        patch: int = 4,
        width: int = 192,
        depth: int = 12,
        heads: int = 3,
        stem: Stem = "patch",
        num_classes: int = 10,
        gamma: float = 5.0,
        beta: float = 10.0,
        eps: float = 0.01,
        mean: Sequence[float] = CIFAR_MEAN,
        std: Sequence[float] = CIFAR_STD,
    ) -> None:
        _check(depth, gamma, beta, eps)
        super().__init__(
            image_size=image_size,
            patch=patch,
            width=width,
            depth=depth,
            heads=heads,
            stem=stem,
            num_classes=num_classes,
            mean=mean,
            std=std,
        )
        self.gamma, self.beta, self.eps = gamma, beta, eps
        self.gates = nn.ModuleList(Gate() for _ in range(depth - 1))

    def halting(self, x: Tensor) -> Tensor:
        """Tokens (B, 1 + N, width) to the halting scores of the patches', (B, N)."""
        return torch.sigmoid(self.gamma * x[:, 1:, 0] - self.beta)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to logits (B, num_classes)."""
        x = self.through(0, self.embed(images))
        left = x.new_full((), 1 - self.eps)
        for number, gate in enumerate(self.gates, 1):
            left = left - self.halting(x)
            x = self.through(number, x, gate(left), by=gate)
        return self.classify(x)

    def unit_macs(self) -> list[int]:
        """MACs of a token in the block behind each gate."""
        return [self.token_macs()] * len(self.gates)


def _check(depth: int, gamma: float, beta: float, eps: float) -> None:
    if depth == 1:
        raise ValueError("depth must be at least 2, got 1; no gate comes before the first block")
    if not (math.isfinite(gamma) and gamma > 0):
        raise ValueError(f"gamma must be finite and above 0, got {gamma}; 5 is published")
    if not math.isfinite(beta):
        raise ValueError(f"beta must be finite, got {beta}; 10 is published")
    if not 0 < eps < 1:
        raise ValueError(f"eps must lie in (0, 1), got {eps}; 0.01 is published")
