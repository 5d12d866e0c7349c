"""Many attacks on one victim, compared: budgets, attacks and methods of any network and data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from inspect import Parameter, signature
from itertools import product
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console

from leadgrad.pipelines.api.attacking import attack
from leadgrad.pipelines.api.nodes import Node, network_node, node_of
from leadgrad.pipelines.attack.task import Outcome, Task, task_of_run
from leadgrad.pipelines.checks import Level
from leadgrad.pipelines.checks.verdicts import failed
from leadgrad.pipelines.config.instantiate import imported
from leadgrad.pipelines.report.pictures import figure_png
from leadgrad.pipelines.report.sheet import Block, Sheet
from leadgrad.pipelines.report.words import gradients, short_class
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.pipelines.runs.progress import counting_progress

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
        attack_name, method_name = self.names
        text = f"{attack_name}/eps-{self.eps:g}/{method_name}"
        return "".join(
            letter if letter.isalnum() or letter in "/-_.=()," else "_" for letter in text
        )


@dataclass(frozen=True)
class Sweep:
    """A victim, its data, and the attacks on it.

    Args:
        network: As of ``attack``.
        weights: Likewise.
        data: Likewise.
        cells: The attacks, by attack, then budget, then method.
        run_dir: Of the sweep; each cell's run is below it.
        checks: Level of each run's sanity checks.
        trainer: Arguments of Lightning's Trainer.
        seed: As of ``attack``.
        prepare: Likewise.
        surrogate_precision: Likewise.
    """

    network: Node
    weights: str | None
    data: Node
    cells: Sequence[SweepCell]
    run_dir: Path
    checks: Level = "fast"
    trainer: Mapping[str, Any] | None = None
    seed: int = 0
    prepare: bool = True
    surrogate_precision: str = "float32"

    def run(self, console: Console) -> None:
        """Runs what has not finished yet, with a progress bar.

        Args:
            console: For progress.
        """
        quiet = {"enable_progress_bar": False, **(self.trainer or {})}
        with counting_progress(console) as progress:
            bar = progress.add_task("attacks", total=len(self.cells))
            for cell in self.cells:
                progress.update(bar, description=cell.key())
                attack(
                    self.network,
                    self.data,
                    cell.attack,
                    cell.method,
                    run_dir=self.directory(cell).path,
                    weights=self.weights,
                    checks=self.checks,
                    trainer=quiet,
                    seed=self.seed,
                    prepare=self.prepare,
                    surrogate_precision=self.surrogate_precision,
                )
                progress.advance(bar)

    def directory(self, cell: SweepCell) -> RunDirectory[Any]:
        """Of a cell's run."""
        return RunDirectory(self.run_dir / "cells" / cell.key())

    def sheet(self, command: str) -> Sheet:
        """The table, each method beside the first one on the same samples.

        Args:
            command: That made it.
        """
        runs = {cell.key(): self.directory(cell) for cell in self.cells}
        task: Task[Any] = task_of_run(self.directory(self.cells[0]))
        left = {key: task.outcome(run) for key, run in runs.items()}
        results = {key: run.results() for key, run in runs.items()}
        first = self.cells[0].method
        lines = [self._line(cell, left, results[cell.key()], first) for cell in self.cells]
        data = results[self.cells[0].key()]["data"]
        bad = sum(bool(failed(each["checks"])) for each in results.values())
        return Sheet(
            f"{short_class(self.network)} under attack",
            [
                f"Command: `{command}`",
                f"Data: {data['count']:,} {task.inputs} of {data['dataset']}'s {data['split']} "
                "split.",
                f"Left: {task.counted_as} after the attack, with its 95 % interval; differences "
                f"are paired with {short_class(first)} on the same {task.inputs}.",
            ],
            Block(
                HEADER,
                lines,
                linked="left %",
                links=[f"cells/{cell.key()}/report.html" for cell in self.cells],
            ),
            figures=[(f"{task.counted_as} against the budget", self._figure(left, task))],
            warning=f"{bad} of {len(results)} runs have a failed check" if bad else "",
        )

    def _line(
        self,
        cell: SweepCell,
        left: Mapping[str, Outcome],
        results: Mapping[str, Any],
        first: Node,
    ) -> list[str]:
        own, (attack_name, method_name) = left[cell.key()], cell.names
        low, high = own.interval
        beside = ["", ""]
        if cell.method != first:
            gap = own.minus(left[SweepCell(cell.attack, cell.eps, first).key()])
            beside = [gap.words, gap.p_words]
        change = f"{results['architecture_change']['percent']:.2f}"
        numbers = [f"{own.value:.2f}", f"{low:.2f}–{high:.2f}", change]
        return [attack_name, f"{cell.eps:g}", method_name, gradients(results), *numbers, *beside]

    def _figure(self, left: Mapping[str, Outcome], task: Task[Any]) -> bytes:
        attacks = list(dict.fromkeys(cell.names[0] for cell in self.cells))
        figure = Figure(figsize=(4.4 * len(attacks), 3.6), layout="constrained")
        panels = figure.subplots(1, len(attacks), squeeze=False, sharey=True)[0]
        for axes, name in zip(panels, attacks, strict=True):
            own = [cell for cell in self.cells if cell.names[0] == name]
            for method in dict.fromkeys(cell.names[1] for cell in own):
                points = sorted(
                    (cell.eps, left[cell.key()]) for cell in own if cell.names[1] == method
                )
                budgets = [eps for eps, _ in points]
                (line,) = axes.plot(budgets, [each.value for _, each in points], "o-", label=method)
                ends = list(zip(*(each.interval for _, each in points), strict=True))
                axes.fill_between(budgets, *ends, color=line.get_color(), alpha=0.15)
            axes.set(title=name, xlabel="ε")
            axes.set_ylim(bottom=0)
            axes.spines[["top", "right"]].set_visible(False)
        panels[0].set_ylabel(f"{task.counted_as} (%)")
        panels[0].legend(frameon=False, fontsize=8)
        return figure_png(figure)


