"""Which slope needs no tuning: FGSM under fixed, relative and combined surrogates.

    python bench/default_slope.py --root data --limit 500 zoo/dynconv32.safetensors ...

On validation images, like all choices. Prints Markdown. A combination's accuracy is that of the
samples that resist each of its surrogates, as ``leadgrad.attacks.strongest`` leaves them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import combinations

import torch

from leadgrad.attacks import FGSM, PixelLinf
from leadgrad.data import CIFAR10
from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.pipelines.paper.tuning import resisting
from leadgrad.pipelines.runs.zoo import Card
from leadgrad.pipelines.tasks import ImageClassification
from leadgrad.victims import FGM, LGM, GradientMethod, RelativeSigmoid, Sigmoid, load_published

BUDGETS = (1, 2, 4, 8)
FIXED = (0.0001, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
RELATIVE = (1.0, 2.0, 3.0, 5.0, 8.0)
UNLED = ("FGM", "λ 0.0001")
"""Two attacks of which neither leads: so gentle a slope is half occupancy throughout."""


def contestants() -> dict[str, GradientMethod]:
    """Name to method; what is combined is made of these."""
    methods: dict[str, GradientMethod] = {"FGM": FGM()}
    methods |= {f"λ {slope:g}": LGM(Sigmoid(slope)) for slope in FIXED}
    methods |= {f"relative {slope:g}": LGM(RelativeSigmoid(slope)) for slope in RELATIVE}
    return methods


def table(card: Card, data: CIFAR10) -> list[str]:
    """One victim's lines: accuracy in percent for each budget, and the mean over the budgets."""
    network = load_published(instantiate(card.content["network"]), card.weights)
    left = {}
    for eps in BUDGETS:
        attack = FGSM(PixelLinf(eps, convention="doubled"))
        for name, method in contestants().items():
            module = AttackModule(network, attack, method)
            module.task = ImageClassification()
            left[name, eps] = resisting(module, data.batches("validation", 250, count=data.limit))

    def percent(names: Sequence[str]) -> list[float]:
        together = (torch.stack([left[name, eps] for name in names]).all(0) for eps in BUDGETS)
        return [100 * float(samples.double().mean()) for samples in together]

    fixed = [name for name in contestants() if name.startswith("λ")]
    relative = [name for name in contestants() if name.startswith("relative")]
    tuned = [min(column) for column in zip(*(percent([name]) for name in fixed), strict=True)]
    rows = {"best λ of each column": tuned}
    rows |= {name: percent([name]) for name in contestants()}
    pairs = [(a, b) for a in relative for b in fixed] + list(combinations(fixed, 2))
    best = sorted(pairs, key=lambda pair: sum(percent(pair)))
    names = {method: name for name, method in contestants().items()}
    default = tuple(names[method] for method in LGM().candidates())
    shown = [*best[:5], default, UNLED]
    rows |= {" + ".join(pair): percent(pair) for pair in shown}
    sha256 = card.content["sha256"][:8]
    title = f"\n**{card.name}**, SHA-256 {sha256}, {data.manifest()['count']} validation images\n"
    head = ["surrogate", *(f"ε {eps}" for eps in BUDGETS), "mean"]
    lines = [title, "| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for name, values in rows.items():
        cells = [*values, sum(values) / len(values)]
        lines.append(f"| {name} | " + " | ".join(f"{value:.2f}" for value in cells) + " |")
    return lines


def main() -> None:
    """Prints the tables of all victims."""
    parser = argparse.ArgumentParser(description="Compare slopes of LGM under FGSM")
    parser.add_argument("weights", nargs="+", help="Published weights of adaptive victims")
    parser.add_argument("--root", default="data", help="Of CIFAR-10")
    parser.add_argument("--limit", type=int, default=500, help="Validation images")
    options = parser.parse_args()
    data = CIFAR10(options.root, limit=options.limit)
    for weights in options.weights:
        print("\n".join(table(Card.read(weights), data)), flush=True)


if __name__ == "__main__":
    main()
