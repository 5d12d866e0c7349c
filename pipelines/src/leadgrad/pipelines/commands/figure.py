"""``leadgrad figure N``: one of the paper's figures, or of any run's gates, from our own runs."""

from __future__ import annotations

from collections.abc import Sequence

from leadgrad.pipelines.commands.numbered import run_numbered

FIGURES = {
    **{name: f"leadgrad.pipelines.commands.figure{name}" for name in ("2", "6", "7", "9")},
    "gates": "leadgrad.pipelines.commands.figure_gates",
}
"""Name to the module whose ``main`` makes it, which gets the name as its first argument."""

PURPOSES = {
    "2": "a logit along a line through a gate's decision, what FGM and LGM see of it, their steps",
    "6": "surrogates and relation functions, and their gradients",
    "7": "how often each gate executes for each class, before and after two attacks",
    "9": "a scene before and after an attack",
    "gates": "what executes at each gate before and after attacks, and what they changed",
}


def main(args: Sequence[str]) -> int:
    """Runs the figure that the first argument names."""
    return run_numbered("figure", FIGURES, args, PURPOSES)
