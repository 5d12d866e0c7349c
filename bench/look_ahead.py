"""One step at two gradients: looking ahead beside everything that leads nothing at the same cost.

    python bench/look_ahead.py zoo/dynconv32.safetensors --root data --split heldout --limit 5000

Prints Markdown: the accuracy that each leaves, with the gradients it took per image, counted, and
the difference of looking ahead to the strongest control of each column, paired (McNemar, exact).
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn

from leadgrad.attacks import FGSM, Attack, PixelLinf, TwoTries
from leadgrad.data import CIFAR10
from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.pipelines.runs.zoo import Card
from leadgrad.pipelines.tasks import ImageClassification
from leadgrad.pipelines.tasks.images.paired import mcnemar
from leadgrad.victims import (
    FGM,
    LGM,
    BestOf,
    Constant,
    GradientMethod,
    Lookahead,
    Smoothed,
    load_published,
)

LED = "two tries, looking ahead"


def ways(eps_255: float, convention: str) -> dict[str, tuple[Attack, GradientMethod]]:
    """Name to attack and method; of two gradients at most. The first four lead nothing."""
    threat = PixelLinf(eps_255, convention)  # type: ignore[arg-type]  # PixelLinf checks it
    fgsm, tries = FGSM(threat), TwoTries(threat)
    return {
        "FGM or ½": (fgsm, BestOf((FGM(), LGM(Constant())))),
        "two tries, FGM": (tries, FGM()),
        "two tries, smoothed 0.25": (tries, Smoothed(0.25)),
        "two tries, smoothed 0.5": (tries, Smoothed(0.5)),
        "LGM()": (fgsm, LGM()),
        LED: (tries, Lookahead(0.25, 0.5)),
    }


def measured(
    network: nn.Module, attack: Attack, method: GradientMethod, data: CIFAR10, split: str
) -> tuple[Tensor, float]:
    """Images that stay right, (N,), and gradients per image."""
    module = AttackModule(network, attack, method)
    module.task = ImageClassification()
    kept, gradients = [], 0
    for batch in data.batches(split, 250, count=data.limit):
        attempt = module.attempt(batch)
        adv, cost = attempt.adversarial(attempt.exact)
        answers = [attempt.logits(x).argmax(1) == batch["label"] for x in (attempt.inputs, adv)]
        kept.append(answers[0] & answers[1])
        gradients += cost.gradients
    whole = torch.cat(kept)
    return whole, gradients / len(whole)


def table(card: Card, data: CIFAR10, options: argparse.Namespace) -> None:
    """Prints one victim's."""
    network = load_published(instantiate(card.content["network"]), card.weights)
    print(
        f"\n**{card.name}**, {options.limit} {options.split} images, convention "
        f"`{options.convention}`\n"
    )
    names = list(ways(1, options.convention))
    head = ["ε", *(f"{name} %" for name in names), "strongest unled", "looking ahead minus it", "p"]
    print("| " + " | ".join(head) + " |\n|" + " ---: |" * len(head))
    for eps_255 in options.eps_255:
        left, cells = {}, [f"{eps_255:g}"]
        for name, (attack, method) in ways(eps_255, options.convention).items():
            left[name], gradients = measured(network, attack, method, data, options.split)
            cells.append(f"{100 * float(left[name].double().mean()):.2f} ({gradients:.2f})")
        control = min(names[:4], key=lambda name: int(left[name].sum()))
        beside = mcnemar(left[control], left[LED])
        print("| " + " | ".join([*cells, control, beside.words, beside.p_words]) + " |", flush=True)


def main() -> None:
    """Prints the tables of all victims."""
    parser = argparse.ArgumentParser(description="Look ahead in one step, at two gradients")
    parser.add_argument("weights", nargs="+", help="Published weights of adaptive victims")
    parser.add_argument("--root", default="data", help="Of CIFAR-10")
    parser.add_argument("--split", default="validation", help="Of its splits")
    parser.add_argument("--limit", type=int, default=500, help="The split's first images")
    parser.add_argument("--eps_255", type=float, nargs="+", default=[1.0, 2.0, 4.0, 8.0])
    parser.add_argument("--convention", default="doubled")
    options = parser.parse_args()
    data = CIFAR10(options.root, limit=options.limit)
    for weights in options.weights:
        table(Card.read(weights), data, options)


if __name__ == "__main__":
    main()
