"""How robust each exit is by itself: the network cut behind it, which then decides nothing.

    python bench/exits_alone.py zoo/multi_exit14_robust.safetensors --root data --eps_255 8

On validation images. Prints Markdown: what each exit gets right, and what APGD on it alone leaves.
"""

from __future__ import annotations

import argparse

from named_victims import add_victims, named_victims
from torch import Tensor, nn

from leadgrad.attacks import APGD, PixelLinf
from leadgrad.data import CIFAR10
from leadgrad.pipelines.attack.attempt import Batch
from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.paper.tuning import resisting
from leadgrad.pipelines.tasks import ImageClassification
from leadgrad.victims import FGM
from leadgrad.victims.networks.exits import ExitNetwork


class Alone(nn.Module):
    """One exit of a network, for every image.

    Args:
        network: With exits.
        number: Of the exit, from 0.
    """

    def __init__(self, network: ExitNetwork, number: int) -> None:
        super().__init__()
        self.network = network
        self.number = number

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to its logits (B, num_classes)."""
        return self.network.exit_logits(images)[self.number]


def robust(network: nn.Module, threat: PixelLinf, steps: int, given: list[Batch]) -> float:
    """Percent of images that stay right; at ε 0, that are right at all."""
    module = AttackModule(network, APGD(threat, steps=steps), FGM())
    module.task = ImageClassification()
    return 100 * float(resisting(module, given).float().mean())


def main() -> None:
    """Prints a table per victim."""
    parser = argparse.ArgumentParser(description="Each exit of a network, attacked by itself")
    add_victims(parser)
    parser.add_argument("--root", default="data", help="Of CIFAR-10")
    parser.add_argument("--eps_255", type=float, default=8.0)
    parser.add_argument("--steps", type=int, default=49, help="Gradients less one")
    parser.add_argument("--limit", type=int, default=500, help="Validation images")
    options = parser.parse_args()
    data = CIFAR10(options.root, limit=options.limit)
    batches = list(data.batches("validation", 125, count=options.limit))
    for name, network in named_victims(options):
        if not isinstance(network, ExitNetwork):
            parser.error(f"{name} has no exits; name victims that have")
        print(f"\n**{name}**, ε {options.eps_255:g}/255, {options.limit} validation images\n")
        print("| exit | clean % | left by APGD % |\n|---:|---:|---:|")
        for number in range(network.exits):
            alone = Alone(network, number)
            clean = robust(alone, PixelLinf(0.0), 1, batches)
            left = robust(alone, PixelLinf(options.eps_255), options.steps, batches)
            print(f"| {number + 1} | {clean:.1f} | {left:.1f} |", flush=True)


if __name__ == "__main__":
    main()
