"""checks.json: what the checks of a run said, so that a resumed or repeated command need not ask.

    {"level": "fast", "tuning": {...} or null, "checks": [{"id": "C1", ...}, ...]}

The checks are computed from the run's files and the victim alone. They are no part of the run's
fingerprint, and nothing of the run depends on them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from leadgrad.pipelines.attack_module import AttackModule
from leadgrad.pipelines.checks.comparison import Reported, TuningRecord
from leadgrad.pipelines.checks.running import run_checks
from leadgrad.pipelines.checks.subject import Subject
from leadgrad.pipelines.checks.verdicts import LEVELS, Check, Level
from leadgrad.pipelines.rundir import RunDirectory

FILE = "checks.json"


@dataclass(frozen=True)
class Checked:
    """The checks of a run, and how many there are.

    Args:
        level: Which were made.
        checks: In order.
        tuning: The record that C21 saw.
    """

    level: Level
    checks: list[Check]
    tuning: TuningRecord | None = None

    def as_results(self) -> dict[str, Any]:
        """Their part of results.json."""
        return {"checks_level": self.level, "checks": [check.as_json() for check in self.checks]}

    def shown_in(self, results: dict[str, Any]) -> bool:
        """Whether a results.json has these checks."""
        return all(results.get(name) == value for name, value in self.as_results().items())

    def write(self, run: RunDirectory) -> None:
        """Writes checks.json."""
        tuning = None if self.tuning is None else self.tuning.as_json()
        checks = [check.as_json() for check in self.checks]
        content = {"level": self.level, "tuning": tuning, "checks": checks}
        run.write(FILE, json.dumps(content, indent=2).encode())


def stored(run: RunDirectory, level: Level, tuning: TuningRecord | None) -> Checked | None:
    """What checks.json holds, if that is enough; a damaged file is not.

    Args:
        run: Whose.
        level: That is asked for; a higher one will do.
        tuning: The record for C21; None if none is given now, and any will do.
    """
    try:
        content = json.loads((run.path / FILE).read_bytes())
        found = Checked(
            level=content["level"],
            checks=[Check.of(check) for check in content["checks"]],
            tuning=content["tuning"] and TuningRecord(**content["tuning"]),
        )
        enough = LEVELS.index(found.level) >= LEVELS.index(level)
    except FileNotFoundError:
        return Checked("off", []) if level == "off" else None
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    known = level == "off" or tuning in (None, found.tuning)
    return found if enough and known else None


def computed(
    run: RunDirectory,
    module: AttackModule,
    level: Level,
    *,
    right: int,
    weights: str | None,
    tuning: TuningRecord | None,
    device: torch.device,
) -> Checked:
    """Makes the checks of a run whose batches are all finished.

    Args:
        run: Finished but for its results.
        module: Its attack.
        level: Which checks.
        right: Samples that the victim gets right.
        weights: Path of the weights that the victim was loaded from, if any.
        tuning: For C21.
        device: Where the attack was made; the module returns to where it is now.
    """
    manifest = run.run()["fingerprint"]["data"]
    reported = Reported(right, manifest, None if weights is None else Path(weights), tuning)
    home = next((tensor.device for tensor in module.parameters()), device)
    module.to(device)
    try:
        checks = run_checks(Subject.of_run(run, module), level, reported)
    finally:
        module.to(home)
    return Checked(level, checks, tuning)
