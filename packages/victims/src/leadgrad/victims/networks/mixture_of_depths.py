"""Mixture of depths (Raposo et al. 2024): a ViT of which some blocks take only their best tokens.

The router of such a block scores each patch token, and the k greatest scores pass:

    x ← x + o·r'·(block(x) - x),   r' = sigmoid(r),   o = [r is one of the k greatest]

The others keep their values and serve as no keys. The published network multiplies by r itself; its
sigmoid keeps tokens that pass between what they were and what the block makes of them. There, a
token may not see those behind it, as in language models; here the choice is over the whole image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from leadgrad.victims.networks.layers import CIFAR_MEAN, CIFAR_STD
from leadgrad.victims.networks.masked_vit import MaskedViT, Stem, init_linear
from leadgrad.victims.networks.sizes import check_sizes
from leadgrad.victims.occupancy.choice import Choice


class MixtureOfDepths(MaskedViT):
    """A ViT with a router before every second block: images (B, 3, H, W) in [0, 1] to logits.

    The class token passes every block. The number of tokens that pass is the same for every image.

    Args:
        image_size: Height and width of the images, a multiple of ``patch``.
        patch: Height and width of a patch.
        width: Of a token, a multiple of ``heads``.
        depth: Blocks, at least ``every``.
        heads: Of the attention.
        stem: "patch", as timm's, or "conv", with which a small network learns faster.
        num_classes: Classes.
        every: Which blocks have a router: with 2, the second, the fourth and so on, as published.
        capacity: Share of the patch tokens that pass such a block, in (0, 1), rounded up to a whole
            number of tokens; 0.125 is published, for sequences of thousands.
        mean: Normalisation constants of the training data.
        std: Likewise.

    Raises:
        ValueError: If an argument is out of its range, or no block would have a router.
    """

    gate_names = r"^routers\."

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
        every: int = 2,
        capacity: float = 0.25,
        mean: Sequence[float] = CIFAR_MEAN,
        std: Sequence[float] = CIFAR_STD,
    ) -> None:
        check_sizes(every=every)
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
        if every > depth:
            raise ValueError(
                f"every must be at most depth = {depth}, got {every}; no block would have a router"
            )
        self.every, count = every, _passing(self.tokens, capacity)
        self.routers = nn.ModuleList(nn.Linear(width, 1) for _ in range(depth // every))
        self.choices = nn.ModuleList(Choice(count) for _ in self.routers)
        self.routers.apply(init_linear)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to logits (B, num_classes)."""
        x = self.embed(images)
        for number in range(len(self.blocks)):
            routed, rest = divmod(number + 1, self.every)
            if rest:
                x = self.through(number, x)
                continue
            scores = self.routers[routed - 1](x[:, 1:]).squeeze(2)
            occupancy = self.choices[routed - 1](scores)
            share = occupancy * torch.sigmoid(scores)
            x = self.through(number, x, occupancy, share, by=self.choices[routed - 1])
        return self.classify(x)

    def unit_macs(self) -> list[int]:
        """MACs of a token in each block that has a router; the routers' own are left out."""
        return [self.token_macs()] * len(self.routers)


def _passing(tokens: int, capacity: float) -> int:
    """How many tokens pass."""
    if not 0 < capacity < 1:
        raise ValueError(
            "capacity is the share of tokens that pass a block and must lie in (0, 1), got "
            f"{capacity}"
        )
    count = math.ceil(round(capacity * tokens, 9))  # 0.1 · 30 is above 3
    if count == tokens:
        raise ValueError(
            f"capacity = {capacity} of {tokens} tokens, rounded up, lets all of them pass; choose "
            "a smaller one, or smaller patches"
        )
    return count
