"""Token pruning: DynamicViT (Rao et al., NeurIPS 2021), a ViT that drops tokens at some depths.

Before some blocks a predictor scores each patch token, and a fixed share of the tokens that are
still present is kept, by a ``Choice`` over all N. It chooses among those present alone, as its
scores are

    q_i = s_i + log o_i        o_i: occupancy at the stage before; -inf where it is 0

At o in {0, 1} that is s_i or -inf, so exactly the best of the present are kept and none comes back.
A relaxed token that is half gone has half the odds, and as occupancies tend to 0 or 1 so does the
choice to the exact one. The log's gradient, do / o, is bounded for a surrogate whose slope falls
with its value, as a sigmoid's: by its λ. At -inf there is none.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from leadgrad.victims.networks.layers import CIFAR_MEAN, CIFAR_STD
from leadgrad.victims.networks.masked_vit import MaskedViT, Stem, init_linear
from leadgrad.victims.networks.sizes import whole
from leadgrad.victims.occupancy.choice import Choice


class Predictor(nn.Sequential):
    """Scores of tokens: (B, N, width) to (B, N, 1).

    The published one also sees the mean of the tokens present; this one each token alone.
    """

    def __init__(self, width: int) -> None:
        hidden = max(1, width // 2)
        super().__init__(
            nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, 1)
        )


def among(scores: Tensor, present: Tensor) -> Tensor:
    """Scores for a choice among the tokens present: s + log o, and -inf where o is 0.

    Args:
        scores: Shape: (B, N).
        present: Occupancies, at least 0. Shape: (B, N).
    """
    there = present > torch.finfo(present.dtype).tiny
    return torch.where(there, scores + torch.where(there, present, 1.0).log(), -torch.inf)


class TokenPruning(MaskedViT):
    """A ViT that keeps a share of its patch tokens at each of some stages: images to logits.

    The number of tokens that run is the same for every image; which they are is chosen.

    Args:
        image_size: Height and width of the images, a multiple of ``patch``.
        patch: Height and width of a patch.
        width: Of a token, a multiple of ``heads``.
        depth: Blocks.
        heads: Of the attention.
        stem: "patch", as timm's, or "conv", with which a small network learns faster.
        num_classes: Classes.
        stages: Numbers of the blocks, from 0, before which tokens are pruned; ascending.
        keep: Share of the tokens present that each stage keeps, in (0, 1), rounded to a whole
            number of tokens; 0.7 is published.
        mean: Normalisation constants of the training data.
        std: Likewise.

    Attributes:
        kept: Number of tokens behind each stage.

    Raises:
        ValueError: If an argument is out of its range, or a stage would keep all tokens or none.
    """

    gate_names = r"^predictors\."

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
        stages: Sequence[int] = (3, 6, 9),
        keep: float = 0.7,
        mean: Sequence[float] = CIFAR_MEAN,
        std: Sequence[float] = CIFAR_STD,
    ) -> None:
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
        _check_stages(stages, depth)
        self.stages, self.kept = tuple(stages), _kept(self.tokens, keep, len(stages))
        self.predictors = nn.ModuleList(Predictor(width) for _ in stages)
        self.choices = nn.ModuleList(Choice(count) for count in self.kept)
        self.predictors.apply(init_linear)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to logits (B, num_classes)."""
        x, present, pruned = self.embed(images), None, 0
        for number in range(len(self.blocks)):
            if number in self.stages:
                scores = self.predictors[pruned](x[:, 1:]).squeeze(2)
                present = self.choices[pruned](
                    scores if present is None else among(scores, present)
                )
                pruned += 1
            x = self.through(number, x, present, by=self.choices[max(0, pruned - 1)])
        return self.classify(x)

    def unit_macs(self) -> list[int]:
        """MACs of a token in the blocks from each stage to the next one, or to the end.

        The predictors' own, a hundredth of them, are left out.
        """
        ends = (*self.stages[1:], len(self.blocks))
        return [
            (end - start) * self.token_macs() for start, end in zip(self.stages, ends, strict=True)
        ]


def _check_stages(stages: Sequence[int], depth: int) -> None:
    known = all(stage == 0 or whole(stage) for stage in stages)
    if not stages or not known or list(stages) != sorted(set(stages) & set(range(depth))):
        raise ValueError(
            f"stages must be ascending numbers of blocks from 0 to {depth - 1}, got "
            f"{list(stages)}; name at least one, each once"
        )


def _kept(tokens: int, keep: float, stages: int) -> tuple[int, ...]:
    """Number of tokens behind each stage."""
    if not 0 < keep < 1:
        raise ValueError(
            f"keep is the share of tokens that a stage keeps and must lie in (0, 1), got {keep}"
        )
    kept = [tokens]
    for _ in range(stages):
        kept.append(round(keep * kept[-1]))
        if not 0 < kept[-1] < kept[-2]:
            raise ValueError(
                f"keep = {keep} leaves {kept[-1]} of {kept[-2]} tokens at a stage, which must "
                "leave some and drop some; choose another keep, fewer stages or smaller patches"
            )
    return tuple(kept[1:])
