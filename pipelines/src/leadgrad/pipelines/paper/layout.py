"""Table I of the paper: its rows, its columns, and those of its numbers that we have.

Of the printed table our sources (2D reference page, 1, 3.6 and 7.5) give the clean accuracies, the
zeros of I-FGSM on all pixels, and two gaps; a number that we do not have is shown as missing.
"""

from __future__ import annotations

from dataclasses import dataclass

from leadgrad.attacks import FGSM, IFGSM, Attack, PixelLinf

SKIPNET, DYNCONV = "SkipNet", "DynConv"
ADAPTIVE = (SKIPNET, DYNCONV)


@dataclass(frozen=True)
class Row:
    """A row of the table: attack, budget in units, share of valid pixels."""

    attack: str
    eps_255: float
    valid_ratio: float = 1.0

    def title(self) -> str:
        """For people."""
        name = {"FGSM": "FGSM", "IFGSM": "I-FGSM"}[self.attack]
        pixels = "" if self.valid_ratio == 1 else f", {100 * self.valid_ratio:g} % pixels"
        return f"{name} ε {self.eps_255:g}{pixels}"

    def slug(self) -> str:
        """For file names."""
        return f"{self.attack}-{self.eps_255:g}-{100 * self.valid_ratio:g}"

    def make(self, convention: str, *, step_size_255: float | None = None) -> Attack:
        """The row's attack.

        Args:
            convention: Of ``PixelLinf``.
            step_size_255: Of I-FGSM, in units; None is the paper's, 1.

        Raises:
            ValueError: If FGSM, whose only step is the budget, is given a step size.
        """
        threat = PixelLinf(self.eps_255, convention=convention, valid_ratio=self.valid_ratio)  # type: ignore[arg-type]  # PixelLinf checks it
        if self.attack == "FGSM":
            if step_size_255 is not None:
                raise ValueError("FGSM's only step is the whole budget; give no step_size_255")
            return FGSM(threat)
        return IFGSM(threat, step_size_255=1.0 if step_size_255 is None else step_size_255)

    def options(self, convention: str, *, step_size_255: float | None = None) -> list[str]:
        """Command-line options of ``leadgrad attack`` for the same attack."""
        attack, threat = "--model.attack", "--model.attack.threat"
        step = [] if step_size_255 is None else [f"{attack}.step_size_255={step_size_255}"]
        return [
            f"{attack}=leadgrad.attacks.{self.attack}",
            f"{threat}.eps_255={self.eps_255}",
            f"{threat}.convention={convention}",
            f"{threat}.valid_ratio={self.valid_ratio}",
            *step,
        ]


FGSM_ROWS = tuple(Row("FGSM", eps) for eps in (1, 2, 4, 8))
TABLE1_ROWS = (*FGSM_ROWS, *(Row("IFGSM", 8, ratio) for ratio in (1.0, 0.2, 0.1, 0.05)))

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


def authors_slope(row: Row, victim: str) -> float:
    """λ from the authors' documentation, which was chosen on the attacked test set."""
    if row.attack == "FGSM":
        return AUTHORS_SLOPES[victim][row.slug()]
    return AUTHORS_ITERATIVE_SLOPE[victim]
