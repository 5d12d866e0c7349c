"""C1 to C4, C6 and C9 on sound victims, and on planted faults that they must find."""

import pytest
import torch
from checks_subjects import changed, network, subject, verdicts
from own_victims import OwnGated
from torch import nn

from leadgrad.pipelines.checks import before
from leadgrad.pipelines.checks.running import made
from leadgrad.pipelines.checks.subject import untouched
from leadgrad.victims import FGM, DynConv, ResNet, SkipNet


@pytest.mark.parametrize("family", [SkipNet, DynConv, ResNet, OwnGated])
def test_sound_victims_fail_nothing(family):
    victim = network() if family is OwnGated else network(family, depth=8)
    worst = verdicts(subject(victim))
    assert list(worst) == [f"C{number}" for number in (*range(1, 15), 21)]
    assert {number for number, verdict in worst.items() if verdict == "FAIL"} == set()
    assert {worst[number] for number in ("C1", "C2", "C3", "C4", "C6", "C8", "C9")} == {"PASS"}
    gated = "SKIP" if family is ResNet else "PASS"
    # This SkipNet's random gates decide the same for all images
    assert (worst["C7"], worst["C10"]) == (gated, "WARN" if family is SkipNet else gated)


def with_images(change):
    sound = subject(network())
    return changed(sound, image=change(sound.inputs))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda images: images * 255, "divide by 255"),
        (lambda images: (images - 0.5) / 0.25, "looks normalised"),
        (lambda images: images.double(), "float32"),
        (lambda images: images.index_fill(0, torch.tensor(3), torch.nan), "finite"),
        (lambda images: images * 0.999, "whole multiples"),
    ],
    ids=["0..255", "normalised", "float64", "NaN", "resized"],
)
def test_c1_other_images(change, words):
    check = before.inputs(with_images(change))
    assert check.verdict == "FAIL"
    assert words in check.value


class BatchNormed(OwnGated):
    """A user's network with BN, whose mode a user's own ``train`` may spoil."""

    def __init__(self, num_classes):
        super().__init__(num_classes=num_classes)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images):
        return super().forward(self.norm(images))


class StaysInTraining(BatchNormed):
    def train(self, mode=True):
        return super().train(True)


class UsesTheBatch(BatchNormed):
    """In evaluation mode by its flags, with a BN that forgot its running statistics."""

    def __init__(self, num_classes):
        super().__init__(num_classes=num_classes)
        self.norm = nn.BatchNorm2d(3, track_running_stats=False)


def test_c2_c6_train_mode():
    faulty = subject(network(StaysInTraining))
    mode = before.evaluation(faulty)
    assert mode.verdict == "FAIL"
    assert "modules in train mode" in mode.value
    assert "buffers changed" in mode.value
    assert before.batch_invariance(faulty).verdict == "FAIL"
    sound = subject(network(BatchNormed))
    assert before.evaluation(sound).verdict == before.batch_invariance(sound).verdict == "PASS"


def test_c6_batch_statistics_in_eval_mode():
    faulty = subject(network(UsesTheBatch))
    assert before.evaluation(faulty).verdict == "PASS"
    assert before.batch_invariance(faulty).verdict == "FAIL"


class BatchWise(OwnGated):
    """Answers as an own module, but the least of its batch counts: a capacity limit in small."""

    def forward(self, images):
        logits = super().forward(images)
        return logits * (logits[:, :1] > logits[:, 0].min())


def test_c6_a_rule_over_the_batch():
    assert before.batch_invariance(subject(network(BatchWise))).verdict == "FAIL"


class Tied(OwnGated):
    """A margin of 0 but for what rounding leaves, which is another number alone than in a batch."""

    def forward(self, images):
        crowd = 1e-7 if len(images) > 1 else -1e-7
        self.image_score.weight.data.zero_()
        self.image_score.bias.data.fill_(crowd)
        return super().forward(images)


def test_c6_decisions_by_rounding_are_no_dependence_on_the_batch():
    check = before.batch_invariance(subject(network(Tied)))
    assert "8 left out, decided at a margin of 0" in check.value
    assert check.verdict == "WARN"


