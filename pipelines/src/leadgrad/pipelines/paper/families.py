"""Adaptive families side by side: ways to attack their accuracy and their compute, and the blocks.

``leadgrad table families``, which the paper only hopes for. Frozen decisions, leading ones, leading
without its gradient (the control) and looking ahead have the same gradients per image; FGSM alone
takes one, where looking ahead takes two, and stands beside a control of two.
"""

from __future__ import annotations

from collections.abc import Sequence

from leadgrad.attacks import (
    APGD,
    FGSM,
    IFGSM,
    AllOf,
    AnnealedPGD,
    Attack,
    Compute,
    Goal,
    Kept,
    Midpoint,
    PixelLinf,
    Standard,
    Untargeted,
)
from leadgrad.pipelines.paper.ways import Measured, Victim, Way, left, minus, shares
from leadgrad.pipelines.report.sheet import Block
from leadgrad.pipelines.report.words import gradients
from leadgrad.victims import (
    FGM,
    LGM,
    STANDARD,
    BestOf,
    GradientMethod,
    HingedCost,
    Lookahead,
    PoweredCost,
    Sigmoid,
    UniformCost,
    Unled,
)

ACCURACY, COMPUTE = "accuracy", "compute"
WEIGHT = 10.0
"""Of compute beside a loss: a tenth of the compute counts as one nat."""

UP = "up"
GOALS: dict[str, Goal] = {
    UP: Compute(),
    "up, answer kept": AllOf((Compute(), Kept()), (WEIGHT, 1.0)),
    "wrong answer and up": AllOf((Untargeted(), Compute()), (1.0, WEIGHT)),
}
SEPARATOR = " under "
BY_APGD = ", APGD"
PAST_BY = 0.2
PAST = f"ILFO's loss to {PAST_BY:g}"


def accuracy_ways(threat: PixelLinf, evaluations: int, budget: int, slope: float) -> list[Way]:
    """Attacks on the answer.

    Args:
        threat: Budget of the perturbation.
        evaluations: Gradients per image of I-FGSM and APGD, even.
        budget: Of the standard.
        slope: λ of LGM, chosen on other images.
    """
    led = LGM(Sigmoid(slope))
    made = []
    methods: dict[str, tuple[GradientMethod, int]] = {
        "FGM": (FGM(), 1),
        "LGM": (led, 1),
        "LGM's values unled": (Unled(led), 1),
        "Lookahead": (Lookahead(0.25, 0.5), 2),
    }
    for name, (method, cost) in methods.items():
        steps = evaluations // cost
        attacks: dict[str, Attack] = {
            "FGSM": FGSM(threat),
            "I-FGSM": IFGSM(threat, steps=steps, step_size_255=2.5 * threat.eps_255 / steps),
            "APGD": APGD(threat, steps=steps - 1),
        }
        made += [
            Way(f"{own}{SEPARATOR}{name}", attack, method, ACCURACY)
            for own, attack in attacks.items()
        ]
    made.append(Way(f"FGSM, half-way{SEPARATOR}FGM", Midpoint(threat), FGM(), ACCURACY))
    standard = Standard(threat, budget=budget)
    return [*made, Way(f"Standard{SEPARATOR}all", standard, BestOf(STANDARD), ACCURACY)]


def compute_ways(victim: Victim, threat: PixelLinf, evaluations: int, slope: float) -> list[Way]:
    """Attacks on what is executed, at equal gradients; none where that cannot change.

    Annealed PGD, with all losses where more compute is all that is wanted, else with LGM's,
    ILFO's that goes on past the threshold, and DeepSloth's; and APGD, which tells what the steps
    are worth.

    Args:
        victim: That is attacked.
        threat: Budget of the perturbation.
        evaluations: Gradients per image.
        slope: λ of LGM, chosen on other images.
    """
    if victim.fixed or not victim.gated:
        return []
    led = LGM(Sigmoid(slope))
    methods: dict[str, GradientMethod] = {"LGM": led, PAST: HingedCost(PAST_BY)}
    if victim.exits:
        methods["DeepSloth's loss"] = UniformCost()
    others = {"ILFO's loss": HingedCost(), "GradMDM's loss": PoweredCost()}
    made = [
        Way(
            f"{wanted}{SEPARATOR}{name}",
            AnnealedPGD(threat, steps=evaluations, goal=goal),
            method,
            COMPUTE,
        )
        for wanted, goal in GOALS.items()
        for name, method in (methods | (others if wanted == UP else {})).items()
    ]
    apgd = APGD(threat, steps=evaluations - 1, goal=GOALS[UP])
    return [*made, Way(f"{UP}{BY_APGD}{SEPARATOR}LGM", apgd, led, COMPUTE)]


