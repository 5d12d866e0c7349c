"""C14 where compute is the goal: images that execute all, and some that nothing brings to more."""

import pytest
import torch
from checks_subjects import of_images, subject
from torch import nn

from leadgrad.attacks import APGD, FGSM, PGD, AnnealedPGD, Compute, PixelLinf
from leadgrad.pipelines.checks import during
from leadgrad.pipelines.checks.during import Trace
from leadgrad.victims import Gate, HingedCost

THREAT = PixelLinf(8)
ATTACKS = {
    "FGSM": FGSM(THREAT, goal=Compute()),
    "PGD": PGD(THREAT, goal=Compute()),
    "APGD": APGD(THREAT, steps=10, goal=Compute()),
    "AnnealedPGD": AnnealedPGD(THREAT, steps=10, goal=Compute()),
}


class OneUnit(nn.Module):
    """Tells two classes apart by the mean of the image; from 0.5 on it executes its one unit.

    Args:
        masked: What the gradient is multiplied by on the way.
    """

    def __init__(self, masked=1.0):
        super().__init__()
        self.gate, self.masked = Gate(), masked
        self.scale = nn.Parameter(torch.tensor(10.0))

    def forward(self, images):
        images = images.clone()
        if images.requires_grad:
            images.register_hook(lambda gradient: gradient * self.masked)
        score = images.mean((1, 2, 3)) - 0.5
        lead = self.scale * score * (1 + self.gate(score))
        return torch.stack([-lead, lead], 1)


def trace(name, means, masked=1.0):
    checked = subject(OneUnit(masked), ATTACKS[name], HingedCost())
    images = torch.tensor(means).view(-1, 1, 1, 1).expand(-1, 3, 8, 8).contiguous()
    return Trace.of(of_images(checked.module, images))


@pytest.mark.parametrize("name", ATTACKS)
def test_where_all_is_executed_no_loss_has_to_rise(name):
    made = trace(name, [0.6, 0.6, 0.49, 0.3])  # the third comes to execute it
    assert made.resisting.tolist() == [False, False, False, True]
    # Annealed PGD asks for no gradient of the whole batch, as two of it are done
    assert during.loss_rose(made).verdict == ("SKIP" if name == "AnnealedPGD" else "PASS")
    assert during.loss_rose(trace(name, [0.6, 0.7])).verdict == "SKIP"


@pytest.mark.parametrize("name", ATTACKS)
def test_a_loss_that_rose_on_the_way_did(name):
    """Although the victim takes none of the iterates where none executes more."""
    check = during.loss_rose(trace(name, [0.3, 0.32, 0.35, 0.38, 0.4, 0.42]))
    assert check.verdict == "PASS", check.value


def test_one_that_falls_is_still_found():
    check = during.loss_rose(trace("FGSM", [0.3, 0.35, 0.4], masked=-1.0))
    assert (check.verdict, check.value) == ("WARN", "not on 3 of 3")
