"""Sparse convolution as one differentiable function of features and kernel.

Per block of targets: gather the sources of each slice, multiply by the slice into one buffer of
contributions, then sum each target's contributions in one pass. Nothing is added into memory
twice by different pairs, so results are bit-identical between runs at one thread count, on every
device. Blocks are small enough for a processor's caches, where this work is bound by the products
instead of by memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from leadgrad.victims.sparse.coordinates import CoordinateSet
from leadgrad.victims.sparse.kernel_map import Block, KernelMap

# A block's contributions: best of 1 to 16 MiB at 32 and 96 channels on one thread; beyond
# 32 MiB the processor's allocator maps and unmaps every block, which takes twice as long.
CPU_BLOCK_BYTES = 8 << 20
DEVICE_BLOCK_BYTES = 16 << 20  # fewer launches


def sparse_conv(feats: Tensor, kernel: Tensor, kernel_map: KernelMap) -> Tensor:
    """Convolution over the pairs of a map: out[t] = Σ in[s] @ kernel[k] over pairs (s, t) of k.

    Submanifold, strided and transposed convolution differ in their maps only. Float32, float64 and
    bfloat16; the latter sums weight gradients in float32.

    Args:
        feats: Input rows in the row order of the map's source set. Shape: (M, Cin).
        kernel: One matrix per slice. Shape: (K, Cin, Cout), dtype and device of ``feats``.
        kernel_map: The pairs.

    Returns:
        Output rows in the row order of the map's target set. Shape: (M_target, Cout).

    Raises:
        ValueError: If shapes do not fit the map or each other.
        TypeError: If the dtypes differ.
    """
    check_operands(feats, kernel, len(kernel_map.source_set), kernel_map.volume)
    out: Tensor = _SparseConv.apply(feats, kernel, kernel_map)
    return out


def check_operands(feats: Tensor, kernel: Tensor, sources: int, volume: int) -> None:
    """Checks what a convolution is given, in whichever engine: one row per source, one per slice.

    Args:
        feats: Shape: (sources, Cin).
        kernel: Shape: (volume, Cin, Cout).
        sources: Number of voxels that are read.
        volume: Number of kernel slices.

    Raises:
        ValueError: If a shape is another.
        TypeError: If the dtypes differ.
    """
    if feats.ndim != 2 or len(feats) != sources:
        raise ValueError(
            f"feats must have one row for each of the map's {sources} source voxels, got shape "
            f"{tuple(feats.shape)}; give the geometry of this tensor"
        )
    if kernel.ndim != 3 or kernel.shape[:2] != (volume, feats.shape[1]):
        raise ValueError(
            f"kernel must have shape ({volume}, {feats.shape[1]}, out channels), got "
            f"{tuple(kernel.shape)}"
        )
    if feats.dtype != kernel.dtype:
        raise TypeError(
            f"feats are {feats.dtype}, the kernel is {kernel.dtype}; convert the network or its "
            "input with .to(dtype)"
        )


class _SparseConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, feats: Tensor, kernel: Tensor, kernel_map: KernelMap) -> Tensor:
        feats_needed, kernel_needed, _ = ctx.needs_input_grad
        # Each gradient needs the other operand only
        ctx.save_for_backward(feats if kernel_needed else None, kernel if feats_needed else None)
        ctx.kernel_map = kernel_map
        out = _convolve(_by_rank(feats, kernel_map.source_set), kernel.unbind(0), kernel_map)
        return _by_row(out, kernel_map.target_set)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        feats, kernel = ctx.saved_tensors
        kernel_map: KernelMap = ctx.kernel_map
        adjoint, order = kernel_map.adjoint()
        grads = _by_rank(grad, kernel_map.target_set)
        transposed = None if kernel is None else [kernel[k].t() for k in order]
        if feats is None and transposed is not None:
            return _by_row(_convolve(grads, transposed, adjoint), kernel_map.source_set), None, None
        if feats is None:
            return None, None, None
        sources = _by_rank(feats, kernel_map.source_set)
        feats_grad, kernel_grads = _gradients(grads, sources, transposed, adjoint)
        if feats_grad is not None:
            feats_grad = _by_row(feats_grad, kernel_map.source_set)
        forward_order = sorted(range(len(order)), key=order.__getitem__)
        return feats_grad, kernel_grads[forward_order].to(feats.dtype), None


def _convolve(feats: Tensor, slices: Sequence[Tensor], kernel_map: KernelMap) -> Tensor:
    """Output rows by rank from input rows by rank; one (Cin, Cout) matrix per slice."""
    out = feats.new_empty(len(kernel_map.target_set), slices[0].shape[1])
    blocks = kernel_map.blocks(_pairs_per_block(feats, out))
    gathered, contributions = _part_buffer(blocks, feats), _block_buffer(blocks, out)
    for block in blocks:
        places = torch.split_with_sizes(contributions[: sum(block.sizes)], block.sizes)
        for part, size, place in zip(block.parts, block.sizes, places, strict=True):
            rows = gathered[:size]
            torch.index_select(feats, 0, part.source, out=rows)
            torch.mm(rows, slices[part.index], out=place)
        _sum_block(block, contributions, out)
        if kernel_map.identity is not None:
            own = block.targets
            out[own].addmm_(feats[own], slices[kernel_map.identity])
    return out


def _gradients(
    grads: Tensor, feats: Tensor, slices: Sequence[Tensor] | None, adjoint: KernelMap
) -> tuple[Tensor | None, Tensor]:
    """Gradients to feats, given slices of the transposed kernel, and to the kernel; rows by rank.

    Both need the output gradients at the sources of the adjoint's pairs, so one gather serves both.
    The kernel's gradient comes in the adjoint's order of slices.
    """
    feats_grad = torch.empty_like(feats)
    blocks = adjoint.blocks(_pairs_per_block(grads, feats))
    gathered, own_rows = _part_buffer(blocks, grads), _part_buffer(blocks, feats)
    contributions = _block_buffer(blocks, feats)
    # Sums over 10⁵ rows would lose bfloat16's few bits
    sums = torch.float32 if feats.dtype.itemsize < 4 else feats.dtype
    kernel_grads = feats.new_zeros(adjoint.volume, feats.shape[1], grads.shape[1], dtype=sums)
    totals = kernel_grads.unbind(0)
    for block in blocks:
        places = torch.split_with_sizes(contributions[: sum(block.sizes)], block.sizes)
        for part, size, place in zip(block.parts, block.sizes, places, strict=True):
            rows, own = gathered[:size], own_rows[:size]
            torch.index_select(grads, 0, part.source, out=rows)
            torch.index_select(feats, 0, part.target, out=own)
            _add_product(totals[part.index], own, rows)
            if slices is not None:
                torch.mm(rows, slices[part.index], out=place)
        run = block.targets
        if adjoint.identity is not None:
            _add_product(totals[adjoint.identity], feats[run], grads[run])
        if slices is not None:
            _sum_block(block, contributions, feats_grad)
            if adjoint.identity is not None:
                feats_grad[run].addmm_(grads[run], slices[adjoint.identity])
    return None if slices is None else feats_grad, kernel_grads


def _sum_block(block: Block, contributions: Tensor, out: Tensor) -> None:
    """Sums each target's contributions into its row; a target without any gets zeros."""
    out[block.targets] = F.embedding_bag(
        block.bags, contributions, block.offsets, mode="sum", include_last_offset=True
    )


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Adds leftᵀ @ right to total."""
    if total.dtype == left.dtype:
        total.addmm_(left.t(), right)
    else:
        total.add_(torch.mm(left.t(), right))


def _pairs_per_block(*rows: Tensor) -> int:
    """How many rows of the widest of some matrices make a block: a power of two, to share maps."""
    limit = CPU_BLOCK_BYTES if rows[0].device.type == "cpu" else DEVICE_BLOCK_BYTES
    widest = max(matrix.shape[1] * matrix.element_size() for matrix in rows)
    return 1 << max(0, (limit // widest).bit_length() - 1)


def _block_buffer(blocks: Sequence[Block], like: Tensor) -> Tensor:
    """Room for the pairs of any block, as wide as ``like``."""
    return like.new_empty(max(sum(block.sizes) for block in blocks), like.shape[1])


def _part_buffer(blocks: Sequence[Block], like: Tensor) -> Tensor:
    """Room for the pairs of any slice of any block, as wide as ``like``."""
    return like.new_empty(max(max(block.sizes, default=0) for block in blocks), like.shape[1])


def _by_rank(rows: Tensor, voxels: CoordinateSet) -> Tensor:
    return rows.contiguous() if voxels.order is None else rows.index_select(0, voxels.order)


def _by_row(ranks: Tensor, voxels: CoordinateSet) -> Tensor:
    return ranks if voxels.rank is None else ranks.index_select(0, voxels.rank)
