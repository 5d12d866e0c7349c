"""The greatest value of each cell, with a gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Values at a time: larger temporaries are mapped and unmapped anew by the allocator, which takes
# as long as the work itself
BLOCK = 1 << 20


def cell_max(values: Tensor, cell: Tensor, cells: int) -> Tensor:
    """Channel by channel the greatest of the rows that belong to each cell.

    Rows that are equally great share the gradient.

    Args:
        values: Shape: (P, C).
        cell: Cell of each row. Shape: (P,), int64.
        cells: Number of cells M, each with a row at least.

    Returns:
        Shape: (M, C).
    """
    greatest: Tensor = _CellMax.apply(values, cell, cells)
    return greatest


class _CellMax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, cell: Tensor, cells: int) -> Tensor:
        place = cell[:, None].expand_as(values)
        empty = values.new_empty(cells, values.shape[1])
        greatest = empty.scatter_reduce(0, place, values, "amax", include_self=False)
        ctx.save_for_backward(values, greatest, cell)
        return greatest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        values, greatest, cell = ctx.saved_tensors
        rows = max(1, BLOCK // values.shape[1])
        parts, places = torch.split(values, rows), torch.split(cell, rows)
        winners = torch.zeros_like(grad)
        for part, place in zip(parts, places, strict=True):
            winners.index_add_(0, place, (part == greatest[place]).to(grad.dtype))
        share, made = grad / winners, torch.empty_like(values)
        for part, place, out in zip(parts, places, torch.split(made, rows), strict=True):
            torch.mul(part == greatest[place], share[place], out=out)
        return made, None, None
