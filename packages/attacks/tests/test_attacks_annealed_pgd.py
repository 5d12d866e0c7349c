"""Annealed PGD: its steps against a loop over single images, and which iterate it keeps."""

import math

import pytest
import torch
from oracles import EVERY_SAMPLE, LinearOracle, some_images

from leadgrad.attacks import (
    AllOf,
    AnnealedPGD,
    Compute,
    Kept,
    Output,
    PixelLinf,
    cross_entropy,
    margin,
    uniform_like,
)

THREAT = PixelLinf(8)


def one_by_one(net, image, label, number, threat, *, steps, decay, first_255):
    """Start and iterates of one image, by the equations alone."""
    radius, (low, high) = threat.eps_255 * threat.unit, threat.box
    noise = uniform_like(image[None], seed=0, sample_ids=torch.tensor([number]), stream="start")[0]
    mask = threat.mask(image[None])[0].expand_as(image)

    def project(x):
        x = torch.minimum(torch.maximum(x, image - radius), image + radius).clamp(low, high)
        return torch.where(mask, x, image)

    x, velocity = project(image + radius * noise), 0.0
    iterates = [x]
    for t in range(steps):
        at = x.clone().requires_grad_()
        cross_entropy(net(at[None]), label[None]).sum().backward()
        gradient = torch.where(mask, at.grad, 0.0)
        velocity = decay * velocity + gradient / gradient.abs().sum()
        size = first_255 * (0.25 + 0.375 * (1 + math.cos(math.pi * t / steps)))
        x = project(x + size * threat.unit * velocity.sign())
        iterates.append(x)
    return iterates


class Waves(LinearOracle):
    """Not linear, so that the gradient turns on the way."""

    def forward(self, x):
        logits = super().forward(x)
        waves = torch.stack([(40 * x).sin().flatten(1).sum(1), (31 * x).cos().flatten(1).sum(1)], 1)
        return torch.cat([logits[:, :1], logits[:, 1:] + waves], 1)


@pytest.mark.parametrize("threat", [THREAT, PixelLinf(4, "doubled", valid_ratio=0.5)], ids=str)
@pytest.mark.parametrize(("steps", "decay", "given"), [(1, 0.75, None), (9, 0.75, 3.0), (6, 0, 1)])
def test_the_iterate_of_greatest_score_is_kept_of_those_of_the_equations(
    threat, steps, decay, given
):
    net, x = Waves(), some_images(5)
    labels = net(x).argmax(1)
    attack = AnnealedPGD(threat, steps=steps, decay=decay, step_size_255=given)
    adv = attack(net, x, labels, victim=net)
    first = threat.eps_255 / 4 if given is None else given
    lost = 0
    for number, (image, label) in enumerate(zip(x, labels, strict=True)):
        steps_of = {"steps": steps, "decay": decay, "first_255": first}
        made = one_by_one(net, image, label, number, threat, **steps_of)
        answers = net(torch.stack([image, *made]))
        wrong = (answers.argmax(1) != label).tolist()
        scores = cross_entropy(answers, label.expand(len(answers)))
        best = wrong.index(True) if any(wrong) else int(scores.argmax())
        torch.testing.assert_close(adv[number], [image, *made][best], atol=1e-12, rtol=0)
        lost += any(wrong)
    assert steps == 1 or lost, "of several steps, some win"


@pytest.mark.parametrize("loss", [cross_entropy, margin])
def test_with_steps_enough_it_reaches_the_optimum(loss):
    """Of a goal that is never won, so that no image leaves early."""
    oracle, x, labels = LinearOracle(), some_images(3), torch.zeros(3, dtype=torch.int64)

    def costly(images):
        logits = oracle(images)
        return Output(logits, loss(logits, labels[: len(images)]).sigmoid())

    attack = AnnealedPGD(THREAT, steps=12, step_size_255=4.0, goal=Compute())
    adv = attack(costly, x, labels, victim=costly)
    torch.testing.assert_close(adv, oracle.worst_case(x, labels, THREAT), atol=1e-12, rtol=0)


def test_who_has_won_leaves():
    seen = {"surrogate": [], "victim": []}

    def counted(name):
        def model(x):
            seen[name].append(len(x))
            return net(x)

        return model

    net, x = LinearOracle(), some_images(6)
    labels = net(x).argmax(1)
    AnnealedPGD(THREAT, steps=20)(counted("surrogate"), x, labels, victim=counted("victim"))
    assert seen["victim"][:3] == [6, 6, 6], "what is eligible, the clean inputs, the starts"
    assert seen["victim"][3:] == seen["surrogate"]
    assert seen["surrogate"] == sorted(seen["surrogate"], reverse=True)
    assert seen["surrogate"][-1] < 6


