"""Table I of the paper and the stronger attacks: rows, and those of its numbers that we have.

Of the printed table our sources (2D reference page, 1, 3.6 and 7.5) give the clean accuracies, the
zeros of I-FGSM on all pixels, and two gaps; a number that we do not have is shown as missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from leadgrad import attacks
from leadgrad.attacks import Attack, PixelLinf, SignGradientAttack

SKIPNET, DYNCONV = "SkipNet", "DynConv"
ADAPTIVE = (SKIPNET, DYNCONV)


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

    def make(self, convention: str, *, step_size_255: float | None = None) -> Attack:
        """The row's attack.

        Args:
            convention: Of ``PixelLinf``.
            step_size_255: As of ``settings``.
        """
        threat = PixelLinf(self.eps_255, convention=convention, valid_ratio=self.valid_ratio)  # type: ignore[arg-type]  # PixelLinf checks it
        more: dict[str, Any] = dict(self.settings(step_size_255))
        if self.loss is not None:
            more["loss"] = getattr(attacks, self.loss)
        if self.target_shift is not None:
            more["goal"] = attacks.TargetShift(self.target_shift)
        made: Attack = getattr(attacks, self.attack)(threat, **more)
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

    def options(
        self, convention: str, *, step_size_255: float | None = None, control: str | None = None
    ) -> list[str]:
        """Command-line options of ``leadgrad attack`` for the same attack, or one of its controls.

        Args:
            convention: Of ``PixelLinf``.
            step_size_255: As of ``settings``.
            control: As of ``control``; None is the row's own attack.
        """
        kind, settings = self.attack, self.settings(step_size_255)
        if control is not None:
            kind, settings = self.control(control, step_size_255)
        attack, threat = "--model.attack", "--model.attack.threat"
        goal = f"{attack}.goal"
        made = [
            f"{attack}=leadgrad.attacks.{kind}",
            f"{threat}.eps_255={self.eps_255}",
            f"{threat}.convention={convention}",
            f"{threat}.valid_ratio={self.valid_ratio}",
        ]
        made += [f"{attack}.{key}={value}" for key, value in settings.items()]
        if self.loss is not None:
            made.append(f"{attack}.loss=leadgrad.attacks.{self.loss}")
        if self.target_shift is not None:
            made += [f"{goal}=leadgrad.attacks.TargetShift", f"{goal}.shift={self.target_shift}"]
        return made


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

FGSM_ROWS = tuple(Row("FGSM", eps) for eps in (1, 2, 4, 8))
TABLE1_ROWS = (*FGSM_ROWS, *(Row("IFGSM", 8, ratio) for ratio in (1.0, 0.2, 0.1, 0.05)))

_STRONG = (
    ("IFGSM", None),
    ("PGD", None),
    ("MIFGSM", None),
    ("NIFGSM", None),
    ("CarliniWagner", None),
    ("APGD", None),
    ("APGD", "dlr"),
)
STRONG_ROWS = tuple(
    Row(attack, 8, 0.05, loss, shift) for shift in (None, 1) for attack, loss in _STRONG
)
"""The release's stronger attacks at 5 % valid pixels, all of ten steps, untargeted and targeted."""

PAPER_CLEAN = {SKIPNET: 93.30, DYNCONV: 93.05, "ResNet-110": 93.68, "ResNet-32": 92.63}
"""Accuracy before the attack, in percent; the static networks have option-A shortcuts (D13)."""

PAPER_GAPS = {("FGSM-4-100", SKIPNET): -5.2, ("FGSM-4-100", DYNCONV): -16.4}
"""LGM's accuracy minus FGM's, in points, where our sources give the difference alone."""


def paper_accuracy(row: Row, victim: str) -> float | None:
    """The accuracy that Table I prints in a row, for every victim and method; None if unknown."""
    everything = row.attack == "IFGSM" and row.valid_ratio == 1
    return 0.0 if everything and victim in PAPER_CLEAN else None


AUTHORS_SLOPES = {
    SKIPNET: {"FGSM-1-100": 0.5, "FGSM-2-100": 0.3, "FGSM-4-100": 0.2, "FGSM-8-100": 0.2},
    DYNCONV: {"FGSM-1-100": 0.5, "FGSM-2-100": 0.2, "FGSM-4-100": 0.1, "FGSM-8-100": 0.0001},
}
AUTHORS_ITERATIVE_SLOPE = {SKIPNET: 5.0, DYNCONV: 10.0}
"""Documented for 5 % valid pixels only; the 2D reference page (3.6) advises it for all rows."""

AUTHORS_CW_SLOPE = {SKIPNET: 35.0, DYNCONV: 45.0}
"""SkipNet's is 30 when targeted."""


def authors_slope(row: Row, victim: str) -> float:
    """λ from the authors' documentation, which was chosen on the attacked test set."""
    if row.attack == "FGSM":
        return AUTHORS_SLOPES[victim][row.slug()]
    if row.attack == "CarliniWagner":
        return 30.0 if (victim, row.target_shift) == (SKIPNET, 1) else AUTHORS_CW_SLOPE[victim]
    return AUTHORS_ITERATIVE_SLOPE[victim]
