"""Small subjects of the sanity checks: sound ones, and ways to plant a fault in them."""

from dataclasses import replace

import torch
from own_victims import OwnGated
from torch import nn

from leadgrad.attacks import FGSM, PixelLinf
from leadgrad.data import FakeCIFAR10
from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.checks import Reported, Subject, run_checks
from leadgrad.pipelines.tasks import ImageClassification
from leadgrad.victims import LGM, Sigmoid, record_decisions

SAMPLES = 16
LEADING = LGM(Sigmoid(5.0))
DATA = FakeCIFAR10(batch_size=8, eval_size=SAMPLES, num_classes=4, image_size=16)


def network(cls=OwnGated, **arguments):
    """A network of random weights; an own module's gates decide half one way, half the other."""
    torch.manual_seed(0)
    made = cls(num_classes=4, **arguments)
    if isinstance(made, OwnGated):
        images = DATA.split("test").images.float() / 255
        for number, score in enumerate((made.image_score, made.position_score)):
            score.weight.data *= 30
            with torch.no_grad(), record_decisions(made.eval()) as record:
                made(images)
            score.bias.data -= record[number].margin.quantile(0.5)
    return made


def subject(victim: nn.Module, attack=None, method=LEADING) -> Subject:
    """The first images, each labelled as the victim answers, so that all are worth attacking."""
    images = DATA.split("test").images.float() / 255
    return of_images(images_module(victim, attack or FGSM(PixelLinf(8)), method), images)


def images_module(*arguments) -> AttackModule:
    module = AttackModule(*arguments)
    module.task = ImageClassification()
    return module


def of_images(module: AttackModule, images: torch.Tensor, twin=None) -> Subject:
    """Images that are labelled as the victim answers."""
    batch = {"image": images, "index": torch.arange(len(images))}
    labels = module.attempt(batch).logits(images).argmax(1)
    return Subject(module, {**batch, "label": labels}, twin)


def changed(checked: Subject, **batch) -> Subject:
    """The same with other parts of the batch."""
    return replace(checked, batch={**checked.batch, **batch})


def reported(**changes) -> Reported:
    return Reported(**{"right": SAMPLES, "manifest": DATA.manifest(), **changes})


def verdicts(checked: Subject, level="fast") -> dict[str, str]:
    """The worst verdict of each number."""
    order = ["SKIP", "PASS", "WARN", "FAIL"]
    worst: dict[str, str] = {}
    for check in run_checks(checked, level, reported()):
        worst[check.id] = max(worst.get(check.id, "SKIP"), check.verdict, key=order.index)
    return worst
