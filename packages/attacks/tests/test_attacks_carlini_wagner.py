"""Carlini and Wagner's loss with Adam, against torch's own Adam, one sample at a time."""

import pytest
import torch
from oracles import CLASSES, EVERY_SAMPLE, LinearOracle, some_images

from leadgrad.attacks import CarliniWagner, PixelLinf, TargetClass, TargetShift

THREATS = pytest.mark.parametrize(
    "threat", [PixelLinf(8), PixelLinf(16, "doubled", valid_ratio=0.3)], ids=str
)


def waves(x):
    """Four logits whose gradient turns within a few units."""
    flat = x.flatten(1)
    return torch.stack([(flat * (20 + 9 * k) + k).sin().sum(1) / 9 for k in range(4)], 1)


def by_optimiser(image, label, threat, *, target, steps, lr, confidence):
    """f₆ of Carlini & Wagner 2017 lowered by torch.optim.Adam, projected after each step."""
    mask, radius = threat.mask(image[None])[0], threat.eps_255 * threat.unit
    delta = torch.zeros_like(image).requires_grad_()
    optimiser = torch.optim.Adam([delta], lr=lr)
    beyond = 0
    for _ in range(steps):
        optimiser.zero_grad()
        logits = waves((image + delta)[None])[0]
        own = label if target is None else target
        other = max(logits[k] for k in range(4) if k != own)
        missed = logits[own] - other if target is None else other - logits[own]
        beyond += bool(missed < -confidence)
        torch.clamp(missed, min=-confidence).backward()
        optimiser.step()
        with torch.no_grad():
            moved = (image + (delta * mask).clamp(-radius, radius)).clamp(*threat.box)
            delta.copy_(moved - image)
    return (image + delta).detach(), beyond


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("confidence", [0.0, 0.8, 1e3])
@THREATS
def test_it_is_adam_on_the_margin(targeted, confidence, threat):
    x, labels = some_images(5), torch.tensor([0, 1, 2, 3, 1])
    attack = CarliniWagner(
        threat,
        steps=14,
        step_size_255=1.5,
        confidence=confidence,
        **({"goal": TargetShift(1)} if targeted else {}),
        **EVERY_SAMPLE,
    )
    adv = attack(waves, x, labels, victim=waves)
    coasted = 0
    for image, label, moved in zip(x, labels.tolist(), adv, strict=True):
        expected, beyond = by_optimiser(
            image,
            label,
            threat,
            target=(label + 1) % 4 if targeted else None,
            steps=14,
            lr=1.5 * threat.unit,
            confidence=confidence,
        )
        coasted += beyond
        torch.testing.assert_close(moved, expected, atol=1e-9, rtol=0)
    assert (coasted > 0) == (confidence < 1e3), "the clamp is reached where it should be"


@THREATS
@pytest.mark.parametrize("targeted", [False, True])
def test_it_reaches_the_optimum_of_a_linear_victim(targeted, threat):
    oracle, x = LinearOracle(), some_images(3)
    # Labels 1 and 2 have the same logit, so that only the margin to 0 has a gradient
    labels = torch.tensor([1, 2, 1]) if targeted else torch.zeros(3, dtype=torch.int64)
    goal = {"goal": TargetClass(0)} if targeted else {}
    attack = CarliniWagner(
        threat, steps=12, step_size_255=threat.eps_255 / 5, confidence=1e6, **goal, **EVERY_SAMPLE
    )
    adv = attack(oracle, x, labels, victim=oracle)
    torch.testing.assert_close(adv, oracle.worst_case(x, labels, threat), atol=1e-12, rtol=0)


def test_confidence_ends_the_effort_on_the_surrogate():
    oracle, x = LinearOracle(), some_images(6)
    labels = torch.zeros(6, dtype=torch.int64)
    moved = []
    for confidence in (0.0, 2.0, 1e6):
        attack = CarliniWagner(
            PixelLinf(64), steps=60, step_size_255=1.0, confidence=confidence, **EVERY_SAMPLE
        )
        adv = attack(oracle, x, labels, victim=oracle)
        logits = oracle(adv)
        assert (logits[:, 1] - logits[:, 0] > min(confidence, 4)).all()
        moved.append((adv - x).abs().mean())
    assert moved[0] < moved[1] < moved[2]


def test_one_samples_gradient_has_no_say_in_anothers_step():
    x, labels = some_images(4), torch.tensor([0, 1, 2, 3])
    loud = torch.tensor([1.0, 1e9, 1e-5, 0.0], dtype=torch.double)[:, None]
    attack = CarliniWagner(PixelLinf(8), confidence=1e30, **EVERY_SAMPLE)
    plain = attack(waves, x, labels, victim=waves)
    adv = attack(lambda images: waves(images) * loud, x, labels, victim=waves)
    assert torch.equal(adv[0], plain[0])
    # Adam's step does not depend on the scale, but for its epsilon of 1e-8
    torch.testing.assert_close(adv[1], plain[1], atol=1e-6, rtol=0)
    assert (adv[2] != x[2]).any()
    assert torch.equal(adv[3], x[3]), "no gradient, no step, no NaN"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_its_small_gradients(dtype):
    weight = torch.full((CLASSES, 3, 6, 6), 1e-3)
    weight[0] = -1e-3  # whose square is 0 in float16

    def victim(images):
        return (images[:, None] * weight.to(dtype)).flatten(2).sum(2)

    x = some_images(2, dtype=torch.double).clamp(0.25, 0.5).to(dtype)
    labels = torch.tensor([0, 0])
    adv = CarliniWagner(PixelLinf(8), steps=9, **EVERY_SAMPLE)(victim, x, labels, victim=victim)
    assert adv.dtype == dtype
    assert ((adv.double() - x.double()) > 7 / 255).all()
