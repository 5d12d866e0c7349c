"""What skipping saves in milliseconds, beside what is counted: clean, and under a slowdown attack.

    python bench/real_skipping.py --root data zoo/skipnet38.safetensors zoo/multi_exit14_robust...

Three forwards take turns on the same images in one run: with everything executed, masked, and
skipping. Medians are compared, so a busy machine slows all. On validation images. Prints Markdown,
at batch 1 and 64: executed share; "counted", the skipping forward's operations as a share of
everything's (all convolutions and products of matrices, those that always run included);
milliseconds per image; and "of the saving", the speed-up in time over the one in operations, both
of skipping against everything. A masked forward leaves out what no image of its batch executes, so
that whole blocks are skipped at batch 1 anyway.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from leadgrad.attacks import AnnealedPGD, Compute, PixelLinf
from leadgrad.data import CIFAR10
from leadgrad.pipelines.attack.attempt import Batch
from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.pipelines.runs.zoo import Card
from leadgrad.pipelines.tasks import ImageClassification
from leadgrad.victims import (
    FGM,
    LGM,
    GradientMethod,
    Sigmoid,
    gradient_method,
    load_published,
    prepare_for_attack,
    record_occupancies,
)
from leadgrad.victims.networks.network import GatedNetwork, executed_share
from leadgrad.victims.networks.skipping import Execution, set_execution


class Everything(GradientMethod):
    """Every unit executed, whatever its gate says."""

    def occupancy(self, margin: Tensor, hard: Tensor) -> Tensor:
        """1."""
        return torch.ones_like(margin)


WAYS: tuple[tuple[str, Execution, GradientMethod], ...] = (
    ("all", "masked", Everything()),
    ("masked", "masked", FGM()),
    ("skip", "skip", FGM()),
)


@contextmanager
def running(network: nn.Module, execution: Execution, method: GradientMethod) -> Iterator[None]:
    """The network in one of the ways, without gradients."""
    set_execution(network, execution)
    with torch.no_grad(), gradient_method(network, method):
        yield
    set_execution(network, "masked")


def milliseconds(network: nn.Module, images: Tensor, batch: int, rounds: int) -> dict[str, float]:
    """Medians per image of each way."""
    found: dict[str, list[float]] = {name: [] for name, *_ in WAYS}
    for number in range(rounds + 1):
        for name, execution, method in WAYS:
            with running(network, execution, method):
                start = perf_counter()
                for part in images.split(batch):
                    network(part)
                took = perf_counter() - start
            if number:  # the first round warms up
                found[name].append(1000 * took / len(images))
    return {name: median(times) for name, times in found.items()}


def operations_left(network: nn.Module, images: Tensor, batch: int) -> float:
    """Share of everything's convolutions and products of matrices that skipping makes."""
    found = {}
    for name, execution, method in WAYS:
        if name == "masked":
            continue
        with FlopCounterMode(display=False) as counter, running(network, execution, method):
            for part in images.split(batch):
                network(part)
        found[name] = counter.get_total_flops()
    return found["skip"] / found["all"]


def counted(network: GatedNetwork, images: Tensor) -> tuple[float, float]:
    """Executed share of all units' cost, and of the conditional MACs, in percent."""
    with torch.no_grad(), record_occupancies(network) as record:
        network(images)
    share = executed_share(network, [units.double() for units in record]).mean()
    spent, total = network.conditional_macs(record), network.conditional_macs_total()
    macs = float("nan") if spent is None or total is None else float(spent.double().mean()) / total
    return 100 * float(share), 100 * macs


def slowed(network: nn.Module, batch: Batch, eps_255: float, steps: int) -> Tensor:
    """The same images after an attack on compute."""
    attack = AnnealedPGD(PixelLinf(eps_255), steps=steps, goal=Compute("up"))
    module = AttackModule(network, attack, LGM(Sigmoid(4.0)))
    module.task = ImageClassification()
    attempt = module.attempt(batch)
    return attempt.adversarial(attempt.exact)[0]


def skipping(path: str) -> tuple[str, nn.Module, GatedNetwork]:
    """Name, network and prepared copy of a published victim; ends the program without a path."""
    card = Card.read(path)
    network = instantiate(card.content["network"])
    load_published(network, card.weights)
    victim = prepare_for_attack(network)
    try:
        set_execution(victim, "skip")
    except ValueError as error:
        raise SystemExit(f"error: {error}") from error
    set_execution(victim, "masked")
    return card.name, network, victim


HEADER = (
    "images",
    "batch",
    "executed %",
    "conditional MACs %",
    "counted %",
    "all ms",
    "masked ms",
    "skip ms",
    "skip / masked",
    "of the saving",
)


def main() -> None:
    """Prints a table per victim."""
    parser = argparse.ArgumentParser(description="Time real skipping beside counted operations")
    parser.add_argument("weights", nargs="+", help="Published weights of adaptive victims")
    parser.add_argument("--root", default="data", help="Of CIFAR-10")
    parser.add_argument("--eps_255", type=float, default=8.0, help="Of the slowdown attack")
    parser.add_argument("--steps", type=int, default=20, help="Of the slowdown attack")
    parser.add_argument("--limit", type=int, default=128, help="Validation images")
    parser.add_argument("--rounds", type=int, default=7, help="Of which medians are taken")
    options = parser.parse_args()
    data = CIFAR10(options.root, limit=options.limit)
    batch = next(data.batches("validation", options.limit, count=options.limit))
    victims = [skipping(path) for path in options.weights]
    for name, network, victim in victims:
        print(f"\n**{name}**, {len(batch['label'])} images, {torch.get_num_threads()} threads\n")
        print("| " + " | ".join(HEADER) + " |\n|" + " ---: |" * len(HEADER))
        attacked = slowed(network, batch, options.eps_255, options.steps)
        for state, images in (("clean", batch["image"]), ("slowed down", attacked)):
            share, macs = counted(victim, images)
            for size in (1, 64):
                took = milliseconds(victim, images, size, options.rounds)
                left = operations_left(victim, images, size)
                cells = [state, str(size), f"{share:.1f}", f"{macs:.1f}", f"{100 * left:.1f}"]
                cells += [f"{each:.2f}" for each in took.values()]
                cells.append(f"{took['skip'] / took['masked']:.2f}")
                cells.append(f"{left * took['all'] / took['skip']:.2f}")
                print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
