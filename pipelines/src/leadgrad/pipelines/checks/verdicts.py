"""What one sanity check says, and how much its verdict weighs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Literal, Self

Level = Literal["off", "fast", "full"]

LEVELS: tuple[Level, ...] = ("off", "fast", "full")
"""From the fewest checks to all."""

FAILED_EXIT = 3
"""Exit status of an attack whose numbers a failed check makes untrustworthy; 1 and 2 are taken by
errors and by the command line's own."""


class Verdict(StrEnum):
    """FAIL: the numbers cannot be trusted. WARN: to be known before they are. SKIP: not made."""

    PASS = "PASS"
    WARN = "WARN"
    FAIL = "FAIL"
    SKIP = "SKIP"


@dataclass(frozen=True)
class Check:
    """One check's outcome, of one line.

    Args:
        id: Its number, e.g. ``"C10"``.
        name: What is checked.
        value: What was measured; the reason where nothing was.
        threshold: What passes.
        verdict: The outcome.
        remedy: What to do about a WARN or a FAIL; empty otherwise.
        n: Samples used; 0 where the check is not about samples.
    """

    id: str
    name: str
    value: str
    threshold: str
    verdict: Verdict
    remedy: str
    n: int

    @classmethod
    def of(cls, content: dict[str, Any]) -> Self:
        """From what ``as_json`` gave."""
        return cls(**{**content, "verdict": Verdict(content["verdict"])})

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Question:
    """A check that has not been made: everything of it that is known before.

    Args:
        id: Its number.
        name: What is checked.
        threshold: What passes.
        remedy: What to do where it does not pass.
        n: Samples used.
    """

    id: str
    name: str
    threshold: str
    remedy: str
    n: int = 0

    def passed(self, value: str) -> Check:
        """The check with verdict PASS."""
        return self._answer(value, Verdict.PASS)

    def skipped(self, reason: str) -> Check:
        """The check with verdict SKIP."""
        return self._answer(reason, Verdict.SKIP)

    def failed(self, value: str, remedy: str | None = None) -> Check:
        """The check with verdict FAIL, and a remedy of its own if given."""
        return self._answer(value, Verdict.FAIL, remedy)

    def warned(self, value: str, remedy: str | None = None) -> Check:
        """The check with verdict WARN, and a remedy of its own if given."""
        return self._answer(value, Verdict.WARN, remedy)

    def fails_if(self, bad: bool, value: str) -> Check:
        """FAIL or PASS."""
        return self.failed(value) if bad else self.passed(value)

    def warns_if(self, bad: bool, value: str) -> Check:
        """WARN or PASS."""
        return self.warned(value) if bad else self.passed(value)

    def _answer(self, value: str, verdict: Verdict, remedy: str | None = None) -> Check:
        needed = verdict in (Verdict.WARN, Verdict.FAIL)
        advice = (self.remedy if remedy is None else remedy) if needed else ""
        return Check(self.id, self.name, value, self.threshold, verdict, advice, self.n)


def failed(checks: Iterable[Mapping[str, Any]]) -> list[str]:
    """Numbers of those with verdict FAIL, of checks as results.json has them."""
    return [str(check["id"]) for check in checks if check["verdict"] == Verdict.FAIL]
