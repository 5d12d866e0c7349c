"""The greatest value of each cell, forward and gradient: ours, PyTorch's own, torch-scatter's.

    python -m nox -s scatter    # builds torch-scatter, compares values, and ends with this
    python bench/cell_max.py    # without torch-scatter

Contestants take turns in one process, so that other load hits all alike. Prints Markdown.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from leadgrad.victims.occupancy.cell_max import cell_max

Greatest = Callable[[Tensor, Tensor, int], Tensor]


def torch_own(values: Tensor, cell: Tensor, cells: int) -> Tensor:
    """``scatter_reduce`` with its built-in gradient."""
    place = cell[:, None].expand_as(values)
    empty = values.new_empty(cells, values.shape[1])
    return empty.scatter_reduce(0, place, values, "amax", include_self=False)


def contestants() -> dict[str, Greatest]:
    """By name; torch-scatter's where it is installed."""
    found: dict[str, Greatest] = {"cell_max": cell_max, "scatter_reduce": torch_own}
    if importlib.util.find_spec("torch_scatter"):
        import torch_scatter

        def theirs(values: Tensor, cell: Tensor, cells: int) -> Tensor:
            greatest: Tensor = torch_scatter.scatter_max(values, cell, 0, dim_size=cells)[0]
            return greatest

        found["torch-scatter"] = theirs
    return found


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=120_000)
    parser.add_argument("--cells", type=int, default=40_000)
    parser.add_argument("--channels", type=int, default=256, help="Of Cylinder3D's point MLP")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.manual_seed(0)
    cell = torch.randint(options.cells, (options.points,))
    cell[: options.cells] = torch.arange(options.cells)
    values = torch.randn(options.points, options.channels, requires_grad=True)
    grad = torch.randn(options.cells, options.channels)
    times: dict[str, list[float]] = {name: [] for name in contestants()}
    for _ in range(options.rounds):
        for name, greatest in contestants().items():
            start = time.perf_counter()
            torch.autograd.grad(greatest(values, cell, options.cells), values, grad)
            times[name].append(time.perf_counter() - start)
    size = f"{options.points:,} points in {options.cells:,} cells, {options.channels} channels"
    print(f"{size}, {torch.get_num_threads()} threads\n")
    print("| | least ms | median ms | times ours |\n| --- | ---: | ---: | ---: |")
    for name, own in times.items():
        ratio = min(own) / min(times["cell_max"])
        print(
            f"| {name} | {1e3 * min(own):.0f} | {1e3 * statistics.median(own):.0f} | {ratio:.2f} |"
        )


if __name__ == "__main__":
    main()
