"""One attack iteration on one laser scan: time beside the exact forward, and peak memory.

    python bench/scan_iteration.py                    # 120,000 points, Cylinder3D as published
    python bench/scan_iteration.py --columns 500 --width 8 --grid 240 180 32

Random weights: neither time nor memory depends on them. Times alternate within one process; each
peak is that of a process of its own, less what is there before the forward. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import torch
from torch import Tensor

from leadgrad.attacks import point_cross_entropy
from leadgrad.data import SyntheticStreets
from leadgrad.victims import (
    FGM,
    Cylinder3D,
    GradientMethod,
    Reach,
    Sigmoid,
    VoxelLGM,
    gradient_method,
)

METHODS: dict[str, GradientMethod | None] = {
    "exact forward": None,
    "FGM": FGM(),
    "LGM": VoxelLGM(Sigmoid(10.0)),
}


class Scan:
    """A street, and a network."""

    def __init__(self, options: argparse.Namespace) -> None:
        torch.manual_seed(0)
        data = SyntheticStreets(columns=options.columns, test_streets=1)
        batch = next(iter(data.test_dataloader()))
        self.coords, self.features, self.labels = batch["coords"], batch["features"], batch["label"]
        self.reach = Reach(options.step_m, 10 * options.step_m, self.coords)
        self.network = Cylinder3D(width=options.width, grid=options.grid).eval()
        self.network.requires_grad_(False)

    def gradient(self, method: GradientMethod | None) -> Tensor:
        """Of the loss in the coordinates; the logits without a method."""
        if method is None:
            with torch.no_grad():
                logits: Tensor = self.network(self.coords, self.features)
                return logits
        x = self.coords.clone().requires_grad_()
        with gradient_method(self.network, method, self.reach):
            loss = point_cross_entropy(self.network(x, self.features), self.labels).sum()
        return torch.autograd.grad(loss, x)[0]


def peak_mib() -> float:
    """Of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Prints the table; with ``--one`` the peak of one contestant, for the process that asks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--columns", type=int, default=2300, help="Beams of a turn")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--grid", type=int, nargs=3, default=[480, 360, 32])
    parser.add_argument("--step_m", type=float, default=0.005)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", choices=METHODS, help="Internal")
    options = parser.parse_args()
    scan = Scan(options)
    if options.one:
        before = peak_mib()
        scan.gradient(METHODS[options.one])
        print(json.dumps(peak_mib() - before))
        return
    times: dict[str, list[float]] = {name: [] for name in METHODS}
    for _ in range(options.rounds):
        for name, method in METHODS.items():
            start = time.perf_counter()
            scan.gradient(method)
            times[name].append(time.perf_counter() - start)
    print(f"{len(scan.coords):,} points, {torch.get_num_threads()} threads\n")
    print(
        "| | least s | median s | times the forward | peak MiB |\n"
        "| --- | ---: | ---: | ---: | ---: |"
    )
    floor = min(times["exact forward"])
    for name, own in times.items():
        command = [sys.executable, __file__, *sys.argv[1:], "--one", name]
        peak = float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
        least, median = min(own), statistics.median(own)
        print(f"| {name} | {least:.2f} | {median:.2f} | {least / floor:.1f} | {peak:,.0f} |")


if __name__ == "__main__":
    main()
