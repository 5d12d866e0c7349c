"""What every attack refuses, and what it leaves alone around the attack."""

import pytest
import torch
from oracles import EVERY_SAMPLE, GRADIENT_NAMES, NAMES, LinearOracle, attacks, some_images
from torch import nn

from leadgrad.attacks import (
    FGSM,
    IFGSM,
    MIFGSM,
    PGD,
    Attack,
    Goal,
    PixelLinf,
    SignGradientAttack,
    TargetClass,
    TargetShift,
    Untargeted,
    cross_entropy,
    input_gradient,
    margin,
)
from leadgrad.attacks.losses import at_least_float32

EACH = pytest.mark.parametrize("name", NAMES)
THREAT = PixelLinf(8)


@EACH
def test_no_parameter_gets_a_gradient_and_no_mode_changes(name):
    network = nn.Sequential(nn.Flatten(), nn.Linear(108, 5), nn.Dropout(0.0), nn.Linear(5, 3))
    network.double()
    network[1].eval()
    modes = [module.training for module in network.modules()]
    x, labels = some_images(), torch.tensor([0, 1, 2, 0])
    attacks(THREAT, **EVERY_SAMPLE)[name](network, x, labels, victim=network)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert [module.training for module in network.modules()] == modes


@EACH
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_attacks_work_in_every_gradient_mode(name, mode):
    oracle, attack = LinearOracle(), attacks(THREAT)[name]
    x = some_images()
    labels = oracle(x).argmax(1)
    expected = attack(oracle, x, labels, victim=oracle)
    with mode():
        inside = some_images()
        adv = attack(
            oracle, inside, oracle(inside).argmax(1), victim=oracle, sample_ids=torch.arange(4)
        )
        assert torch.is_inference_mode_enabled() == (mode is torch.inference_mode)
    assert torch.equal(adv, expected)
    adv.requires_grad_()  # an inference tensor would refuse


class Careless(Attack):
    """Asks its own inputs for a gradient."""

    def run(self, surrogate, inputs, labels, *, victim, eligible, sample_ids):
        loss = cross_entropy(surrogate(inputs.requires_grad_()), labels).sum()
        (gradient,) = torch.autograd.grad(loss, inputs)
        return inputs.requires_grad_(False) + gradient


def test_an_attack_works_on_copies_also_in_inference_mode():
    oracle = LinearOracle()
    with torch.inference_mode():
        x = some_images()
        kept = x.clone()
        adv = Careless(THREAT)(oracle, x, oracle(x).argmax(1), victim=oracle)
        assert torch.equal(x, kept)
        assert not torch.equal(adv, x)


@EACH
def test_frozen_networks_can_be_attacked(name):
    oracle, x = LinearOracle(), some_images()
    labels = oracle(x).argmax(1)
    expected = attacks(THREAT)[name](oracle, x, labels, victim=oracle)
    frozen = LinearOracle().requires_grad_(False)
    assert torch.equal(attacks(THREAT)[name](frozen, x, labels, victim=frozen), expected)


@EACH
def test_an_empty_batch_stays_empty(name):
    oracle = LinearOracle()
    nothing, labels = some_images()[:0], torch.zeros(0, dtype=torch.int64)
    assert attacks(THREAT)[name](oracle, nothing, labels, victim=oracle).shape == (0, 3, 6, 6)
    assert oracle.calls == 0


@EACH
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_inputs_that_are_not_finite_are_named(name, bad):
    oracle, x = LinearOracle(), some_images(5)
    x[2, 1, 3, 3] = bad
    x[4] = bad
    with pytest.raises(ValueError, match=r"2 of 5 inputs .* the first is number 2 of its batch"):
        attacks(THREAT)[name](oracle, x, torch.zeros(5, dtype=torch.int64), victim=oracle)
    assert oracle.calls == 0


@pytest.mark.parametrize(
    ("inputs", "labels", "error", "message"),
    [
        (
            torch.zeros(4, 3, 6, 6, dtype=torch.uint8),
            torch.zeros(4, dtype=torch.int64),
            TypeError,
            "got torch.uint8; divide bytes by 255",
        ),
        (some_images(), torch.zeros(4), TypeError, "integer type, got torch.float32"),
        (some_images(), torch.zeros(4, dtype=torch.bool), TypeError, "got torch.bool"),
        (
            some_images(),
            torch.zeros(4, 3, dtype=torch.int64),
            ValueError,
            r"shape \(4,\), got \(4, 3\)",
        ),
        (some_images(), torch.zeros(3, dtype=torch.int64), ValueError, r"got \(3,\)"),
    ],
)
def test_inputs_and_labels_are_checked(inputs, labels, error, message):
    oracle = LinearOracle()
    with pytest.raises(error, match=message):
        FGSM(THREAT)(oracle, inputs, labels, victim=oracle)
    assert oracle.calls == 0


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        (torch.arange(3), ValueError, r"shape \(4,\), got \(3,\)"),
        (torch.tensor([1]), ValueError, r"got \(1,\)"),
        (torch.arange(4.0), TypeError, "integer type, got torch.float32"),
    ],
)
def test_sample_ids_are_checked(ids, error, message):
    oracle, labels = LinearOracle(), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(error, match=message):
        FGSM(THREAT)(oracle, some_images(), labels, victim=oracle, sample_ids=ids)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_labels_of_any_integer_type(dtype):
    oracle, x = LinearOracle(), some_images()
    labels = torch.tensor([0, 1, 2, 0])
    expected = FGSM(THREAT, **EVERY_SAMPLE)(oracle, x, labels, victim=oracle)
    adv = FGSM(THREAT, **EVERY_SAMPLE)(oracle, x, labels.to(dtype), victim=oracle)
    assert torch.equal(adv, expected)


