"""RDI-Net's published weights, where there are some: clean accuracies, and an attack that leads."""

import os
from pathlib import Path

import pytest
import torch

from leadgrad.attacks import PGD, PixelLinf
from leadgrad.data import CIFAR10
from leadgrad.pipelines.attack.task import task_of
from leadgrad.victims import (
    FGM,
    LGM,
    MultiExit,
    Sigmoid,
    gradient_method,
    load_published,
    prepare_for_attack,
    record_occupancies,
)

DATA = os.environ.get("LEADGRAD_DATA") or None
pytestmark = pytest.mark.skipif(DATA is None, reason="LEADGRAD_DATA names no folder of real data")


@pytest.fixture(scope="module")
def victim():
    weights = Path(DATA) / "rdi-net" / "rdi_resnet38_cifar10.safetensors"
    return prepare_for_attack(load_published(MultiExit(38, threshold=0.8), weights).eval())


@pytest.fixture(scope="module")
def batch():
    data = CIFAR10(root=str(Path(DATA) / "cifar10"), attack_split="test")
    return task_of(data).first(data, "test", 250)


def test_clean_accuracies_are_the_known_ones(victim, batch):
    with torch.no_grad(), record_occupancies(victim) as record:
        answer = victim(batch["image"])
        exits = victim.exit_logits(batch["image"])
    right = [100 * float((own.argmax(1) == batch["label"]).double().mean()) for own in exits]
    assert right == pytest.approx([74.0, 77.2, 81.6, 82.0, 84.0, 87.6, 86.8], abs=0.05)
    assert float((answer.argmax(1) == batch["label"]).double().mean()) == pytest.approx(0.86)
    answered = torch.bincount(victim.answered_by(record), minlength=7).tolist()
    assert answered == [77, 29, 28, 11, 11, 20, 74]


def test_leading_takes_what_frozen_exits_leave(victim, batch):
    """Five steps on 100 images; over ten points apart, where two have a standard error of five."""
    x, y = batch["image"][:100], batch["label"][:100]
    attack = PGD(PixelLinf(8), steps=5, step_size_255=4)
    left = {}
    for method in (FGM(), LGM(Sigmoid(3.0))):

        def surrogate(images, method=method):
            with gradient_method(victim, method):
                return victim(images)

        adv = attack(surrogate, x, y, victim=victim)
        with torch.no_grad():
            left[type(method)] = float((victim(adv).argmax(1) == y).double().mean())
    assert left[LGM] < left[FGM] - 0.05
