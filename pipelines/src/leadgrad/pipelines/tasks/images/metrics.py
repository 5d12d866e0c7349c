"""What an attack did, as torchmetrics of sums: accuracy, architecture change, compute.

Every state is a sum, so batches, processes and resumed sessions add up exactly (the architecture
change is the sum of numerators over the sum of denominators; docs/reference/images.md,
"Architecture change").
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from leadgrad.attacks import Answer, Attack, Goal, Output
from leadgrad.pipelines.tasks.images.records import BatchRecord
from leadgrad.victims import Change, GatedNetwork, executed_share, unit_costs
from leadgrad.victims.occupancy.change import unit_change


class RunMetric(Metric):
    """A metric of this process's batches.

    No collective may run in the predict loop (processes may have different numbers of batches), so
    ``compute`` does not gather; one process computes a run's numbers, from all batches' files.
    """

    full_state_update = False

    def __init__(self) -> None:
        super().__init__(sync_on_compute=False)


def answers(goal: Goal, network: nn.Module, record: BatchRecord) -> tuple[Answer, Answer]:
    """The exact victim's answers before and after, as a goal asks for them."""
    before, after = record.clean_logits, record.adv_logits
    if not goal.asks_cost:
        return before, after
    clean, adv = (
        executed_share(network, [units.to(before.dtype) for units in record.decisions(side)])
        for side in (record.clean_units, record.adv_units)
    )
    return Output(before, clean), Output(after, adv)


class AttackScores(RunMetric):
    """Counts of samples: all, right before, right before and after, right after, eligible, won."""

    NAMES = ("samples", "clean", "both", "robust", "eligible", "won")

    def __init__(self, goal: Goal, network: nn.Module) -> None:
        super().__init__()
        # In a tuple, so that the victim does not become a part of the metric
        self.goal, self.network = goal, (network,)
        for name in self.NAMES:
            self.add_state(name, torch.tensor(0), dist_reduce_fx="sum")

    def update(self, record: BatchRecord) -> None:
        """Adds a batch."""
        before = record.clean_logits.argmax(1) == record.label
        after = record.adv_logits.argmax(1) == record.label
        clean, adv = answers(self.goal, self.network[0], record)
        eligible = self.goal.eligible(record.label, clean)
        won = self.goal.reached(record.label, adv) & eligible
        values = (torch.ones_like(before), before, before & after, after, eligible, won)
        for name, value in zip(self.NAMES, values, strict=True):
            setattr(self, name, getattr(self, name) + value.sum())

    def compute(self) -> dict[str, int]:
        """The counts by name."""
        return {name: int(getattr(self, name)) for name in self.NAMES}


