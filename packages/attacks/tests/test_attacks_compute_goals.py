"""Goals about compute, on a model whose cost and best perturbation are known in closed form."""

import pytest
import torch
from oracles import NAMES, attacks

from leadgrad.attacks import (
    FGSM,
    AllOf,
    Compute,
    Kept,
    Output,
    PixelLinf,
    PointIFGSM,
    PointLinf,
    Untargeted,
    strongest,
)

THREAT = PixelLinf(8)
COUNT = 4
IMAGES = torch.rand(COUNT, 3, 2, 2, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.3
LABELS = torch.zeros(COUNT, dtype=torch.int64)


def bright(images):
    """Costs as much as the image is bright, and is the surer of class 0 the redder it is."""
    red = images[:, 0].mean((1, 2))
    return Output(torch.stack([red, 1 - red, 0 * red - 9, 0 * red - 9], 1), images.mean((1, 2, 3)))


def frozen(images):
    return Output(bright(images).logits, bright(images).cost.detach())


@pytest.mark.parametrize("name", [name for name in NAMES if "Noise" not in name])
@pytest.mark.parametrize(("direction", "sign"), [("up", 1), ("down", -1)])
def test_every_attack_moves_the_cost_as_far_as_it_goes(name, direction, sign):
    attack = attacks(THREAT, goal=Compute(direction))[name]
    adv = attack(bright, IMAGES, LABELS, victim=bright)
    moved = sign * (bright(adv).cost - bright(IMAGES).cost)
    # Every gradient points the same way, so that only the number of steps limits some of them
    best = FGSM(THREAT, goal=Compute(direction))(bright, IMAGES, LABELS, victim=bright)
    assert bool((moved > 0).all())
    assert (
        float(moved.max()) <= float((sign * (bright(best).cost - bright(IMAGES).cost)).max()) + 1e-6
    )
    torch.testing.assert_close(best, IMAGES + sign * 8 / 255)


@pytest.mark.parametrize("name", [name for name in NAMES if "Noise" not in name])
def test_frozen_decisions_have_no_gradient_of_compute(name):
    attack = attacks(THREAT, goal=Compute())[name]
    with pytest.raises(ValueError, match=r"frozen \(FGM\).*under a method that leads"):
        attack(frozen, IMAGES, LABELS, victim=frozen)


def test_logits_alone_do_not_tell_what_they_cost():
    with pytest.raises(TypeError, match=r"return leadgrad\.attacks\.Output"):
        FGSM(THREAT, goal=Compute())(lambda x: bright(x).logits, IMAGES, LABELS, victim=bright)


def test_a_share_to_be_passed_is_a_goal_that_can_be_reached():
    far, near = Compute("up", beyond=0.99), Compute("up", beyond=0.1)
    answer = bright(IMAGES)
    assert not far.reached(LABELS, answer).any()
    assert near.reached(LABELS, answer).all()
    assert Compute("down", beyond=0.99).reached(LABELS, answer).all()
    assert not Compute().reached(LABELS, answer).any()
    assert Untargeted().winnable()
    assert near.winnable()
    assert not Compute().winnable()
    assert AllOf((near, Kept())).winnable()
    assert not AllOf((Compute(), Kept())).winnable()
    assert far.exhausted(LABELS, answer).tolist() == far.reached(LABELS, answer).tolist()
    nearly = Output(answer.logits, torch.full_like(answer.cost, 1 - 1e-7))
    assert Compute("up", beyond=1.0).reached(LABELS, nearly).all(), "all, but for rounding"
    nothing = Output(answer.logits, torch.full_like(answer.cost, 1e-7))
    assert Compute("down", beyond=0.0).reached(LABELS, nothing).all()
    for wrong in ({"direction": "more"}, {"beyond": 1.5}):
        with pytest.raises(ValueError, match="must be"):
            Compute(**wrong)


def test_where_all_is_executed_nothing_is_left_to_gain():
    answer = Output(torch.eye(4)[[0, 1, 0, 1]], torch.tensor([1 - 1e-7, 1.0, 0.9, 0.0]))
    assert Compute().exhausted(LABELS, answer).tolist() == [True, True, False, False]
    assert Compute("down").exhausted(LABELS, answer).tolist() == [False, False, False, True]
    both = AllOf((Compute(), Untargeted()))
    assert both.exhausted(LABELS, answer).tolist() == [False, True, False, False]
    assert Untargeted().exhausted(LABELS, answer).tolist() == [False, True, False, True]


def test_a_kept_answer_turns_the_pixels_that_would_lose_it():
    # Brighter costs more; redder is surer of the right class, so that here both agree, and for the
    # other class they do not
    stealthy = AllOf((Compute("down"), Kept()), weights=(1.0, 10.0))
    adv = FGSM(THREAT, goal=stealthy)(bright, IMAGES, LABELS, victim=bright)
    right = bright(IMAGES).logits.argmax(1) == LABELS
    assert 0 < int(right.sum()) < COUNT
    moved = (adv - IMAGES)[right]
    assert bool((moved[:, 0] > 0).all())
    assert bool((moved[:, 1:] < 0).all())
    assert torch.equal(adv[~right], IMAGES[~right]), "there is no right answer to be kept"


def test_of_two_results_the_one_that_keeps_the_answer_is_kept():
    goal = AllOf((Compute("up"), Kept()))

    def loses(images):  # leads to more cost, but also to the wrong class
        made = bright(images)
        return Output(-30 * made.logits, made.cost)

    images = IMAGES[bright(IMAGES).logits.argmax(1) == LABELS]
    labels = LABELS[: len(images)]
    attack = FGSM(PixelLinf(64), goal=goal)
    adv = strongest(attack, [loses, bright], images, labels, victim=bright)
    assert bool(goal.goals[1].reached(labels, bright(adv)).all())
    assert torch.equal(adv, attack(bright, images, labels, victim=bright))


def test_sums_of_goals():
    both = AllOf((Untargeted(), Compute()), weights=(1.0, 3.0))
    answer = bright(IMAGES)
    parts = Untargeted().objective(answer, LABELS) + 3 * Compute().objective(answer, LABELS)
    torch.testing.assert_close(both.objective(answer, LABELS), parts)
    assert both.asks_cost
    assert not AllOf((Untargeted(),)).asks_cost
    assert AllOf() == AllOf((Untargeted(), Compute()))
    with pytest.raises(ValueError, match="one for each of the 2 goals"):
        AllOf((Untargeted(), Compute()), weights=(1.0,))
    with pytest.raises(ValueError, match="at least one goal"):
        AllOf(())
    for weight in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="weights must be finite and above 0, got"):
            AllOf((Compute(), Kept()), weights=(1.0, weight))
    with pytest.raises(TypeError, match="goals must be a tuple, as"):
        AllOf(Compute())


def test_scenes_know_one_goal():
    with pytest.raises(ValueError, match=r"scenes are attacked with the goal Untargeted"):
        PointIFGSM(PointLinf(0.1), goal=Compute())
