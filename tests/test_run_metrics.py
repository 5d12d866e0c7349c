"""Every measured number against a slow NumPy reference, one sample and one unit at a time."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from leadgrad.attacks import FGSM, PixelLinf, TargetClass, Untargeted
from leadgrad.pipelines.attack.results import wilson
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.pipelines.runs.records import Cost
from leadgrad.pipelines.tasks.images.metrics import ArchitectureChange, AttackScores, Compute
from leadgrad.pipelines.tasks.images.records import BatchRecord
from leadgrad.pipelines.tasks.images.results import measure
from leadgrad.pipelines.tasks.images.words import amount
from leadgrad.victims import DynConv, ResNet, SkipNet

CLASSES = 4
NETWORKS = {
    "SkipNet": (SkipNet(14, CLASSES, image_size=16), [[]] * 5),
    "DynConv": (DynConv(8, CLASSES, image_size=16), [[1, 16, 16], [1, 8, 8], [1, 4, 4]]),
    "ResNet": (ResNet(8, CLASSES), []),
    "plain module": (torch.nn.Identity(), [[], [1, 3, 5], [2]]),
}


def record(size: int, shapes: list[list[int]], *, seed: int, first: int = 0) -> BatchRecord:
    """A batch of random answers and decisions; about half of the former are right."""
    made = torch.Generator().manual_seed(seed)
    label = torch.randint(CLASSES, (size,), generator=made)
    logits = torch.randn(2, size, CLASSES, generator=made)
    logits[:, torch.arange(size), label] += 1
    units = [
        [torch.rand(size, *shape, generator=made) < share for shape in shapes]
        for share in (0.6, 0.45)
    ]
    images = torch.randint(256, (size, 3, 4, 4), generator=made) / 255
    batch = {"index": torch.arange(first, first + size), "label": label, "image": images}
    return BatchRecord.of(batch, images, (logits[0], logits[1]), (units[0], units[1]))


def batches(shapes: list[list[int]]) -> list[BatchRecord]:
    return [record(size, shapes, seed=size) for size in (7, 1, 12)]


def joined(parts: list[BatchRecord]) -> BatchRecord:
    names = [name for name, value in vars(parts[0]).items() if isinstance(value, torch.Tensor)]
    whole = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
    return BatchRecord(**whole, unit_shapes=parts[0].unit_shapes)


def dilated(mask: np.ndarray) -> np.ndarray:
    """3x3 neighbourhood of every active position of a mask (H, W)."""
    out = np.zeros_like(mask)
    for row, column in zip(*mask.nonzero(), strict=True):
        out[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = True
    return out


def samples(parts: list[BatchRecord]):
    """Label, both predictions, and each sample's decisions before and after, as NumPy arrays."""
    for part in parts:
        sides = [part.decisions(units) for units in (part.clean_units, part.adv_units)]
        for row in range(len(part.index)):
            yield (
                int(part.label[row]),
                int(part.clean_logits[row].numpy().argmax()),
                int(part.adv_logits[row].numpy().argmax()),
                *([unit[row].numpy() for unit in side] for side in sides),
            )


def change(parts, *, dependents: bool, attacked) -> dict:
    """Architecture change: flips over units, with the interval of a mean over samples."""
    on, off, units = [], [], []
    for label, before, after, clean, adv in samples(parts):
        if not attacked(label, before, after):
            continue
        pairs = list(zip(clean, adv, strict=True))
        if dependents:
            pairs += [(dilated(a.squeeze(0))[None], dilated(b.squeeze(0))[None]) for a, b in pairs]
        on.append(sum(int((~a & b).sum()) for a, b in pairs))
        off.append(sum(int((a & ~b).sum()) for a, b in pairs))
        units.append(sum(np.size(a) for a, _ in pairs))
    shares = (np.array(on) + np.array(off)) / np.array(units)
    half = 1.96 * shares.std(ddof=1) / np.sqrt(len(shares))
    return {
        "percent": 100 * shares.mean(),
        "low": 100 * max(shares.mean() - half, 0),
        "high": 100 * min(shares.mean() + half, 1),
        "switched_on_percent": 100 * sum(on) / sum(units),
        "switched_off_percent": 100 * sum(off) / sum(units),
        "changed": sum(on) + sum(off),
        "units": sum(units),
        "samples": len(units),
    }