class ArchitectureChange(RunMetric):
    """Units that changed, in four countings: (decisions, + dependents) x (all, attacked samples).

    A chosen unit that another one replaced counts once, as neither switched on nor off.
    Attacked samples are those that the attack does not leave as they are: all, or those that its
    goal calls eligible (for an untargeted attack, those that the victim gets right before it).
    """

    COUNTINGS = (
        "decisions/all",
        "decisions/attacked",
        "decisions+dependents/all",
        "decisions+dependents/attacked",
    )
    sums: Tensor

    def __init__(self, network: nn.Module, attack: Attack) -> None:
        super().__init__()
        # In a tuple, so that the victim does not become a part of the metric
        self.network, self.attack = (network,), attack
        # switched on, switched off, replaced, units, samples, sum of squared changes per sample
        self.add_state("sums", torch.zeros(4, 6, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, record: BatchRecord) -> None:
        """Adds a batch."""
        clean = record.decisions(record.clean_units)
        adv = record.decisions(record.adv_units)
        attacked = torch.ones_like(record.label, dtype=torch.bool)
        if self.attack.skip_misclassified:
            before, _ = answers(self.attack.goal, self.network[0], record)
            attacked = self.attack.goal.eligible(record.label, before)
        size = len(record.index)
        network = self.network[0]
        plain = _changed(clean, adv, record.choices(), size)
        full = plain
        if isinstance(network, GatedNetwork):
            one, other = (network.dependent_units(units) for units in (clean, adv))
            full = plain + _changed(one, other, [0] * len(one), size)
        for row, change in enumerate((plain, plain[attacked], full, full[attacked])):
            changed = change.changed
            self.sums[row] += torch.stack(
                [
                    change.entered.sum(),
                    change.left.sum(),
                    change.replaced.sum(),
                    change.total.sum(),
                    torch.tensor(len(changed)),
                    (changed * changed).sum(),
                ]
            )

    def compute(self) -> dict[str, dict[str, float | int]]:
        """Per counting: percent with its interval, both directions, and the counts."""
        return {
            name: _change(*row)
            for name, row in zip(self.COUNTINGS, self.sums.tolist(), strict=True)
        }


class Compute(RunMetric):
    """Units executed and conditional MACs, before and after, summed over all samples."""

    samples: Tensor
    units: Tensor
    macs: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = (network,)
        self.add_state("samples", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("units", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("macs", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, record: BatchRecord) -> None:
        """Adds a batch."""
        self.samples += len(record.index)
        network = self.network[0]
        for side, units in enumerate((record.clean_units, record.adv_units)):
            self.units[side] += units.sum()
            if isinstance(network, GatedNetwork):
                macs = network.conditional_macs(record.decisions(units))
                self.macs[side] += 0 if macs is None else macs.sum()

    def compute(self) -> dict[str, dict[str, float | None]]:
        """Means per sample, before and after; MACs are None where the network tells none."""
        network, count = self.network[0], max(int(self.samples), 1)
        full = network.conditional_macs_total() if isinstance(network, GatedNetwork) else None
        macs: list[float | None] = [None, None]
        if full is not None:
            macs = [int(value) / count for value in self.macs]
        units = [int(value) / count for value in self.units]
        return {
            "executed_units": {"clean": units[0], "adversarial": units[1]},
            "conditional_macs": {
                "clean": macs[0],
                "adversarial": macs[1],
                "all_executed": None if full is None else float(full),
            },
        }


class ExecutedShare(RunMetric):
    """Share of the cost of all units that is executed, before and after, over all samples.

    Units are counted, and weighed in the end, so that no sum depends on the batches.
    """

    executed: Tensor
    units: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = (network,)
        # By gate; as many as the first batch has
        self.add_state("executed", torch.zeros(2, 0, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("units", torch.zeros(0, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, record: BatchRecord) -> None:
        """Adds a batch."""
        counts, sizes = [], []
        for side in (record.clean_units, record.adv_units):
            decisions = record.decisions(side)
            counts.append([int(units.sum()) for units in decisions])
            sizes = [units.numel() for units in decisions]
        if not self.units.numel():
            self.executed = self.executed.new_zeros(2, len(sizes))
            self.units = self.units.new_zeros(len(sizes))
        self.executed += torch.tensor(counts, dtype=torch.int64).reshape(2, -1)
        self.units += torch.tensor(sizes, dtype=torch.int64)

    def compute(self) -> dict[str, dict[str, float]]:
        """In percent; nothing for a network that decides nothing."""
        if not self.units.numel():
            return {}
        costs = torch.tensor(unit_costs(self.network[0], len(self.units)), dtype=torch.float64)
        clean, adv = (costs * self.executed).sum(1) / (costs * self.units).sum()
        return {"executed_share": {"clean": 100 * float(clean), "adversarial": 100 * float(adv)}}


def _changed(
    clean: Sequence[Tensor], adv: Sequence[Tensor], choices: Sequence[int], size: int
) -> Change:
    """Of all gates, with how many each chooses (0: each unit for itself); of none, no change."""
    gates = zip(clean, adv, choices, strict=True)
    parts = (unit_change(before, after, chosen or None) for before, after, chosen in gates)
    return sum(parts, Change.none(size))


def _change(
    on: int, off: int, replaced: int, units: int, samples: int, squares: int
) -> dict[str, float | int]:
    changed = on + off + replaced
    share = changed / units if units else 0.0
    half = 0.0
    if units and samples > 1:
        # Samples, not units, are independent, and all have the same number of units: the ratio is
        # a mean over samples, with a normal 95 % interval.
        per_sample = units / samples
        variance = (squares - changed**2 / samples) / (samples - 1)
        half = 1.96 * (max(variance, 0.0) / samples) ** 0.5 / per_sample
    return {
        "percent": 100 * share,
        "low": 100 * max(share - half, 0.0),
        "high": 100 * min(share + half, 1.0),
        "switched_on_percent": 100 * on / units if units else 0.0,
        "switched_off_percent": 100 * off / units if units else 0.0,
        "changed": changed,
        "units": units,
        "samples": samples,
    }


class RunningAccuracy:
    """Accuracy of the batches that this process has attacked so far, for TensorBoard.

    Args:
        goal: Of the attack.
        network: The victim.
    """

    def __init__(self, goal: Goal, network: nn.Module) -> None:
        self.scores = AttackScores(goal, network)

    def update(self, record: BatchRecord) -> None:
        """Adds a batch."""
        self.scores.update(record)

    def curves(self) -> tuple[dict[str, float], int]:
        """Before, and before and after, in percent; and the samples so far."""
        counts = self.scores.compute()
        return {
            f"accuracy/{name}": 100 * counts[name] / counts["samples"] for name in ("clean", "both")
        }, counts["samples"]
