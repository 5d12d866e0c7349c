"""LGM is a property of the victim: an attack that knows nothing of it runs under it unchanged."""

import runpy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from leadgrad.victims import FGM, LGM, DynConv, Sigmoid, SkipNet, gradient_method

_HELPER = Path(__file__).parents[1] / "packages" / "victims" / "tests" / "golden_fill.py"
fill = runpy.run_path(str(_HELPER))["fill"]

EPS, STEP, STEPS = 8 / 255, 2 / 255, 4
FAMILIES = pytest.mark.parametrize("family", [SkipNet, DynConv])


def textbook_pgd(model, images, labels):
    """PGD as in any textbook; it calls ``model(x)`` and knows nothing else."""
    x = images.clone()
    for _ in range(STEPS):
        x.requires_grad_()
        loss = F.cross_entropy(model(x), labels)
        (gradient,) = torch.autograd.grad(loss, x)
        x = x.detach() + STEP * gradient.sign()
        x = torch.clamp(x, images - EPS, images + EPS).clamp(0, 1)
    return x.detach()


def torchattacks_pgd(model, images, labels):
    torchattacks = pytest.importorskip("torchattacks", exc_type=ImportError)
    attack = torchattacks.PGD(model, eps=EPS, alpha=STEP, steps=STEPS, random_start=False)
    return attack(images, labels)


def foolbox_pgd(model, images, labels):
    foolbox = pytest.importorskip("foolbox", exc_type=ImportError)
    attack = foolbox.attacks.LinfPGD(abs_stepsize=STEP, steps=STEPS, random_start=False)
    _, clipped, _ = attack(foolbox.PyTorchModel(model, (0, 1)), images, labels, epsilons=EPS)
    return clipped


@pytest.mark.filterwarnings("ignore")  # other libraries' warnings are theirs
@pytest.mark.parametrize("pgd", [textbook_pgd, torchattacks_pgd, foolbox_pgd])
@FAMILIES
def test_a_foreign_attack_is_led_by_the_method_around_it(family, pgd):
    victim = fill(family(14)).float()
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    labels = victim(images).argmax(1)
    frozen = pgd(victim, images, labels)
    with gradient_method(victim, LGM(Sigmoid(2))):
        led = pgd(victim, images, labels)
        expected = textbook_pgd(victim, images, labels)
    again = pgd(victim, images, labels)
    for adv in (frozen, led):
        assert (adv - images).abs().max() <= EPS + 1e-6
        assert not torch.equal(adv, images)
    assert (led != frozen).double().mean() > 0.05, "the led gradient goes elsewhere"
    assert torch.equal(again, frozen), "the method ends with its context"
    assert (led != expected).double().mean() < 0.01, "every library takes the same steps"
    with gradient_method(victim, FGM()):
        assert torch.equal(pgd(victim, images, labels), frozen)
