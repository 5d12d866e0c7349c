"""The standard of scenes, on a victim whose worst points are known."""

import pytest
import torch

from leadgrad.attacks import (
    Notes,
    PointIFGSM,
    PointLinf,
    PointStandard,
    Samples,
    mean_iou,
    strongest,
)

NORMAL = torch.tensor([3.0, -1.5, 0.75])
POINTS = torch.rand(120, 3, generator=torch.Generator().manual_seed(1)) - 0.5


class Halfspace:
    """Class 1 where a·x > 0, else class 0. Counts what it is asked."""

    def __init__(self, sign=1.0):
        self.sign, self.calls = sign, 0

    def __call__(self, x):
        self.calls += 1
        score = self.sign * (x @ NORMAL)
        return torch.stack([-score, score], 1)


LABELS = Halfspace()(POINTS).argmax(1)


def left(adv):
    return mean_iou(Halfspace()(adv).argmax(1), LABELS, 2)


@pytest.mark.parametrize(("budget", "parts"), [(10, 1), (30, 1), (100, 3), (101, 3), (1000, 10)])
def test_its_parts_spend_the_budget(budget, parts):
    lengths = PointStandard(PointLinf(0.1), budget=budget).lengths()
    assert len(lengths) == parts
    assert sum(lengths) == budget
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("budget", [10, 41, 100])
def test_it_takes_its_budget_of_gradients_over_all_surrogates(budget):
    models, victim = [Halfspace(), Halfspace(-1)], Halfspace()
    attack = PointStandard(PointLinf(0.1), budget=budget)
    strongest(attack, models, POINTS, LABELS, victim=victim)
    assert sum(model.calls for model in models) == budget
    assert victim.calls <= budget + 3 * len(attack.lengths()) + 1


def test_too_small_a_budget_is_refused():
    with pytest.raises(ValueError, match="at least 10, got 9"):
        PointStandard(PointLinf(0.1), budget=9)


def test_it_finds_the_worst_points_of_a_plane():
    """Every point within reach of the plane crosses it, and no other can."""
    eps = 0.05
    adv = PointStandard(PointLinf(eps), budget=30)(Halfspace(), POINTS, LABELS, victim=Halfspace())
    reach = (POINTS @ NORMAL).abs() < eps * NORMAL.abs().sum() - 1e-6
    crossed = Halfspace()(adv).argmax(1) != LABELS
    assert torch.equal(crossed, reach)
    assert bool(crossed.any())


def test_each_scene_notes_the_surrogate_that_it_was_worst_under():
    attack, notes, ids = PointStandard(PointLinf(0.05), budget=40), Notes(), torch.tensor([7, 3])
    owner = (torch.arange(120) % 2).long()
    wrong = Halfspace(-1)  # its steps lead away from the plane
    for models, number in (((wrong, Halfspace()), 1), ((Halfspace(), wrong), 0)):
        strongest(
            attack,
            models,
            POINTS,
            LABELS,
            victim=Halfspace(),
            owner=owner,
            sample_ids=ids,
            notes=notes,
        )
        assert notes.of("worst under", ids).tolist() == [number, number]
    assert notes.words["worst under"] == ("method 1, clean start", "method 2, clean start")


def test_it_is_no_weaker_than_its_first_part():
    threat = PointLinf(0.05)
    whole = PointStandard(threat, budget=60)
    first = PointStandard(threat, budget=10)
    assert left(whole(Halfspace(), POINTS, LABELS, victim=Halfspace())) <= left(
        first(Halfspace(), POINTS, LABELS, victim=Halfspace())
    )


def test_later_parts_start_at_random_within_the_budget():
    attack = PointStandard(PointLinf(0.05), budget=100)
    samples = Samples.of(POINTS, torch.zeros(120, dtype=torch.int64), None)
    starts = [attack._start(POINTS, samples, number) for number in (1, 2)]
    assert not torch.equal(*starts)
    for start in starts:
        assert 0.04 < float((start - POINTS).abs().max()) <= 0.05 + 1e-6


def test_a_third_goes_on_from_the_worst_of_the_part():
    """With a loss that misleads after one step, shorter steps start where the harm was done."""
    seen = []

    def surrogate(x):
        seen.append(x.clone().detach())
        return Halfspace()(x)

    attack = PointStandard(PointLinf(0.05), budget=10)
    attack(surrogate, POINTS, LABELS, victim=Halfspace())
    alone = PointIFGSM(PointLinf(0.05), steps=5, step_size_m=0.025)
    best = alone(Halfspace(), POINTS, LABELS, victim=Halfspace())
    torch.testing.assert_close(seen[4], best, atol=1e-7, rtol=0)
