"""Adversarial training: what it trains on, what stays as it was, its guard, and the commands."""

import json

import pytest
import torch
from run_config import QUIET, arguments, fit_config, node, threat
from torch import nn

from leadgrad.attacks import FGSM, PGD, PixelLinf
from leadgrad.pipelines.cli import main
from leadgrad.pipelines.training.adversarial import AdversarialTraining, attacked_mode
from leadgrad.victims import LGM, DynConv, Lookahead, MultiExit, ResNet, Sigmoid, SkipNet
from leadgrad.victims.networks.early_exit import EarlyExitClassifier
from leadgrad.victims.training.classifier import Classifier
from leadgrad.victims.training.dynconv import DynConvClassifier
from leadgrad.victims.training.skipnet import SkipNetClassifier

FAST = PGD(PixelLinf(8), steps=1, step_size_255=10, skip_misclassified=False)
FAMILIES = {
    "static": lambda: Classifier(ResNet(8)),
    "skipnet": lambda: SkipNetClassifier(SkipNet(8), rate_weight=1.0, gumbel_noise=True),
    "dynconv": lambda: DynConvClassifier(DynConv(8)),
    "exits": lambda: EarlyExitClassifier(MultiExit(14, threshold=1.0)),
}


def batch(count=8):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 3, 32, 32, generator=generator)
    return {
        "image": images,
        "label": torch.arange(count) % 10,
        "index": torch.arange(count),
    }


class Trainer:
    """What a training asks of one outside a fit."""

    max_epochs, max_steps, current_epoch, estimated_stepping_batches = 4, -1, 0, 40
    world_size, global_rank = 1, 0
    num_training_batches, accumulate_grad_batches = 10, 1


def ready(training, attack=FAST, method=None):
    torch.manual_seed(0)
    made = AdversarialTraining(training, attack, method).train()
    made.of._trainer = made._trainer = Trainer()
    return made


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", [None, LGM(Sigmoid(2.0))], ids=["FGM", "LGM"])
@pytest.mark.filterwarnings("ignore:ResNet decides nothing")
def test_the_loss_is_the_other_trainings_on_the_attacked_images(family, method, monkeypatch):
    made, given = ready(FAMILIES[family](), method=method), batch()
    seen = []
    own = made.of.training_loss
    monkeypatch.setattr(made.of, "training_loss", lambda found: seen.append(found) or own(found))
    buffers = {name: value.clone() for name, value in made.network.named_buffers()}
    with monkeypatch.context() as patched:
        patched.setattr(made.of, "training_loss", lambda found: seen.append(found) or (0, {}))
        made.training_loss(given)
    for name, value in made.network.named_buffers():
        assert torch.equal(value, buffers[name]), "making examples leaves BN as it was"
    loss, terms = made.training_loss(given)
    moved = (seen[0]["image"] - given["image"]).abs()
    assert 0 < float(moved.max()) <= 8 / 255 + 1e-7
    assert torch.equal(seen[0]["image"], seen[1]["image"]), "drawn by sample and epoch"
    assert torch.equal(given["image"], batch()["image"])
    assert loss.requires_grad
    assert "cross_entropy" in " ".join(terms)
    assert all(parameter.grad is None for parameter in made.network.parameters())
    assert made.network.training


def test_what_depends_on_the_epoch_is_set_as_in_the_other_training(monkeypatch):
    """DynConv's noise ends before the run does."""
    made, noises = ready(FAMILIES["dynconv"]()), []
    monkeypatch.setattr(made, "training_loss", lambda given: (torch.zeros(()), {}))
    monkeypatch.setattr(made, "log", lambda *_, **__: None)
    monkeypatch.setattr(made, "log_dict", lambda *_, **__: None)
    for epoch in (0, 4):
        made._trainer.current_epoch = epoch
        made.training_step(batch(), 0)
        units = [part for part in made.network.modules() if hasattr(part, "noise")]
        noises.append({part.noise for part in units})
    assert noises == [{True}, {False}]


def test_each_epoch_starts_elsewhere(monkeypatch):
    made, seen = ready(FAMILIES["static"]()), []
    monkeypatch.setattr(made.of, "training_loss", lambda found: seen.append(found["image"]))
    for epoch in (0, 1):
        made._trainer.current_epoch = epoch
        made.training_loss(batch())
    assert not torch.equal(seen[0], seen[1])


def test_examples_are_harder_than_the_images():
    made, given = ready(FAMILIES["static"]()), batch(16)
    with torch.no_grad():
        clean = made.of.training_loss(given)[0]
        attacked = made.training_loss(given)[0]
    assert float(attacked) > float(clean)


def test_leading_makes_other_examples(monkeypatch):
    found = []
    for method in (None, LGM(Sigmoid(2.0))):
        made = ready(FAMILIES["exits"](), method=method)
        monkeypatch.setattr(made.of, "training_loss", lambda given: found.append(given["image"]))
        made.training_loss(batch())
    assert not torch.equal(*found)


def test_modes_and_buffers_come_back_after_an_error():
    norm, noise = nn.BatchNorm2d(2), nn.Dropout()
    network = nn.Sequential(noise, norm)
    bad = pytest.raises(ValueError, match="expected 4D input")
    with bad, attacked_mode(network):
        assert (norm.training, noise.training) == (True, False)
        norm(norm(torch.rand(2, 2, 3, 3))[0])
    assert all(module.training for module in network.modules())
    assert torch.equal(norm.running_mean, torch.zeros(2))
    assert int(norm.num_batches_tracked) == 0


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(ValueError, match="looks ahead"):
        AdversarialTraining(FAMILIES["static"](), FAST, Lookahead())
    with pytest.raises(ValueError, match="validated must be at least 1 image, got 0"):
        AdversarialTraining(FAMILIES["static"](), FAST, validated=0)
    with pytest.raises(ValueError, match="eps_255=0 makes no adversarial examples"):
        AdversarialTraining(FAMILIES["static"](), FGSM(PixelLinf(0)))


def test_the_guards_default_is_ten_steps_of_a_quarter():
    made = AdversarialTraining(FAMILIES["static"](), FGSM(PixelLinf(4)))
    assert made.validation_attack == PGD(PixelLinf(4), steps=10, step_size_255=1.0)


def test_fit_resume_publish_and_attack(tmp_path):
    """From a configuration to a card, with the epoch that the guard found best."""
    training = fit_config()["model"]
    model = node(
        "leadgrad.pipelines.training.adversarial.AdversarialTraining",
        training=training,
        attack=node("leadgrad.attacks.PGD", threat=threat(), steps=1, step_size_255=10),
        validated=8,
    )
    config = fit_config(model=model, trainer__max_epochs=2)
    assert main(arguments("fit", config, tmp_path / "fit")) == 0
    kept = json.loads((tmp_path / "fit" / "training.json").read_text())
    assert 0 <= kept["val_robust_accuracy"] <= kept["val_accuracy"] <= 100
    target = tmp_path / "robust.safetensors"
    line = ["publish", str(tmp_path / "fit"), str(target), "--device", "a test's CPU"]
    assert main([*line, "--checkpoint", "best"]) == 0
    card = json.loads(target.with_suffix(".json").read_text())
    assert card["network"]["class_path"] == "leadgrad.victims.SkipNet"
    assert card["training"]["chosen_by"] == "val_robust_accuracy"
    assert QUIET["accelerator"] == "cpu"
