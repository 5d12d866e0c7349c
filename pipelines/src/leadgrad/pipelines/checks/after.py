"""Checks by further small attacks on the first samples worth attacking: C15 to C20.

Sources: Carlini et al. 2019, *On Evaluating Adversarial Robustness*, for C15 to C17 and C19;
AutoAttack's flags (Croce and Hein 2020) for C18. Differences of two attacks on the same samples
are paired: the sum of what one takes more than the other has a standard error of √Σ difference²; of
b samples that only the first wins and c that only the second does, that is √(b + c).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from leadgrad.attacks import Attack
from leadgrad.pipelines.attack.task import Bounded, Probes
from leadgrad.pipelines.checks.during import NOTHING, Tape, Trace, question
from leadgrad.pipelines.checks.subject import Subject
from leadgrad.pipelines.checks.verdicts import Check, Question

NEVER_WON = "no sample ever counts as won; give the goal a bound (Compute's beyond) to check this"
LEAST_TAKEN = 0.9  # of a scene's mIoU, by an unbounded attack
ERRORS = 2  # standard errors of a paired difference
POINTS = 0.2  # by which a search without gradients may lower the accuracy
CONVERGED = 0.5  # points by which twice the steps may change it


def unbounded(trace: Trace | None) -> Check:
    """C15: where every input is allowed, nothing is left of any sample."""
    ask = question(
        "C15",
        "unbounded attack always wins",
        "100 %; of scenes' mIoU, 90 %",
        "the gradients are masked: nothing that rests on them is a robustness",
        trace,
    )
    if (reason := _idle(trace)) or trace is None:
        return ask.skipped(reason)
    subject = trace.subject.by(_probes(trace).unbounded)
    tape = Tape(subject)
    adv = subject.attacked(tape)
    taken = torch.stack([*tape.taken, subject.taken_at(adv)]).amax(0)
    least = 1.0 if subject.module.attack.wins else LEAST_TAKEN
    return ask.fails_if(not bool((taken >= least).all()), f"{100 * float(taken.mean()):.1f} %")


def falls_with_budget(trace: Trace | None) -> Check:
    """C16: a greater budget wins more."""
    ask = question(
        "C16",
        "a single step wins more with a greater budget",
        f"within {ERRORS} standard errors",
        "the gradients hold nearby only (one step of FGSM), or are masked: see C15 and C17",
        trace,
    )
    if isinstance(found := _bounded(trace), str):
        return ask.skipped(found)
    trace, probes = found
    wins = [_taken(trace, attack) for attack in probes.budgets.values()]
    losses = [_excess(less, more) for less, more in pairwise(wins)]
    shares = " → ".join(f"{100 * float(taken.mean()):.1f}" for taken in wins)
    value = f"{shares} % won with {', '.join(probes.budgets)}"
    return ask.warns_if(any(excess > ERRORS for excess in losses), value)


def iterative_beats_single(trace: Trace | None) -> Check:
    """C17: several steps win no fewer samples than one."""
    ask = question(
        "C17",
        "several steps win no fewer than one",
        f"within {ERRORS} standard errors (FAIL), at all (WARN)",
        "check the step size; a loss surface on which small steps are lost is masked",
        trace,
    )
    if isinstance(found := _bounded(trace), str):
        return ask.skipped(found)
    trace, probes = found
    return _compared(ask, _taken(trace, probes.single), _taken(trace, probes.many))


def beats_noise(trace: Trace | None) -> Check:
    """C17: the run's attack wins no fewer samples than random moves of its budget."""
    ask = question(
        "C17",
        "the attack wins no fewer than random moves",
        f"within {ERRORS} standard errors (FAIL), at all (WARN)",
        "its gradients say nothing about the victim: see C9, C10 and C13",
        trace,
    )
    if isinstance(found := _bounded(trace), str):
        return ask.skipped(found)
    trace, probes = found
    return _compared(ask, _taken(trace, probes.noise), trace.taken)


