"""The tables of images: their rows (attacks and controls), and what the paper prints for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from leadgrad import attacks
from leadgrad.attacks import Attack, PixelLinf, SignGradientAttack, Standard
from leadgrad.pipelines.paper.printed import printed, value


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Args:
        attack: Class of ``leadgrad.attacks``.
        eps_255: Budget in the convention's units.
        valid_ratio: Share of valid pixels.
        loss: Function of ``leadgrad.attacks`` where it is not the attack's default.
        target_shift: Of the targeted attack on the class so far after the label; None: untargeted.
    """

    attack: str
    eps_255: float
    valid_ratio: float = 1.0
    loss: str | None = None
    target_shift: int | None = None

    def title(self) -> str:
        """For people."""
        pixels = "" if self.valid_ratio == 1 else f", {100 * self.valid_ratio:g} % pixels"
        loss = "" if self.loss is None else f" ({self.loss.upper()})"
        targeted = "" if self.target_shift is None else ", targeted"
        return f"{NAMES[self.attack]}{loss} ε {self.eps_255:g}{pixels}{targeted}"

    def slug(self) -> str:
        """For file names."""
        loss = "" if self.loss is None else f"-{self.loss}"
        targeted = "" if self.target_shift is None else f"-target{self.target_shift}"
        return f"{self.attack}{loss}-{self.eps_255:g}-{100 * self.valid_ratio:g}{targeted}"

    def settings(self, step_size_255: float | None) -> dict[str, float]:
        """Steps and their size, where they are not the attack's default.

        Args:
            step_size_255: In units; None is the paper's, 1.

        Raises:
            ValueError: If an attack that chooses its step itself is given one.
        """
        if self.attack in OWN_STEP:
            if step_size_255 is not None:
                raise ValueError(f"{self.attack} has no step size to choose; give None")
            return OWN_STEP[self.attack]
        step = {"step_size_255": 1.0 if step_size_255 is None else step_size_255}
        # I-FGSM's own number of steps is the paper's formula, 10 at eps 8
        return step if self.attack == "IFGSM" else {"steps": 10, **step}

    def make(
        self,
        convention: str,
        *,
        step_size_255: float | None = None,
        control: str | None = None,
        mask_seed: int = 1,
    ) -> Attack:
        """The row's attack, or one of its controls.

        Args:
            convention: Of ``PixelLinf``.
            step_size_255: As of ``settings``.
            control: As of ``control``; ``STANDARD``: that, within the row's budget and for its
                goal; None is the row's own attack.
            mask_seed: Of the valid pixels.
        """
        threat = PixelLinf(self.eps_255, convention, self.valid_ratio, mask_seed)  # type: ignore[arg-type]  # PixelLinf checks it
        more: dict[str, Any] = {}
        if self.target_shift is not None:
            more["goal"] = attacks.TargetShift(self.target_shift)
        if control == STANDARD:
            return Standard(threat, budget=STANDARD_BUDGET, **more)
        kind, settings = self.attack, self.settings(step_size_255)
        if control is not None:
            kind, settings = self.control(control, step_size_255)
        more |= settings
        if self.loss is not None:
            more["loss"] = getattr(attacks, self.loss)
        made: Attack = getattr(attacks, kind)(threat, **more)
        return made

    def control(self, name: str, step_size_255: float | None) -> tuple[str, dict[str, float]]:
        """Class and settings of an attack that leads nothing, at twice the row's gradients.

        Args:
            name: ``"mid"``: each gradient at the half-way point. ``"twice"``: twice the steps, for
                FGSM of half the size.
            step_size_255: As of ``settings``.

        Raises:
            ValueError: If the row's attack is neither FGSM nor I-FGSM.
        """
        if not self.controlled:
            raise ValueError(f"{self.slug()} has no control {name!r}; FGSM and I-FGSM have")
        made = self.make("pixel", step_size_255=step_size_255)
        assert isinstance(made, SignGradientAttack)  # both are
        steps, size = made.schedule()
        if name == "mid":
            return "Midpoint", {"steps": steps, "step_size_255": size}
        single = self.attack == "FGSM"
        return "IFGSM", {"steps": 2 * steps, "step_size_255": size / 2 if single else size}

    @property
    def controlled(self) -> bool:
        """Whether ``control`` has attacks for this row."""
        return self.attack in ("FGSM", "IFGSM")


STANDARD, STANDARD_BUDGET = "standard", 100

NAMES = {
    "FGSM": "FGSM",
    "IFGSM": "I-FGSM",
    "PGD": "PGD",
    "MIFGSM": "MI-FGSM",
    "NIFGSM": "NI-FGSM",
    "CarliniWagner": "CW",
    "APGD": "APGD",
}

OWN_STEP: dict[str, dict[str, float]] = {"FGSM": {}, "APGD": {"steps": 10}}
"""Attacks whose step is not an argument, with what else they are given."""


@dataclass(frozen=True)
class ImageTable:
    """A table of images: what it holds, and where its numbers and slopes come from.

    Args:
        name: After ``leadgrad table``.
        title: Of its page.
        data: Class of ``leadgrad.data`` whose images the paper attacks, and of ``authors_slopes``.
        rows: In order.
        printed: The paper's table whose numbers stand beside.
        victims: Weights by the paper's names, by default; empty where the zoo has none.
        static: Weights of static networks, by default.
        split: Attacked by default.
        chosen_on: Images that the authors chose λ on.
        batch_size: By default.
        notes: What its page has to say besides.
    """

    name: str
    title: str
    data: str
    rows: tuple[Row, ...]
    printed: str = "I"
    victims: Mapping[str, str] = field(default_factory=dict)
    static: tuple[str, ...] = ()
    split: str = "heldout"
    chosen_on: str = "CIFAR-10's test set"
    batch_size: int = 250
    notes: tuple[str, ...] = ()

    def columns(self) -> list[str]:
        """The paper's names of the adaptive victims, without their depths."""
        led = [one.victim for one in printed() if (one.table, one.method) == (self.printed, "LGM")]
        return list(dict.fromkeys(name.partition("-")[0] for name in led))

    def accuracy(self, victim: str, row: Row | None = None, method: str = "") -> float | None:
        """The accuracy that the paper prints; None if it has no such number.

        Args:
            victim: Column.
            row: None: before any attack.
            method: Column below the victim's; of a row only.
        """
        if row is None:
            return value(self.printed, "accuracy", victim=victim)
        return value(
            self.printed,
            "accuracy",
            victim=victim,
            attack=NAMES[row.attack],
            eps=row.eps_255,
            valid_percent=100 * row.valid_ratio,
            method=method,
        )

    def slope(self, row: Row, victim: str) -> float | None:
        """λ from the authors' documentation; None where it says nothing."""
        own = settings()["authors_slopes"].get(self.data, {}).get(victim, {})
        targeted = f"{row.attack}-target{row.target_shift}"
        for key in (row.slug(), targeted, row.attack, "other"):
            if key in own:
                return float(own[key])
        return None


@cache
def settings() -> Any:
    """Content of ``settings.yaml``."""
    return yaml.safe_load((files(__package__) / "settings.yaml").read_text())


def _tables() -> Iterator[ImageTable]:
    for name, content in settings()["images"].items():
        rows = tuple(Row(**row) for row in content["rows"])
        lists = {key: tuple(content[key]) for key in ("static", "notes") if key in content}
        yield ImageTable(name, **{**content, **lists, "rows": rows})


TABLES = {table.name: table for table in _tables()}
"""The tables of images by name."""
