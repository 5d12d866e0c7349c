"""NI-FGSM against the loop of its paper, one sample at a time."""

import pytest
import torch
from oracles import EVERY_SAMPLE, some_images

from leadgrad.attacks import MIFGSM, NIFGSM, PixelLinf, TargetShift, cross_entropy

LABELS = torch.tensor([0, 1, 2, 3, 1])
# The velocity's L1 norm over the image is about 1 per step: only with few pixels does it look far
SHAPE = (1, 2, 3)


def waves(x):
    """Four logits whose gradient turns within a few units: looking ahead makes a difference."""
    flat = x.flatten(1)
    return torch.stack([(flat * (200 + 90 * k) + k).sin().sum(1) for k in range(4)], 1)


def paper(x, label, *, decay, steps, sign, targets):
    """Lin et al. 2020, Algorithm 1, for one image and the whole image valid; 8/255 in 1/255."""
    moved, g = x.clone(), torch.zeros_like(x)
    for _ in range(steps):
        ahead = (moved + sign * decay / 255 * g).requires_grad_()
        loss = cross_entropy(waves(ahead[None]), torch.tensor([targets(label)]))[0]
        (gradient,) = torch.autograd.grad(loss, ahead)
        g = decay * g + gradient / gradient.abs().sum()
        moved = moved + sign / 255 * g.sign()
        moved = moved.clamp(x - 8 / 255, x + 8 / 255).clamp(0, 1)
    return moved


@pytest.mark.parametrize("decay", [1.0, 0.4])
@pytest.mark.parametrize("targeted", [False, True])
def test_nifgsm_is_the_papers_loop(decay, targeted):
    x = some_images(5, SHAPE)
    settings = {"goal": TargetShift(1)} if targeted else {}
    attack = NIFGSM(PixelLinf(8), steps=9, decay=decay, **settings, **EVERY_SAMPLE)
    adv = attack(waves, x, LABELS, victim=waves)
    for image, label, moved in zip(x, LABELS.tolist(), adv, strict=True):
        expected = paper(
            image,
            label,
            decay=decay,
            steps=9,
            sign=-1 if targeted else 1,
            targets=lambda own: (own + targeted) % 4,
        )
        torch.testing.assert_close(moved, expected, atol=1e-12, rtol=0)


def test_looking_ahead_matters():
    x = some_images(5, SHAPE)
    settings = {"steps": 9, **EVERY_SAMPLE}
    ahead = NIFGSM(PixelLinf(8), **settings)(waves, x, LABELS, victim=waves)
    here = MIFGSM(PixelLinf(8), **settings)(waves, x, LABELS, victim=waves)
    assert (ahead == here).flatten(1).all(1).sum() <= 1


@pytest.mark.parametrize("targeted", [False, True])
def test_it_looks_where_the_goal_lies_and_only_at_valid_pixels(targeted):
    seen = []

    def surrogate(images):
        seen.append(images.detach().clone())
        return waves(images)

    x, threat = some_images(2, SHAPE), PixelLinf(8, valid_ratio=0.5)
    settings = {"goal": TargetShift(1)} if targeted else {}
    NIFGSM(threat, steps=2, decay=1.0, **settings, **EVERY_SAMPLE)(
        surrogate, x, LABELS[:2], victim=waves
    )
    first, second = seen
    assert torch.equal(first, x)
    wanted = (LABELS[:2] + targeted) % 4
    inputs = x.clone().requires_grad_()
    loss = cross_entropy(waves(inputs), wanted).sum()
    gradient = torch.autograd.grad(loss, inputs)[0] * threat.mask(x)
    velocity = gradient / gradient.flatten(1).abs().sum(1).view(-1, 1, 1, 1)
    one = torch.where(
        threat.mask(x), (x + (-1 if targeted else 1) / 255 * gradient.sign()).clamp(0, 1), x
    )
    expected = one + (-1 if targeted else 1) / 255 * velocity
    torch.testing.assert_close(second, expected, atol=1e-14, rtol=0)
