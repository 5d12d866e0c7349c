"""``leadgrad board``: published victims side by side, each attacked here and verified.

How much does an evaluation that freezes the decisions overstate? An entry is a victim's accuracy
under frozen decisions (FGM, APGD) and in the worst case (``Standard``) on the same images. It is
made from a card by running both attacks, and taken only if no check fails and both runs verify.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from leadgrad.attacks import APGD, PixelLinf, Standard
from leadgrad.pipelines.api.cells import Campaign, Cell
from leadgrad.pipelines.api.verifying import verify
from leadgrad.pipelines.attack.task import task_of_run
from leadgrad.pipelines.checks.verdicts import failed
from leadgrad.pipelines.paper.ways import Victim, require_evaluations
from leadgrad.pipelines.report.sheet import Block, Sheet
from leadgrad.pipelines.report.words import class_name
from leadgrad.pipelines.runs.zoo import Card
from leadgrad.victims import FGM

Place = tuple[str, str, float]
"""What a board has one entry of: digests of weights and of images, ε in units of 1/255."""


class BoardError(ValueError):
    """A board that cannot be read, or a victim that cannot be taken."""


@dataclass(frozen=True)
class Entry:
    """A victim at one budget, on one set of images. Accuracies are in percent.

    Args:
        name: Of the victim.
        family: Class of its network.
        sha256: Of its weights.
        data: Name, split, number and digest of the images.
        eps_255: Budget of the perturbation.
        clean: Before any attack.
        frozen: Under FGM, of ``evaluations`` gradients.
        worst: Under the standard, of ``budget`` gradients.
        worst_interval: Of 95 %.
        gap: Frozen less worst, in points, in words with its interval.
        p: McNemar's, in words.
        evaluations: Of the frozen attack.
        budget: Of the standard.
        executed: Share of the conditional compute, clean and in the worst case; empty where nothing
            is decided.
        digests: Of the two runs' records.
        verified: Day.
        version: Of leadgrad.
    """

    name: str
    family: str
    sha256: str
    data: dict[str, Any]
    eps_255: float
    clean: float
    frozen: float
    worst: float
    worst_interval: str
    gap: str
    p: str
    evaluations: int
    budget: int
    executed: str
    digests: list[str]
    verified: str
    version: str

    @property
    def place(self) -> Place:
        """What there is one entry of: weights, images and budget."""
        return self.sha256, str(self.data["sha256"]), self.eps_255


def frozen_attack(eps_255: float, evaluations: int) -> APGD:
    """The attack whose gradients see the decisions frozen."""
    return APGD(PixelLinf(eps_255), steps=evaluations - 1)


def cells(card: Card, eps_255: float, evaluations: int, budget: int) -> tuple[Cell, Cell]:
    """The two attacks of a victim: frozen, and the worst case.

    Raises:
        ValueError: If there are too few gradients.
    """
    require_evaluations(evaluations)
    own = f"{card.name}-{card.content['sha256'][:8]}-{eps_255:g}"
    frozen = Cell(f"{own}/frozen", card, frozen_attack(eps_255, evaluations), FGM())
    worst = Standard(PixelLinf(eps_255), budget=budget)
    return frozen, Cell(f"{own}/worst", card, worst, Victim.of(card).standard_methods)


def entry(campaign: Campaign, card: Card, eps_255: float, evaluations: int, budget: int) -> Entry:
    """A victim whose attacks have finished.

    Raises:
        BoardError: If a check failed, or a run does not verify.
    """
    runs = [campaign.of(cell) for cell in cells(card, eps_255, evaluations, budget)]
    problems = []
    for run in runs:
        found = run.results()
        problems += [
            f"{check['id']} {check['name']}: {check['value']}"
            for check in found["checks"]
            if failed([check])
        ]
        problems += [problem for finding in verify(run) for problem in finding.problems]
    if problems:
        raise BoardError(f"{card.name} is not taken: {'; '.join(problems)}")
    frozen, worst = (task_of_run(run).outcome(run) for run in runs)
    results = runs[1].results()
    gap = frozen.minus(worst)
    share = results["compute"].get("executed_share")
    executed = f"{share['clean']:.1f} → {share['adversarial']:.1f} %" if share else ""
    data = {name: results["data"][name] for name in ("dataset", "split", "count", "sha256")}
    return Entry(
        name=card.name,
        family=class_name(card.content["network"]),
        sha256=card.content["sha256"],
        data=data,
        eps_255=eps_255,
        clean=round(results["clean_accuracy"], 3),
        frozen=round(frozen.value, 3),
        worst=round(worst.value, 3),
        worst_interval=worst.interval_words,
        gap=gap.words,
        p=gap.p_words,
        evaluations=evaluations,
        budget=budget,
        executed=executed,
        digests=[str(run.results()["digest"]) for run in runs],
        verified=datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        version=str(results["versions"]["leadgrad"]),
    )


def read(path: Path) -> list[Entry]:
    """The entries of a board's JSON file; none where there is no file.

    Raises:
        BoardError: If it is damaged.
    """
    if not path.exists():
        return []
    try:
        return [Entry(**each) for each in json.loads(path.read_bytes())]
    except (ValueError, TypeError) as error:
        raise BoardError(f"{path} is no board ({error}); restore or delete it") from error


def require_stronger(
    old: Iterable[Entry], name: str, place: Place, evaluations: int, budget: int
) -> None:
    """Refuses what would take the place of an entry with fewer gradients than that took.

    Args:
        old: Entries of the board.
        name: Of the victim.
        place: Of the new entry.
        evaluations: Of its frozen attack.
        budget: Of its standard.

    Raises:
        BoardError: If it is so.
    """
    for there in old:
        fewer = evaluations < there.evaluations or budget < there.budget
        if there.place == place and fewer:
            raise BoardError(
                f"{name} is not taken: the board has it with {there.evaluations} and "
                f"{there.budget:,} gradients, more than {evaluations} and {budget:,}"
            )


def merged(old: Iterable[Entry], new: Iterable[Entry]) -> list[Entry]:
    """Both, the new ones in the place of old ones, by what is left in the worst case.

    Raises:
        BoardError: If a new one took fewer gradients than the one whose place it would have.
    """
    old, new = list(old), list(new)
    for each in new:
        require_stronger(old, each.name, each.place, each.evaluations, each.budget)
    found: Mapping[Any, Entry] = {each.place: each for each in (*old, *new)}
    return sorted(found.values(), key=lambda each: (each.eps_255, -each.worst, each.name))


def as_json(entries: Sequence[Entry]) -> bytes:
    """The file that ``read`` reads."""
    return json.dumps([asdict(each) for each in entries], indent=2).encode() + b"\n"


HEADER = (
    "victim",
    "class",
    "ε",
    "images",
    "clean %",
    "frozen %",
    "worst %",
    "95 %",
    "overstated, points",
    "McNemar p",
    "executed, clean → worst",
    "gradients",
    "verified",
    "weights",
)


def sheet(entries: Sequence[Entry]) -> Sheet:
    """The page."""
    lines = [
        [
            each.name,
            each.family,
            f"{each.eps_255:g}",
            f"{each.data['count']:,} {each.data['dataset']} {each.data['split']}",
            f"{each.clean:.2f}",
            f"{each.frozen:.2f}",
            f"{each.worst:.2f}",
            each.worst_interval,
            each.gap,
            each.p,
            each.executed,
            f"{each.evaluations:,}, {each.budget:,}",
            f"{each.verified}, digest {each.digests[1][:12]}",
            each.sha256[:12],
        ]
        for each in entries
    ]
    facts = [
        "How much does an evaluation that freezes the decisions overstate? Frozen: FGM, APGD. "
        "Worst: `Standard`. Both on the same images, ε in units of 1/255, images in [0, 1].",
        "Gradients: at most so many per image, frozen and in the worst case; what is overstated is "
        "of both, decisions and budget. At equal budgets: `leadgrad table defences`.",
        "An entry is taken where no check failed and both runs verify. Yours: "
        "`leadgrad board --add mine.safetensors`, with the card of `leadgrad publish` beside it.",
    ]
    return Sheet("The board of published victims", facts, Block(HEADER, lines))
