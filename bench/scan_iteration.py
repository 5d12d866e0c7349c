"""One attack iteration on laser scans: time beside the exact forward, and peak memory.

    python bench/scan_iteration.py                    # 120,000 points, Cylinder3D as published
    python bench/scan_iteration.py --columns 500 --width 8 --grid 240 180 32
    python bench/scan_iteration.py --root semantickitti --sequences 08 --width 8 --grid 240 180 32

Random weights: neither time nor memory depends on them. Times alternate within one process; each
peak is of the largest scan, in a process of its own, less what is there before the forward. Prints
Markdown.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from resident import grown_mib
from torch import Tensor

from leadgrad.attacks import point_cross_entropy
from leadgrad.data import SemanticKITTI, SyntheticStreets
from leadgrad.victims import (
    FGM,
    Cylinder3D,
    GradientMethod,
    Reach,
    Sigmoid,
    VoxelLGM,
    gradient_method,
)

Batch = dict[str, Tensor]

METHODS: dict[str, GradientMethod | None] = {
    "exact forward": None,
    "FGM": FGM(),
    "LGM": VoxelLGM(Sigmoid(10.0)),
}


def scans(options: argparse.Namespace) -> list[Batch]:
    """Of the real set where its folder is given, else one made-up street."""
    if options.root is None:
        return list(SyntheticStreets(columns=options.columns, test_streets=1).test_dataloader())
    sequences = {"validation": options.sequences}
    return list(SemanticKITTI(options.root, sequences=sequences).val_dataloader())


class Network:
    """With what an iteration asks of it."""

    def __init__(self, options: argparse.Namespace) -> None:
        torch.manual_seed(0)
        self.network = Cylinder3D(width=options.width, grid=options.grid).eval()
        self.network.requires_grad_(False)
        self.step_m = options.step_m

    def gradient(self, scan: Batch, method: GradientMethod | None) -> Tensor:
        """Of the loss in the coordinates (P, 3); the logits without a method."""
        coords, features = scan["coords"], scan["features"]
        if method is None:
            with torch.no_grad():
                logits: Tensor = self.network(coords, features)
                return logits
        x = coords.clone().requires_grad_()
        with gradient_method(self.network, method, Reach(self.step_m, 10 * self.step_m, coords)):
            loss = point_cross_entropy(self.network(x, features), scan["label"]).sum()
        return torch.autograd.grad(loss, x)[0]


def peak_of(name: str, scan: Path) -> float:
    """What one contestant needs beyond what is there, in MiB; a process of its own asks."""
    command = [sys.executable, __file__, *sys.argv[1:], "--one", name, "--scan", str(scan)]
    return float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def main() -> None:
    """Prints the table; with ``--one`` the peak of one contestant, for the process that asks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--columns", type=int, default=2300, help="Beams of a turn")
    parser.add_argument("--root", type=Path, help="Folder of SemanticKITTI, in place of a street")
    parser.add_argument("--sequences", nargs="+", default=["08"], help="Of SemanticKITTI")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--grid", type=int, nargs=3, default=[480, 360, 32])
    parser.add_argument("--step_m", type=float, default=0.005)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", choices=METHODS, help="Internal")
    parser.add_argument("--scan", help="Internal")
    options = parser.parse_args()
    network = Network(options)
    if options.one:
        scan = torch.load(options.scan)
        print(json.dumps(grown_mib(lambda: network.gradient(scan, METHODS[options.one]))))
        return
    given = scans(options)
    times: dict[str, list[float]] = {name: [] for name in METHODS}
    for _ in range(options.rounds):
        for scan in given:
            for name, method in METHODS.items():
                start = time.perf_counter()
                network.gradient(scan, method)
                times[name].append(time.perf_counter() - start)
    sizes = sorted(len(scan["coords"]) for scan in given)
    points = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    print(f"{len(given)} scans, {points} points, {torch.get_num_threads()} threads\n")
    print(
        "| | least s | median s | times the forward | peak MiB |\n"
        "| --- | ---: | ---: | ---: | ---: |"
    )
    floor = statistics.median(times["exact forward"])
    with tempfile.TemporaryDirectory() as folder:
        largest = Path(folder, "scan.pt")
        torch.save(max(given, key=lambda scan: len(scan["coords"])), largest)
        for name, own in times.items():
            least, median, peak = min(own), statistics.median(own), peak_of(name, largest)
            print(f"| {name} | {least:.2f} | {median:.2f} | {median / floor:.1f} | {peak:,.0f} |")


if __name__ == "__main__":
    main()
