"""The differentiable OR of many relations per voxel (eq. 31 in docs/reference/method.md)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def segment_or(relation: Tensor, voxel: Tensor, voxels: int) -> Tensor:
    """Occupancy of each voxel: ô = 1 - Π (1 - r̂) over the pairs that belong to it.

    The gradient is exact also where a relation is 1: the product of the other factors is kept
    apart from the number of factors that are 0, so nothing is divided by 0.

    Args:
        relation: r̂ of each pair in [0, 1]. Shape: (P,).
        voxel: Voxel of each pair. Shape: (P,), int64.
        voxels: Number of voxels M'.

    Returns:
        ô of each voxel in [0, 1]. Shape: (M',).
    """
    occupancy: Tensor = _SegmentOr.apply(relation, voxel, voxels)
    return occupancy


class _SegmentOr(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, relation: Tensor, voxel: Tensor, voxels: int) -> Tensor:
        factors = 1 - relation
        zero = factors == 0
        zeros = None
        if bool(zero.any()):  # as smooth relations hardly ever have: without it half of the time
            factors = torch.where(zero, torch.ones_like(factors), factors)
            zeros = relation.new_zeros(voxels).index_add(0, voxel, zero.to(relation.dtype))
        product = relation.new_ones(voxels).scatter_reduce(0, voxel, factors, "prod")
        ctx.save_for_backward(factors, None if zeros is None else zero, product, zeros, voxel)
        if zeros is None:
            return 1 - product
        return 1 - torch.where(zeros > 0, torch.zeros_like(product), product)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        factors, zero, product, zeros, voxel = ctx.saved_tensors
        others = product[voxel] / factors
        if zero is not None:  # 0 where one of the other factors is 0
            others = torch.where(zeros[voxel] > zero.to(grad.dtype), 0.0, others)
        return grad[voxel] * others, None, None
