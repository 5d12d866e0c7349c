"""Many attacks on one victim, compared: budgets, attacks and methods of any network and data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from inspect import signature
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console

from leadgrad.attacks import Attack
from leadgrad.pipelines.api.cells import Campaign, Cell
from leadgrad.pipelines.api.nodes import Node, brief, network_node, node_of
from leadgrad.pipelines.attack.task import Outcome, Task, task_of_run
from leadgrad.pipelines.checks import Level
from leadgrad.pipelines.checks.verdicts import failed
from leadgrad.pipelines.config.instantiate import imported
from leadgrad.pipelines.report.curves import Point, curves_figure
from leadgrad.pipelines.report.sheet import Block, Sheet
from leadgrad.pipelines.report.words import gradients, short_class

HEADER = (
    "attack",
    "ε",
    "method",
    "gradients",
    "left %",
    "95 %",
    "archi. chg. %",
    "minus the first, points",
    "p",
)
EXECUTED = "executed %"
"""Column of networks that decide: of the cost of all units, before and after."""


@dataclass(frozen=True)
class SweepCell:
    """One attack of a sweep.

    Args:
        attack: Class and arguments, the budget among them.
        eps: That budget, in its own unit.
        method: Class and arguments.
    """

    attack: Node
    eps: float
    method: Node

    @cached_property
    def names(self) -> tuple[str, str]:
        """Of the attack without its budget, and of the method."""
        arguments = self.attack.get("init_args", {})
        own = {key: value for key, value in arguments.items() if key != "threat"}
        bare = {"class_path": self.attack["class_path"], "init_args": own}
        return short_class(brief(bare)).removesuffix("()"), short_class(brief(self.method))

    def key(self) -> str:
        """For the cell's directory."""
        attack_name, method_name = map(file_name, self.names)
        return f"{attack_name}/eps-{self.eps:.9g}/{method_name}"


def executed(results: Mapping[str, Any]) -> str:
    """Share of the cost of all units that was executed, before and after; empty without one."""
    share = results.get("compute", {}).get("executed_share")
    return f"{share['clean']:.1f} → {share['adversarial']:.1f}" if share else ""


LONGEST = 120
"""Letters of a directory's name; file systems take 255 bytes."""


def file_name(text: str) -> str:
    """A text as the name of a directory; what is cut from a long one is told apart by a digest."""
    clean = "".join(letter if letter.isalnum() or letter in "-_.=()," else "_" for letter in text)
    if len(clean) <= LONGEST:
        return clean
    return f"{clean[:LONGEST]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Sweep:
    """A victim and the attacks on it.

    Args:
        campaign: Data, directory and what else all attacks share.
        network: As of ``attack``.
        weights: Likewise.
        cells: The attacks, by attack, then budget, then method.
    """

    campaign: Campaign
    network: Node
    weights: str | None
    cells: Sequence[SweepCell]

    def jobs(self) -> list[Cell]:
        """Each attack with its victim, in the order of ``cells``."""
        return [
            Cell(cell.key(), self.network, cell.attack, cell.method, self.weights)
            for cell in self.cells
        ]

    def sheet(self, command: str) -> Sheet:
        """The table, each method beside the first one on the same samples.

        Args:
            command: That made it.
        """
        runs = [self.campaign.of(job) for job in self.jobs()]
        task: Task[Any] = task_of_run(runs[0])
        results = {cell: run.results() for cell, run in zip(self.keys, runs, strict=True)}
        left = {cell: task.outcome(run) for cell, run in zip(self.keys, runs, strict=True)}
        spent = any(executed(each) for each in results.values())
        first = self.cells[0].method
        lines = [self._line(cell, left, results[cell.key()], first, spent) for cell in self.cells]
        data = results[self.keys[0]]["data"]
        bad = sum(bool(failed(each["checks"])) for each in results.values())
        return Sheet(
            f"{short_class(brief(self.network))} under attack",
            [
                f"Command: `{command}`",
                f"Data: {data['count']:,} {task.inputs} of {data['dataset']}'s {data['split']} "
                "split.",
                f"Left: {task.counted_as} after the attack, with its 95 % interval; differences "
                f"are paired with {short_class(first)} on the same {task.inputs}.",
            ],
            Block(
                (*HEADER, EXECUTED) if spent else HEADER,
                lines,
                linked="left %",
                links=[f"cells/{key}/report.html" for key in self.keys],
            ),
            figures=[(f"{task.counted_as} against the budget", self._figure(left, task))],
            warning=f"{bad} of {len(results)} runs have a failed check" if bad else "",
        )

    @cached_property
    def keys(self) -> list[str]:
        """Of the cells."""
        return [cell.key() for cell in self.cells]

    def _line(
        self,
        cell: SweepCell,
        left: Mapping[str, Outcome],
        results: Mapping[str, Any],
        first: Node,
        spent: bool,
    ) -> list[str]:
        own, (attack_name, method_name) = left[cell.key()], cell.names
        beside = ["", ""]
        if cell.method != first:
            gap = own.minus(left[SweepCell(cell.attack, cell.eps, first).key()])
            beside = [gap.words, gap.p_words]
        change = f"{results['architecture_change']['percent']:.2f}"
        numbers = [f"{own.value:.2f}", own.interval_words, change]
        names = [attack_name, f"{cell.eps:g}", method_name]
        cost = [executed(results)] if spent else []
        return [*names, gradients(results), *numbers, *beside, *cost]

    def _figure(self, left: Mapping[str, Outcome], task: Task[Any]) -> bytes:
        panels: dict[str, dict[str, list[Point]]] = {}
        for cell in self.cells:
            attack_name, method_name = cell.names
            own = left[cell.key()]
            points = panels.setdefault(attack_name, {}).setdefault(method_name, [])
            points.append(Point(cell.eps, own.value, *own.interval))
        return curves_figure(panels, budget="ε", value=task.counted_as)