def accuracy_block(found: Sequence[Measured]) -> Block:
    """What each attack on the answer leaves, beside the same attack with frozen decisions."""
    own = [each for each in found if each.way.kind == ACCURACY]
    frozen = {(each.victim.name, each.way.name): each for each in own}
    lines = []
    for each in own:
        attack, method = each.way.name.split(SEPARATOR)
        beside = frozen.get((each.victim.name, f"{attack}{SEPARATOR}FGM"))
        lines.append(
            [
                each.victim.name,
                attack,
                method,
                gradients(each.results),
                f"{each.left.value:.2f}",
                each.left.interval_words,
                shares(each.results["compute"]),
                *(("", "") if beside is each else minus(each, beside)),
            ]
        )
    header = (
        "victim",
        "attack",
        "method",
        "gradients",
        "robust %",
        "95 %",
        "executed, before → after",
        "minus FGM, points",
        "McNemar p",
    )
    return Block(header, lines, title="Accuracy", linked="robust %")


def compute_block(found: Sequence[Measured]) -> Block:
    """What each attack on compute makes a victim execute, in the literature's measures."""
    lines = []
    for each in found:
        if each.way.kind != COMPUTE:
            continue
        wanted, method = each.way.name.split(SEPARATOR)
        measures = each.results["compute"]["slowdown"]
        efficacy = measures.get("efficacy")
        lines.append(
            [
                each.victim.name,
                wanted.removesuffix(BY_APGD),
                type(each.way.attack).__name__,
                method,
                gradients(each.results),
                shares(each.results["compute"]),
                "–" if measures["recovery"] is None else f"{measures['recovery']:.1f}",
                f"{measures['success']:.1f}",
                "" if efficacy is None else f"{efficacy['adversarial']:.1f}",
                f"{each.results['clean_accuracy']:.1f} → {each.results['robust_accuracy']:.1f} %",
            ]
        )
    header = (
        "victim",
        "goal",
        "attack",
        "method",
        "gradients",
        "executed, before → after",
        "recovery %",
        "attack success %",
        "efficacy %",
        "right answers, before → after",
    )
    note = (
        "Recovery is GradMDM's measure, attack success SlowFormer's, efficacy DeepSloth's (of "
        "exits; less is worse for the network). FGM and looking ahead have no row: what a network "
        "executes has no gradient where its decisions are frozen. Nor has a victim that always "
        "runs the same number of units. ILFO's loss ends at each threshold; to "
        f"{PAST_BY:g} it goes on to a margin of so much, in each gate's units."
    )
    return Block(header, lines, title="Compute", note=note)


def summary(found: Sequence[Measured]) -> Block:
    """One line per victim: what leading is worth in APGD, the worst case, and the most compute."""
    lines = []
    for name in dict.fromkeys(each.victim.name for each in found):
        own = {each.way.name: each for each in found if each.victim.name == name}
        frozen, led = (own.get(f"APGD{SEPARATOR}{method}") for method in ("FGM", "LGM"))
        slower = [
            each.results["compute"]["slowdown"]["success"]
            for each in own.values()
            if each.way.kind == COMPUTE
        ]
        results = next(iter(own.values())).results
        before = results["compute"].get("executed_share")
        lines.append(
            [
                name,
                f"{results['clean_accuracy']:.2f}",
                "–" if before is None else f"{before['clean']:.1f}",
                left(frozen),
                left(led),
                *minus(led, frozen),
                left(own.get(f"Standard{SEPARATOR}all")),
                f"{max(slower):.1f}" if slower else "–",
            ]
        )
    header = (
        "victim",
        "clean %",
        "executed %",
        "APGD, FGM %",
        "APGD, LGM %",
        "LGM minus FGM, points",
        "McNemar p",
        "Standard %",
        "most executed %",
    )
    return Block(header, lines, title="Families")
