"""Images a second of one attack step at 224 x 224: ``python bench/imagenet_speed.py``.

A step is a forward and the gradient of the images. Contestants take turns in one process, so that
other load hits all alike; the ratio to the static network of the same turn is what to compare.
Each peak is that of a process of its own, less what is there before. Random weights: under FGM a
block that no image of the batch executes is left out, so the gated networks' figures depend on what
these happen to execute; under LGM all blocks are computed. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from resident import grown_mib
from torch import Tensor, nn

from leadgrad.attacks import cross_entropy, input_gradient
from leadgrad.victims import (
    FGM,
    LGM,
    DynConvImageNet,
    FromTimm,
    GradientMethod,
    Sigmoid,
    SkipNetImageNet,
    gradient_method,
    prepare_for_attack,
)

LED = LGM(Sigmoid(5.0))
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "ResNet-101": lambda: FromTimm("resnet101.tv_in1k"),
    "SkipNet-101": SkipNetImageNet,
    "DynConv-101": DynConvImageNet,
}
CONTESTANTS: dict[str, tuple[str, GradientMethod, bool]] = {
    "ResNet-101": ("ResNet-101", FGM(), True),
    "SkipNet-101, FGM": ("SkipNet-101", FGM(), True),
    "SkipNet-101, LGM": ("SkipNet-101", LED, True),
    "DynConv-101, FGM": ("DynConv-101", FGM(), True),
    "DynConv-101, LGM": ("DynConv-101", LED, True),
    "DynConv-101, LGM, as it is": ("DynConv-101", LED, False),
}
"""Network, method, and whether it is prepared: frozen, BN folded, channels_last."""


class Steps:
    """Some images, and what the contestants do with them."""

    def __init__(self, options: argparse.Namespace) -> None:
        torch.manual_seed(0)
        self.device = torch.device(options.device)
        shape = (options.batch, 3, options.size, options.size)
        self.images = torch.rand(shape, device=self.device)
        self.labels = torch.randint(1000, (options.batch,), device=self.device)
        self.networks: dict[tuple[str, bool], nn.Module] = {}

    def network(self, name: str, *, prepared: bool) -> nn.Module:
        """Made on first use."""
        if (name, prepared) not in self.networks:
            made = NETWORKS[name]().eval().requires_grad_(False)
            ready = prepare_for_attack(made) if prepared else made
            self.networks[name, prepared] = ready.to(self.device)
        return self.networks[name, prepared]

    def run(self, contestant: str) -> Tensor:
        """The images' gradient."""
        name, method, prepared = CONTESTANTS[contestant]
        network = self.network(name, prepared=prepared)

        def led(x: Tensor) -> Tensor:
            with gradient_method(network, method):
                logits: Tensor = network(x)
            return logits

        made = input_gradient(led, cross_entropy, self.images, self.labels)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return made


def peak_mib(device: torch.device, work: Callable[[], object]) -> float:
    """How far memory grows over what is there before; a GPU's its own memory."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    return grown_mib(work)


def main() -> None:
    """Prints the table; with ``--one`` the peak of one contestant, for the process that asks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one", choices=CONTESTANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    steps = Steps(options)
    if options.one:
        name, _, prepared = CONTESTANTS[options.one]
        steps.network(name, prepared=prepared)
        print(json.dumps(peak_mib(steps.device, lambda: steps.run(options.one))))
        return
    times: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for name in CONTESTANTS:
        steps.run(name)
    for _ in range(options.rounds):
        for name, spent in times.items():
            start = time.perf_counter()
            steps.run(name)
            spent.append(time.perf_counter() - start)
    print(f"{options.batch} images, {torch.get_num_threads()} threads, {options.device}\n")
    print(
        "| | images/s | least s | times ResNet-101 | peak MiB |\n"
        "| --- | ---: | ---: | ---: | ---: |"
    )
    floor = times["ResNet-101"]
    for name, own in times.items():
        ratio = statistics.median(one / base for one, base in zip(own, floor, strict=True))
        line = [sys.executable, __file__, *sys.argv[1:], "--one", name]
        peak = float(subprocess.run(line, capture_output=True, check=True, text=True).stdout)
        rate = options.batch / min(own)
        print(f"| {name} | {rate:.1f} | {min(own):.2f} | {ratio:.2f} | {peak:,.0f} |")


if __name__ == "__main__":
    main()