def test_who_executes_everything_leaves_too():
    seen = []

    def steep(images):
        """One level up everything is executed."""
        up = (images - 0.5).flatten(1).mean(1) * 255
        cost = 0.5 + up / 2
        cost = cost + (cost.clamp(0, 1) - cost).detach()  # the gradient goes on
        return Output(torch.stack([5 - up, up - 5], 1), cost)

    def surrogate(images):
        seen.append(len(images))
        return steep(images)

    adv = AnnealedPGD(THREAT, goal=Compute(), steps=30)(surrogate, X, LABELS, victim=steep)
    assert (steep(adv).cost == 1).all()
    assert len(seen) < 10
    assert levels(adv).max() < 5, "and its first such iterate is kept"


def refused(images):
    raise AssertionError("asked for a gradient")


def test_a_start_that_wins_is_kept():
    def off_the_levels(images):
        """Wrong wherever the image is not of whole levels, as only starts are."""
        off = (images * 255 - (images * 255).round()).abs().flatten(1).amax(1) > 1e-6
        return torch.stack([~off, off], 1).double()

    clean = torch.full_like(X, 128 / 255)
    adv = AnnealedPGD(THREAT)(refused, clean, LABELS, victim=off_the_levels)
    assert (off_the_levels(adv).argmax(1) == 1).all()


@pytest.mark.parametrize("goal", [Compute(), AllOf((Compute(), Kept())), Compute(beyond=0.9)])
def test_a_clean_input_with_nothing_left_to_gain_stays_and_costs_no_gradient(goal):
    def busy(images):
        return Output(rising(images).logits, torch.ones(len(images), dtype=torch.float64))

    adv = AnnealedPGD(THREAT, goal=goal, **EVERY_SAMPLE)(refused, X, LABELS, victim=busy)
    assert torch.equal(adv, X)


def test_a_score_that_is_nan_is_the_worst():
    def broken(images):
        answer = rising(images)
        clean = (images == 0.5).flatten(1).all(1)
        return Output(answer.logits, torch.where(clean, torch.nan, answer.cost))

    adv = AnnealedPGD(THREAT, goal=Compute(), steps=30)(rising, X, LABELS, victim=broken)
    assert levels(adv).min() > 5


def fleeting(images):
    """Costs most where the mean is one level up, and less from there on; its surrogate goes on."""
    up = (images - 0.5).flatten(1).mean(1) * 255
    logits = torch.stack([5 - up, up - 5], 1)  # class 0 up to five levels
    return Output(logits, 0.5 - (up - 1).abs() / 32)


def rising(images):
    up = (images - 0.5).flatten(1).mean(1) * 255
    return Output(fleeting(images).logits, 0.5 + up / 32)


X = torch.full((4, 3, 2, 2), 0.5, dtype=torch.float64)
LABELS = torch.zeros(4, dtype=torch.int64)


def levels(adv):
    return (adv - 0.5).flatten(1).mean(1) * 255


def test_the_best_iterate_on_the_way_is_kept_not_the_last():
    settings = {"steps": 30, "step_size_255": 0.5}
    attack = AnnealedPGD(THREAT, goal=Compute(), **settings)
    adv = attack(rising, X, LABELS, victim=fleeting)
    assert (levels(adv) - 1).abs().max() <= 0.5, "a step"
    assert levels(attack(rising, X, LABELS, victim=rising)).min() > 5


def test_an_answer_to_be_kept_is_kept():
    goal = AllOf((Compute(), Kept()))
    adv = AnnealedPGD(THREAT, goal=goal, steps=30)(rising, X, LABELS, victim=rising)
    assert (rising(adv).logits.argmax(1) == 0).all()
    assert levels(adv).min() > 3, "and the compute goes up as far as that allows"
    freely = AnnealedPGD(THREAT, goal=Compute(), steps=30)(rising, X, LABELS, victim=rising)
    assert (rising(freely).logits.argmax(1) == 1).all()


def test_where_nothing_is_better_the_clean_input_stays():
    def falling(images):
        return Output(fleeting(images).logits, 0.5 - (images - 0.5).abs().flatten(1).mean(1))

    adv = AnnealedPGD(THREAT, goal=Compute())(rising, X, LABELS, victim=falling)
    assert torch.equal(adv, X)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"step_size_255": 0.0}, "step_size_255 must be above 0 units, got 0.0"),
        ({"decay": 1.5}, r"decay must lie in \[0, 1\], got 1.5"),
        ({"decay": float("nan")}, "got nan"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        AnnealedPGD(THREAT, **settings, **EVERY_SAMPLE)
