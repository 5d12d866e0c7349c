"""Precision, and values that are no numbers: a named error, and finished batches stay."""

import dataclasses

import numpy as np
import pytest
import torch
from own_victims import NotFiniteOnBright, OwnGated
from run_config import arguments, attack, attack_config, class_path, node, threat

from leadgrad.attacks import FGSM, PixelLinf
from leadgrad.data import FakeCIFAR10
from leadgrad.data.base import ImageSplit
from leadgrad.pipelines.api.verifying import verify
from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.cli import main
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.pipelines.tasks import ImageClassification
from leadgrad.victims import LGM, Sigmoid, SkipNet, gradient_method

ANY = FGSM(PixelLinf(8))
OWN = node("own_victims.OwnGated", num_classes=2)


def test_bfloat16_differs_in_the_gradient_alone(tmp_path):
    """What is decided and reported stays in float32."""
    results = {}
    for precision in ("float32", "bfloat16"):
        settings = attack_config(
            model__attack=node("leadgrad.attacks.IFGSM", threat=threat(), steps=3),
            model__surrogate_precision=precision,
        )
        results[precision] = attack(settings, tmp_path / precision)
    assert results["bfloat16"]["precision"] == "bfloat16"
    assert results["bfloat16"]["digest"] != results["float32"]["digest"]
    assert results["bfloat16"]["clean_accuracy"] == results["float32"]["clean_accuracy"]
    whole, half = (RunDirectory(tmp_path / name) for name in results)
    for one, other in zip(whole.records(), half.records(), strict=True):
        assert torch.equal(one.clean_logits, other.clean_logits)
        assert torch.equal(one.clean_units, other.clean_units)
        assert other.adv_inputs.dtype == torch.float32
        assert other.adv_logits.dtype == torch.float32
    assert main(["verify", str(half.path)]) == 0
    assert_half_answers(half, results)


def assert_half_answers(half, results) -> None:
    """What bfloat16 alone does to the clean answers is recorded, reported and verified."""
    assert results["float32"]["precision_effect"] is None
    records = list(half.records())
    answers = torch.cat([record.half_logits for record in records]).argmax(1)
    labels = torch.cat([record.label for record in records])
    clean = torch.cat([record.clean_logits for record in records]).argmax(1)
    assert results["bfloat16"]["precision_effect"] == {
        "bfloat16_clean_accuracy": pytest.approx(100 * float((answers == labels).double().mean())),
        "bfloat16_agreement": pytest.approx(100 * float((answers == clean).double().mean())),
    }
    number, record = 1, records[1]
    half.add(number, dataclasses.replace(record, half_logits=record.half_logits.flip(1)), 0)
    problems = [problem for finding in verify(half) for problem in finding.problems]
    assert "batch 1: 4 bfloat16 predictions differ" in problems
    half.add(number, dataclasses.replace(record, half_logits=None), 0)
    problems = [problem for finding in verify(half) for problem in finding.problems]
    assert "batch 1: bfloat16 answers are not as configured" in problems


def attempt(images, module):
    module.task = ImageClassification()
    return module.attempt({"image": images, "index": torch.arange(len(images))})


def test_surrogate_precision_reaches_the_surrogate():
    torch.manual_seed(0)
    images = torch.rand(2, 3, 16, 16)
    network, method = SkipNet(8, num_classes=2), LGM(Sigmoid(2.0))
    half, whole = (
        attempt(images, AttackModule(network, ANY, method, surrogate_precision=precision))
        for precision in ("bfloat16", "float32")
    )
    assert half.surrogate(images).dtype == torch.bfloat16
    with gradient_method(whole.victim, method):
        assert torch.equal(whole.surrogate(images), whole.victim(images))
    assert torch.equal(half.logits(images), whole.logits(images))