def cells(
    base: Node, eps: Sequence[float], attacks: Sequence[Any], methods: Sequence[Any]
) -> Iterator[SweepCell]:
    """Every attack at every budget under every method.

    Args:
        base: An attack, whose threat model is that of all.
        eps: Budgets in its unit; empty: the base's own.
        attacks: Names of ``leadgrad.attacks`` or class paths, which take what the base is given
            (goal, loss, steps, ...) where they have arguments of these names; or nodes without a
            threat; empty: the base.
        methods: Names of ``leadgrad.victims``, class paths, nodes, or values; one that is there
            twice counts once.

    Raises:
        ValueError: If the threat model has no budget whose name begins with ``eps_``, or there is
            no method.
    """
    if not methods:
        raise ValueError('a sweep needs at least one method, as --methods "[FGM,LGM]"')
    threat = (base.get("init_args") or {}).get("threat") or {"class_path": "none"}
    names = [name for name in threat.get("init_args", {}) if name.startswith("eps_")]
    if len(names) != 1:
        raise ValueError(
            f"a sweep changes the one budget eps_… of a threat model, got {short_class(threat)}; "
            "name it in the configuration"
        )
    (name,) = names
    made = [_attack(each, base) for each in attacks] or [dict(base)]
    budgets = [float(each) for each in eps] or [float(threat["init_args"][name])]
    chosen: list[dict[str, Any]] = []
    for method in methods:
        node = named(method, "leadgrad.victims")
        if not any(brief(node) == brief(each) for each in chosen):
            chosen.append(node)
    for one, budget, method in product(made, budgets, chosen):
        own = {**threat, "init_args": {**threat["init_args"], name: budget}}
        arguments = {**(one.get("init_args") or {}), "threat": own}
        node = {**one, "init_args": arguments}
        yield SweepCell(node, budget, method)


def _attack(value: Any, base: Node) -> dict[str, Any]:
    """An attack of a sweep: one that is only named is as the base, as far as its class allows.

    What the base has by default stays the named one's own default.

    Raises:
        ValueError: If it is no attack, or has a threat model of its own.
    """
    made = named(value, "leadgrad.attacks")
    kind = imported(made["class_path"])
    if not (isinstance(kind, type) and issubclass(kind, Attack)):
        raise ValueError(
            f"{made['class_path']} is no attack; give --attacks classes of leadgrad.attacks or "
            "your own"
        )
    if isinstance(value, str):
        taken = signature(kind).parameters
        given = brief(base)["init_args"]
        made["init_args"] = {name: one for name, one in given.items() if name in taken}
    own = (made.get("init_args") or {}).get("threat")
    if own is not None and brief(own) != brief((base.get("init_args") or {}).get("threat")):
        raise ValueError(
            f"{short_class(made)} has a threat model of its own; a sweep gives all attacks the "
            "configuration's, with the budgets of --eps"
        )
    return made


def named(value: Any, package: str) -> dict[str, Any]:
    """A class by its name in a package, by its path, as a node, or a value."""
    if isinstance(value, str):
        return {"class_path": value if "." in value else f"{package}.{value}", "init_args": {}}
    return dict(node_of(value))


def sweep(
    network: Node | str,
    data: Node,
    base: Any,
    *,
    run_dir: str | Path,
    eps: Sequence[float] = (),
    attacks: Sequence[Any] = (),
    methods: Sequence[Any] = ("FGM", "LGM"),
    weights: str | None = None,
    checks: Level = "fast",
    trainer: Mapping[str, Any] | None = None,
    console: Console | None = None,
) -> Sheet:
    """Runs all attacks of a sweep that have not finished, and compares them.

    Args:
        network: As of ``attack``.
        data: Likewise.
        base: An attack, or its node, whose threat model is that of all.
        run_dir: Gets sweep.md, .csv and .html, and each run in a directory of its own.
        eps: As of ``cells``.
        attacks: Likewise.
        methods: Likewise; the others are compared with the first.
        weights: As of ``attack``.
        checks: Level of each run's sanity checks.
        trainer: Arguments of Lightning's Trainer.
        console: For progress; stderr if None.
    """
    victim = network_node(network, weights)
    made = Sweep(
        Campaign(Path(run_dir), data, checks, trainer),
        victim["network"],
        victim["weights"],
        list(cells(node_of(base), eps, attacks, methods)),
    )
    made.campaign.run(made.jobs(), console or Console(stderr=True))
    sheet = made.sheet(f"leadgrad.pipelines.api.sweep(…, run_dir={str(run_dir)!r})")
    sheet.write(made.campaign.directory, "sweep")
    return sheet
