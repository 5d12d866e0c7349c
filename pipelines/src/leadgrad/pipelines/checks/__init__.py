"""Sanity checks of an attack, C1 to C21: whether its numbers can be trusted.

They run after the attack, on its first samples, and change nothing of it.
"""

from leadgrad.pipelines.checks.comparison import (
    Reported,
    TuningError,
    TuningRecord,
    card_accuracy,
    fair_comparison,
)
from leadgrad.pipelines.checks.running import run_checks
from leadgrad.pipelines.checks.stored import Checked, computed, stored
from leadgrad.pipelines.checks.subject import Subject
from leadgrad.pipelines.checks.verdicts import (
    FAILED_EXIT,
    LEVELS,
    Check,
    Level,
    Verdict,
    failed,
)

__all__ = [
    "FAILED_EXIT",
    "LEVELS",
    "Check",
    "Checked",
    "Level",
    "Reported",
    "Subject",
    "TuningError",
    "TuningRecord",
    "Verdict",
    "card_accuracy",
    "computed",
    "failed",
    "fair_comparison",
    "run_checks",
    "stored",
]
