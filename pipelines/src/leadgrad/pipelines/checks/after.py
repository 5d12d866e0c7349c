"""Checks by further small attacks on the first samples worth attacking: C15 to C20.

Sources: Carlini et al. 2019, *On Evaluating Adversarial Robustness*, for C15 to C17 and C19;
AutoAttack's flags (Croce and Hein 2020) for C18. Differences of two attacks on the same samples
are paired: of b samples that only the first wins and c that only the second does, c - b has a
standard error of √(b + c).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from leadgrad.attacks import (
    FGSM,
    IFGSM,
    Attack,
    PixelLinf,
    RandomNoise,
    SignGradientAttack,
    cross_entropy,
)
from leadgrad.pipelines.checks.during import NOTHING, Tape, Trace, question
from leadgrad.pipelines.checks.square_search import SquareSearch
from leadgrad.pipelines.checks.subject import Subject
from leadgrad.pipelines.checks.verdicts import Check, Question

UNBOUNDED_STEPS = 50
BUDGETS_255 = (1.0, 5.0, 10.0, 20.0)
STEPS = 10  # of the iterative attack that must not lose to the single step
ERRORS = 2  # standard errors of a paired difference
QUERIES = 500
POINTS = 0.2  # by which a search without gradients may lower the accuracy
CONVERGED = 0.5  # points by which twice the steps may change it

NO_PIXELS = "the threat model has no budget in units of a pixel level"


def unbounded(trace: Trace | None) -> Check:
    """C15: where every image is allowed, the goal is reached on every sample."""
    ask = question(
        "C15",
        f"unbounded attack ({UNBOUNDED_STEPS} steps) always wins",
        "100 %",
        "the gradients are masked: nothing that rests on them is a robustness",
        trace,
    )
    if trace is None:
        return ask.skipped(NOTHING)
    subject = trace.subject
    tape = Tape(subject)
    # Steps of 2.5·eps / steps, with which Madry et al. 2018 reach any corner and turn back
    step = 2.5 * 255 / UNBOUNDED_STEPS
    attack = IFGSM(PixelLinf(255.0), steps=UNBOUNDED_STEPS, step_size_255=step, **_shared(subject))
    adv = subject.attacked(attack, tape)
    won = torch.stack([*tape.reached, subject.reached(adv)]).any(0)
    return ask.fails_if(not bool(won.all()), f"{100 * float(won.double().mean()):.1f} %")


def falls_with_budget(trace: Trace | None) -> Check:
    """C16: a greater budget wins more samples."""
    ask = question(
        "C16",
        "FGSM wins more with a greater budget",
        f"in units {', '.join(f'{eps:g}' for eps in BUDGETS_255)}, within {ERRORS} standard errors",
        "the gradients hold nearby only (one step of FGSM), or are masked: see C15 and C17",
        trace,
    )
    if (reason := _unfit(trace)) or trace is None:
        return ask.skipped(reason)
    subject, threat = trace.subject, _pixels(trace)
    wins = []
    for eps in BUDGETS_255:
        attack = FGSM(replace(threat, eps_255=eps), **_shared(subject))
        wins.append(subject.reached(subject.attacked(attack)))
    losses = [_excess(less, more) for less, more in pairwise(wins)]
    shares = " → ".join(f"{100 * float(won.double().mean()):.1f}" for won in wins)
    return ask.warns_if(any(excess > ERRORS for excess in losses), f"{shares} % won")


def iterative_beats_single(trace: Trace | None) -> Check:
    """C17: ten steps win no fewer samples than one."""
    ask = question(
        "C17",
        f"{STEPS} steps win no fewer than one",
        f"within {ERRORS} standard errors (FAIL), at all (WARN)",
        "check the step size; a loss surface on which small steps are lost is masked",
        trace,
    )
    if (reason := _unfit(trace)) or trace is None:
        return ask.skipped(reason)
    subject, threat = trace.subject, _pixels(trace)
    if threat.eps_255 == 0:
        return ask.skipped("the budget is 0")
    shared = _shared(subject)
    # Steps of 2.5·eps / steps, as in C15
    step = 2.5 * threat.eps_255 / STEPS
    many = IFGSM(threat, steps=STEPS, step_size_255=step, **shared)
    one, other = (
        subject.reached(subject.attacked(attack)) for attack in (FGSM(threat, **shared), many)
    )
    return _compared(ask, one, other)


def beats_noise(trace: Trace | None) -> Check:
    """C17: the run's attack wins no fewer samples than random signs of its budget."""
    ask = question(
        "C17",
        "the attack wins no fewer than random signs",
        f"within {ERRORS} standard errors (FAIL), at all (WARN)",
        "its gradients say nothing about the victim: see C9, C10 and C13",
        trace,
    )
    if (reason := _unfit(trace)) or trace is None:
        return ask.skipped(reason)
    subject = trace.subject
    noise = RandomNoise(_pixels(trace), goal=subject.module.attack.goal)
    return _compared(ask, subject.reached(subject.attacked(noise)), trace.won)