def beats_search(trace: Trace | None) -> Check:
    """C18: a search without gradients adds next to nothing."""
    ask = question(
        "C18",
        "a search without gradients adds nothing",
        f"≤ {POINTS:g} points more won",
        "masked gradients: report the worst case over both, and look for what masks them",
        trace,
    )
    if isinstance(found := _bounded(trace), str):
        return ask.skipped(found)
    trace, probes = found
    if probes.search is None:
        return ask.skipped(f"there is none for {trace.subject.task.inputs}")
    left = trace.subject.rows(trace.resisting) if bool(trace.resisting.any()) else None
    won = 0 if left is None else int((_taken_by(left, probes.search) == 1).sum())
    points = 100 * won / len(trace.subject)
    of_left = 0 if left is None else len(left)
    return ask.warns_if(points > POINTS, f"{won} more of {of_left} left, {points:.1f} points")


def transfer(trace: Trace | None) -> Check:
    """C19: the same attack made on the static twin wins no more when it is moved over."""
    ask = question(
        "C19",
        "no transfer from the static twin wins more",
        "no more than this attack",
        "the victim's own gradients are worse than a stranger's: masked, or a poor surrogate",
        trace,
    )
    if (reason := _idle(trace)) or trace is None:
        return ask.skipped(reason)
    subject = trace.subject
    if subject.twin is None:
        return ask.skipped("no static twin given (--twin)")
    static = subject.twin
    adv = subject.attacked(lambda x: subject.attempt.forward(static, x))
    moved = subject.taken_at(adv)
    shares = [100 * float(taken.mean()) for taken in (moved, trace.taken)]
    value = f"{shares[0]:.1f} % won by transfer, {shares[1]:.1f} % by the attack"
    return ask.warns_if(_excess(moved, trace.taken) > 0, value)


def converged(trace: Trace | None) -> Check:
    """C20: twice the steps change next to nothing."""
    ask = question(
        "C20",
        "twice the steps change nothing",
        f"≤ {CONVERGED:g} points",
        "more steps: the attack has not converged",
        trace,
    )
    if (reason := _idle(trace)) or trace is None:
        return ask.skipped(reason)
    attack = trace.subject.module.attack
    twice = _with_twice_the_steps(attack)
    if twice is None:
        return ask.skipped(f"{type(attack).__name__} has no number of steps")
    change = 100 * float(_taken(trace, twice).mean() - trace.taken.mean())
    return ask.warns_if(abs(change) > CONVERGED, f"{change:+.1f} points won")


def _with_twice_the_steps(attack: Attack) -> Attack | None:
    """None for an attack without a number of steps."""
    if "steps" not in {field.name for field in fields(attack)}:
        return None
    given: Any = attack  # whose class has ``steps``, whichever that is
    steps = given.steps
    if steps is None and hasattr(given, "schedule"):
        steps, _ = given.schedule()
    return None if steps is None else replace(given, steps=2 * steps)


def _idle(trace: Trace | None) -> str:
    """Why no check is made; empty if they are."""
    if trace is None:
        return NOTHING
    return "" if trace.subject.module.attack.goal.winnable() else NEVER_WON


def _probes(trace: Trace) -> Probes:
    return trace.subject.task.probes(trace.subject.module.attack)


def _bounded(trace: Trace | None) -> tuple[Trace, Bounded] | str:
    """The trace and small attacks with its kind of budget; why there are none, in words."""
    if (reason := _idle(trace)) or trace is None:
        return reason
    made = _probes(trace).bounded
    return made if isinstance(made, str) else (trace, made)


def _taken(trace: Trace, attack: Attack) -> Tensor:
    """What another attack takes of the samples. Shape: (S,)."""
    return _taken_by(trace.subject, attack)


def _taken_by(subject: Subject, attack: Attack) -> Tensor:
    other = subject.by(attack)
    return other.taken_at(other.attacked())


def _excess(expected: Tensor, taken: Tensor) -> float:
    """By how many standard errors the second attack takes less than the first; at most 0 if not."""
    less = expected - taken
    spread = float((less * less).sum() ** 0.5)
    return float(less.sum()) / spread if spread else 0.0


def _compared(ask: Question, expected: Tensor, taken: Tensor) -> Check:
    """FAIL or WARN where the second attack, which should take no less, does."""
    excess = _excess(expected, taken)
    shares = [100 * float(each.mean()) for each in (expected, taken)]
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