def cells(
    base: Node, eps: Sequence[float], attacks: Sequence[Any], methods: Sequence[Any]
) -> Iterator[SweepCell]:
    """Every attack at every budget under every method.

    Args:
        base: An attack, whose threat model is that of all.
        eps: Budgets in its unit; empty: the base's own.
        attacks: Names of ``leadgrad.attacks``, class paths, or nodes without a threat; empty: the
            base.
        methods: Names of ``leadgrad.victims``, class paths, nodes, or values.

    Raises:
        ValueError: If the threat model has no budget whose name begins with ``eps_``, or there is
            no method.
    """
    if not methods:
        raise ValueError("a sweep needs at least one method, as --methods [FGM,LGM]")
    threat = base["init_args"]["threat"]
    names = [name for name in threat.get("init_args", {}) if name.startswith("eps_")]
    if len(names) != 1:
        raise ValueError(
            f"a sweep changes the one budget eps_… of a threat model, got {short_class(threat)}; "
            "name it in the configuration"
        )
    (name,) = names
    made = [named(each, "leadgrad.attacks") for each in attacks] or [dict(base)]
    budgets = [float(each) for each in eps] or [float(threat["init_args"][name])]
    for one, budget, method in product(made, budgets, methods):
        own = {**threat, "init_args": {**threat["init_args"], name: budget}}
        arguments = {**(one.get("init_args") or {}), "threat": own}
        node = {**one, "init_args": arguments}
        yield SweepCell(node, budget, named(method, "leadgrad.victims"))


def brief(node: Any) -> Any:
    """A node without the arguments that are its class's defaults, the others in its order."""
    if not (isinstance(node, Mapping) and "class_path" in node):
        return node
    given = node.get("init_args") or {}
    defaults = signature(imported(str(node["class_path"]))).parameters
    kept = {
        name: brief(given[name])
        for name, parameter in defaults.items()
        if name in given and not _same(given[name], parameter.default)
    }
    return {"class_path": node["class_path"], "init_args": kept}


def _same(given: Any, default: Any) -> bool:
    """Whether an argument is a default, which may be a value or a function."""
    if default is Parameter.empty:
        return False
    return bool(brief(node_of(given)) == brief(node_of(default)))


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
        victim["network"],
        victim["weights"],
        data,
        list(cells(node_of(base), eps, attacks, methods)),
        Path(run_dir),
        checks,
        trainer,
    )
    made.run(console or Console(stderr=True))
    sheet = made.sheet(f"leadgrad.pipelines.api.sweep(…, run_dir={str(run_dir)!r})")
    sheet.write(made.run_dir, "sweep")
    return sheet
