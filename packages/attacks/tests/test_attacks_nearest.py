"""The least budget that succeeds, against the known distance of a linear victim."""

import pytest
import torch

from leadgrad.attacks import (
    FGSM,
    IFGSM,
    Nearest,
    PixelLinf,
    PointIFGSM,
    PointLinf,
    Several,
    TargetShift,
)

torch.manual_seed(0)
WEIGHT = torch.randn(3 * 4 * 4, 5, dtype=torch.float64)
X = 0.3 + 0.4 * torch.rand(12, 3, 4, 4, dtype=torch.float64)


def victim(x):
    return x.flatten(1) @ WEIGHT


Y = victim(X).argmax(1)


def exact():
    """The distance of each sample, in units of 1/255: its least margin over the L1 norm."""
    logits = victim(X)
    own, least = WEIGHT[:, Y].T, torch.full((12,), torch.inf, dtype=torch.float64)
    for other in range(5):
        gap = logits.gather(1, Y[:, None])[:, 0] - logits[:, other]
        norm = (own - WEIGHT[:, other]).abs().sum(1)
        least = torch.where(other == Y, least, torch.minimum(least, gap / norm.clamp_min(1e-9)))
    return 255 * least


def moved(adv):
    return 255 * (adv - X).abs().amax((1, 2, 3))


def test_the_least_budget_is_the_distance_rounded_up():
    near = Nearest(PixelLinf(16), resolution_255=0.125)
    adv = near(victim, X, Y, victim=victim)
    distance, found = exact(), moved(adv)
    reached = distance < 15
    assert bool(reached.sum() > 3)
    assert bool((victim(adv).argmax(1) != Y)[reached].all())
    assert bool((found >= distance - 1e-6)[reached].all())
    assert bool((found <= distance + 0.3)[reached].all())
    assert len(set(found[reached].tolist())) > 3, "each its own"
    assert bool((found[distance > 16] <= 16).all())


@pytest.mark.parametrize("goal", [{}, {"goal": TargetShift(2)}])
def test_its_attack_is_run_at_budgets_that_halve(goal):
    asked = []

    def surrogate(x):
        asked.append(len(x))
        return victim(x)

    near = Nearest(PixelLinf(8), attack=FGSM(PixelLinf(1)), resolution_255=1.0, **goal)
    adv = near(surrogate, X, Y, victim=victim)
    assert sum(asked) <= 12 * 4
    assert asked[0] == 12
    alone = FGSM(PixelLinf(8), **goal)(victim, X, Y, victim=victim)
    won = near.goal.reached(Y, victim(adv))
    assert bool((won | ~near.goal.reached(Y, victim(alone))).all()), "no weaker than at once"
    assert torch.equal(adv[~won], alone[~won])
    levels = moved(adv)[won]
    torch.testing.assert_close(levels, levels.round(), atol=1e-6, rtol=0)


def test_several_surrogates_are_each_tried():
    near = Nearest(PixelLinf(8), attack=FGSM(PixelLinf(1)), resolution_255=2.0)
    alone = near(victim, X, Y, victim=victim)
    both = near(Several((lambda x: -victim(x), victim)), X, Y, victim=victim)
    assert torch.equal(moved(both), moved(alone))


def test_a_sample_does_not_depend_on_its_batch():
    near = Nearest(PixelLinf(8), attack=IFGSM(PixelLinf(1), steps=3, step_size_255=1))
    whole = near(Several((victim,)), X, Y, victim=victim)
    parts = [near(Several((victim,)), X[k : k + 1], Y[k : k + 1], victim=victim) for k in range(12)]
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-12, rtol=0)


@pytest.mark.parametrize("resolution", [0, -1, 9])
def test_a_resolution_that_is_none_is_refused(resolution):
    with pytest.raises(ValueError, match=f"at most eps_255=8, got {resolution}"):
        Nearest(PixelLinf(8), resolution_255=resolution)


def test_budgets_below_what_a_user_may_give_are_tried():
    # The second class is 0.1/255 away, less than the least budget that PixelLinf takes
    x = torch.full((1, 1, 1, 1), 0.5, dtype=torch.float64)

    def near(images):
        return torch.cat([0 * images.flatten(1), images.flatten(1) - 0.5 - 0.1 / 255], 1)

    found = Nearest(PixelLinf(1), attack=FGSM(PixelLinf(1)), resolution_255=1 / 16)
    adv = found(near, x, torch.tensor([0]), victim=near)
    assert float(255 * (adv - x).abs()) == pytest.approx(2 / 16)


@pytest.mark.parametrize(
    "inner", [Nearest(PixelLinf(8)), PointIFGSM(PointLinf(0.1), steps=2, step_size_m=0.1)]
)
def test_what_has_no_budget_of_its_own_is_refused(inner):
    with pytest.raises(ValueError, match=f"such as Standard, got {type(inner).__name__}"):
        Nearest(PixelLinf(8), attack=inner)
