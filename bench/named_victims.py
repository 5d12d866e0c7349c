"""What several benches attack: published victims, and RDI-Net, by their names."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from torch import nn

from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.pipelines.runs.zoo import Card
from leadgrad.victims import MultiExit, load_published


def add_victims(parser: argparse.ArgumentParser) -> None:
    """The arguments that name them."""
    parser.add_argument("weights", nargs="*", help="Published weights of adaptive victims")
    parser.add_argument("--rdi_net", help="Weights of RDI-Net's authors")


def named_victims(options: argparse.Namespace) -> Iterator[tuple[str, nn.Module]]:
    """Each with its weights."""
    for path in options.weights:
        card = Card.read(path)
        yield card.name, load_published(instantiate(card.content["network"]), card.weights)
    if options.rdi_net is not None:
        yield "RDI-Net", load_published(MultiExit(38), options.rdi_net)
