"""Which rule shares ``Standard``'s budget out best, and what other attacks find beyond it.

    python bench/standard_rule.py zoo/dynconv32.safetensors --root data --eps_255 1

On validation images, like all choices. Prints Markdown: what ``Standard`` leaves under its methods
in turn, and with the whole budget under each alone (which is what a budget shared out by success
tends to); then, of every other attack at twice the budget, run on what ``Standard`` has left, how
many images it finds.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch
from named_victims import add_victims, named_victims
from torch import Tensor, nn

from leadgrad.attacks import APGD, PGD, Attack, Midpoint, PixelLinf, Square, Standard, dlr
from leadgrad.data import CIFAR10
from leadgrad.pipelines.attack.attempt import Batch
from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.paper.tuning import resisting
from leadgrad.pipelines.tasks import ImageClassification
from leadgrad.victims import (
    FGM,
    LGM,
    STANDARD,
    BestOf,
    FixedExits,
    GradientMethod,
    Lookahead,
    Sigmoid,
    Smoothed,
    Unled,
)
from leadgrad.victims.networks.exits import ExitNetwork

NAMES = ("λ 4", "FGM", "relative 5")
RULES: dict[str, GradientMethod] = {
    "in turn": BestOf(STANDARD),
    **{f"all under {name}": method for name, method in zip(NAMES, STANDARD, strict=True)},
}
LED = STANDARD[0]


def others(
    network: nn.Module, threat: PixelLinf, budget: int
) -> dict[str, tuple[Attack, GradientMethod]]:
    """Attacks of twice the budget, of which none is ``Standard``."""
    steps = 2 * budget
    apgd = APGD(threat, steps=steps - 1)
    fifths = replace(apgd, steps=steps // 5 - 1, restarts=5)
    pgd = PGD(threat, steps=steps, step_size_255=threat.eps_255 / 10)
    made: dict[str, tuple[Attack, GradientMethod]] = {
        "PGD, FGM": (pgd, FGM()),
        "half-way": (Midpoint(threat, steps=budget, step_size_255=threat.eps_255 / 10), FGM()),
        "Square": (Square(threat, steps), FGM()),
        "APGD, λ 4 unled": (apgd, Unled(LED)),
        "APGD, λ 1": (apgd, LGM(Sigmoid(1.0))),
        "APGD, smoothed": (apgd, Smoothed(0.5)),
        "APGD, look-ahead": (replace(apgd, steps=budget - 1), Lookahead()),
    }
    for name, method in zip(NAMES, STANDARD, strict=True):
        made[f"APGD, {name}"] = (apgd, method)
        made[f"APGD, {name}, DLR"] = (replace(apgd, loss=dlr), method)
        made[f"APGD, {name}, 5 starts"] = (fifths, method)
    if isinstance(network, ExitNetwork):
        made["APGD, last exit"] = (apgd, FixedExits(last=True))
        weights = (1 / network.exits,) * network.exits
        made["APGD, mean of exits"] = (apgd, FixedExits(weights))
        alone = BestOf(tuple(FixedExits((*[0.0] * n, 1.0)) for n in range(network.exits)))
        made["APGD, each exit"] = (replace(apgd, steps=steps // network.exits - 1), alone)
    return made


def left(network: nn.Module, attack: Attack, method: GradientMethod, given: list[Batch]) -> Tensor:
    """Images that stay right, (N,), bool."""
    module = AttackModule(network, attack, method)
    module.task = ImageClassification()
    return resisting(module, given)


def unbeaten(batches: list[Batch], kept: Tensor) -> list[Batch]:
    """The images that are left, as batches."""
    sizes = [len(batch["label"]) for batch in batches]
    parts = zip(batches, kept.split(sizes), strict=True)
    return [
        {key: value[part] for key, value in batch.items()} for batch, part in parts if any(part)
    ]


def report(
    network: nn.Module,
    batches: list[Batch],
    threat: PixelLinf,
    budget: int,
    rules: dict[str, GradientMethod],
) -> None:
    """Prints the lines of one victim, the rules that are compared with "in turn" among them."""
    count = sum(len(batch["label"]) for batch in batches)

    def line(attack: str, spent: int, kept: Tensor, against: Tensor) -> None:
        beyond = 100 * int((against & ~kept).sum()) / count
        robust = 100 * int(kept.sum()) / count
        print(f"| {attack} | {spent} | {robust:.1f} | {beyond:.1f} |", flush=True)

    print("| attack | gradients | left, % | beyond Standard, points |\n|---|---:|---:|---:|")
    standard = Standard(threat, budget=budget)
    first = left(network, standard, RULES["in turn"], batches)
    for rule, method in rules.items():
        kept = first if rule == "in turn" else left(network, standard, method, batches)
        line(f"Standard, {rule}", budget, kept, first)
    rest, every = unbeaten(batches, first), torch.ones_like(first)
    for name, (attack, method) in others(network, threat, budget).items() if rest else ():
        kept = first.clone()
        kept[first] = left(network, attack, method, rest)
        every &= kept
        line(f"{name}, on what is left", 2 * budget, kept, first)
    line("all of these", 0, every & first, first)


def main() -> None:
    """Prints a table per victim and budget."""
    parser = argparse.ArgumentParser(description="How Standard shares out, and what it misses")
    add_victims(parser)
    parser.add_argument("--root", default="data", help="Of CIFAR-10")
    parser.add_argument("--eps_255", type=float, nargs="+", default=[8.0])
    parser.add_argument("--budget", type=int, default=100, help="Gradients of Standard")
    parser.add_argument("--limit", type=int, default=250, help="Validation images")
    parser.add_argument("--beyond_only", action="store_true", help="No other rule is compared")
    options = parser.parse_args()
    rules = {"in turn": RULES["in turn"]} if options.beyond_only else RULES
    data = CIFAR10(options.root, limit=options.limit)
    batches = list(data.batches("validation", 125, count=options.limit))
    for name, network in named_victims(options):
        for eps_255 in options.eps_255:
            print(f"\n**{name}**, ε {eps_255:g}/255, {options.limit} validation images\n")
            report(network, batches, PixelLinf(eps_255), options.budget, rules)


if __name__ == "__main__":
    main()
