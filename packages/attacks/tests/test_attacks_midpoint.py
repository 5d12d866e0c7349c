"""Midpoint: where its two gradients of a step are taken, and what it steps along."""

import pytest
import torch

from leadgrad.attacks import FGSM, IFGSM, Midpoint, PixelLinf, TargetShift

THREAT = PixelLinf(eps_255=8)


class Bowl(torch.nn.Module):
    """The logit of class 0 falls with the distance to ``centre``, so the gradient turns there."""

    def __init__(self, centre):
        super().__init__()
        self.centre = centre
        self.seen = []

    def forward(self, x):
        self.seen.append(x.detach().clone())
        square = (x - self.centre).square().sum((1, 2, 3))
        return torch.stack([square, -square, -square], 1)


def test_the_second_gradient_is_that_of_the_half_way_point():
    x = torch.full((1, 3, 2, 2), 0.5)
    model = Bowl(0.5 - 3 / 255)  # nearer than half of the step
    label = torch.tensor([0])
    options = {"skip_misclassified": False}
    one = FGSM(THREAT, **options)(model, x, label, victim=model)
    assert torch.equal(one < x, torch.ones_like(x, dtype=torch.bool))
    model.seen.clear()
    mid = Midpoint(THREAT, **options)(model, x, label, victim=model)
    start, half = model.seen
    assert torch.equal(start, x)
    torch.testing.assert_close(half, x - 4 / 255)
    torch.testing.assert_close(mid, x + 8 / 255)


@pytest.mark.parametrize("goal", [{}, {"goal": TargetShift(1)}])
def test_steps_and_sizes(goal):
    """Where the gradient's signs do not turn, it is I-FGSM at twice the gradients."""
    torch.manual_seed(0)
    weight, x = torch.randn(12, 5), torch.rand(4, 3, 2, 2) / 2 + 0.25
    calls = []

    def model(x):
        calls.append(len(x))
        return x.flatten(1) @ weight

    labels = model(x).argmax(1)
    settings = {"steps": 3, "step_size_255": 2.0, "skip_misclassified": False, **goal}
    expected = IFGSM(THREAT, **settings)(model, x, labels, victim=model)
    calls.clear()
    mid = Midpoint(THREAT, **settings)(model, x, labels, victim=model)
    assert len(calls) == 6
    assert ((mid - expected).abs() < 1e-6).double().mean() > 0.9


@pytest.mark.parametrize(("steps", "size"), [(0, 1.0), (1, 0.0)])
def test_no_step_is_refused(steps, size):
    with pytest.raises(ValueError, match="must be"):
        Midpoint(THREAT, steps=steps, step_size_255=size)