GOALS = {
    "untargeted": (Untargeted(), lambda label, before, after: before == label),
    "targeted": (TargetClass(2), lambda label, before, after: before != 2),
}


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("name", ["SkipNet", "DynConv", "plain module"])
def test_architecture_change(name, goal):
    network, shapes = NETWORKS[name]
    parts, (made, attacked) = batches(shapes), GOALS[goal]
    metric = ArchitectureChange(network, FGSM(PixelLinf(8), goal=made))
    for part in parts:
        metric.update(part)
    countings = metric.compute()
    assert set(countings) == set(ArchitectureChange.COUNTINGS)
    for counting, value in countings.items():
        expected = change(
            parts,
            dependents="dependents" in counting and name == "DynConv",
            attacked=attacked if counting.endswith("/attacked") else lambda *_: True,
        )
        assert value == pytest.approx(expected, rel=1e-9), counting


def test_an_attack_on_every_sample_has_attacked_every_sample():
    network, shapes = NETWORKS["SkipNet"]
    metric = ArchitectureChange(network, FGSM(PixelLinf(8), skip_misclassified=False))
    for part in batches(shapes):
        metric.update(part)
    values = metric.compute()
    assert values["decisions/attacked"] == values["decisions/all"]


def test_amounts_tell_numbers_near_1_apart():
    said = [amount(value) for value in (0.963, 1.0, 17.25, 6720.04)]
    assert said == ["0.963", "1.000", "17.250", "6,720.0"]


def test_costs_add_up_over_batches(tmp_path):
    run, (part, other) = RunDirectory(tmp_path, BatchRecord), batches([[]])[:2]
    run.path.mkdir(exist_ok=True)
    run.add(0, replace(part, cost=Cost(10, 20)), 0.0)
    run.add(1, replace(other, cost=Cost(3, 4)), 0.0)
    samples = len(part.index) + len(other.index)
    cost = measure(run, torch.nn.Identity(), FGSM(PixelLinf(8)))["cost"]
    assert cost == {"gradients_per_sample": 13 / samples, "answers_per_sample": 24 / samples}
    run.add(1, other, 0.0)
    again = measure(run, torch.nn.Identity(), FGSM(PixelLinf(8)))
    assert "cost" not in again, "an older version's batch"


def test_nothing_attacked_is_no_change_and_no_division_by_zero():
    network, shapes = NETWORKS["SkipNet"]
    metric = ArchitectureChange(network, FGSM(PixelLinf(8)))
    part = record(3, shapes, seed=0)
    never_right = BatchRecord(
        **{**vars(part), "label": (part.clean_logits.argmax(1) + 1) % CLASSES}
    )
    metric.update(never_right)
    value = metric.compute()["decisions/attacked"]
    assert (value["percent"], value["units"], value["samples"]) == (0, 0, 0)
    assert metric.compute()["decisions/all"]["units"] == 15


def test_a_network_without_gates_has_no_units():
    network, shapes = NETWORKS["ResNet"]
    metric, compute = ArchitectureChange(network, FGSM(PixelLinf(8))), Compute(network)
    for part in batches(shapes):
        metric.update(part)
        compute.update(part)
    assert all(value["units"] == value["percent"] == 0 for value in metric.compute().values())
    assert compute.compute()["executed_units"] == {"clean": 0, "adversarial": 0}
    assert set(compute.compute()["conditional_macs"].values()) == {None}