@pytest.mark.parametrize("name", GRADIENT_NAMES)
def test_a_surrogate_without_gradient_is_named(name):
    oracle, x = LinearOracle(), some_images(2)
    labels = oracle(x).argmax(1)

    def detached(images):
        return oracle(images.detach()).detach()

    with pytest.raises(ValueError, match="the surrogate's logits carry no gradient"):
        attacks(THREAT)[name](detached, x, labels, victim=oracle)


def test_a_gradient_that_is_not_finite_is_named():
    def steep(x):
        flat = x.flatten(1)[:, :2]
        return torch.where(flat > 2, flat, (flat - flat.detach()).sqrt() + flat)

    x = some_images(2)
    with pytest.raises(ValueError, match="4 values of the input gradient are not finite"):
        FGSM(THREAT, **EVERY_SAMPLE)(steep, x, torch.tensor([0, 1]), victim=steep)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (IFGSM, {"steps": 0}, "steps must be at least 1, got 0"),
        (MIFGSM, {"steps": -3}, "steps must be at least 1, got -3"),
        (IFGSM, {"step_size_255": 0.0}, "step_size_255 must be above 0 units, got 0.0"),
        (PGD, {"step_size_255": float("nan")}, "got nan"),
        (PGD, {"steps": 0}, "steps must be at least 1"),
        (PGD, {"restarts": 0}, "restarts must be at least 1, got 0"),
    ],
)
def test_settings_are_checked(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        kind(THREAT, **settings)


LOGITS = torch.tensor([[3.0, 1.0, 2.0], [-5.0, -2.0, -3.0], [0.0, 9.0, 9.5]])
LABELS = torch.tensor([0, 1, 1])


def test_cross_entropy_by_hand():
    expected = [-(row[k] - row.exp().sum().log()) for row, k in zip(LOGITS, LABELS, strict=True)]
    torch.testing.assert_close(cross_entropy(LOGITS, LABELS), torch.stack(expected))


def test_margin_by_hand_also_where_all_other_logits_are_negative():
    assert margin(LOGITS, LABELS).tolist() == [-1.0, -1.0, 0.5]
    logits = LOGITS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(margin(logits, LABELS).sum(), logits)
    assert gradient.tolist() == [[-1, 0, 1], [0, -1, 1], [0, -1, 1]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_losses_of_confident_half_precision_logits_keep_their_gradient(dtype):
    logits = torch.tensor([[14.0, 0.0]]).to(dtype).requires_grad_()
    loss = cross_entropy(logits, torch.tensor([0]))
    assert loss.dtype == torch.float32
    assert loss > 0
    assert margin(logits, torch.tensor([0])).dtype == torch.float32
    assert at_least_float32(LOGITS.double()).dtype == torch.float64


def test_untargeted():
    goal = Untargeted()
    assert goal.ascend
    assert torch.equal(goal.classes(LABELS, LOGITS), LABELS)
    assert goal.eligible(LABELS, LOGITS).tolist() == [True, True, False]
    assert goal.reached(LABELS, LOGITS).tolist() == [False, False, True]


def test_target_class():
    goal = TargetClass(2)
    assert not goal.ascend
    assert goal.classes(LABELS, LOGITS).tolist() == [2, 2, 2]
    assert goal.reached(LABELS, LOGITS).tolist() == [False, False, True]
    assert goal.eligible(LABELS, LOGITS).tolist() == [True, True, False]
    for target in (-1, 3):
        with pytest.raises(ValueError, match=f"target={target} .* 3 logits; give 0 to 2"):
            TargetClass(target).classes(LABELS, LOGITS)


def test_target_shift():
    assert TargetShift(2).classes(LABELS, LOGITS).tolist() == [2, 0, 0]
    assert TargetShift(-1).classes(LABELS, LOGITS).tolist() == [2, 0, 0]
    assert TargetShift(1).eligible(LABELS, LOGITS).tolist() == [True, True, False]
    for shift in (0, 3, -6):
        with pytest.raises(ValueError, match=f"shift={shift} targets the label itself"):
            TargetShift(shift).classes(LABELS, LOGITS)


def test_input_gradient_is_of_the_sum():
    oracle, x = LinearOracle(), some_images(2)
    gradient = input_gradient(oracle, margin, x, torch.tensor([0, 1]))
    difference = (oracle.weight[1] - oracle.weight[0]).detach()
    torch.testing.assert_close(gradient, torch.stack([difference, -difference]))
    assert not x.requires_grad


def test_base_classes_leave_the_rest_to_subclasses():
    goal = Goal()
    for ask in (goal.classes, goal.eligible, goal.reached):
        with pytest.raises(NotImplementedError):
            ask(LABELS, LOGITS)
    with pytest.raises(NotImplementedError):
        SignGradientAttack(THREAT).schedule()


def test_attacks_are_values():
    assert PGD(THREAT, seed=1) == PGD(PixelLinf(8), seed=1)
    assert len({FGSM(THREAT), FGSM(THREAT), FGSM(THREAT, seed=2)}) == 2
    assert "eps_255=8" in repr(IFGSM(THREAT))