def test_the_victim_is_left_as_it_was():
    """The network given by the user is neither frozen nor folded; the attacked copy is both."""
    torch.manual_seed(0)
    network = SkipNet(8, num_classes=2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    module = AttackModule(network, ANY)
    images = torch.rand(2, 3, 16, 16).requires_grad_()
    attempt(images, module).surrogate(images).sum().backward()
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(parameter.grad is None for parameter in module.parameters())
    assert not any(parameter.requires_grad for parameter in module.victim.parameters())
    after = network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("kind", ["FGSM", "RandomNoise"])
def test_logits_that_are_no_numbers(tmp_path, capsys, kind):
    """Also without any gradient: for argmax NaN is the greatest logit, so it counts as a class."""
    settings = attack_config(
        model__network=node(f"own_victims.{NotFiniteOnBright.__name__}", num_classes=2),
        model__attack=node(f"leadgrad.attacks.{kind}", threat=threat()),
        data=node(class_path(BrightLater, "own_data"), batch_size=4, eval_size=12, num_classes=2),
    )
    run = RunDirectory(tmp_path / "run")
    assert main(arguments("attack", settings, run.path)) == 1
    message = capsys.readouterr().err.splitlines()[-2]
    assert message.startswith("error: the victim's logits of 1 samples are not finite")
    assert "the first is sample 9" in message
    assert run.finished() == {0, 1}
    assert not (run.path / "results.json").exists()


class BrightLater(FakeCIFAR10):
    """Dark images, but for one in the third batch."""

    def load_split(self, name):
        split = super().load_split(name)
        images = split.images // 4
        images[9] = 255
        return ImageSplit(images, split.labels)


class NotFiniteImages(FakeCIFAR10):
    """A user's own datamodule whose loader breaks the batch table."""

    def predict_dataloader(self):
        loader = super().predict_dataloader()
        loader.collate_fn = self.spoilt
        return loader

    @staticmethod
    def spoilt(batch):
        if 5 in batch["index"].tolist():
            batch["image"][1, 2, 3, 3] = torch.inf
        return batch


@pytest.mark.parametrize("kind", ["FGSM", "RandomNoise"])
def test_images_that_are_no_numbers(tmp_path, capsys, kind):
    settings = attack_config(
        model__network=OWN,
        model__attack=node(f"leadgrad.attacks.{kind}", threat=threat()),
        data=node(
            class_path(NotFiniteImages, "own_data"), batch_size=4, eval_size=12, num_classes=2
        ),
    )
    run = RunDirectory(tmp_path / "run")
    assert main(arguments("attack", settings, run.path)) == 1
    assert "error: the victim's logits" in capsys.readouterr().err
    assert run.finished() == {0}


class CornerOfSqrt(OwnGated):
    """Finite logits whose gradient is 0 · inf."""

    def forward(self, images):
        logits = super().forward(images)
        return logits + (logits - logits.detach()).square().sqrt()


def test_gradients_that_are_no_numbers(tmp_path, capsys):
    network = node(class_path(CornerOfSqrt, "own_networks"), num_classes=2)
    assert main(arguments("attack", attack_config(model__network=network), tmp_path / "run")) == 1
    assert "values of the input gradient are not finite" in capsys.readouterr().err


def test_budgets_of_nothing_and_of_everything(tmp_path):
    """eps 0 moves nothing; eps 255 in one step reaches the ends of the box."""
    nothing = attack_config(model__attack=node("leadgrad.attacks.FGSM", threat=threat(eps_255=0)))
    results = attack(nothing, tmp_path / "nothing")
    assert results["attack_success_rate"] == 0
    assert results["adversarial_accuracy"] == results["clean_accuracy"]
    assert results["architecture_change"]["percent"] == 0
    everything = attack_config(
        model__attack=node("leadgrad.attacks.RandomNoise", threat=threat(eps_255=255))
    )
    attack(everything, tmp_path / "everything")
    values = np.concatenate(
        [
            np.unique(record.adv_inputs[record.adv_inputs != record.clean_inputs])
            for record in RunDirectory(tmp_path / "everything").records()
        ]
    )
    assert set(values.tolist()) == {0.0, 1.0}
