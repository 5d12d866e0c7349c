"""Attacks on point coordinates, against victims whose best perturbation is known in closed form."""

import pytest
import torch
from torch import nn

from leadgrad.attacks import (
    IGNORE,
    BudgetError,
    PointIFGSM,
    PointLinf,
    PointNoise,
    PointPGD,
    PointStandard,
    Samples,
    mean_iou,
    point_cross_entropy,
    strongest,
)
from leadgrad.attacks.segmentation import labelled


class Halfspace(nn.Module):
    """Class 1 where a·x > 0, else class 0; a leads every point straight out."""

    def __init__(self, normal=(3.0, -1.5, 0.75)):
        super().__init__()
        self.normal = nn.Parameter(torch.tensor(normal))
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        score = x @ self.normal.to(x)
        return torch.stack([-score, score], 1)


def scene(count=50, seed=0):
    points = torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)) - 0.5
    return points, Halfspace()(points).argmax(1)


def test_step_formula():
    """The three points of docs/reference/scenes.md, "Step size"."""
    gradient = torch.tensor([(2e-5, 1e-5, -4e-5), (3e-9, -1e-9, 0), (0.0, 0, 0)])
    attack = PointIFGSM(PointLinf(0.05), step_size_m=0.01)
    wanted = [(0.004999, 0.002499, -0.009998), (0.002308, -0.000769, 0), (0, 0, 0)]
    moved = attack.step_size_m * attack.direction(gradient)
    torch.testing.assert_close(moved, torch.tensor(wanted), atol=1e-6, rtol=0)


def test_one_step_is_the_normalised_gradient():
    points, labels = scene()
    model = Halfspace()
    attack = PointIFGSM(PointLinf(0.05), steps=2, step_size_m=0.01, delta=1e-12)
    adv = attack(model, points, labels, victim=model)
    sign = torch.where(labels == 1, -1.0, 1.0)[:, None]
    move = torch.tensor([(0.01, -0.005, 0.0025)]) * sign
    torch.testing.assert_close(adv - points, move, atol=1e-6, rtol=0)


def test_enough_steps_reach_the_face_of_the_cube():
    points, labels = scene()
    model = Halfspace()
    adv = PointIFGSM(PointLinf(0.05), steps=30, step_size_m=0.01)(
        model, points, labels, victim=model
    )
    corner = torch.tensor([(0.05, -0.05, 0.05)]) * torch.where(labels == 1, -1.0, 1.0)[:, None]
    best = model(points + corner).argmax(1)
    assert torch.equal(model(adv).argmax(1), best)
    assert float((adv.double() - points.double()).abs().max()) <= 0.05


def test_steps_count_evaluations_and_there_is_one_update_less():
    points, labels = scene()
    surrogate, victim = Halfspace(), Halfspace()
    PointIFGSM(PointLinf(0.05), steps=5)(surrogate, points, labels, victim=victim)
    assert (surrogate.calls, victim.calls) == (4, 5)
    alone = PointIFGSM(PointLinf(0.05), steps=1)(surrogate, points, labels, victim=victim)
    assert torch.equal(alone, points)


def test_the_worst_iterate_counts_not_the_last():
    points, labels = scene()
    shown = []

    def victim(x):
        shown.append(x)
        logits = Halfspace()(x)
        return -logits if len(shown) == 3 else logits  # all wrong, once

    adv = PointIFGSM(PointLinf(0.05), steps=6)(Halfspace(), points, labels, victim=victim)
    assert torch.equal(adv, shown[2])


def test_ignored_points_have_no_say():
    points, labels = scene()
    labels[::2] = IGNORE
    model = Halfspace()
    adv = PointIFGSM(PointLinf(0.05), steps=4)(model, points, labels, victim=model)
    assert torch.equal(adv[::2], points[::2])
    assert (adv[1::2] != points[1::2]).any(1).all()
    nothing = torch.full_like(labels, IGNORE)
    assert torch.equal(
        PointIFGSM(PointLinf(0.05), steps=4)(model, points, nothing, victim=model), points
    )


def test_loss_of_a_scene_is_the_mean_over_its_labelled_points():
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, IGNORE, 3, IGNORE, 2])
    values = point_cross_entropy(logits, labels)
    assert values[2] == values[4] == 0
    samples = Samples.of(logits, torch.tensor([0, 0, 0, 0, 1, 1]), None)
    means = samples.total(values) / labelled(labels, samples)
    for scene, rows in enumerate((slice(0, 4), slice(4, 6))):
        wanted = nn.functional.cross_entropy(logits[rows], labels[rows], ignore_index=IGNORE)
        torch.testing.assert_close(means[scene].float(), wanted)
    assert not point_cross_entropy(logits, torch.full((6,), IGNORE)).any()


def test_mean_iou_by_hand():
    labels = torch.tensor([0, 0, 1, 1, IGNORE, 2])
    predictions = torch.tensor([0, 1, 1, 3, 0, 3])
    # Class 0: 1 of 2; class 1: 1 of 3; class 2: 0 of 1; class 3 is not in the labels
    assert mean_iou(predictions, labels, 4) == pytest.approx((1 / 2 + 1 / 3) / 3)
    nothing = mean_iou(predictions, torch.full((6,), IGNORE), 4)
    assert nothing != nothing


