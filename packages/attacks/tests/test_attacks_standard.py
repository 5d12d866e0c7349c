"""The standard ensemble: its schedule, what each part does, who leaves, and what it is made of."""

import pytest
import torch

from leadgrad.attacks import (
    APGD,
    PixelLinf,
    Several,
    Square,
    Standard,
    TargetShift,
    dlr,
    strongest,
)
from leadgrad.attacks.standard import Part

THREAT = PixelLinf(eps_255=8)
torch.manual_seed(0)
WEIGHT = torch.randn(3 * 4 * 4, 5, dtype=torch.float64)
X = torch.rand(20, 3, 4, 4, dtype=torch.float64)


def victim(x):
    return x.flatten(1) @ WEIGHT


def blind(x):
    """Its gradient leads to the opposite of the victim's."""
    return -(x.flatten(1) @ WEIGHT)


Y = victim(X).argmax(1)


class Counting:
    """How many rows a model has been asked about."""

    def __init__(self, model):
        self.model, self.rows, self.calls = model, 0, []

    def __call__(self, x):
        self.rows += len(x)
        self.calls.append(len(x))
        return self.model(x)


def test_the_schedule_is_the_documented_one():
    assert Standard(THREAT, budget=100).schedule(2, 5) == (
        Part(0, None, 32),
        Part(1, None, 32),
        Part(0, 1, 32),
        Part(None, None, 100),
    )
    parts = Standard(THREAT).schedule(3, 5)
    assert [part.surrogate for part in parts] == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, None]
    assert [part.rank for part in parts] == [None, None, None, 1, 1, 1, 2, 2, 2, 3, None]
    assert {part.evaluations for part in parts[:-1]} == {100}
    few = Standard(THREAT).schedule(1, 3)
    assert {part.rank for part in few} == {None}, "no targeted DLR of three classes"
    aimed = Standard(THREAT, goal=TargetShift(1)).schedule(1, 5)
    assert {part.rank for part in aimed} == {None}, "a target of its own"
    assert len(Standard(THREAT, budget=10).schedule(4, 5)) == 2


@pytest.mark.parametrize("budget", [9, 0, 10.5])
def test_a_budget_without_room_is_refused(budget):
    with pytest.raises(ValueError, match=f"at least 10, got {budget}"):
        Standard(THREAT, budget=budget)


@pytest.mark.parametrize("budget", [10, 100, 250])
def test_no_sample_costs_more_than_the_budget(budget):
    """On a victim that nothing fools."""

    def stubborn(x):
        return torch.nn.functional.one_hot(labels, 5).double() + 0 * x.flatten(1)[:, :1]

    x, labels = X[:3], Y[:3]
    surrogates = [Counting(victim), Counting(blind)]
    asked = Counting(lambda x: stubborn(x))
    strongest(Standard(THREAT, budget=budget), surrogates, x, labels, victim=asked)
    gradients = sum(each.rows for each in surrogates)
    assert 0.8 * budget * 3 <= gradients <= budget * 3
    assert asked.rows <= (2 * budget + 20) * 3


class Ahead:
    """A surrogate that looks ahead, and in vain."""

    looks_ahead, taken = True, 0.5

    def __init__(self, model):
        self.model = model

    def __call__(self, x):
        return self.model(x)

    def ahead(self, proposed):
        return self.model


@pytest.mark.parametrize("budget", [10, 100])
def test_looking_ahead_costs_no_more_than_the_budget(budget):
    x, labels = X[:3], Y[:3]
    surrogate = Counting(blind)

    def stubborn(x):
        return torch.nn.functional.one_hot(labels, 5).double() + 0 * x.flatten(1)[:, :1]

    Standard(THREAT, budget=budget)(Ahead(surrogate), x, labels, victim=stubborn)
    assert 0.8 * budget * 3 <= surrogate.rows <= budget * 3


def test_a_number_in_the_place_of_the_threat_model_is_refused():
    with pytest.raises(TypeError, match=r"needs a threat model, such as PixelLinf\(8\), got 8"):
        Standard(8)(victim, X, Y, victim=victim)


def test_who_has_fallen_leaves_and_keeps_the_part_that_felled_it():
    standard = Standard(PixelLinf(2), budget=40)
    seen = Counting(blind)
    worst = standard.worst((blind, victim), X, Y, victim=victim)
    by = {number: int((worst.part == number).sum()) for number in (-1, 0, 1, 2)}
    assert by[0] + by[1] + by[2] + by[-1] == 20
    assert by[1] > 0, "the second surrogate wins what the first cannot"
    won = victim(worst.inputs).argmax(1) != Y
    assert torch.equal(won, worst.part >= 0)
    assert bool(won.any())
    assert bool((~won).any()), "or nothing tells who leaves"
    standard.worst((victim, seen), X, Y, victim=victim)
    first = standard.worst((victim, victim), X, Y, victim=victim).part == 0
    assert max(seen.calls) == int((~first).sum())


def test_the_first_part_is_apgd_from_the_same_start():
    standard = Standard(PixelLinf(2), budget=10)
    one = standard(victim, X, Y, victim=victim)
    alone = APGD(PixelLinf(2), steps=9)
    assert (victim(one).argmax(1) != Y).sum() >= (
        victim(alone(victim, X, Y, victim=victim)).argmax(1) != Y
    ).sum()


def test_targets_are_gone_for_in_the_victims_order():
    standard = Standard(PixelLinf(20), budget=100)
    ranked = victim(X).scatter(1, Y[:, None], -torch.inf).argsort(1, descending=True)
    for rank in (1, 2):
        part, target = Part(0, rank, 30), ranked[:, rank - 1]
        ids = torch.arange(len(X))
        adv = standard._climbed(part, 0, victim, X, Y, target, 5, victim, ids)
        gained = victim(adv).gather(1, target[:, None]) - victim(X).gather(1, target[:, None])
        others = [(victim(adv).argmax(1) == ranked[:, k]).sum() for k in range(4)]
        assert int(torch.stack(others).argmax()) == rank - 1, "most have become that class"
        assert float(gained.mean()) > 0


def test_a_sample_does_not_depend_on_its_batch():
    standard = Standard(PixelLinf(2), budget=40)
    ids = torch.arange(20)
    whole = standard(Several((victim, blind)), X, Y, victim=victim, sample_ids=ids)
    parts = [
        standard(Several((victim, blind)), X[rows], Y[rows], victim=victim, sample_ids=ids[rows])
        for rows in (slice(0, 7), slice(7, 20))
    ]
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-12, rtol=0)


def test_it_is_no_weaker_than_its_parts():
    threat, found = PixelLinf(2), {}
    for name, attack in {
        "standard": Standard(threat, budget=100),
        "apgd": APGD(threat, steps=30),
        "dlr": APGD(threat, dlr, steps=30),
        "square": Square(threat, 100),
    }.items():
        adv = attack(victim, X, Y, victim=victim)
        found[name] = int((victim(adv).argmax(1) != Y).sum())
    assert found["standard"] == max(found.values())
    assert found["standard"] > 0


def test_a_goal_of_its_own_is_reached():
    goal = TargetShift(1)
    adv = Standard(PixelLinf(120), budget=40, goal=goal)(victim, X, Y, victim=victim)
    assert bool(goal.reached(Y, victim(adv)).all())
