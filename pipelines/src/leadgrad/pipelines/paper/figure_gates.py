"""What attacks did to each gate or choice of a victim: what executes, and what they changed.

Of the images that the victim got right before, as figure 7. Above, the executed share of each
gate's units, which is flat where a fixed number is chosen; below, the share of its decisions that
are others after the attack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from leadgrad.pipelines.api.nodes import node_of
from leadgrad.pipelines.attack.task import task_of_run
from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.pipelines.report.curves import COLOURS, MARKERS, tidy
from leadgrad.pipelines.report.pictures import figure_bytes, figure_format
from leadgrad.pipelines.report.words import class_name, network_name
from leadgrad.pipelines.runs.directory import RunDirectory, RunError
from leadgrad.pipelines.tasks.images.records import BatchRecord
from leadgrad.pipelines.tasks.images.words import threat_words
from leadgrad.victims.weights.atomic import write_atomically

Percent = NDArray[np.float64]


@dataclass(frozen=True)
class GateShares:
    """One run's gates, in percent of their units. Shapes: (gates,).

    Args:
        label: Attack, goal and method, in words.
        before: Executed before.
        after: Executed after.
        changed: Decisions that are others after than before.
    """

    label: str
    before: Percent
    after: Percent
    changed: Percent

    @classmethod
    def of(cls, run: RunDirectory[BatchRecord]) -> GateShares:
        """From a finished run's records.

        Raises:
            RunError: If the run is not of images, has not finished, its victim has no gates, or got
                no image right.
        """
        if not issubclass(task_of_run(run).record, BatchRecord):
            raise RunError(f"{run.path} holds no attack on images; give one, as of DynConv")
        run.results()  # a run that has not finished lacks images
        run.require_whole()
        sums, images = torch.zeros(3, 0, dtype=torch.float64), 0
        for record in run.records():
            right = record.clean_logits.argmax(1) == record.label
            sides = zip(
                record.decisions(record.clean_units),
                record.decisions(record.adv_units),
                strict=True,
            )
            own = [[_summed(each[right]) for each in (old, new, old ^ new)] for old, new in sides]
            if not own:
                raise RunError(
                    f"the victim of {run.path} decides nothing; give runs on an adaptive one"
                )
            total = torch.tensor(own, dtype=torch.float64).T
            sums = sums + total if images else total
            images += int(right.sum())
        if not images:
            raise RunError(
                f"the victim of {run.path} got no image right before the attack; give other runs"
            )
        before, after, changed = (100 * sums / images).numpy()
        return cls(_label(run), before, after, changed)


def _summed(decisions: torch.Tensor) -> float:
    """The samples' shares of units that are set, summed. Shape: (B, ...), bool."""
    units = decisions.double().reshape(len(decisions), decisions[:1].numel() or 1)
    return float(units.mean(1).sum())


def _label(run: RunDirectory[BatchRecord]) -> str:
    """Attack, goal if it is not the accuracy, method, budget."""
    model = run.run()["config"]["model"]
    attack = model["attack"]
    arguments = attack.get("init_args", {})
    goal = arguments.get("goal")
    aim = "" if goal is None or class_name(goal) == "Untargeted" else f" on {_goal(_whole(goal))}"
    return f"{class_name(attack)}{aim}, {class_name(model['method'])}, {_budget(arguments)}"


def _whole(goal: Mapping[str, Any]) -> Mapping[str, Any]:
    """With what the goal takes where nothing is given."""
    found: Mapping[str, Any] = node_of(instantiate(dict(goal)))
    return found


def _goal(goal: Mapping[str, Any]) -> str:
    """A goal's name, or its parts'."""
    parts = goal.get("init_args", {}).get("goals", ())
    return " + ".join(_goal(part) for part in parts) or class_name(goal)


def _budget(attack: Mapping[str, Any]) -> str:
    """Of all pixels and units of 1/255 in short, of others in full."""
    threat = attack.get("threat", {})
    own = threat.get("init_args", {})
    plain = own.get("convention") == "pixel" and own.get("valid_ratio") == 1
    return f"ε {own['eps_255']:g}/255" if plain else threat_words(threat)


def _told_apart(
    shares: Sequence[GateShares], runs: Sequence[RunDirectory[Any]]
) -> list[GateShares]:
    """With the name of its run where two have one label, as of two slopes."""
    labels = [each.label for each in shares]
    return [
        each
        if labels.count(each.label) == 1
        else replace(each, label=f"{each.label}: {run.path.name}")
        for each, run in zip(shares, runs, strict=True)
    ]


def figure_gates(runs: Sequence[RunDirectory[BatchRecord]], path: Path) -> None:
    """Draws attacks on one victim, in the format of the path's suffix.

    Raises:
        RunError: If a run cannot be drawn, or they are of different victims or images.
        ValueError: If there is no such format.
    """
    figure_format(path)  # before the work
    _require_same(runs)
    shares = _told_apart([GateShares.of(run) for run in runs], runs)
    data = figure_bytes(drawn(shares, _title(runs[0])), path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, data)


def drawn(shares: Sequence[GateShares], title: str) -> Figure:
    """Two panels over the gates; what executes before is drawn once."""
    figure = Figure(figsize=(8.5, 4.6), layout="constrained")
    figure.suptitle(title, fontsize=10)
    above, below = figure.subplots(2, 1, sharex=True)
    gates = np.arange(1, len(shares[0].before) + 1)
    above.bar(gates, shares[0].before, 0.9, color="#d7dade", label="before")
    for each, colour, marker in zip(shares, COLOURS, MARKERS, strict=False):
        looks = {"color": colour, "marker": marker, "markersize": 4, "linewidth": 1.2}
        above.plot(gates, each.after, **looks)
        below.plot(gates, each.changed, label=each.label, **looks)
    above.set(ylabel="executed, %", ylim=(0, 100))
    below.set(ylabel="decisions changed, %", xlabel="gate, in network order")
    below.set_ylim(bottom=0)
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (above, below):
        tidy(axes)
        axes.grid(axis="y", alpha=0.3)
    return figure


def _title(run: RunDirectory[BatchRecord]) -> str:
    victim = network_name(run.run()["config"]["model"]["network"])
    data = run.run()["fingerprint"]["data"]
    return f"{victim}; images of {data['dataset']}'s {data['split']} split that were right before"


def _require_same(runs: Sequence[RunDirectory[BatchRecord]]) -> None:
    if not 0 < len(runs) <= len(COLOURS):
        raise RunError(f"one to {len(COLOURS)} runs fit into the picture, got {len(runs)}")
    seen = []
    for run in runs:
        fingerprint = run.run()["fingerprint"]
        victim = fingerprint["weights_sha256"], fingerprint["model"]["network"]
        seen.append((victim, fingerprint["data"]["sha256"]))
    for run, own in zip(runs, seen, strict=True):
        if own != seen[0]:
            what = "victim" if own[0] != seen[0][0] else "images"
            raise RunError(
                f"{runs[0].path} and {run.path} differ in the {what}; give attacks on one victim "
                "and the same images"
            )