@pytest.mark.parametrize("goal", GOALS)
def test_scores(goal):
    parts, (made, attacked) = batches([[]]), GOALS[goal]
    network = torch.nn.Identity()
    metric = AttackScores(made, network)
    for part in parts:
        metric.update(part)
    expected = dict.fromkeys(AttackScores.NAMES, 0)
    for label, before, after, *_ in samples(parts):
        won = after == 2 if goal == "targeted" else after != label
        eligible = attacked(label, before, after)
        expected["samples"] += 1
        expected["clean"] += before == label
        expected["both"] += before == label and after == label
        expected["robust"] += after == label
        expected["eligible"] += eligible
        expected["won"] += eligible and won
    assert metric.compute() == expected
    assert 0 < expected["won"] < expected["eligible"] < expected["samples"]


def macs(name: str, decisions: list[np.ndarray]) -> int:
    """By the papers' sizes: 16, 32 and 64 channels on maps of 16, 8 and 4 positions a side."""
    if name == "SkipNet":  # depth 14: two blocks a stage, of which the first of all has no gate
        blocks = [(16, 16, 16), (16, 32, 8), (32, 32, 8), (32, 64, 4), (64, 64, 4)]
        return sum(
            int(executed) * side * side * 9 * (into * out + out * out)
            for executed, (into, out, side) in zip(decisions, blocks, strict=True)
        )
    widths = [(16, 16), (16, 32), (32, 64)]
    return sum(
        9 * out * out * int(mask.sum()) + 9 * into * out * int(dilated(mask.squeeze(0)).sum())
        for mask, (into, out) in zip(decisions, widths, strict=True)
    )


@pytest.mark.parametrize("name", ["SkipNet", "DynConv"])
def test_compute(name):
    network, shapes = NETWORKS[name]
    parts = batches(shapes)
    metric = Compute(network)
    for part in parts:
        metric.update(part)
    clean, adv = (
        [sides[side] for *_, before, after in samples(parts) for sides in [(before, after)]]
        for side in (0, 1)
    )
    value = metric.compute()
    for side, decisions in (("clean", clean), ("adversarial", adv)):
        units = np.mean([sum(int(unit.sum()) for unit in sample) for sample in decisions])
        spent = np.mean([macs(name, sample) for sample in decisions])
        assert value["executed_units"][side] == pytest.approx(units)
        assert value["conditional_macs"][side] == pytest.approx(spent)
    everything = [np.ones(shape, dtype=bool) for shape in shapes]
    assert value["conditional_macs"]["all_executed"] == macs(name, everything)


@pytest.mark.parametrize("name", NETWORKS)
def test_batches_add_up_to_one_big_batch(name):
    network, shapes = NETWORKS[name]
    parts = batches(shapes)
    for make in (
        lambda: AttackScores(Untargeted(), network),
        lambda: ArchitectureChange(network, FGSM(PixelLinf(8))),
        lambda: Compute(network),
    ):
        apart, together = make(), make()
        for part in parts:
            apart.update(part)
        together.update(joined(parts))
        assert apart.compute() == together.compute()


def test_metrics_keep_the_victim_to_themselves():
    """A metric is a module; the victim must not become a part of it that follows its device."""
    network, _ = NETWORKS["SkipNet"]
    for metric in (ArchitectureChange(network, FGSM(PixelLinf(8))), Compute(network)):
        assert not list(metric.parameters())
        assert not metric.state_dict()


@pytest.mark.parametrize(("hits", "trials"), [(0, 10), (10, 10), (3, 10), (1, 1), (437, 10_000)])
def test_wilson(hits, trials):
    """The two shares p at which |p - hits/trials| is 1.96 standard errors of p."""
    share, z = hits / trials, 1.959963984540054
    quadratic = [1 + z * z / trials, -(2 * share + z * z / trials), share * share]
    low, high = sorted(np.roots(quadratic).real)
    assert wilson(hits, trials) == pytest.approx((100 * low, 100 * high), abs=1e-6)


def test_wilson_by_hand():
    """7 of 20, z² = 3.8415: centre (0.35 + 0.09604) / 1.19207, half 0.19298."""
    assert wilson(7, 20) == pytest.approx((18.119, 56.715), abs=1e-3)
    assert wilson(0, 0) == (0, 100)
