"""``leadgrad table families``: the command."""

from __future__ import annotations

from collections.abc import Sequence

from leadgrad.attacks import PixelLinf
from leadgrad.pipelines.config.plain import PlainParser
from leadgrad.pipelines.paper.families import (
    accuracy_block,
    accuracy_ways,
    compute_block,
    compute_ways,
    summary,
)
from leadgrad.pipelines.paper.options import campaign as campaign_of
from leadgrad.pipelines.paper.options import require_once
from leadgrad.pipelines.paper.ways import Measured, Victim
from leadgrad.pipelines.paper.ways_command import (
    command_fact,
    images_fact,
    run_ways,
    sheet,
    ways_parser,
)
from leadgrad.pipelines.report.sheet import Sheet

TITLE = "Adaptive families: accuracy and compute under frozen and leading gradients"


def parser() -> PlainParser:
    """The command's options."""
    made = ways_parser("families", TITLE, split="heldout")
    add = made.add_argument
    add("--eps_255", type=float, default=1.0, help="On accuracy, in pixel levels")
    add("--compute_eps_255", type=float, default=8.0, help="On compute, in pixel levels")
    add("--evaluations", type=int, default=20, help="Gradients of I-FGSM and APGD; even")
    add("--compute_evaluations", type=int, default=50, help="Gradients of each attack on compute")
    add("--budget", type=int, default=100, help="Gradients of Standard")
    add("--slope", type=float, default=4.0, help="λ of LGM, chosen on other images")
    return made


def main(args: Sequence[str]) -> int:
    """Runs the command; the first argument is the table's name.

    Raises:
        ValueError: If no victim is named, one is named twice or decides nothing, or gradients are
            too few or odd.
    """
    command = parser()
    options = command.parse_args(args[1:])
    evaluations, on_compute = options.evaluations, options.compute_evaluations
    if evaluations < 4 or evaluations % 2 or on_compute < 2:
        raise ValueError(
            "evaluations must be an even number of at least 4 gradients and compute_evaluations at "
            f"least 2, got {evaluations} and {on_compute}"
        )
    victims = [Victim.published(path) for path in options.victims]
    if not victims:
        raise ValueError("there is nothing to attack: give --victims")
    require_once(victim.name for victim in victims)
    for victim in victims:
        if not victim.gated:
            raise ValueError(f"{victim.name} decides nothing; give adaptive networks alone")
    threat = PixelLinf(options.eps_255)
    wanted = [
        (victim, way)
        for victim in victims
        for way in (
            *accuracy_ways(threat, evaluations, options.budget, options.slope),
            *compute_ways(victim, PixelLinf(options.compute_eps_255), on_compute, options.slope),
        )
    ]
    campaign = campaign_of(command, options)
    facts = [
        command_fact(args),
        f"Images: {images_fact(options, campaign)}, all pixels; ε {options.eps_255:g}/255 in "
        f"[0, 1] on accuracy, {options.compute_eps_255:g}/255 on compute.",
        f"I-FGSM and APGD take at most {evaluations} gradients per image under every method, "
        f"counted (looking ahead takes two a step), attacks on compute {on_compute}, Standard "
        f"{options.budget}.",
        f"LGM is `LGM(Sigmoid({options.slope:g}))`, of a slope that was chosen on none of these "
        "images. Differences are paired on the same images (McNemar, exact).",
    ]

    def page(found: list[Measured], missing: list[str]) -> Sheet:
        accuracy, compute = accuracy_block(found), compute_block(found)
        return sheet(
            TITLE, facts, found, missing, accuracy, before=[summary(found)], after=[compute]
        )

    return run_ways(options, campaign, wanted, page, "families")
