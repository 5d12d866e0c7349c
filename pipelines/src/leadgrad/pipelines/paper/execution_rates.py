"""How often each gate executes, by class, before and after two attacks: the numbers of figure 7.

docs/reference/images.md, "Figure 7". An entry is the mean decision of a gate over a class's images;
of a gate that decides a mask, as DynConv's, the mean share of executed positions. Only images that
the victim got right before the attack count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from leadgrad.pipelines.attack.task import task_of_run
from leadgrad.pipelines.runs.directory import RunDirectory, RunError
from leadgrad.pipelines.tasks.images.records import BatchRecord

Matrix = NDArray[np.float64]

METHODS = ("FGM", "LGM")


@dataclass(frozen=True)
class Decided:
    """One run's decisions on the images that were right before. N images, G gates, K classes.

    Args:
        label: Right classes. Shape: (N,), int64.
        predicted: Classes predicted after the attack. Shape: (N,), int64.
        before: Executed share of each gate's units. Shape: (N, G).
        after: The same after the attack.
        maps: Of each gate that decides a map (..., H, W): its mean before and after, each (H, W).
    """

    label: NDArray[np.int64]
    predicted: NDArray[np.int64]
    before: Matrix
    after: Matrix
    maps: Mapping[int, tuple[Matrix, Matrix]]

    @classmethod
    def of(cls, run: RunDirectory[BatchRecord]) -> Decided:
        """From a finished run's records.

        Raises:
            RunError: If the run is not of images, its victim has no gates, or got no image right.
        """
        if not issubclass(task_of_run(run).record, BatchRecord):
            raise RunError(f"{run.path} holds no attack on images, of which figure 7 is; give two")
        parts: list[list[torch.Tensor]] = []
        sums: dict[int, list[torch.Tensor]] = {}
        for record in run.records():
            right = record.clean_logits.argmax(1) == record.label
            sides = []
            for side, units in enumerate((record.clean_units, record.adv_units)):
                gates = [gate[right].double() for gate in record.decisions(units)]
                if not gates:
                    raise RunError(
                        f"the victim of {run.path} decides nothing; give runs on an adaptive one"
                    )
                sides.append(torch.stack([gate.flatten(1).mean(1) for gate in _units(gates)], 1))
                for number, gate in enumerate(gates):
                    if gate.ndim > 2:
                        total = gate.flatten(0, -3).sum(0) / gate.shape[1:-2].numel()
                        own = sums.setdefault(number, [torch.zeros_like(total)] * 2)
                        own[side] = own[side] + total
            parts.append([record.label[right], record.adv_logits.argmax(1)[right], *sides])
        label, predicted, before, after = (
            torch.cat(own).numpy() for own in zip(*parts, strict=True)
        )
        if not len(label):
            raise RunError(
                f"the victim of {run.path} got no image right before the attack; give other runs"
            )
        maps = {
            number: (own[0].numpy() / len(label), own[1].numpy() / len(label))
            for number, own in sums.items()
        }
        return cls(label, predicted, before, after, maps)


def _units(gates: list[torch.Tensor]) -> list[torch.Tensor]:
    """Each as (N, units): a gate with one decision a sample has one unit."""
    return [gate.reshape(len(gate), -1) for gate in gates]


@dataclass(frozen=True)
class Panel:
    """One of the figure's matrices.

    Args:
        letter: From a to e.
        title: For people.
        rows: What a row's class is: "true class" or "predicted class".
        rates: NaN in rows without an image. Shape: (K, G).
        count: Images of each row. Shape: (K,).
    """

    letter: str
    title: str
    rows: str
    rates: Matrix
    count: NDArray[np.int64]

    @property
    def known(self) -> NDArray[np.bool_]:
        """Rows with an image. Shape: (K,)."""
        return self.count > 0


def panels(runs: Mapping[str, RunDirectory[BatchRecord]]) -> tuple[list[Panel], dict[str, Decided]]:
    """The five matrices (a) to (e), and what they are made of.

    Args:
        runs: The runs of "FGM" and of "LGM".

    Raises:
        RunError: If they are not of the same victim, images and attack.
    """
    require_comparable(runs)
    decided = {name: Decided.of(run) for name, run in runs.items()}
    classes = len(next(iter(runs.values())).run()["classes"])
    frozen = decided[METHODS[0]]
    made = [_panel("a", "before", "true class", frozen.before, frozen.label, classes)]
    letters = iter("bcde")
    for name in METHODS:
        own = decided[name]
        for rows, of in (("true class", own.label), ("predicted class", own.predicted)):
            made.append(_panel(next(letters), f"after {name}", rows, own.after, of, classes))
    return made, decided


def _panel(
    letter: str, title: str, rows: str, shares: Matrix, of: NDArray[np.int64], classes: int
) -> Panel:
    count = np.bincount(of, minlength=classes)
    sums = np.zeros((classes, shares.shape[1]))
    np.add.at(sums, of, shares)
    rates = np.where(count[:, None] > 0, sums / np.maximum(count, 1)[:, None], np.nan)
    return Panel(letter, title, rows, rates, count)


def require_comparable(runs: Mapping[str, RunDirectory[Any]]) -> None:
    """Refuses runs that differ in more than their method.

    Raises:
        RunError: If one has not finished, or they differ.
    """
    first, second = runs.values()
    seen = []
    for run in (first, second):
        run.results()  # a run that has not finished lacks images
        run.require_whole()
        fingerprint = run.run()["fingerprint"]
        seen.append(
            {
                "images": fingerprint["data"]["sha256"],
                "victim's weights": fingerprint["weights_sha256"],
                "attack": fingerprint["model"]["attack"],
            }
        )
    for name, value in seen[0].items():
        if value != seen[1][name]:
            raise RunError(
                f"{first.path} and {second.path} differ in the {name} ({value} and "
                f"{seen[1][name]}); figure 7 compares two methods in one attack on one victim"
            )
    for name, run in runs.items():
        method = run.run()["config"]["model"]["method"]["class_path"]
        if method.rpartition(".")[2] != name:
            raise RunError(
                f"{run.path} is under {method}, expected {name}; give the run under FGM first, "
                "then the one under LGM"
            )


def components(panel: Panel) -> tuple[Matrix, Matrix]:
    """The first two principal components of a panel's rows that have images.

    Each panel's are its own, so axes of two panels cannot be compared. The sign is fixed: the
    loading of greatest size is positive.

    Returns:
        The rows' coordinates (K, 2), NaN where a row is empty, and the components' shares of the
        variance (2,).
    """
    rows = panel.rates[panel.known]
    centred = rows - rows.mean(0)
    u, size, loadings = np.linalg.svd(centred, full_matrices=False)
    found = min(2, len(size))
    strongest = np.abs(loadings[:found]).argmax(1)
    signs = np.where(loadings[np.arange(found), strongest] < 0, -1.0, 1.0)
    made = np.full((len(panel.rates), 2), np.nan)
    made[panel.known] = 0.0
    made[panel.known, :found] = u[:, :found] * size[:found] * signs
    total = float((size**2).sum())
    shares = np.zeros(2)
    shares[:found] = (size[:found] ** 2) / total if total else 0.0
    return made, shares


def shown(made: Sequence[Panel]) -> NDArray[np.bool_]:
    """Classes that have an image in every panel: only these are scattered. Shape: (K,)."""
    fewest: NDArray[np.int64] = np.stack([panel.count for panel in made]).min(0)
    return fewest > 0
