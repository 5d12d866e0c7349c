"""checks.json: what the checks of a run said, so that a resumed or repeated command need not ask.

    {"level": "fast", "tuning": {...} or null, "twin": "SHA-256" or null, "checks": [...]}

The checks are computed from the run's files and the victim alone. They are no part of the run's
fingerprint, and nothing of the run depends on them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.checks.comparison import Reported, TuningRecord
from leadgrad.pipelines.checks.running import run_checks
from leadgrad.pipelines.checks.subject import Subject
from leadgrad.pipelines.checks.verdicts import LEVELS, Check, Level
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.pipelines.runs.progress import telling
from leadgrad.pipelines.runs.zoo import Card

FILE = "checks.json"


@dataclass(frozen=True)
class Checked:
    """The checks of a run, and how many there are.

    Args:
        level: Which were made.
        checks: In order.
        tuning: The record that C21 saw.
        twin: SHA-256 (hex) of the static twin's weights that C19 used.
    """

    level: Level
    checks: list[Check]
    tuning: TuningRecord | None = None
    twin: str | None = None

    def as_results(self) -> dict[str, Any]:
        """Their part of results.json."""
        return {"checks_level": self.level, "checks": [check.as_json() for check in self.checks]}

    def shown_in(self, results: dict[str, Any]) -> bool:
        """Whether a results.json has these checks."""
        return all(results.get(name) == value for name, value in self.as_results().items())

    def write(self, run: RunDirectory[Any]) -> None:
        """Writes checks.json."""
        tuning = None if self.tuning is None else self.tuning.as_json()
        checks = [check.as_json() for check in self.checks]
        content = {"level": self.level, "tuning": tuning, "twin": self.twin, "checks": checks}
        run.write(FILE, json.dumps(content, indent=2).encode())


def stored(
    run: RunDirectory[Any], level: Level, tuning: TuningRecord | None, twin: Card | None = None
) -> Checked | None:
    """What checks.json holds, if that is enough; a damaged file is not.

    Args:
        run: Whose.
        level: That is asked for; a higher one will do.
        tuning: The record for C21; None if none is given now, and any will do.
        twin: The static twin for C19; likewise.
    """
    wanted = None if twin is None else str(twin.content["sha256"])
    try:
        content = json.loads((run.path / FILE).read_bytes())
        found = Checked(
            level=content["level"],
            checks=[Check.of(check) for check in content["checks"]],
            tuning=content["tuning"] and TuningRecord(**content["tuning"]),
            twin=content.get("twin"),
        )
        enough = LEVELS.index(found.level) >= LEVELS.index(level)
    except FileNotFoundError:
        return Checked("off", []) if level == "off" else None
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    # A twin is asked for by the full level alone
    same_twin = level != "full" or wanted in (None, found.twin)
    known = level == "off" or (tuning in (None, found.tuning) and same_twin)
    return found if enough and known else None


def computed(
    run: RunDirectory[Any],
    module: AttackModule,
    level: Level,
    *,
    found: tuple[int, int],
    weights: str | None,
    tuning: TuningRecord | None,
    twin: Card | None,
    device: torch.device,
) -> Checked:
    """Makes the checks of a run whose batches are all finished.

    Args:
        run: Finished but for its results.
        module: Its attack.
        level: Which checks.
        found: Rows that the victim gets right, and all that count.
        weights: Path of the weights that the victim was loaded from, if any.
        tuning: For C21.
        twin: For C19.
        device: Where the attack was made; the module returns to where it is now.
    """
    header = run.run()
    right, rows = found
    reported = Reported(
        right,
        header["fingerprint"]["data"],
        None if weights is None else Path(weights),
        tuning,
        header["config"]["model"]["network"],
        rows,
    )
    home = next((tensor.device for tensor in module.parameters()), device)
    module.to(device)
    try:
        static = None if twin is None else twin.load().to(device)
        with telling("sanity checks", Console(stderr=True)) as tell:
            checks = run_checks(Subject.of_run(run, module, static), level, reported, tell)
    finally:
        module.to(home)
    return Checked(level, checks, tuning, None if twin is None else twin.content["sha256"])
