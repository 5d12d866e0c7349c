"""Speed and memory of one attack step: ``python -m nox -s bench``.

F, the floor, is a forward and the input gradient of the static network of the same depth: eager,
NCHW, BN apart, weights frozen. Contestants take turns in one process, so that other load on the
machine hits all alike; each step's ratio to the F of its own turn is what to compare, not the
milliseconds. Memory is measured in a fresh process per contestant: the growth of its greatest
resident set over the step.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from resident import grown_mib
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

from leadgrad.attacks import FGSM, PixelLinf, cross_entropy, input_gradient
from leadgrad.pipelines.attack.bfloat16 import native_bfloat16
from leadgrad.victims import (
    FGM,
    LGM,
    DynConv,
    GradientMethod,
    ResNet,
    Sigmoid,
    SkipNet,
    gradient_method,
    prepare_for_attack,
    record_occupancies,
)

Step = Callable[[], object]
LEADED = LGM(Sigmoid(5.0))


@dataclass(frozen=True)
class Measurement:
    """One contestant's figures over all rounds."""

    depth: int
    contestant: str
    least_ms: float
    median_ms: float
    ratio_least: float
    ratio_median: float
    images_per_s: float
    peak_mib: float


def images_and_labels(batch: int) -> tuple[Tensor, Tensor]:
    """Random CIFAR-sized images and labels."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, 3, 32, 32, generator=generator)
    return images, torch.randint(0, 10, (batch,), generator=generator)


def gradient_step(
    network: nn.Module, method: GradientMethod, batch: int, *, half: bool = False
) -> Step:
    """Forward and input gradient."""
    images, labels = images_and_labels(batch)

    def surrogate(x: Tensor) -> Tensor:
        with gradient_method(network, method), torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits: Tensor = network(x)
        return logits

    return lambda: input_gradient(surrogate, cross_entropy, images, labels)


def forward_only(network: nn.Module, batch: int) -> Step:
    """Exact inference."""
    images, _ = images_and_labels(batch)

    def step() -> None:
        with torch.no_grad():
            network(images)

    return step


def our_fgsm(network: nn.Module, batch: int) -> Step:
    """The whole of our FGSM, attacking every image: decides, steps, projects, checks its budget."""
    images, labels = images_and_labels(batch)
    attack = FGSM(PixelLinf(8), skip_misclassified=False)
    return lambda: attack(network, images, labels, victim=network)


def peer_fgsm(network: nn.Module, batch: int) -> Step:
    """FGSM of torchattacks on the network as that library's user has it: not prepared."""
    import torchattacks

    images, labels = images_and_labels(batch)
    attack = torchattacks.FGSM(network, eps=8 / 255)
    return lambda: attack(images, labels)


def contestants(depth: int, adaptive: type[nn.Module], batch: int) -> dict[str, Callable[[], Step]]:
    """Builders by name, the floor first."""
    torch.manual_seed(0)
    static = ResNet(depth, shortcut="B").eval().requires_grad_(False)
    victim = adaptive(depth).eval()
    ready, ready_static = prepare_for_attack(victim), prepare_for_attack(static)
    name = f"{adaptive.__name__}-{depth}"
    return {
        f"F: ResNet-{depth}, as it is": lambda: gradient_step(static, FGM(), batch),
        f"ResNet-{depth} forward": lambda: forward_only(ready_static, batch),
        f"ResNet-{depth} step": lambda: gradient_step(ready_static, FGM(), batch),
        f"ResNet-{depth} step, bf16": lambda: gradient_step(ready_static, FGM(), batch, half=True),
        f"{name} forward": lambda: forward_only(ready, batch),
        f"{name} step, FGM": lambda: gradient_step(ready, FGM(), batch),
        f"{name} step, LGM": lambda: gradient_step(ready, LEADED, batch),
        f"{name} step, LGM, bf16": lambda: gradient_step(ready, LEADED, batch, half=True),
        f"ResNet-{depth} FGSM, ours": lambda: our_fgsm(ready_static, batch),
        f"ResNet-{depth} FGSM, torchattacks": lambda: peer_fgsm(static, batch),
    }


SUITES: dict[int, type[nn.Module]] = {32: DynConv, 110: SkipNet}


def measure(depth: int, batch: int, rounds: int) -> list[Measurement]:
    """Times all contestants of one depth in turns."""
    steps = {name: make() for name, make in contestants(depth, SUITES[depth], batch).items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in track(range(rounds), description=f"depth {depth}"):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - start)
    floor = times[next(iter(steps))]
    return [
        Measurement(
            depth,
            name,
            1e3 * min(spent),
            1e3 * statistics.median(spent),
            min(spent) / min(floor),
            statistics.median(one / base for one, base in zip(spent, floor, strict=True)),
            batch / min(spent),
            peak_mib(depth, name, batch),
        )
        for name, spent in times.items()
    ]


def executed(depth: int, batch: int) -> tuple[str, float]:
    """Percent of gated units that the (randomly initialised) adaptive network executes."""
    torch.manual_seed(0)
    ResNet(depth, shortcut="B")  # draws what ``contestants`` draws before it builds the network
    network = SUITES[depth](depth).eval()
    with torch.no_grad(), record_occupancies(network) as record:
        network(images_and_labels(batch)[0])
    share = torch.cat([unit.reshape(batch, -1) for unit in record], 1).float().mean()
    return type(network).__name__, 100 * float(share)


def peak_mib(depth: int, name: str, batch: int) -> float:
    """Growth of the greatest resident set over one step, in a fresh process."""
    command = [sys.executable, __file__, "--peak", str(depth), name, "--batch", str(batch)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_peak(depth: int, name: str, batch: int) -> None:
    """What the fresh process prints."""
    step = contestants(depth, SUITES[depth], batch)[name]()
    gc.collect()
    print(grown_mib(step))


def main() -> None:
    """Prints the table and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/bench/attack_speed.json"))
    parser.add_argument("--peak", nargs=2, metavar=("DEPTH", "NAME"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak:
        print_peak(int(options.peak[0]), options.peak[1], options.batch)
        return
    rows = [row for depth in SUITES for row in measure(depth, options.batch, options.rounds)]
    table = Table(
        title=f"Batch {options.batch}, {options.threads} threads, of {options.rounds} rounds"
    )
    for heading in ("", "ms", "median", "of F", "median", "images/s", "MiB"):
        table.add_column(heading, justify="left" if not heading else "right")
    for row in rows:
        table.add_row(
            row.contestant,
            f"{row.least_ms:.1f}",
            f"{row.median_ms:.1f}",
            f"{row.ratio_least:.2f}",
            f"{row.ratio_median:.2f}",
            f"{row.images_per_s:.0f}",
            f"{row.peak_mib:.0f}",
        )
    console = Console()
    console.print(table)
    if not native_bfloat16():
        console.print("this processor only emulates bfloat16, which makes the bf16 rows slow")
    for depth in SUITES:
        name, share = executed(depth, options.batch)
        console.print(f"{name} executes {share:.0f} % of its gated units on these inputs")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    header = {"torch": torch.__version__, "python": platform.python_version(), **vars(options)}
    content = {
        "settings": {k: str(v) for k, v in header.items()},
        "rows": [asdict(r) for r in rows],
    }
    options.out.write_text(json.dumps(content, indent=2))


if __name__ == "__main__":
    main()
