"""Which parts ``Standard`` needs: each alone, on what a first round of cross-entropy has left.

    python bench/standard_parts.py zoo/multi_exit14_robust.safetensors --root data --eps_255 8

On validation images, like all choices. Of each method: another start of APGD on the cross-entropy,
the DLR loss, and the targeted one towards the class of each rank. Prints how many images each part
finds, and the order in which each next one finds most of what is left.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import torch
from named_victims import add_victims, named_victims
from standard_rule import NAMES, left, unbeaten
from torch import Tensor, nn

from leadgrad.attacks import APGD, PixelLinf, Standard, dlr
from leadgrad.attacks.standard import Part
from leadgrad.data import CIFAR10
from leadgrad.pipelines.attack.attempt import Batch
from leadgrad.victims import STANDARD, BestOf


@dataclass(frozen=True)
class Parts(Standard):
    """The standard with parts of one's own.

    Args:
        parts: In order.
    """

    parts: tuple[Part, ...] = ()

    def schedule(self, surrogates: int, classes: int) -> tuple[Part, ...]:
        """As given."""
        return self.parts


def found(
    network: nn.Module, rest: list[Batch], threat: PixelLinf, length: int
) -> dict[str, Tensor]:
    """By part, which of the images it finds."""
    made = {}
    for number, (name, method) in enumerate(zip(NAMES, STANDARD, strict=True)):
        again = Parts(threat, parts=(Part(0, None, length),), seed=1)
        made[f"{name}, CE"] = ~left(network, again, method, rest)
        made[f"{name}, DLR"] = ~left(network, APGD(threat, dlr, steps=length - 1), method, rest)
        for rank in range(1, 10):
            part = Parts(threat, parts=(Part(number, rank, length),))
            made[f"{name}, DLR to {rank}"] = ~left(network, part, BestOf(STANDARD), rest)
    return made


def report(network: nn.Module, batches: list[Batch], threat: PixelLinf, length: int) -> None:
    """Prints the lines of one victim."""
    first = Parts(threat, parts=tuple(Part(number, None, length) for number in range(len(NAMES))))
    kept = left(network, first, BestOf(STANDARD), batches)
    count = int(kept.sum())
    print(f"After CE under each method: {count} of {len(kept)} are left.\n")
    if not count:
        return
    parts = found(network, unbeaten(batches, kept), threat, length)
    print("| part | finds |\n| --- | ---: |")
    for name, hits in parts.items():
        print(f"| {name} | {int(hits.sum())} |")
    open_, order = torch.ones(count, dtype=torch.bool), []
    while True:
        best = max(parts, key=lambda name: int((parts[name] & open_).sum()))
        gain = int((parts[best] & open_).sum())
        if not gain:
            break
        open_ &= ~parts[best]
        order.append(f"{best} (+{gain})")
    print(f"\nBest order: {', '.join(order) or 'none finds any'}; {int(open_.sum())} are left.")


def main() -> None:
    """Prints the parts of each victim."""
    parser = argparse.ArgumentParser(description="What each part of Standard finds")
    add_victims(parser)
    parser.add_argument("--root", default="data", help="Of CIFAR-10")
    parser.add_argument("--eps_255", type=float, default=8.0)
    parser.add_argument("--length", type=int, default=100, help="Gradients of a part")
    parser.add_argument("--limit", type=int, default=400, help="Validation images")
    options = parser.parse_args()
    data = CIFAR10(options.root, limit=options.limit)
    batches = list(data.batches("validation", 200, count=options.limit))
    for name, network in named_victims(options):
        print(f"\n**{name}**, ε {options.eps_255:g}/255, {options.limit} validation images\n")
        report(network, batches, PixelLinf(options.eps_255), options.length)


if __name__ == "__main__":
    main()
