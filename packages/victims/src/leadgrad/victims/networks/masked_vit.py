"""A vision transformer (ViT, Dosovitskiy et al. 2021) whose tokens count by their occupancy.

A token that is left out keeps its value and serves no other token as a key. Of keys with
occupancies o, token i attends to token j with the weight

    w_ij = exp(a_ij)·o_j / Σ_k exp(a_ik)·o_k,   o_ii = 1

where a are the scaled scores. At o in {0, 1} this is the attention of the sequence without the
tokens of o = 0. Blocks are timm's, and so are all names of the state dict. timm is imported when a
network is made and not before: that takes seconds.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leadgrad.victims.networks.conv_stem import ConvStem
from leadgrad.victims.networks.layers import Normalize
from leadgrad.victims.networks.network import GatedNetwork
from leadgrad.victims.networks.sizes import check_sizes
from leadgrad.victims.networks.skipping import Skipping

if TYPE_CHECKING:
    from timm.layers.attention import Attention
    from timm.models.vision_transformer import Block

Stem = Literal["patch", "conv"]
"""What makes tokens of an image: a linear map of each patch, or ``ConvStem``."""

MLP_RATIO = 4  # hidden width of a block's MLP over the token's


def masked_softmax(scores: Tensor, keys: Tensor) -> Tensor:
    """Attention weights of keys that count by their occupancy; each token's own key counts fully.

    Args:
        scores: Finite. Shape: (B, heads, N, N), queries before keys.
        keys: Occupancies. Where one is 0, the weight is exactly 0, and the gradient of the
            occupancy is still there. Shape: (B, N).

    Returns:
        Rows that sum to 1, in the shape of the scores.
    """
    own = torch.eye(keys.shape[1], dtype=torch.bool, device=keys.device)
    share = torch.where(own, 1.0, keys[:, None, None])
    # The greatest of what is there, or what is there could underflow beside what is not
    there = share > torch.finfo(share.dtype).tiny
    greatest = scores.detach().masked_fill(~there, -torch.inf).amax(-1, keepdim=True)
    # What is not there may lie above it and overflow, and inf times 0 is NaN. The root of the
    # greatest number leaves room for what the gradient is multiplied by.
    bound = math.log(torch.finfo(scores.dtype).max) / 2
    weights = (scores - greatest).clamp(max=bound).exp() * share
    return weights / weights.sum(-1, keepdim=True)


def attend(attention: Attention, x: Tensor, keys: Tensor | None) -> Tensor:
    """The attention of timm with keys that count by their occupancy.

    Never the fused kernels, whose gradient is not deterministic on a GPU.

    Args:
        attention: With its weights.
        x: Normed tokens. Shape: (B, N, width).
        keys: Occupancies, (B, N); None: all are there.
    """
    heads = attention.num_heads
    parts = attention.qkv(x).unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    query, key, value = parts.unbind(0)
    scores = query * attention.scale @ key.transpose(-2, -1)
    weights = scores.softmax(-1) if keys is None else masked_softmax(scores, keys)
    out: Tensor = attention.proj((weights.to(value.dtype) @ value).transpose(1, 2).flatten(2))
    return out


def masked_block(block: Block, x: Tensor, keys: Tensor | None) -> Tensor:
    """A block of timm with keys that count by their occupancy. (B, N, width) to the same."""
    x = x + block.ls1(attend(cast("Attention", block.attn), block.norm1(x), keys))
    out: Tensor = x + block.ls2(block.mlp(block.norm2(x)))
    return out


def init_linear(module: nn.Module) -> None:
    """Weights of a linear layer N(0, 0.02²), truncated, and no bias: timm's rule of a ViT."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


