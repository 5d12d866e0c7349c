"""Weights of half the bytes: tensors of two dimensions and more as float16, all else as it is.

What has one dimension (biases, batch norms and their statistics) is small and stays exact. The
network computes in its own dtype, with weights that float16 can hold: so a network that is
published in half is rounded first, and every number of its card is the rounded one's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from leadgrad.victims.weights.state_tensors import unexpanded


def is_halved(value: Tensor) -> bool:
    """Whether a tensor of a state dict is one that is written as float16."""
    return value.dtype == torch.float32 and value.dim() >= 2


@torch.no_grad()
def round_to_half(network: nn.Module) -> None:
    """Rounds a network's tensors of two dimensions and more, in place, to numbers of float16.

    Infinities stay, as a mask's.

    Raises:
        ValueError: If a number is beyond float16's range; the network is then unchanged.
    """
    values = {name: value for name, value in network.state_dict().items() if is_halved(value)}
    for name, value in values.items():
        finite = value[value.isfinite()].abs()
        if finite.numel() and not bool(finite.max().half().isfinite()):
            raise ValueError(
                f"{name} holds {finite.max().item():.3g}, and float16 ends at 65,504; publish "
                "the weights whole, without --half"
            )
    for value in values.values():
        unexpanded(value).copy_(unexpanded(value).half())