@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_budget_holds_for_the_stored_numbers(offset, dtype):
    points = (scene(500)[0] + offset).to(dtype)
    labels = torch.zeros(500, dtype=torch.int64)
    model = Halfspace()
    for attack in (
        PointIFGSM(PointLinf(0.013), steps=8, step_size_m=0.004),
        *(PointNoise(PointLinf(0.013), kind) for kind in ("uniform", "corners", "surface")),
    ):
        adv = attack(model, points, labels, victim=model)
        # Exact for float32; the float64 bound is itself rounded
        slack = 0 if dtype == torch.float32 else 2**-52 * (offset + 1)
        assert float((adv.double() - points.double()).abs().max()) <= 0.013 + slack
    with pytest.raises(BudgetError, match=r"allowed are 0\.013 m"):
        PointLinf(0.013).check(points + 0.02, points)
    with pytest.raises(BudgetError, match="not finite"):
        PointLinf(0.013).check(points / 0, points)


def test_noise_belongs_to_scenes():
    points, labels = scene(30)
    named = {"sample_ids": torch.tensor([4, 7]), "owner": torch.tensor([0] * 10 + [1] * 20)}
    noise = PointNoise(PointLinf(0.01))
    together = noise(None, points, labels, victim=None, **named)
    alone = noise(None, points[10:], labels[10:], victim=None, sample_ids=torch.tensor([7]))
    assert torch.equal(together[10:], alone)
    other = PointNoise(PointLinf(0.01), seed=1)
    assert not torch.equal(other(None, points, labels, victim=None, **named), together)


@pytest.mark.parametrize(
    ("kind", "faces"), [("uniform", 0.0), ("surface", 1 / 3), ("corners", 1.0)]
)
def test_where_noise_falls(kind, faces):
    points = torch.zeros(3000, 3)
    noise = PointNoise(PointLinf(1.0), kind)
    adv = noise(None, points, torch.zeros(3000, dtype=torch.int64), victim=None)
    assert float((adv.abs() == 1).float().mean()) == pytest.approx(faces)
    assert float(adv.mean()) == pytest.approx(0, abs=0.05)


def test_arguments_that_are_none():
    for eps_m in (-0.1, 11, float("nan")):
        with pytest.raises(ValueError, match="eps_m must lie in"):
            PointLinf(eps_m)
    with pytest.raises(ValueError, match="steps must be at least 1"):
        PointIFGSM(PointLinf(0.1), steps=0)
    with pytest.raises(ValueError, match="step_size_m must be finite"):
        PointIFGSM(PointLinf(0.1), step_size_m=0)
    with pytest.raises(ValueError, match="distribution must be"):
        PointNoise(PointLinf(0.1), "gauss")


def test_noise_of_several_tries_is_the_victims_worst():
    points, labels = scene(200)
    model = Halfspace()
    threat = PointLinf(0.3)
    single = PointNoise(threat)(model, points, labels, victim=model)
    model.calls = 0
    best = PointNoise(threat, tries=5)(model, points, labels, victim=model)
    assert model.calls == 5
    scores = [mean_iou(model(adv).argmax(1), labels, 2) for adv in (single, best)]
    assert scores[1] < scores[0]
    again = PointNoise(threat, tries=1)(model, points, labels, victim=model)
    assert torch.equal(again, single), "the first draw is that of one try"


ATTACKS_BY_SCENE = [
    PointNoise(PointLinf(0.3), tries=4),
    PointIFGSM(PointLinf(0.3), steps=6, step_size_m=0.05),
    PointPGD(PointLinf(0.3), steps=3, step_size_m=0.05, restarts=2),
    PointStandard(PointLinf(0.3), budget=12),
]


@pytest.mark.parametrize("attack", ATTACKS_BY_SCENE, ids=lambda attack: type(attack).__name__)
@pytest.mark.parametrize("surrogates", [1, 2])
def test_scenes_of_a_batch_are_attacked_as_each_alone(attack, surrogates):
    points, labels = scene(60)
    # Not sorted: rows of a scene need not lie side by side
    owner = torch.randint(0, 3, (60,), generator=torch.Generator().manual_seed(2))
    ids = torch.tensor([5, 2, 9])
    model = Halfspace()
    given = [model, lambda x: -model(x)][:surrogates]
    together = strongest(attack, given, points, labels, victim=model, sample_ids=ids, owner=owner)
    assert not torch.equal(together, points)
    for number in range(3):
        rows = owner == number
        named = {"victim": model, "sample_ids": ids[number : number + 1]}
        assert torch.equal(
            together[rows], strongest(attack, given, points[rows], labels[rows], **named)
        )


def test_the_worst_of_all_starts_counts():
    points, labels = scene(80)
    model, threat = Halfspace(), PointLinf(0.3)

    def left(restarts):
        attack = PointPGD(threat, steps=2, step_size_m=0.02, restarts=restarts)
        adv = attack(model, points, labels, victim=model)
        return mean_iou(model(adv).argmax(1), labels, 2)

    assert left(8) < left(1)
    with pytest.raises(ValueError, match="restarts must be at least 1"):
        PointPGD(threat, restarts=0)


def test_of_two_surrogates_a_scene_keeps_the_one_that_hurts_more():
    points, labels = scene(80)
    model = Halfspace()
    attack = PointIFGSM(PointLinf(0.3), steps=4, step_size_m=0.05)

    def left(*surrogates):
        adv = strongest(attack, surrogates, points, labels, victim=model)
        return mean_iou(model(adv).argmax(1), labels, 2)

    away = lambda x: -model(x)  # noqa: E731
    assert left(away, model) == left(model, away) == left(model) < left(away)
