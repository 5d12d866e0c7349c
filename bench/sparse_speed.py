"""Speed of the sparse convolution engine on a processor: ``python bench/sparse_speed.py``.

A synthetic room, 3³ submanifold convolution, forward and gradients. The bound is what the existing
pairs' multiplications alone would take at the rate at which this machine multiplies such matrices,
out of the cache and into memory that is there already, measured in the same turn. Contestants take
turns in one process, so that other load on the machine hits all alike; ratios to the bound of the
same turn are what to compare. The naive engine is the textbook one: per kernel slice, gather,
multiply, ``index_add``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from leadgrad.victims.sparse import Geometry, KernelMap, hypercube_offsets, sparse_conv
from leadgrad.victims.sparse import unique_coordinates as distinct

TILE_ROWS = 4096
ROOM_HEIGHT = 0.4  # of its side


def room(voxels: int) -> Tensor:
    """A floor, four walls, twenty boxes and a little noise: about ``voxels`` surface voxels."""
    generator = torch.Generator().manual_seed(0)
    side = (voxels / 3.45) ** 0.5  # found by trial: area of the room below, with its roughness
    height = ROOM_HEIGHT * side
    rectangles = [((0, 0, 0), (side, side, 0))]
    walls = [
        ((0, 0), (side, 0)),
        ((0, 0), (0, side)),
        ((side, 0), (0, side)),
        ((0, side), (side, 0)),
    ]
    rectangles += [((x, y, 0), (dx, dy, height)) for (x, y), (dx, dy) in walls]
    for x, y, size in (torch.rand(20, 3, generator=generator) * side * 0.85).tolist():
        edge = 0.05 * side + 0.1 * size
        for a, b in (((edge, 0), (0, 0)), ((0, edge), (0, 0))):
            rectangles.append(((x, y, 0), (a[0], a[1], edge + b[0])))
        rectangles.append(((x, y, edge), (edge, edge, 0)))
    points = []
    for start, extent in rectangles:
        size = torch.tensor(extent)
        area = float(torch.prod(size[size > 0]))
        spread = torch.rand(int(6 * area), 3, generator=generator)
        points.append(torch.tensor(start) + 0.5 + spread * size)
    cloud = torch.cat(points)
    cloud = cloud + 0.05 * torch.randn(cloud.shape, generator=generator)
    coords = torch.cat([torch.zeros(len(cloud), 1), cloud.floor()], 1).long()
    return distinct(coords)[0]


class NaiveConv(torch.autograd.Function):
    """Gather, multiply, add, slice by slice; features and kernel are kept for the gradients."""

    @staticmethod
    def forward(
        ctx: Any, feats: Tensor, kernel: Tensor, pairs: list[tuple[Tensor, Tensor]]
    ) -> Tensor:
        """(M, Cin) to (M, Cout)."""
        ctx.save_for_backward(feats, kernel)
        ctx.pairs = pairs
        out = feats.new_zeros(len(feats), kernel.shape[2])
        for k, (source, target) in enumerate(pairs):
            out.index_add_(0, target, feats.index_select(0, source) @ kernel[k])
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        """Both gradients, or that of the features alone."""
        feats, kernel = ctx.saved_tensors
        feats_grad = torch.zeros_like(feats)
        kernel_grad = torch.empty_like(kernel) if ctx.needs_input_grad[1] else None
        for k, (source, target) in enumerate(ctx.pairs):
            rows = grad.index_select(0, target)
            feats_grad.index_add_(0, source, rows @ kernel[k].t())
            if kernel_grad is not None:
                torch.mm(feats.index_select(0, source).t(), rows, out=kernel_grad[k])
        return feats_grad, kernel_grad, None


Clock = Callable[[], float]


def seconds(work: Callable[[], object], clock: Clock) -> float:
    """Time of one run."""
    start = clock()
    work()
    return clock() - start


def bound_seconds(pairs: int, channels: int, clock: Clock) -> float:
    """How long so many pairs' products take, forward and both gradients, at the best rate."""
    rows, kernel = torch.randn(TILE_ROWS, channels), torch.randn(channels, channels)
    out = torch.empty_like(rows)
    times = [seconds(lambda: torch.mm(rows, kernel, out=out), clock) for _ in range(40)]
    return 3 * pairs / TILE_ROWS * min(times)


def contestants(kernel_map: KernelMap, channels: int) -> dict[str, Callable[[], object]]:
    """Forward and gradients, by name."""
    generator = torch.Generator().manual_seed(1)
    voxels = len(kernel_map.source_set)
    feats = torch.randn(voxels, channels, generator=generator).requires_grad_()
    kernel = torch.randn(kernel_map.volume, channels, channels, generator=generator) * 0.05
    trained = kernel.clone().requires_grad_()
    grad = torch.randn(voxels, channels, generator=generator)
    pairs = [kernel_map.pairs(k) for k in range(kernel_map.volume)]
    inputs = {"full": ((feats, trained), trained), "frozen": ((feats,), kernel)}

    def step(conv: Callable[..., Tensor], weights: str, where: object) -> Callable[[], object]:
        wanted, used = inputs[weights]
        return lambda: torch.autograd.grad(conv(feats, used, where), wanted, grad)

    return {
        "naive, full": step(NaiveConv.apply, "full", pairs),
        "naive, frozen": step(NaiveConv.apply, "frozen", pairs),
        "ours, full": step(sparse_conv, "full", kernel_map),
        "ours, frozen": step(sparse_conv, "frozen", kernel_map),
    }


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--voxels", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--channels", type=int, nargs="+", default=[32, 96])
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="count this process's processor time: the fair clock beside other load, one thread",
    )
    args = parser.parse_args()
    clock = time.process_time if args.cpu_time else time.perf_counter

    coords, offsets = room(args.voxels), hypercube_offsets(3)

    def build() -> KernelMap:
        return Geometry(coords).submanifold_map(1, offsets)

    kernel_map = build()
    pairs = kernel_map.starts[-1]
    maps = [seconds(build, clock) for _ in range(args.repeats)]
    print(
        f"{len(coords)} voxels, {pairs / len(coords):.1f} of 27 neighbours, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, {args.repeats} turns, "
        f"{'processor' if args.cpu_time else 'wall'} time.\n\n"
        f"Kernel map: least {min(maps) * 1e3:.0f} ms, "
        f"median {statistics.median(maps) * 1e3:.0f} ms."
    )
    print("\n| case | contestant | least ms | median ms | least / bound | median / bound |")
    print("|---|---|---|---|---|---|")
    for channels in args.channels:
        works = contestants(kernel_map, channels)
        times: dict[str, list[float]] = {name: [] for name in ("bound", *works)}
        for work in works.values():
            work()
        for _ in range(args.repeats):
            times["bound"].append(bound_seconds(pairs, channels, clock))
            for name, work in works.items():
                times[name].append(seconds(work, clock))
        least = min(times["bound"])
        for name, series in times.items():
            ratios = [a / b for a, b in zip(series, times["bound"], strict=True)]
            print(
                f"| {channels}→{channels} | {name} | {min(series) * 1e3:.0f} | "
                f"{statistics.median(series) * 1e3:.0f} | {min(series) / least:.2f} | "
                f"{statistics.median(ratios):.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
