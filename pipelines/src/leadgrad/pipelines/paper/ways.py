"""Victims, ways to attack each of them, and what the finished runs have left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leadgrad.attacks import Attack
from leadgrad.pipelines.api.cells import Campaign, Cell
from leadgrad.pipelines.api.nodes import Node, network_node
from leadgrad.pipelines.attack.contract import check_classes
from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.attack.task import Outcome, task_of_run
from leadgrad.pipelines.checks.verdicts import failed
from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.pipelines.runs.zoo import Card
from leadgrad.victims import FGM, STANDARD, BestOf, GradientMethod
from leadgrad.victims.networks.exits import ExitNetwork
from leadgrad.victims.occupancy.choice import chooses_only
from leadgrad.victims.occupancy.deciding import Deciding


@dataclass(frozen=True)
class Way:
    """One way to attack.

    Args:
        name: In words.
        attack: What is done.
        method: What its gradients see.
        kind: What the table takes it for.
    """

    name: str
    attack: Attack
    method: GradientMethod
    kind: str


@dataclass(frozen=True)
class Victim:
    """A row.

    Args:
        name: In words.
        network: Card, or class and arguments.
        weights: Of a network without a card.
        exits: Number of its exits; 0 of other networks.
        gated: Whether it decides at all.
        fixed: Whether all that it decides are choices of k, so that each gate executes as much
            whatever it sees.
    """

    name: str
    network: Node | Card
    weights: Path | None = None
    exits: int = 0
    gated: bool = True
    fixed: bool = False

    @classmethod
    def published(cls, path: str) -> Victim:
        """That of a card.

        Raises:
            CardError: If there is none beside these weights.
        """
        return cls.of(Card.read(path))

    @classmethod
    def of(cls, card: Card) -> Victim:
        """That of a card which has been read."""
        network = instantiate(card.content["network"])
        exits = network.exits if isinstance(network, ExitNetwork) else 0
        deciding = [part for part in network.modules() if isinstance(part, Deciding)]
        fixed = chooses_only(network)
        return cls(card.name, card, exits=exits, gated=bool(deciding), fixed=fixed)

    def require(self, attack: Attack, method: GradientMethod, data: Any) -> None:
        """Tries it on the first samples, so that it is not refused after another's attacks.

        Args:
            attack: One that it is to be under.
            method: That attack's.
            data: The attacked datamodule.

        Raises:
            CheckpointError: If its weights are damaged, or of another network.
            ValueError: If it and the data do not fit.
        """
        node = network_node(self.network, self.weights)
        network = instantiate(node["network"])
        check_classes(AttackModule(network, attack, method, weights=node["weights"]), data)

    @property
    def standard_methods(self) -> GradientMethod:
        """What the standard takes its gradients under: of a network that decides nothing, FGM."""
        return BestOf(STANDARD) if self.gated else FGM()


@dataclass(frozen=True)
class Measured:
    """A finished attack on a victim."""

    victim: Victim
    way: Way
    results: dict[str, Any]
    left: Outcome


def require_evaluations(evaluations: int) -> None:
    """Refuses so few gradients that an attack of them says nothing.

    Raises:
        ValueError: If they are.
    """
    if evaluations < 10:
        raise ValueError(f"evaluations must be at least 10 gradients, got {evaluations}")


def cell(victim: Victim, way: Way) -> Cell:
    """The run of a victim and a way."""
    name = "".join(c if c.isalnum() else "-" for c in way.name.lower())
    own = "".join(c if c.isalnum() or c in "._" else "-" for c in victim.name)
    return Cell(f"{own}/{name}", victim.network, way.attack, way.method, victim.weights)


def finished(
    campaign: Campaign, wanted: Sequence[tuple[Victim, Way]]
) -> tuple[list[Measured], list[str]]:
    """What has been measured, and the cells that are missing."""
    found, missing = [], []
    for victim, way in wanted:
        made = cell(victim, way)
        if not campaign.finished(made):
            missing.append(made.path)
            continue
        run = campaign.of(made)
        found.append(Measured(victim, way, run.results(), task_of_run(run).outcome(run)))
    return found, missing


def minus(one: Measured | None, other: Measured | None) -> tuple[str, str]:
    """The paired difference and its p; nothing where one has not been measured."""
    if one is None or other is None:
        return "", ""
    difference = one.left.minus(other.left)
    return difference.words, difference.p_words


def left(each: Measured | None) -> str:
    """What is left, with its interval."""
    return "–" if each is None else f"{each.left.value:.2f} [{each.left.interval_words}]"


def shares(compute: dict[str, Any]) -> str:
    """Executed share before and after."""
    found = compute.get("executed_share")
    if not found:
        return "–"
    return f"{found['clean']:.1f} → {found['adversarial']:.1f} %"


def warning(found: Sequence[Measured]) -> str:
    """What failed checks make doubtful; empty if nothing."""
    doubtful = [
        f"{each.victim.name}, {each.way.name}"
        for each in found
        if failed(each.results.get("checks", []))
    ]
    return f"Checks failed in: {'; '.join(doubtful)}." if doubtful else ""


def states(found: Sequence[Measured]) -> list[str]:
    """A sentence where more than one state of the code made the runs; else none.

    Runs of different attacks are made of different modules: what counts is how many versions there
    are of one of them.
    """
    versions: dict[str, set[str]] = {}
    for each in found:
        for module, version in each.results.get("code", {}).items():
            versions.setdefault(module, set()).add(version)
    most = max((len(each) for each in versions.values()), default=1)
    if most == 1:
        return []
    return [
        f"Not one state of the code made all runs, but {most}; each run's report names its own, "
        "and `leadgrad verify` recomputes any of them."
    ]