class MaskedViT(Skipping, GatedNetwork):
    """Base of the token families: images (B, 3, H, W) in [0, 1] to logits (B, num_classes).

    The class token is in every block. A subclass decides which patch tokens are, in ``forward``,
    and writes ``unit_macs``. Of patches, its static twin is timm's ``VisionTransformer`` of the
    same sizes.

    Args:
        image_size: Height and width of the images, a multiple of ``patch``.
        patch: Height and width of a patch.
        width: Of a token, a multiple of ``heads``.
        depth: Blocks.
        heads: Of the attention.
        stem: "patch", as timm's, or "conv", with which a small network learns faster.
        num_classes: Classes.
        mean: Normalisation constants of the training data.
        std: Likewise.

    Attributes:
        tokens: N, the patches of an image.

    Raises:
        ValueError: If a size is no whole number of at least 1, or does not divide, or there is no
            such stem.
    """

    backbone_names = ((r"^network\.", ""),)
    gate_names = r"(?!)"  # none

    def __init__(
        self,
        *,
        image_size: int,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        stem: Stem,
        num_classes: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        check_sizes(image_size=image_size, patch=patch, width=width, depth=depth, heads=heads)
        check_sizes(num_classes=num_classes)
        if image_size % patch:
            raise ValueError(
                f"image_size must be a multiple of patch = {patch}, got {image_size}; choose a "
                "patch that divides it"
            )
        if width % heads:
            raise ValueError(
                f"width must be a multiple of heads = {heads}, got {width}; each head has its part"
            )
        if stem not in get_args(Stem):
            raise ValueError(f"stem must be one of {', '.join(get_args(Stem))}, got {stem!r}")
        from timm.layers.norm import LayerNorm
        from timm.layers.patch_embed import PatchEmbed
        from timm.models.vision_transformer import Block

        super().__init__()
        self.image_size, self.tokens = image_size, (image_size // patch) ** 2
        self.normalize = Normalize(mean, std)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.tokens, width))
        self.patch_embed = (
            ConvStem(patch, width) if stem == "conv" else PatchEmbed(image_size, patch, 3, width)
        )
        self.blocks = nn.ModuleList(
            Block(width, heads, MLP_RATIO, qkv_bias=True, norm_layer=LayerNorm)
            for _ in range(depth)
        )
        self.norm = LayerNorm(width)
        self.head = nn.Linear(width, num_classes)
        self.apply(init_linear)
        nn.init.normal_(self.cls_token, std=1e-6)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def embed(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to the class token and the patches': (B, 1 + N, width).

        Raises:
            ValueError: If they have another size than the positions were made for.
        """
        if tuple(images.shape[2:]) != (self.image_size, self.image_size):
            raise ValueError(
                f"images must have {self.image_size} x {self.image_size} pixels, got the shape "
                f"{tuple(images.shape)}; resize them, or make the network of another image_size"
            )
        patches = self.patch_embed(self.normalize(images))
        first = self.cls_token.expand(len(images), -1, -1)
        return torch.cat([first, patches], 1) + self.pos_embed

    def through(
        self,
        number: int,
        x: Tensor,
        occupancy: Tensor | None = None,
        share: Tensor | None = None,
        *,
        by: nn.Module | None = None,
    ) -> Tensor:
        """One block: x + s·(block(x) - x), where tokens serve as keys by their occupancy.

        Args:
            number: Of the block, from 0.
            x: Shape: (B, 1 + N, width).
            occupancy: Of the patch tokens, (B, N); None: all take part.
            share: s of the patch tokens, (B, N); None: their occupancy.
            by: The gate or choice that decided the occupancy, for real skipping.
        """
        block = cast("Block", self.blocks[number])
        if occupancy is None:
            return masked_block(block, x, None)
        share = occupancy if share is None else share
        if by is not None and self.skips(by):
            return _gathered_block(block, x, occupancy, share)
        made = masked_block(block, x, _with_class(occupancy))
        taken = _with_class(share)[..., None]
        return taken * made + (1 - taken) * x  # exact at 0 and at 1

    def classify(self, x: Tensor) -> Tensor:
        """The last block's tokens (B, 1 + N, width) to logits (B, num_classes)."""
        logits: Tensor = self.head(self.norm(x[:, 0]))
        return logits

    def token_macs(self) -> int:
        """MACs of one token in one block: its linear layers, and its row of the attention.

        That row is counted as if all 1 + N tokens were there, so where some are not it is an upper
        bound; at width 192 and 64 patches it is a twentieth of the whole.
        """
        width = self.head.in_features
        return (4 + 2 * MLP_RATIO) * width**2 + 2 * (1 + self.tokens) * width

    @abstractmethod
    def unit_macs(self) -> list[int]:
        """MACs of one token that one gate or choice lets pass, in their order."""

    def unit_costs(self) -> tuple[float, ...]:
        """MACs of one token behind each gate or choice."""
        return tuple(float(macs) for macs in self.unit_macs())

    def conditional_macs(self, record: Sequence[Tensor]) -> Tensor:
        """MACs of the tokens that are let pass. Shape: (B,), int64."""
        passed = torch.stack([units.long().sum(1) for units in record], 1)
        return (passed * passed.new_tensor(self.unit_macs())).sum(1)

    def conditional_macs_total(self) -> int:
        """The same for one image of which every token passes."""
        return self.tokens * sum(self.unit_macs())


def _gathered_block(block: Block, x: Tensor, occupancy: Tensor, share: Tensor) -> Tensor:
    """A block on the tokens that take part alone; the others keep their values.

    Images of which fewer take part than of another one are filled up with tokens that do not count.

    Args:
        block: Of timm.
        x: Shape: (B, 1 + N, width).
        occupancy: Of the patch tokens, 0 or 1. Shape: (B, N).
        share: Of the block's result. Shape: (B, N).
    """
    there = occupancy > 0
    counts = there.sum(1)
    most = int(counts.max())
    order = there.to(torch.uint8).argsort(stable=True, dim=1, descending=True)
    first = order[:, :most]
    places = F.pad(first + 1, (1, 0))  # the class token is the first
    index = places[..., None].expand(-1, -1, x.shape[2])
    kept = x.gather(1, index)
    full = int(counts.min()) == most
    made = masked_block(block, kept, None if full else _with_class(occupancy).gather(1, places))
    taken = _with_class(share).gather(1, places)[..., None]
    return x.scatter(1, index, taken * made + (1 - taken) * kept)


def _with_class(occupancy: Tensor) -> Tensor:
    """Of the patch tokens (B, N), to that of all (B, 1 + N): the class token is always there."""
    return F.pad(occupancy, (1, 0), value=1.0)
