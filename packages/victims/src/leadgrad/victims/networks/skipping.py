"""Real skipping: a forward that leaves out what is not executed, in place of masking it.

Most public adaptive networks compute everything and multiply by 0, so that their speed is counted
and never seen. ``set_execution(network, "skip")`` takes another path through the same modules:
skipped blocks get the samples that execute them, as a smaller batch; samples that have been
answered leave the batch; masked pixels are gathered before a conv and scattered behind it, and
tokens before and behind a block.

It is for exact decisions, hence for inference and for gradients under ``FGM``; under any other
method, and while compiling, the network masks. Logits are the same up to float32 rounding: a conv
of another batch may add in another order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leadgrad.victims.occupancy.gates import Decider
from leadgrad.victims.occupancy.methods import FGM

Execution = Literal["masked", "skip"]


class Skipping:
    """Mixed into modules that can leave out what is not executed.

    Attributes:
        execution: Set by ``set_execution``.
    """

    execution: Execution = "masked"

    def skips(self, decider: nn.Module) -> bool:
        """Whether to leave out, now, what this gate or choice does not execute."""
        return (
            self.execution == "skip"
            and isinstance(decider, Decider)
            and type(decider.method) is FGM
            and not torch.compiler.is_compiling()
        )


def set_execution(network: nn.Module, execution: Execution) -> None:
    """Lets a network mask what is not executed, or leave it out.

    Raises:
        ValueError: If it is neither of the two, or no module of the network can leave anything out.
    """
    if execution not in ("masked", "skip"):
        raise ValueError(f'execution must be "masked" or "skip", got {execution!r}')
    found = [module for module in network.modules() if isinstance(module, Skipping)]
    if execution == "skip" and not found:
        raise ValueError(
            f"{type(network).__name__} has no path that leaves out what is not executed; keep "
            'execution="masked", or derive it from leadgrad.victims.networks.skipping.Skipping'
        )
    for module in found:
        module.execution = execution


def on_rows(
    unit: Callable[[Tensor, Tensor], Tensor], x: Tensor, executed: Tensor, otherwise: Tensor
) -> Tensor:
    """A unit on the samples that execute it, something else on the others.

    Args:
        unit: Of some samples: their input, and what their result were otherwise, to the result.
        x: Its input. Shape: (B, ...).
        executed: Shape: (B,); not 0 where it is executed.
        otherwise: The result where it is not. Shape: (B, ...).
    """
    rows = executed.nonzero().flatten()
    if len(rows) == len(x):
        return unit(x, otherwise)
    if not len(rows):
        return otherwise
    return otherwise.index_copy(0, rows, unit(x[rows], otherwise[rows]))


class Positions:
    """Some positions of a map, as rows (P, 3) of sample, height and width.

    Args:
        mask: Where they are. Shape: (B, 1, H, W), bool.
    """

    def __init__(self, mask: Tensor) -> None:
        self.size = mask.shape[2:]
        self.batch = len(mask)
        self.rows = mask[:, 0].nonzero()

    def gathered(self, x: Tensor, kernel: int, stride: int) -> Tensor:
        """What a conv sees there, padded by half its odd kernel. (B, C, H', W') to (P, k²·C)."""
        pad = kernel // 2
        wide = F.pad(x, (pad, pad, pad, pad)).permute(0, 2, 3, 1)
        sample, height, width = self.rows.unbind(1)
        taps = [
            wide[sample, height * stride + down, width * stride + right]
            for down in range(kernel)
            for right in range(kernel)
        ]
        return torch.cat(taps, 1)

    def scattered(self, values: Tensor) -> Tensor:
        """Values (P, C) at their places, 0 elsewhere. Shape: (B, C, H, W)."""
        out = values.new_zeros(self.batch, *self.size, values.shape[1])
        return out.index_put(tuple(self.rows.unbind(1)), values).permute(0, 3, 1, 2)


def conv_at(conv: nn.Conv2d, norm: nn.Module, x: Tensor, positions: Positions) -> Tensor:
    """A square conv and what normalises it, at some positions of its result alone.

    Args:
        conv: Of odd kernel, padded by half of it.
        norm: BN in evaluation mode, or the identity where it is folded.
        x: The conv's input. Shape: (B, C, H', W').
        positions: Of the result.

    Returns:
        Shape: (P, C_out).
    """
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    weight = conv.weight.permute(0, 2, 3, 1).flatten(1)
    values = F.linear(positions.gathered(x, kernel, stride), weight, conv.bias)
    normed: Tensor = norm(values[:, :, None, None])
    return normed.flatten(1)
