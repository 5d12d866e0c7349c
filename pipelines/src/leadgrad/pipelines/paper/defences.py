"""How far adversarially trained adaptive networks are overestimated: ways, cells and blocks.

``leadgrad table defences``, which the paper does not have. Each victim is attacked with N gradients
of APGD per image in every way that leads nothing, then with N that lead, then by the standard, with
the decisions frozen and as it is. What leading is worth is the difference to the strongest of the
first kind; what freezing overstates, the difference between the two standards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from leadgrad.attacks import APGD, PGD, Midpoint, PixelLinf, Standard, dlr
from leadgrad.pipelines.paper.ways import Measured, Victim, Way, left, minus, shares
from leadgrad.pipelines.report.sheet import Block
from leadgrad.pipelines.report.words import gradients
from leadgrad.victims import FGM, LGM, BestOf, FixedExits, Sigmoid, Unled

UNLED, LED, FROZEN, WORST = "unled", "led", "frozen", "standard"


def ways(
    victim: Victim, threat: PixelLinf, evaluations: int, budget: int, slope: float
) -> list[Way]:
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
        Way("FGM, PGD", pgd, FGM(), UNLED),
        Way("FGM, APGD", apgd, FGM(), UNLED),
        Way("FGM, APGD, DLR", replace(apgd, loss=dlr), FGM(), UNLED),
        Way("FGM, gradients half-way", midpoint, FGM(), UNLED),
    ]
    if victim.exits:
        each = max(2, evaluations // victim.exits)
        alone = tuple(_only(number) for number in range(victim.exits))
        made += [
            Way("last exit, APGD", apgd, FixedExits(last=True), UNLED),
            Way("mean of exits, APGD", apgd, FixedExits((1 / victim.exits,) * victim.exits), UNLED),
            Way("each exit in turn, APGD", replace(apgd, steps=each - 1), BestOf(alone), UNLED),
        ]
    if victim.gated:
        led = LGM(Sigmoid(slope))
        made.append(Way("LGM's values unled, APGD", apgd, Unled(led), UNLED))
        made.append(Way("LGM, APGD", apgd, led, LED))
    standard = Standard(threat, budget=budget)
    if victim.gated:
        made.append(Way("Standard, decisions frozen", standard, FGM(), FROZEN))
    made.append(Way("Standard", standard, victim.standard_methods, WORST))
    return made


def _only(number: int) -> FixedExits:
    """One exit alone."""
    return FixedExits((*[0.0] * number, 1.0))


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
    led = {each.victim.name: each for each in found if each.way.kind == LED}
    lines = []
    for each in found:
        control = each if each.way.kind == UNLED else None
        lines.append(
            [
                each.victim.name,
                each.way.name,
                gradients(each.results),
                f"{each.left.value:.2f}",
                each.left.interval_words,
                shares(each.results["compute"]),
                *minus(led.get(each.victim.name), control),
            ]
        )
    return Block(HEADER, lines, linked="robust %", links=[])


def summary(found: Sequence[Measured]) -> Block:
    """One line per victim: clean, strongest unled, led, both standards, and the two gaps."""
    lines = []
    for name in dict.fromkeys(each.victim.name for each in found):
        own = [each for each in found if each.victim.name == name]
        unled = [each for each in own if each.way.kind == UNLED]
        kinds = {each.way.kind: each for each in own}
        strongest = min(unled, key=lambda each: each.left.value, default=None)
        line = [name, f"{own[0].results['clean_accuracy']:.2f}"]
        line += ["–", "–"] if strongest is None else [left(strongest), strongest.way.name]
        line += [left(kinds.get(LED)), *minus(kinds.get(LED), strongest)]
        line += [left(kinds.get(FROZEN)), left(kinds.get(WORST))]
        lines.append([*line, *minus(kinds.get(WORST), kinds.get(FROZEN))])
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


def beside(found: Sequence[Measured]) -> Block:
    """Every victim under the standard, less the one above it, on the same images."""
    worst = [each for each in found if each.way.kind == WORST]
    lines = []
    for number, each in enumerate(worst):
        above = worst[number - 1] if number else None
        lines.append([each.victim.name, left(each), *minus(each, above)])
    header = ("victim", "Standard %", "minus the one above, points", "McNemar p")
    note = "Of two victims in one order: give them as --victims one below the other."
    few = len(lines) < 2
    return Block(header, [] if few else lines, title="Victims beside each other", note=note)
