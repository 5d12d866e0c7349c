"""``leadgrad table defences``: the command."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from leadgrad.attacks import PixelLinf
from leadgrad.data import ImageDataModule
from leadgrad.pipelines.api.cells import Campaign
from leadgrad.pipelines.checks import Level
from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.pipelines.paper.defences import (
    LED,
    WORST,
    Column,
    Victim,
    block,
    cell,
    codes,
    columns,
    finished,
    summary,
    warning,
)
from leadgrad.pipelines.paper.options import DATA
from leadgrad.pipelines.paper.options import campaign as campaign_of
from leadgrad.pipelines.report.sheet import Sheet
from leadgrad.pipelines.runs.zoo import Card
from leadgrad.victims.networks.exits import ExitNetwork
from leadgrad.victims.occupancy.deciding import Deciding

TITLE = "Adversarially trained adaptive networks: what freezing their decisions overstates"
BRIEF = ("FGM, APGD", "LGM's values unled, APGD")
"""Of a victim's other settings: these, LGM and the standard."""


def parser() -> ArgumentParser:
    """The command's options."""
    made = ArgumentParser(prog="leadgrad table defences", description=TITLE)
    made.add_argument("--victims", type=list[str], default=[], help="Published weights with cards")
    made.add_argument(
        "--rdi_net",
        type=str | None,
        default=None,
        help="Weights of RDI-Net's authors (ResNet-38, CIFAR-10), which leadgrad does not have",
    )
    made.add_argument(
        "--thresholds",
        type=list[float],
        default=[],
        help="RDI-Net's other entropies in nats, beside 0.8; these have FGM, LGM, Standard alone",
    )
    made.add_subclass_arguments(ImageDataModule, "data", default=dict(DATA))
    made.add_argument("--split", type=str, default="test", help="The attacked split")
    made.add_argument("--limit", type=int | None, default=None, help="Its first images only")
    made.add_argument("--eps_255", type=float, default=8.0, help="In pixel levels")
    made.add_argument("--evaluations", type=int, default=100, help="Gradients of each attack")
    made.add_argument("--budget", type=int, default=1000, help="Of each Standard, in gradients")
    made.add_argument("--slope", type=float, default=4.0, help="λ of LGM, chosen on other images")
    made.add_argument("--cells", type=list[str], default=[], help='Patterns: ["*/lgm*"]')
    made.add_argument("--batch_size", type=int, default=128)
    made.add_argument("--processes", type=int, default=1, help="Of each attack")
    made.add_argument("--checks", type=Level, default="fast", help="Of each run")
    made.add_argument("--accelerator", type=str, default="auto")
    made.add_argument("--out", type=str, default="runs/table-defences")
    made.add_argument(
        "--publish", type=str | None, default=None, help="Path without suffix, to write it to too"
    )
    return made


def main(args: Sequence[str]) -> int:
    """Runs the command; the first argument is the table's name.

    Raises:
        ValueError: If no victim is named, or too few gradients.
    """
    command = parser()
    options = command.parse_args(args[1:])
    if options.evaluations < 10:
        raise ValueError(f"evaluations must be at least 10 gradients, got {options.evaluations}")
    wanted = [(victim, column) for victim, own in _plan(options) for column in own]
    if not wanted:
        raise ValueError("there is nothing to attack: give --victims, --rdi_net or both")
    campaign = campaign_of(command, options)
    patterns = options.cells or ["*"]
    jobs = [cell(*one) for one in wanted]
    chosen = [job for job in jobs if any(fnmatch(job.path, each) for each in patterns)]
    if not chosen:
        raise ValueError(f"--cells picks none of {', '.join(job.path for job in jobs)}")
    console = Console()
    campaign.run(chosen, console)
    found, missing = finished(campaign, wanted)
    facts = _facts(shlex.join(["leadgrad", "table", *args]), options, campaign)
    if (states := codes(found)) > 1:
        facts.append(
            f"Not one state of the code made all runs, but {states}; each run's report names "
            "its own, and `leadgrad verify` recomputes any of them."
        )
    made = Sheet(
        TITLE,
        facts,
        block(found),
        before=[summary(found)],
        missing=missing,
        warning=warning(found),
    )
    made.write(campaign.directory, "table-defences")
    if options.publish is not None:
        target = Path(options.publish)
        made.write(target.parent, target.name, linked=False)
    made.show(console)
    console.print(f"page: {campaign.directory / 'table-defences.html'}")
    return 0


def _plan(options: Namespace) -> list[tuple[Victim, list[Column]]]:
    """Every victim with its ways."""
    threat = PixelLinf(options.eps_255)

    def ways(victim: Victim) -> list[Column]:
        return columns(victim, threat, options.evaluations, options.budget, options.slope)

    plan = []
    if options.rdi_net is not None:
        plan.append((one := _rdi_net(options.rdi_net, 0.8), ways(one)))
        others = [_rdi_net(options.rdi_net, threshold) for threshold in options.thresholds]
        if others:
            others.append(_rdi_net(options.rdi_net, 0.8, rest="least_entropy"))
        for victim in others:
            kept = [way for way in ways(victim) if way.name in BRIEF or way.kind in (LED, WORST)]
            plan.append((victim, kept))
    for path in options.victims:
        victim = _published(Card.read(path))
        plan.append((victim, ways(victim)))
    return plan


def _rdi_net(weights: str, threshold: float, rest: str = "last") -> Victim:
    arguments = {"depth": 38, "threshold": threshold, "rest": rest}
    network = {"class_path": "leadgrad.victims.MultiExit", "init_args": arguments}
    name = f"RDI-Net, {threshold:g} nats" + (", least entropy" if rest != "last" else "")
    return Victim(name, network, Path(weights), exits=7)


def _published(card: Card) -> Victim:
    network = instantiate(card.content["network"])
    exits = network.exits if isinstance(network, ExitNetwork) else 0
    gated = any(isinstance(part, Deciding) for part in network.modules())
    return Victim(card.name, card, exits=exits, gated=gated)


def _facts(command: str, options: Namespace, campaign: Campaign) -> list[str]:
    data = instantiate(dict(campaign.data)).manifest()
    return [
        f"Command: `{command}`",
        f"Images: {data['count']:,} of {data['dataset']}'s {data['split']} split; ε "
        f"{options.eps_255:g}/255 in [0, 1], all pixels. Robust: right before and after, of all, "
        "with Wilson's interval.",
        f"Every attack but the standards takes at most {options.evaluations} gradients per image, "
        "counted; images that have fallen take no more. The two standards take at most "
        f"{options.budget:,}, and as many queries.",
        f"LGM is `LGM(Sigmoid({options.slope:g}))`, a slope that was chosen on none of these "
        "images. Differences are paired on the same images (McNemar, exact).",
    ]
