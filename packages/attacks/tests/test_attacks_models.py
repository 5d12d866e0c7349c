"""Models that do not behave: they work in place, or answer with something else than logits."""

import pytest
import torch
from oracles import NAMES, LinearOracle, attacks, some_images

from leadgrad.attacks import (
    FGSM,
    IGNORE,
    PixelLinf,
    PointIFGSM,
    PointLinf,
    PointNoise,
    TargetShift,
    strongest,
)

THREAT = PixelLinf(eps_255=8)
LABELS = torch.tensor([0, 1, 0, 1])


class InPlace(LinearOracle):
    """Normalises what it is given in place, in one of the ways in which autograd may not see it."""

    def __init__(self, way):
        super().__init__()
        self.way = way

    def forward(self, x):
        data = x.data if self.way == "data" else x
        data.sub_(0.5).div_(0.25)
        return super().forward(x)


class Apart(LinearOracle):
    """The same function without changing its input."""

    def forward(self, x):
        return super().forward((x - 0.5) / 0.25)


@pytest.mark.parametrize("way", ["autograd", "data"])
@pytest.mark.parametrize("name", NAMES)
def test_models_that_work_in_place_move_nobodys_input(name, way):
    images, kept = some_images(), some_images()
    attack = attacks(THREAT, skip_misclassified=False)[name]
    adv = attack(InPlace(way), images, LABELS, victim=InPlace(way))
    assert torch.equal(images, kept)
    THREAT.check(adv, kept)
    if way == "autograd":
        assert torch.equal(adv, attack(Apart(), images, LABELS, victim=Apart()))


def test_strongest_gives_victims_copies_too():
    images, kept = some_images(), some_images()
    models = [InPlace("autograd"), InPlace("autograd")]
    adv = strongest(FGSM(THREAT), models, images, LABELS, victim=InPlace("data"))
    assert torch.equal(images, kept)
    THREAT.check(adv, kept)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("grad", [False, True])
def test_strongest_takes_every_precision_and_leaves_no_graph(dtype, grad):
    model = LinearOracle(dtype=dtype)
    images = some_images(dtype=dtype).requires_grad_(grad)
    adv = strongest(FGSM(THREAT), [model, model], images, LABELS, victim=model)
    assert adv.dtype == dtype
    assert not adv.requires_grad


BAD_ANSWERS = {
    "a tuple": (lambda logits: (logits, logits), TypeError, "returned a tuple, expected logits"),
    "a dict": (lambda logits: {"logits": logits}, TypeError, "returned a dict"),
    "probability of one class": (lambda logits: logits[:, 0], ValueError, r"\(4,\) torch.float64"),
    "classes": (lambda logits: logits.argmax(1, keepdim=True), ValueError, "int64, expected fl"),
    "a row for the batch": (lambda logits: logits.mean(0, keepdim=True), ValueError, "row per inp"),
}


@pytest.mark.parametrize("role", ["surrogate", "victim"])
@pytest.mark.parametrize("answer", BAD_ANSWERS)
def test_what_is_no_logits_is_refused_with_its_name(answer, role):
    change, error, says = BAD_ANSWERS[answer]
    good, model = LinearOracle(), LinearOracle()

    def bad(x):
        return change(model(x))

    surrogate, victim = (bad, good) if role == "surrogate" else (good, bad)
    with pytest.raises(error, match=says):
        FGSM(THREAT)(surrogate, some_images(), LABELS, victim=victim)


@pytest.mark.parametrize(
    ("labels", "error", "says"),
    [
        (torch.tensor([0, -100, 1, 0]), ValueError, "classes from 0 on, got -100 at row 1"),
        (torch.tensor([0, 3, 1, 0]), ValueError, "label 3, but the model's 3 logits .* 0 to 2"),
        ([0, 1, 0, 1], TypeError, "labels must be a tensor, got a list"),
    ],
)
@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("goal", [{}, {"goal": TargetShift(1)}])
def test_labels_that_are_no_classes_are_refused(labels, error, says, skip, goal):
    model = LinearOracle()
    attack = FGSM(THREAT, skip_misclassified=skip, **goal)
    with pytest.raises(error, match=says):
        attack(model, some_images(), labels, victim=model)


@pytest.mark.parametrize(
    "attack", [PointIFGSM(PointLinf(0.01), steps=2), PointNoise(PointLinf(0.01), tries=2)]
)
def test_points_may_be_ignored_and_nothing_else_may_be_no_class(attack):
    def model(x):
        return torch.stack([x.sum(1), -x.sum(1)], 1)

    points = torch.rand(3, 3)
    attack(model, points, torch.tensor([0, IGNORE, 1]), victim=model)
    for wrong in (-100, 2, 254):
        with pytest.raises(ValueError, match=f"{wrong}"):
            attack(model, points, torch.tensor([0, wrong, 1]), victim=model)


@pytest.mark.parametrize("ratio", [1e-6, 0.02])
def test_a_share_of_the_pixels_that_is_no_pixel_is_refused(ratio):
    model = LinearOracle()
    attack = FGSM(PixelLinf(8, valid_ratio=ratio))
    with pytest.raises(ValueError, match=rf"valid_ratio={ratio} of 6 x 6 pixels is none.*0\.028"):
        attack(model, some_images(), LABELS, victim=model)
