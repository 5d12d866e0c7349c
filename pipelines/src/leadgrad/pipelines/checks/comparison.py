"""Checks against chance and a card of the weights, C5, and against a tuning record, C21."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from leadgrad.pipelines.attack.results import wilson
from leadgrad.pipelines.checks.verdicts import Check, Question
from leadgrad.pipelines.config.moved import present
from leadgrad.pipelines.runs.directory import flatten
from leadgrad.victims.weights.checkpoints import card_path

POINTS = 1.0  # by which a victim may differ from the published one


class TuningError(ValueError):
    """A file that is no tuning record."""


@dataclass(frozen=True)
class TuningRecord:
    """How the methods that are compared got their settings.

    Args:
        split: Name of the split that the settings were chosen on.
        sha256: Of that split's data manifest (hex), as ``ImageDataModule.manifest`` gives it.
        tries: Settings tried for each method, e.g. ``{"FGM": 6, "LGM": 6}``.
    """

    split: str
    sha256: str
    tries: dict[str, int]

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """From a JSON file with these three keys.

        Raises:
            TuningError: If the file is missing or holds something else.
        """
        wanted = 'expected {"split": "...", "sha256": "...", "tries": {"METHOD": NUMBER, ...}}'
        try:
            content = json.loads(Path(path).read_bytes())
        except (OSError, ValueError) as error:
            raise TuningError(f"{path} is no tuning record ({error}); {wanted}") from error
        if not (isinstance(content, dict) and set(content) == {"split", "sha256", "tries"}):
            raise TuningError(f"{path} is no tuning record; {wanted}")
        split, sha256, tries = content["split"], content["sha256"], content["tries"]
        texts = isinstance(split, str) and isinstance(sha256, str)
        counts = isinstance(tries, dict) and all(
            isinstance(count, int) and count > 0 for count in tries.values()
        )
        if not (texts and counts and tries):
            raise TuningError(f"{path} is no tuning record: {content}; {wanted}")
        return cls(split, sha256, tries)

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def fair_comparison(tuning: TuningRecord | None, manifest: Mapping[str, Any]) -> Check:
    """C21: settings were chosen on other samples, with as many tries for each method.

    Args:
        tuning: How they were chosen; None if nobody told.
        manifest: Of the attacked data.
    """
    ask = Question(
        "C21",
        "settings chosen fairly",
        "on other samples, as many tries for each method",
        "choose slope and step size on another split, with one number of tries",
    )
    if tuning is None:
        return ask.skipped("no tuning record given (--tuning)")
    tries = ", ".join(f"{method} {count}" for method, count in sorted(tuning.tries.items()))
    value = f"on {tuning.split}; tries: {tries}"
    if tuning.sha256.lower() == manifest["sha256"] or tuning.split == manifest["split"]:
        return ask.warned(f"tuned on the samples it is reported on; {value}")
    if len(set(tuning.tries.values())) > 1:
        return ask.warned(f"unequal tries; {value}")
    return ask.passed(value)


def published_accuracy(weights: Path) -> float | None:
    """The figure that was published for this kind of victim, in percent, if the card has one."""
    try:
        return float(json.loads(card_path(weights).read_bytes())["published_accuracy"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def card_accuracy(weights: Path, split: str) -> tuple[int, int] | None:
    """Right answers and samples that the card beside a weights file promises on a split.

    Args:
        weights: ``X.safetensors``; its card is ``X.json``, with
            ``{"accuracy": {split: {"right": int, "count": int, ...}}}``.
        split: Name of the split.

    Returns:
        None where there is no such file, or it says nothing of this split.
    """
    try:
        entry = json.loads(card_path(weights).read_bytes())["accuracy"][split]
        return int(entry["right"]), int(entry["count"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


@dataclass(frozen=True)
class Reported:
    """What a run's own files say besides its samples.

    Args:
        right: Rows that the victim gets right, of all that were attacked: images, or points.
        manifest: Of the attacked data.
        weights: The weights file that the victim was loaded from, if any.
        tuning: How its settings were chosen, if told.
        network: Class path and arguments of the victim, if told.
        rows: All that were attacked and have a label; None where each sample is one.
    """

    right: int
    manifest: Mapping[str, Any]
    weights: Path | None = None
    tuning: TuningRecord | None = None
    network: Mapping[str, Any] | None = None
    rows: int | None = None

    @property
    def count(self) -> int:
        """All rows that were attacked and have a label."""
        return int(self.manifest["count"]) if self.rows is None else self.rows


def _differences(reported: Reported) -> str:
    """What of a run is otherwise than on its weights' card, in words; the weights are not."""
    if reported.weights is None:
        return ""
    try:
        card = json.loads(card_path(reported.weights).read_bytes())
        own = present(dict(card["network"]))
        data = card.get("data", {}).get(str(reported.manifest["split"]), {})
    except (OSError, ValueError, LookupError, TypeError):
        return "the card does not tell of which network"
    found = []
    if reported.network is not None:
        here, there = flatten(present(dict(reported.network))), flatten(own)
        found = [
            f"{key} is {here.get(key, 'absent')!r} here, {there.get(key, 'absent')!r} on the card"
            for key in sorted(here.keys() | there.keys())
            if here.get(key) != there.get(key)
        ]
    if data.get("sha256", reported.manifest.get("sha256")) != reported.manifest.get("sha256"):
        found.append("the samples have another digest than the card's")
    if found:
        return "; ".join(found)
    return (
        "class, arguments, weights and samples are the card's: the code of the network changed, or "
        "answers that are nearly ties fall otherwise on this processor"
    )


def above_chance(reported: Reported, classes: int) -> Check:
    """C5: a victim that is right no more often than chance has nothing to lose in an attack.

    Args:
        reported: What the run's files say.
        classes: How many the victim tells apart.
    """
    count = reported.count
    first = "give the victim's weights (--model.weights)"
    if reported.weights is not None:
        first = "train the victim longer, or give other weights (--model.weights)"
    ask = Question(
        "C5",
        "clean accuracy above chance",
        f"above {100 / classes:.3g} %, with its 95 % interval",
        f"{first}, classes in the order that it was trained on, or more samples",
        count,
    )
    low, high = wilson(reported.right, count)
    value = f"{reported.right} of {count} right, {low:.1f} to {high:.1f} %"
    return ask.warns_if(low <= 100 / classes, value)


def against_card(reported: Reported) -> Check:
    """C5: as many right answers as the weights' card promises, and as good as was published."""
    count, split = reported.count, str(reported.manifest["split"])
    ask = Question(
        "C5",
        "clean accuracy as on the weights' card",
        f"the same count of right answers (FAIL); ≤ {POINTS:g} point off the published (WARN)",
        f"something beside the weights is not as at its publishing; {_differences(reported)}",
        count,
    )
    if reported.weights is None:
        return ask.skipped("no weights file given")
    card = card_accuracy(reported.weights, split)
    if card is None:
        return ask.skipped(
            f"no card beside {reported.weights.name} that counts right answers on {split}"
        )
    right, samples = card
    if samples != count:
        return ask.skipped(f"{count} samples attacked, the card counts {samples}")
    value = f"{reported.right} right, {right} on the card, of {count}"
    published = published_accuracy(reported.weights)
    if right != reported.right or published is None:
        return ask.fails_if(right != reported.right, value)
    distance = 100 * right / count - published
    return ask.warns_if(abs(distance) > POINTS, f"{value}; {distance:+.2f} points to the published")