def beats_search(trace: Trace | None) -> Check:
    """C18: a search without gradients adds next to nothing."""
    ask = question(
        "C18",
        f"Square-like search ({QUERIES} queries) adds nothing",
        f"≤ {POINTS:g} points more won",
        "masked gradients: report the worst case over both, and look for what masks them",
        trace,
    )
    if (reason := _unfit(trace)) or trace is None:
        return ask.skipped(reason)
    left = trace.subject.rows(~trace.won)
    found = 0
    if len(left):
        search = SquareSearch(_pixels(trace), QUERIES, goal=left.module.attack.goal)
        found = int(left.reached(left.attacked(search)).sum())
    points = 100 * found / len(trace.subject)
    return ask.warns_if(points > POINTS, f"{found} more of {len(left)} left, {points:.1f} points")


def transfer(trace: Trace | None) -> Check:
    """C19: the same attack made on the static twin wins no more when it is moved over."""
    ask = question(
        "C19",
        "no transfer from the static twin wins more",
        "no more than this attack",
        "the victim's own gradients are worse than a stranger's: masked, or a poor surrogate",
        trace,
    )
    if trace is None:
        return ask.skipped(NOTHING)
    subject = trace.subject
    if subject.twin is None:
        return ask.skipped("no static twin given (--twin)")
    moved = subject.reached(subject.attacked(subject.module.attack, subject.twin))
    shares = [100 * float(won.double().mean()) for won in (moved, trace.won)]
    value = f"{shares[0]:.1f} % won by transfer, {shares[1]:.1f} % by the attack"
    return ask.warns_if(_excess(moved, trace.won) > 0, value)


def converged(trace: Trace | None) -> Check:
    """C20: twice the steps change next to nothing."""
    ask = question(
        "C20",
        "twice the steps change nothing",
        f"≤ {CONVERGED:g} points",
        "more steps: the attack has not converged",
        trace,
    )
    if trace is None:
        return ask.skipped(NOTHING)
    subject, attack = trace.subject, trace.subject.module.attack
    twice = _with_twice_the_steps(attack)
    if twice is None:
        return ask.skipped(f"{type(attack).__name__} has no number of steps")
    more = subject.reached(subject.attacked(twice))
    change = 100 * (float(more.double().mean()) - float(trace.won.double().mean()))
    return ask.warns_if(abs(change) > CONVERGED, f"{change:+.1f} points won")


def _with_twice_the_steps(attack: Attack) -> Attack | None:
    """None for an attack without a number of steps."""
    if "steps" not in {field.name for field in fields(attack)}:
        return None
    given: Any = attack  # whose class has ``steps``, whichever that is
    steps = given.steps
    if steps is None and isinstance(attack, SignGradientAttack):
        steps, _ = attack.schedule()
    return None if steps is None else replace(given, steps=2 * steps)


def _shared(subject: Subject) -> dict[str, Any]:
    """Goal and loss of the run's attack."""
    attack = subject.module.attack
    loss = attack.loss if isinstance(attack, SignGradientAttack) else cross_entropy
    return {"goal": attack.goal, "loss": loss}


def _pixels(trace: Trace) -> PixelLinf:
    threat = trace.subject.module.attack.threat
    assert isinstance(threat, PixelLinf), "callers ask _unfit first"
    return threat


def _unfit(trace: Trace | None) -> str:
    """Why these attacks cannot be made; empty if they can."""
    if trace is None:
        return NOTHING
    threat = trace.subject.module.attack.threat
    return "" if isinstance(threat, PixelLinf) else NO_PIXELS


def _excess(expected: Tensor, won: Tensor) -> float:
    """By how many standard errors the second attack wins less than the first; at most 0 if not."""
    only_first, only_second = int((expected & ~won).sum()), int((won & ~expected).sum())
    if only_first == only_second:
        return 0.0
    return float((only_first - only_second) / (only_first + only_second) ** 0.5)


def _compared(ask: Question, expected: Tensor, won: Tensor) -> Check:
    """FAIL or WARN where the second attack, which should win no less, does."""
    excess = _excess(expected, won)
    shares = [100 * float(each.double().mean()) for each in (expected, won)]
    value = f"{shares[1]:.1f} % won, against {shares[0]:.1f} %"
    if excess > ERRORS:
        return ask.failed(value)
    return ask.warns_if(excess > 0, value)


AFTER: tuple[tuple[str, Callable[[Trace | None], Check]], ...] = (
    ("C15", unbounded),
    ("C16", falls_with_budget),
    ("C17", iterative_beats_single),
    ("C17", beats_noise),
    ("C18", beats_search),
    ("C19", transfer),
    ("C20", converged),
)
