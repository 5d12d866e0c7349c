"""One attack iteration on one scene: time beside the exact forward, and peak memory.

    python bench/scene_iteration.py                       # 100,000 points, Res16UNet34C
    python bench/scene_iteration.py --points 20000 --small

Random weights: neither time nor memory depends on them. LGM's step is chosen such that it computes
``--ratio`` candidates per occupied voxel. Times alternate within one process; each peak is that of
a process of its own, less what is there before the forward. Prints Markdown.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from resident import grown_mib
from torch import Tensor

from leadgrad.attacks import point_cross_entropy
from leadgrad.data import SyntheticRooms
from leadgrad.victims import (
    GradientMethod,
    MinkUNet,
    Reach,
    Sigmoid,
    VoxelFGM,
    VoxelLGM,
    gradient_method,
)

SMALL: dict[str, Any] = {"encoder": (24, 32, 48, 64), "decoder": (48, 32, 32, 32), "stem": 16}
CONTESTANTS = ("exact forward", "FGM", "LGM", "LGM, all kept")


class Scene:
    """A room, a network and the step that gives the wanted number of candidates."""

    def __init__(self, options: argparse.Namespace) -> None:
        torch.manual_seed(0)
        data = SyntheticRooms(points=options.points, test_rooms=1)
        batch = next(iter(data.test_dataloader()))
        self.coords, self.features, self.labels = batch["coords"], batch["features"], batch["label"]
        arguments = {**SMALL, "blocks": (1,) * 8} if options.small else {}
        self.networks = {
            recompute: MinkUNet(20, options.voxel_m, recompute=recompute, **arguments)
            .eval()
            .requires_grad_(False)
            for recompute in (True, False)
        }
        self.networks[False].load_state_dict(self.networks[True].state_dict())
        self.step_m = self._step(options.ratio, options.voxel_m)

    def _step(self, ratio: float, voxel_m: float) -> float:
        """The step with which LGM has ``ratio`` candidates per occupied voxel, by bisection."""
        low, high = 0.0, voxel_m
        for _ in range(12):
            middle = (low + high) / 2
            low, high = (middle, high) if self.candidates(middle) < ratio else (low, middle)
        return high

    def candidates(self, step_m: float) -> float:
        """M' / M at a step."""
        network = self.networks[True]
        with torch.no_grad(), gradient_method(network, VoxelLGM(), self.reach(step_m)):
            voxels = network.voxelizer(self.coords, self.features)
        return len(voxels.tensor.coords) / voxels.occupied

    def reach(self, step_m: float) -> Reach:
        """Of an attacker whose budget does not bind."""
        return Reach(step_m, 1.0, self.coords)

    def first(self, count: int) -> Scene:
        """The same with the first points only."""
        few = copy.copy(self)
        few.coords, few.features, few.labels = (
            x[:count] for x in (self.coords, self.features, self.labels)
        )
        return few

    def run(self, name: str) -> None:
        """One contestant: a forward, and for gradients a backward."""
        if name == "exact forward":
            with torch.no_grad():
                self.networks[True](self.coords, self.features)
            return
        method: GradientMethod = VoxelFGM() if name == "FGM" else VoxelLGM(Sigmoid(10.0))
        self._gradient(self.networks[name != "LGM, all kept"], method)

    def _gradient(self, network: MinkUNet, method: GradientMethod) -> Tensor:
        x = self.coords.clone().requires_grad_()
        with gradient_method(network, method, self.reach(self.step_m)):
            logits = network(x, self.features)
        loss = point_cross_entropy(logits, self.labels).sum()
        (gradient,) = torch.autograd.grad(loss, x)
        return gradient


def seconds(run: Callable[[], None]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peak_mib(name: str, options: argparse.Namespace) -> float:
    """Peak memory of one contestant above the scene and the weights, in a process of its own."""
    args = [sys.executable, __file__, "--peak_of", name, *options.passed]
    answer = subprocess.run(args, check=True, capture_output=True, text=True).stdout
    return float(json.loads(answer.splitlines()[-1]))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="Time and memory of one iteration on a scene")
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--voxel_m", type=float, default=0.05)
    parser.add_argument("--ratio", type=float, default=1.5, help="M' / M of LGM")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="The network of the made-up rooms")
    parser.add_argument("--peak_of", choices=CONTESTANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.passed = sys.argv[1:]
    scene = Scene(options)
    if options.peak_of:
        scene.first(100).run(options.peak_of)  # loads what is loaded on first use
        print(json.dumps(grown_mib(lambda: scene.run(options.peak_of))))
        return
    times: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for repeat in range(options.repeats + 1):
        for name in CONTESTANTS:
            spent = seconds(lambda name=name: scene.run(name))  # type: ignore[misc]
            if repeat:  # the first round warms up
                times[name].append(spent)
    with torch.no_grad():
        voxels = len(scene.networks[True].voxelizer(scene.coords, scene.features).tensor.coords)
    print(
        f"{len(scene.coords):,} points, {voxels:,} voxels of {options.voxel_m:g} m, "
        f"M'/M {scene.candidates(scene.step_m):.2f}, {torch.get_num_threads()} threads\n"
    )
    print("| | least s | median s | of FGM's least | peak MiB |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, own in times.items():
        least, middle, peak = min(own), statistics.median(own), peak_mib(name, options)
        share = least / min(times["FGM"])
        print(f"| {name} | {least:.2f} | {middle:.2f} | {share:.2f} | {peak:.0f} |")


if __name__ == "__main__":
    main()
