"""How far adversarially trained adaptive networks are overestimated: ways, cells and blocks.

``leadgrad table defences``, which the paper does not have. Each victim is attacked with N gradients
of APGD per image in every way that leads nothing, then with N that lead, then by the standard, with
the decisions frozen and as it is. What leading is worth is the difference to the strongest of the
first kind; what freezing overstates, the difference between the two standards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from leadgrad.attacks import APGD, PGD, Attack, Midpoint, PixelLinf, Standard, dlr
from leadgrad.pipelines.api.cells import Campaign, Cell
from leadgrad.pipelines.api.nodes import Node
from leadgrad.pipelines.attack.task import Outcome, task_of_run
from leadgrad.pipelines.checks.verdicts import failed
from leadgrad.pipelines.report.sheet import Block
from leadgrad.pipelines.report.words import gradients
from leadgrad.pipelines.runs.zoo import Card
from leadgrad.victims import (
    FGM,
    LGM,
    STANDARD,
    BestOf,
    FixedExits,
    GradientMethod,
    Sigmoid,
    Unled,
)

LED, FROZEN, WORST = "led", "frozen", "standard"


@dataclass(frozen=True)
class Column:
    """One way to attack.

    Args:
        name: In words.
        attack: What is done.
        method: What its gradients see.
        kind: "unled", ``LED``, ``FROZEN`` or ``WORST``.
    """

    name: str
    attack: Attack
    method: GradientMethod
    kind: str = "unled"


@dataclass(frozen=True)
class Victim:
    """A row.

    Args:
        name: In words.
        network: Card, or class and arguments.
        weights: Of a network without a card.
        exits: Number of its exits; 0 of other networks.
        gated: Whether it decides at all.
    """

    name: str
    network: Node | Card
    weights: Path | None = None
    exits: int = 0
    gated: bool = True


def columns(
    victim: Victim, threat: PixelLinf, evaluations: int, budget: int, slope: float
) -> list[Column]:
    """The ways, at equal gradients but for the two standards, which have a budget of their own.

    Args:
        victim: That is attacked.
        threat: Budget of the perturbation.
        evaluations: Gradients per image, N.
        budget: Of the standards.
        slope: λ of LGM, chosen on other images.
    """
    apgd = APGD(threat, steps=evaluations - 1)
    step = 2.5 * threat.eps_255 / evaluations
    pgd = PGD(threat, steps=evaluations, step_size_255=step)
    midpoint = Midpoint(threat, steps=evaluations // 2, step_size_255=2 * step)
    made = [
        Column("FGM, PGD", pgd, FGM()),
        Column("FGM, APGD", apgd, FGM()),
        Column("FGM, APGD, DLR", replace(apgd, loss=dlr), FGM()),
        Column("FGM, gradients half-way", midpoint, FGM()),
    ]
    if victim.exits:
        each = max(2, evaluations // victim.exits)
        alone = [_only(number) for number in range(victim.exits)]
        made += [
            Column("last exit, APGD", apgd, FixedExits(last=True)),
            Column("mean of exits, APGD", apgd, FixedExits((1 / victim.exits,) * victim.exits)),
            Column("each exit in turn, APGD", replace(apgd, steps=each - 1), BestOf(tuple(alone))),
        ]
    if victim.gated:
        led = LGM(Sigmoid(slope))
        made.append(Column("LGM's values unled, APGD", apgd, Unled(led)))
        made.append(Column("LGM, APGD", apgd, led, LED))
    standard = Standard(threat, budget=budget)
    if victim.gated:
        made.append(Column("Standard, decisions frozen", standard, FGM(), FROZEN))
    methods = BestOf(STANDARD) if victim.gated else FGM()
    made.append(Column("Standard", standard, methods, WORST))
    return made


def _only(number: int) -> FixedExits:
    """One exit alone."""
    return FixedExits((*[0.0] * number, 1.0))


@dataclass(frozen=True)
class Measured:
    """A finished attack on a victim."""

    victim: Victim
    column: Column
    results: dict[str, Any]
    left: Outcome


def cell(victim: Victim, column: Column) -> Cell:
    """The run of a victim and a way."""
    name = "".join(c if c.isalnum() else "-" for c in column.name.lower())
    own = "".join(c if c.isalnum() or c in "._" else "-" for c in victim.name)
    return Cell(f"{own}/{name}", victim.network, column.attack, column.method, victim.weights)


def finished(
    campaign: Campaign, wanted: Sequence[tuple[Victim, Column]]
) -> tuple[list[Measured], list[str]]:
    """What has been measured, and the cells that are missing."""
    found, missing = [], []
    for victim, column in wanted:
        made = cell(victim, column)
        if not campaign.finished(made):
            missing.append(made.path)
            continue
        run = campaign.of(made)
        found.append(Measured(victim, column, run.results(), task_of_run(run).outcome(run)))
    return found, missing


HEADER = (
    "victim",
    "attack",
    "gradients",
    "robust %",
    "95 %",
    "executed, before → after",
    "LGM minus this, points",
    "McNemar p",
)


def block(found: Sequence[Measured]) -> Block:
    """All measurements; beside each unled one, what LGM leaves less than it."""
    led = {each.victim.name: each for each in found if each.column.kind == LED}
    lines = []
    for each in found:
        share = each.results["compute"]
        beside = led.get(each.victim.name)
        compared = ("", "")
        if beside is not None and each.column.kind == "unled":
            difference = beside.left.minus(each.left)
            compared = (difference.words, difference.p_words)
        lines.append(
            [
                each.victim.name,
                each.column.name,
                gradients(each.results),
                f"{each.left.value:.2f}",
                each.left.interval_words,
                _shares(share),
                *compared,
            ]
        )
    return Block(HEADER, lines, linked="robust %", links=[])


def summary(found: Sequence[Measured]) -> Block:
    """One line per victim: clean, strongest unled, led, both standards, and the two gaps."""
    lines = []
    for name in dict.fromkeys(each.victim.name for each in found):
        own = [each for each in found if each.victim.name == name]
        unled = [each for each in own if each.column.kind == "unled"]
        kinds = {each.column.kind: each for each in own}
        strongest = min(unled, key=lambda each: each.left.value, default=None)
        line = [name, f"{own[0].results['clean_accuracy']:.2f}"]
        line += ["–", "–"] if strongest is None else [_left(strongest), strongest.column.name]
        line += [_left(kinds.get(LED)), *_minus(kinds.get(LED), strongest)]
        line += [_left(kinds.get(FROZEN)), _left(kinds.get(WORST))]
        lines.append([*line, *_minus(kinds.get(WORST), kinds.get(FROZEN))])
    header = (
        "victim",
        "clean %",
        "strongest unled %",
        "control",
        "LGM %",
        "LGM minus it, points",
        "McNemar p",
        "Standard, decisions frozen %",
        "Standard %",
        "Standard minus frozen, points",
        "p of that",
    )
    note = (
        "The strongest attack that leads nothing is picked on the reported images, which favours "
        "it; LGM is one attack, of a slope that was chosen on others. The two standards have the "
        "same schedule and budget, and differ in their methods alone."
    )
    return Block(header, lines, title="What leading is worth", note=note)


def codes(found: Sequence[Measured]) -> int:
    """How many states of the code the runs were made by, at least.

    Runs of different attacks are made of different modules: what counts is how many versions there
    are of one of them.
    """
    versions: dict[str, set[str]] = {}
    for each in found:
        for module, version in each.results.get("code", {}).items():
            versions.setdefault(module, set()).add(version)
    return max((len(each) for each in versions.values()), default=1)


def warning(found: Sequence[Measured]) -> str:
    """What failed checks make doubtful; empty if nothing."""
    doubtful = [
        f"{each.victim.name}, {each.column.name}"
        for each in found
        if failed(each.results.get("checks", []))
    ]
    return f"Checks failed in: {'; '.join(doubtful)}." if doubtful else ""


def _left(each: Measured | None) -> str:
    return "–" if each is None else f"{each.left.value:.2f} [{each.left.interval_words}]"


def _minus(one: Measured | None, other: Measured | None) -> tuple[str, str]:
    """The paired difference and its p; nothing where one has not been measured."""
    if one is None or other is None:
        return "", ""
    difference = one.left.minus(other.left)
    return difference.words, difference.p_words


def _shares(compute: dict[str, Any]) -> str:
    found = compute.get("executed_share")
    if not found:
        return "–"
    return f"{found['clean']:.1f} → {found['adversarial']:.1f} %"
