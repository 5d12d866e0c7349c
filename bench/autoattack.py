"""``Standard`` beside AutoAttack's standard version, of its authors, on networks without gates.

    pip install pyautoattack
    python bench/autoattack.py zoo/resnet32.safetensors --root data --eps_255 0.5 1

On validation images. Both see the same network, prepared as an attack prepares it; gradients and
queries are counted by it, per image. AutoAttack takes 1,900 gradients and 5,000 queries per image
that does not fall.
"""

from __future__ import annotations

import argparse

import torch
from pyautoattack import AutoAttack
from torch import Tensor, nn

from leadgrad.attacks import PixelLinf, Standard
from leadgrad.data import CIFAR10
from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.pipelines.runs.zoo import Card
from leadgrad.victims import load_published, prepare_for_attack


class Counted(nn.Module):
    """A network that counts the images whose logits it gives.

    Args:
        network: Images to logits.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.reset()

    def reset(self) -> None:
        """Starts to count anew."""
        self.gradients = self.queries = 0

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images, whose gradient is asked for or not."""
        if torch.is_grad_enabled() and x.requires_grad:
            self.gradients += len(x)
        else:
            self.queries += len(x)
        logits: Tensor = self.network(x)
        return logits


def kept(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Which images are classified rightly. Shape: (N,), bool."""
    with torch.no_grad():
        return torch.cat([network(part).argmax(1) for part in x.split(250)]) == y


def compare(network: Counted, x: Tensor, y: Tensor, eps_255: float, budget: int) -> list[str]:
    """Cells of one row."""
    clean = kept(network, x, y)
    rows = clean.nonzero().flatten()
    ours = torch.zeros_like(clean)
    network.reset()
    attack = Standard(PixelLinf(eps_255), budget=budget)
    for part in rows.split(250):
        adv = attack(network, x[part], y[part], victim=network, sample_ids=part)
        ours[part] = kept(network, adv, y[part])
    costs = [(network.gradients / len(x), network.queries / len(x))]
    network.reset()
    # float32 images: its projection in float32 may pass ε by a rounding, which Standard's does not
    theirs = AutoAttack(network, eps=eps_255 / 255, seed=0)
    adv, _ = theirs.run_standard_evaluation(x, y, batch_size=250)
    costs.append((network.gradients / len(x), network.queries / len(x)))
    others = clean & kept(network, adv, y)
    share = [100 * float(each.double().mean()) for each in (clean, ours, others)]
    counted = [f"{gradients:.0f} and {queries:.0f}" for gradients, queries in costs]
    alone = (int((ours & ~others).sum()), int((others & ~ours).sum()))
    return [
        f"{eps_255:g}",
        f"{share[0]:.1f}",
        f"{share[1]:.1f}",
        counted[0],
        f"{share[2]:.1f}",
        counted[1],
        f"{alone[0]} and {alone[1]} of {len(x):,}",
    ]


HEADER = (
    "ε of 255",
    "clean %",
    "Standard %",
    "gradients and queries",
    "AutoAttack %",
    "gradients and queries",
    "fell to AutoAttack, to Standard alone",
)


def main() -> None:
    """Prints a table per victim."""
    parser = argparse.ArgumentParser(description="Compare Standard with AutoAttack")
    parser.add_argument("weights", nargs="+", help="Published weights of networks without gates")
    parser.add_argument("--root", default="data", help="Of CIFAR-10")
    parser.add_argument("--eps_255", type=float, nargs="+", default=[8.0])
    parser.add_argument("--budget", type=int, default=1000, help="Of Standard")
    parser.add_argument("--limit", type=int, default=1000, help="Validation images")
    options = parser.parse_args()
    data = CIFAR10(options.root, limit=options.limit)
    batches = list(data.batches("validation", 250, count=options.limit))
    x, y = (torch.cat([batch[name] for batch in batches]) for name in ("image", "label"))
    for path in options.weights:
        card = Card.read(path)
        network = instantiate(card.content["network"])
        load_published(network, card.weights)
        victim = Counted(prepare_for_attack(network)).eval()
        print(f"\n**{card.name}**, {len(x):,} validation images, Standard({options.budget})\n")
        print("| " + " | ".join(HEADER) + " |\n|" + " ---: |" * len(HEADER))
        for eps_255 in options.eps_255:
            line = compare(victim, x, y, eps_255, options.budget)
            print("| " + " | ".join(line) + " |", flush=True)


if __name__ == "__main__":
    main()