class TracksGradients(OwnGated):
    """Takes weight gradients on the way."""

    def forward(self, images):
        logits = super().forward(images)
        weight = self.head.bias
        weight.requires_grad_()
        with torch.enable_grad():
            weight.sum().backward()
        return logits


def test_c2_weight_gradients():
    check = before.evaluation(subject(network(TracksGradients)))
    assert check.verdict == "FAIL"
    assert "1 parameters have a .grad, the first is head.bias" in check.value


class Noisy(OwnGated):
    def forward(self, images):
        logits = super().forward(images)
        return logits + 0.01 * torch.randn_like(logits)


def test_c3_random_outputs():
    assert before.determinism(subject(network(Noisy))).verdict == "WARN"


def test_a_random_victim_is_checked_with_the_same_draws_each_time():
    noisy = subject(network(Noisy))
    state = torch.random.get_rng_state()
    values = []
    for _ in range(2):
        with untouched(noisy.module):
            values.append(before.determinism(noisy).value)
    assert values[0] == values[1]
    assert torch.equal(torch.random.get_rng_state(), state)


class Probabilities(OwnGated):
    def forward(self, images):
        return super().forward(images).softmax(1)


def test_c4_softmax_outputs():
    assert before.logits_not_probabilities(subject(network(Probabilities))).verdict == "WARN"


class Spoilt(OwnGated):
    """Finite logits whose gradient is changed on the way back."""

    factor = torch.nan

    def forward(self, images):
        images = images.clone()
        if images.requires_grad:
            images.register_hook(lambda gradient: gradient * self.factor)
        return super().forward(images)


class Flat(Spoilt):
    factor = 0.0


def test_c9_gradients_that_are_no_numbers():
    check = before.gradients(subject(network(Spoilt)))
    assert check.verdict == "FAIL"
    assert "16 of 16 gradients are not finite" in check.value


def test_an_attack_that_breaks_off_ends_no_other_check():
    worst = verdicts(subject(network(Spoilt)))
    assert (worst["C2"], worst["C9"], worst["C11"]) == ("FAIL", "FAIL", "FAIL")
    assert (worst["C4"], worst["C6"], worst["C7"]) == ("PASS", "PASS", "PASS")


def test_c9_gradients_of_zero():
    check = before.gradients(subject(network(Flat)))
    assert check.verdict == "FAIL", "of all samples"
    assert "16 of 16 gradients are all zero" in check.value


class Cut(OwnGated):
    def forward(self, images):
        return super().forward(images.detach())


def test_c9_no_gradient_at_all():
    check = before.gradients(subject(network(Cut), method=FGM()))
    assert check.verdict == "FAIL"
    assert "do not depend on the inputs" in check.value


def test_c9_nothing_to_attack():
    sound = subject(network())
    wrong = changed(sound, label=(sound.labels + 1) % 4)
    assert before.gradients(wrong).verdict == "SKIP"


def test_an_error_is_a_failure():
    def broken(_):
        raise RuntimeError("mat1 and mat2 cannot be multiplied\nmore")

    check = made("C9", broken, subject(network()), lambda words: None)
    assert check.verdict == "FAIL"
    assert check.value == "mat1 and mat2 cannot be multiplied"


def test_the_module_is_left_as_it_was():
    checked = subject(network(StaysInTraining), method=FGM())
    victim = checked.module.victim
    gate = victim.image_gate
    modes, method = [part.training for part in checked.module.modules()], gate.method
    verdicts(checked)
    assert [part.training for part in checked.module.modules()] == modes
    assert gate.method is method
    assert gate.observers == ()


class Sure(OwnGated):
    """Margins of hundreds of logits."""

    def forward(self, images):
        return 1e3 * super().forward(images)


def test_c9_counts_the_samples_that_float32_would_lose():
    assert "saturated in float32" in before.gradients(subject(network(Sure))).value
    assert "saturated" not in before.gradients(subject(network())).value
