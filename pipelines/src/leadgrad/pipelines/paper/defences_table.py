"""``leadgrad table defences``: the command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace

from leadgrad.attacks import PixelLinf
from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.pipelines.config.plain import PlainParser
from leadgrad.pipelines.paper.defences import LED, WORST, beside, block, summary, ways
from leadgrad.pipelines.paper.defences_figure import gaps_figure
from leadgrad.pipelines.paper.options import campaign as campaign_of
from leadgrad.pipelines.paper.options import require_once
from leadgrad.pipelines.paper.ways import Measured, Victim, Way, require_evaluations
from leadgrad.pipelines.paper.ways_command import (
    command_fact,
    images_fact,
    run_ways,
    sheet,
    ways_parser,
)
from leadgrad.pipelines.report.sheet import Sheet

TITLE = "Adaptive networks: what freezing their decisions overstates"
CAPTION = "What each kind of attack leaves, with 95 % intervals"
BRIEF = ("FGM, APGD", "LGM's values unled, APGD")
"""Of a victim's other settings: these, LGM and the standard."""


def parser() -> PlainParser:
    """The command's options."""
    made = ways_parser("defences", TITLE, split="test")
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
    made.add_argument("--eps_255", type=float, default=8.0, help="In pixel levels")
    made.add_argument("--evaluations", type=int, default=100, help="Gradients of each attack")
    made.add_argument("--budget", type=int, default=1000, help="Of each Standard, in gradients")
    made.add_argument("--slope", type=float, default=4.0, help="λ of LGM, chosen on other images")
    return made


def main(args: Sequence[str]) -> int:
    """Runs the command; the first argument is the table's name.

    Raises:
        ValueError: If no victim is named, one is named twice, thresholds are given without their
            network or beyond their range, or too few gradients.
    """
    command = parser()
    options = command.parse_args(args[1:])
    require_evaluations(options.evaluations)
    if options.thresholds and options.rdi_net is None:
        raise ValueError(
            f"thresholds are {options.thresholds}, but there is no RDI-Net to have them; give "
            "--rdi_net WEIGHTS too, or leave --thresholds out"
        )
    plan = _plan(options)
    require_once(victim.name for victim, _ in plan)
    wanted = [(victim, way) for victim, own in plan for way in own]
    if not wanted:
        raise ValueError("there is nothing to attack: give --victims, --rdi_net or both")
    campaign = campaign_of(command, options)
    facts = [command_fact(args), *_facts(options, images_fact(options, campaign))]

    def page(found: list[Measured], missing: list[str]) -> Sheet:
        above = [summary(found), beside(found)]
        figures = [(CAPTION, gaps_figure(found))] if found else []
        main = block(found)
        return sheet(TITLE, facts, found, missing, main, before=above, figures=figures)

    return run_ways(options, campaign, wanted, page, "defences")


def _plan(options: Namespace) -> list[tuple[Victim, list[Way]]]:
    """Every victim with its ways."""
    threat = PixelLinf(options.eps_255)

    def all_ways(victim: Victim) -> list[Way]:
        return ways(victim, threat, options.evaluations, options.budget, options.slope)

    plan = []
    if options.rdi_net is not None:
        plan.append((one := _rdi_net(options.rdi_net, 0.8), all_ways(one)))
        others = [_rdi_net(options.rdi_net, threshold) for threshold in options.thresholds]
        if others:
            others.append(_rdi_net(options.rdi_net, 0.8, rest="least_entropy"))
        for victim in others:
            kept = [
                way for way in all_ways(victim) if way.name in BRIEF or way.kind in (LED, WORST)
            ]
            plan.append((victim, kept))
    for path in options.victims:
        victim = Victim.published(path)
        plan.append((victim, all_ways(victim)))
    return plan


def _rdi_net(weights: str, threshold: float, rest: str = "last") -> Victim:
    arguments = {"depth": 38, "threshold": threshold, "rest": rest}
    network = {"class_path": "leadgrad.victims.MultiExit", "init_args": arguments}
    name = f"RDI-Net, {threshold:g} nats" + (", least entropy" if rest != "last" else "")
    return Victim(name, network, Path(weights), exits=instantiate(network).exits)


def _facts(options: Namespace, images: str) -> list[str]:
    return [
        f"Images: {images}; ε {options.eps_255:g}/255 in [0, 1], all pixels. Robust: right before "
        "and after, of all, with Wilson's interval.",
        f"Every attack but the standards takes at most {options.evaluations} gradients per image, "
        "counted; in APGD and the standards an image that has fallen takes no more. The two "
        f"standards take at most {options.budget:,}, and as many queries.",
        f"LGM is `LGM(Sigmoid({options.slope:g}))`, a slope that was chosen on none of these "
        "images. Differences are paired on the same images (McNemar, exact).",
    ]
