"""Which gradient methods an ensemble needs: APGD under each, and what each adds to the others.

    python bench/standard_methods.py zoo/dynconv32.safetensors --root data --eps_255 0.5 1

On validation images, like all choices. Every method gets the same number of gradients. Prints
Markdown: what each leaves alone, and in which order they are best tried, each next one being the
one that wins most of what is left.
"""

from __future__ import annotations

import argparse

import torch
from named_victims import add_victims, named_victims
from torch import Tensor, nn

from leadgrad.attacks import APGD, PixelLinf
from leadgrad.data import CIFAR10
from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.paper.tuning import resisting
from leadgrad.pipelines.tasks import ImageClassification
from leadgrad.victims import (
    FGM,
    LGM,
    GradientMethod,
    RelativeSigmoid,
    Sigmoid,
    Smoothed,
)

METHODS: dict[str, GradientMethod] = {
    "FGM": FGM(),
    **{f"λ {slope:g}": LGM(Sigmoid(slope)) for slope in (0.1, 1.0, 2.0, 4.0, 8.0)},
    **{f"relative {slope:g}": LGM(RelativeSigmoid(slope)) for slope in (1.0, 5.0)},
    **{f"smoothed {share:g}": Smoothed(share) for share in (0.25, 0.5)},
}


def table(name: str, network: nn.Module, data: CIFAR10, eps_255: float, steps: int) -> list[str]:
    """One victim at one budget."""
    left: dict[str, Tensor] = {}
    for method_name, method in METHODS.items():
        module = AttackModule(network, APGD(PixelLinf(eps_255), steps=steps - 1), method)
        module.task = ImageClassification()
        left[method_name] = resisting(module, data.batches("validation", 125, count=data.limit))
    count = len(left["FGM"])
    order, resist = [], torch.ones(count, dtype=torch.bool)
    while len(order) < len(METHODS):
        best = min(METHODS, key=lambda each: (int((resist & left[each]).sum()), each in order))
        if order and int((resist & left[best]).sum()) == int(resist.sum()):
            break
        resist = resist & left[best]
        order.append(f"{best} ({100 * float(resist.double().mean()):.1f})")
    head = [*METHODS, "best order, with what is left after each"]
    lines = [f"\n**{name}**, ε {eps_255:g}/255, {count} validation images, {steps} gradients\n"]
    lines += ["| " + " | ".join(head) + " |", "|" + " ---: |" * len(METHODS) + " --- |"]
    values = [f"{100 * float(own.double().mean()):.1f}" for own in left.values()]
    return [*lines, "| " + " | ".join([*values, ", ".join(order)]) + " |"]


def main() -> None:
    """Prints the tables of all victims."""
    parser = argparse.ArgumentParser(description="Compare gradient methods under APGD")
    add_victims(parser)
    parser.add_argument("--root", default="data", help="Of CIFAR-10")
    parser.add_argument("--eps_255", type=float, nargs="+", default=[8.0])
    parser.add_argument("--steps", type=int, default=33, help="Gradients of each method")
    parser.add_argument("--limit", type=int, default=250, help="Validation images")
    options = parser.parse_args()
    data = CIFAR10(options.root, limit=options.limit)
    for name, network in named_victims(options):
        for eps_255 in options.eps_255:
            print("\n".join(table(name, network, data, eps_255, options.steps)), flush=True)


if __name__ == "__main__":
    main()
