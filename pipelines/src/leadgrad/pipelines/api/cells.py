"""The attacks of a table or sweep: each an ordinary run below one directory, resumable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console

from leadgrad.attacks import Attack
from leadgrad.pipelines.api.attacking import attack
from leadgrad.pipelines.api.nodes import Node, brief, node_of
from leadgrad.pipelines.checks import Level, TuningRecord
from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.pipelines.config.moved import present
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.pipelines.runs.progress import counting_progress
from leadgrad.pipelines.runs.zoo import Card
from leadgrad.victims import GradientMethod


@dataclass(frozen=True)
class Cell:
    """A victim under an attack and a method.

    Args:
        path: Of its run directory, below the campaign's ``cells``.
        network: As of ``attack``.
        attack: Likewise.
        method: Likewise.
        weights: Likewise.
        tuning: Likewise.
        twin: Likewise.
    """

    path: str
    network: Node | Card
    attack: Attack | Node
    method: GradientMethod | Node
    weights: str | Path | None = None
    tuning: TuningRecord | None = None
    twin: Card | None = None


@dataclass(frozen=True)
class Campaign:
    """What all cells of a table or sweep share.

    Args:
        directory: Of the table; each cell's run is below it.
        data: Class and arguments of the attacked data.
        checks: Level of each run's sanity checks; a failed one is shown in the run's report.
        trainer: Arguments of Lightning's Trainer.
        processes: Of each attack; with more than one it runs as a command of its own.
        seed: As of ``attack``.
        prepare: Likewise.
        surrogate_precision: Likewise.
        execution: Likewise.
    """

    directory: Path
    data: Node
    checks: Level = "fast"
    trainer: Mapping[str, Any] | None = None
    processes: int = 1
    seed: int = 0
    prepare: bool = True
    surrogate_precision: str = "float32"
    execution: str = "masked"

    def run(self, cells: Sequence[Cell], console: Console) -> None:
        """Runs what has not finished yet, with a progress bar.

        Args:
            cells: Of the campaign, or some of them.
            console: For progress.

        Raises:
            ValueError: Before the first one runs, if two of them have one directory, or an attack
                or method of the last one cannot be made.
        """
        _require_distinct(cells)
        instantiate(dict(self.data))
        for cell in cells:
            for part in (cell.attack, cell.method):
                if isinstance(part, Mapping):
                    instantiate(dict(part))
        with counting_progress(console) as progress:
            bar = progress.add_task("attacks", total=len(cells))
            for cell in cells:
                progress.update(bar, description=cell.path)
                attack(
                    cell.network,
                    self.data,
                    cell.attack,
                    cell.method,
                    run_dir=self.of(cell).path,
                    weights=cell.weights,
                    prepare=self.prepare,
                    surrogate_precision=self.surrogate_precision,
                    execution=self.execution,
                    seed=self.seed,
                    checks=self.checks,
                    tuning=cell.tuning,
                    twin=cell.twin,
                    trainer={"enable_progress_bar": False, **(self.trainer or {})},
                    processes=self.processes,
                )
                progress.advance(bar)

    @cached_property
    def images(self) -> dict[str, Any]:
        """Manifest of what is attacked; read once, as its digest takes a while."""
        found: dict[str, Any] = instantiate(dict(self.data)).manifest()
        return found

    def require_own(self, cells: Iterable[Cell]) -> None:
        """Refuses what other settings have left in the directory of the table.

        Args:
            cells: All that the table would show.

        Raises:
            ValueError: If a cell was made, or begun, by another attack or method, of another
                network or weights, or on other images. Code is not compared: tables say what it
                was.
        """
        foreign = []
        for cell in cells:
            run = self.of(cell)
            if run.begun() and (
                differing := _differing(cell, self.images, run.run()["fingerprint"])
            ):
                foreign.append(f"{cell.path} (other {', '.join(differing)})")
        if foreign:
            raise ValueError(
                f"{self.directory} holds cells of other settings: {'; '.join(foreign)}; give "
                "another --out, or delete their folders to have them made again"
            )

    def of(self, cell: Cell) -> RunDirectory[Any]:
        """A cell's run."""
        return RunDirectory(self.directory / "cells" / cell.path)

    def finished(self, cell: Cell) -> bool:
        """Whether its results are there."""
        return (self.of(cell).path / "results.json").exists()


def _differing(cell: Cell, images: Mapping[str, Any], made: Mapping[str, Any]) -> list[str]:
    """In what a run is not that of a cell. Weights without a card are not compared."""
    model, data = made["model"], made["data"]
    network = cell.network.content["network"] if isinstance(cell.network, Card) else cell.network
    same = {
        "network": brief(present(model["network"])) == brief(present(dict(network))),
        "attack": _plain(model["attack"]) == _plain(_made(cell.attack)),
        "method": _plain(model["method"]) == _plain(_made(cell.method)),
        "images": all(data.get(name) == value for name, value in images.items()),
        "weights": not isinstance(cell.network, Card)
        or made["weights_sha256"] == cell.network.whole_sha256,
    }
    return [name for name, alike in same.items() if not alike]


def _made(part: Any) -> Any:
    """With the defaults of what a node leaves out."""
    return instantiate(dict(part)) if isinstance(part, Mapping) else part


def _plain(value: Any) -> Any:
    """An attack or method as a configuration has it, without what is empty there."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items() if one != {}}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, str | int | float | None) else _plain(node_of(value))


def _require_distinct(cells: Sequence[Cell]) -> None:
    known: dict[str, Any] = {}
    for cell in cells:
        nodes = brief(node_of(cell.attack)), brief(node_of(cell.method))
        made = (*nodes, cell.network, cell.weights, cell.twin)
        if known.setdefault(cell.path, made) != made:
            raise ValueError(
                f"two different attacks would have the directory {cell.path}; give victims, "
                "classes or arguments names that differ"
            )
