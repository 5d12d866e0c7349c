"""All checks of a run, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.checks.after import AFTER
from leadgrad.pipelines.checks.before import BEFORE
from leadgrad.pipelines.checks.comparison import (
    Reported,
    above_chance,
    against_card,
    fair_comparison,
)
from leadgrad.pipelines.checks.during import DURING, Trace
from leadgrad.pipelines.checks.gating import GATING, variation
from leadgrad.pipelines.checks.subject import Subject, untouched
from leadgrad.pipelines.checks.truth import truth_of_frozen
from leadgrad.pipelines.checks.verdicts import Check, Level, Question
from leadgrad.victims import GradientMethod

Given = TypeVar("Given")

BROKEN = (RuntimeError, ValueError, LookupError, TypeError)
"""What a network that cannot be checked raises; NaN in an attack is a ValueError, for example."""


def run_checks(
    subject: Subject,
    level: Level,
    reported: Reported,
    tell: Callable[[str], None] = lambda words: None,
) -> list[Check]:
    """All checks of a level, sorted by number; the attack's module is left as it was.

    Args:
        subject: The attack and its first samples.
        level: ``"fast"`` makes C1 to C14 and C21, ``"full"`` also C15 to C20, ``"off"`` none. A
            method that stands for several is checked in each; C15 to C20 under the first.
        reported: What the run's files say.
        tell: Told before each check which one it is: those of large networks take minutes.
    """
    if level == "off":
        return []
    with untouched(subject.module), _each_method(subject.module) as methods:
        once = (*BEFORE, ("C8", truth_of_frozen), ("C10", variation))
        checks = [made(id_, check, subject, tell) for id_, check in once]
        for method in methods:
            subject.module.method = method
            found = [made(id_, check, subject, tell) for id_, check in GATING]
            found += _traced(subject, tell, full=level == "full" and method == methods[0])
            if len(methods) > 1:
                found = [replace(check, name=f"{check.name}, {method}") for check in found]
            checks += found
        checks.append(
            made("C5", lambda given: above_chance(reported, given.classes), subject, tell)
        )
    checks.append(against_card(reported))
    checks.append(fair_comparison(reported.tuning, reported.manifest))
    return sorted(checks, key=lambda check: int(check.id[1:]))


@contextmanager
def _each_method(module: AttackModule) -> Iterator[tuple[GradientMethod, ...]]:
    """The methods that the module's own stands for, the first of which it has meanwhile."""
    whole, each = module.method, module.candidates()
    module.method = each[0]
    try:
        yield each
    finally:
        module.method = whole


def _traced(subject: Subject, tell: Callable[[str], None], *, full: bool) -> Iterator[Check]:
    tell("the attack again, step by step")
    try:
        trace = Trace.of(subject)
    except BROKEN as error:
        yield _cannot("C11", error)
        return
    for id_, check in (*DURING, *(AFTER if full else ())):
        yield made(id_, check, trace, tell)


def made(
    id_: str, check: Callable[[Given], Check], given: Given, tell: Callable[[str], None]
) -> Check:
    """One check; FAIL where it cannot be made, because then nothing is known."""
    tell(id_)
    try:
        return check(given)
    except BROKEN as error:
        return _cannot(id_, error)


def _cannot(id_: str, error: Exception) -> Check:
    reason = str(error).splitlines()[0] if str(error) else repr(error)
    ask = Question(id_, "can be made at all", "no error", "repair what the message names")
    return ask.failed(reason)
