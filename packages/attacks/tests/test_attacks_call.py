"""What every attack refuses, and what it leaves alone around the attack."""

import math

import pytest
import torch
from oracles import EVERY_SAMPLE, GRADIENT_NAMES, NAMES, LinearOracle, attacks, some_images
from torch import nn

from leadgrad.attacks import (
    APGD,
    FGSM,
    IFGSM,
    MIFGSM,
    PGD,
    Attack,
    CarliniWagner,
    PixelLinf,
    TargetClass,
    TargetShift,
    Untargeted,
    cross_entropy,
    dlr,
    input_gradient,
    margin,
    saturated,
    targeted_dlr,
)

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

    def run(self, surrogate, inputs, labels, *, victim, eligible, samples):
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
        (APGD, {"steps": 0}, "steps must be at least 1, got 0"),
        (APGD, {"restarts": 0}, "restarts must be at least 1, got 0"),
        (CarliniWagner, {"steps": 0}, "steps must be at least 1, got 0"),
        (CarliniWagner, {"step_size_255": -1.0}, "step_size_255 must be above 0 units, got -1.0"),
        (CarliniWagner, {"confidence": -0.5}, "confidence must be at least 0 logits, got -0.5"),
        (CarliniWagner, {"confidence": float("nan")}, "got nan"),
    ],
)
def test_settings_are_checked(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        kind(THREAT, **settings)


LOGITS = torch.tensor([[3.0, 1.0, 2.0], [-5.0, -2.0, -3.0], [0.0, 9.0, 9.5]])
LABELS = torch.tensor([0, 1, 1])


def test_cross_entropy_by_hand():
    expected = [-(row[k] - row.exp().sum().log()) for row, k in zip(LOGITS, LABELS, strict=True)]
    torch.testing.assert_close(cross_entropy(LOGITS, LABELS).float(), torch.stack(expected))


def test_margin_by_hand_also_where_all_other_logits_are_negative():
    assert margin(LOGITS, LABELS).tolist() == [-1.0, -1.0, 0.5]
    logits = LOGITS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(margin(logits, LABELS).sum(), logits)
    assert gradient.tolist() == [[-1, 0, 1], [0, -1, 1], [0, -1, 1]]


WIDE = torch.tensor([[4.0, 1.0, 3.0, -2.0], [-1.0, -9.0, -3.0, -4.0], [0.0, 8.0, 9.0, 5.0]])


@pytest.mark.parametrize(
    ("loss", "classes", "expected"),
    [
        # (greatest other - own) / (first - third)
        (dlr, [0, 0, 1], [(3 - 4) / (4 - 1), (-3 + 1) / (-1 + 4), (9 - 8) / (9 - 5)]),
        (dlr, [3, 1, 0], [(4 + 2) / (4 - 1), (-1 + 9) / (-1 + 4), (9 - 0) / (9 - 5)]),
        (dlr, [1, 3, 3], [1, 1, 1]),  # third: constant, hence the targeted form
        # (greatest other - own) / (first - half of third and fourth)
        (targeted_dlr, [1, 3, 3], [3 / (4 + 0.5), 3 / (-1 + 6.5), 4 / (9 - 2.5)]),
        (targeted_dlr, [0, 1, 2], [-1 / (4 + 0.5), 8 / (-1 + 6.5), -1 / (9 - 2.5)]),
    ],
)
def test_ratios_by_hand(loss, classes, expected):
    values = loss(WIDE, torch.tensor(classes))
    torch.testing.assert_close(values, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("loss", [dlr, targeted_dlr])
def test_ratios_ignore_shift_and_scale_and_follow_a_permutation(loss):
    logits = torch.randn(50, 7, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    classes = torch.arange(50) % 7
    values = loss(logits, classes)
    torch.testing.assert_close(loss(logits * 1e4 - 321, classes), values, atol=1e-9, rtol=0)
    torch.testing.assert_close(loss(logits * 1e-4 + 0.1, classes), values, atol=1e-9, rtol=0)
    order = torch.tensor([3, 5, 0, 6, 1, 2, 4])
    torch.testing.assert_close(loss(logits[:, order], order.argsort()[classes]), values)
    assert torch.equal(values > 0, logits.argmax(1) != classes)


@pytest.mark.parametrize("loss", [dlr, targeted_dlr])
def test_ratios_have_the_right_gradient(loss):
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: loss(z, torch.arange(6) % 5), logits)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("loss", [dlr, targeted_dlr])
def test_ratios_of_equal_logits_have_a_finite_gradient(loss, dtype):
    logits = torch.tensor([[2.0] * 4, [2.0, 2.0, 2.0, -1.0], [0.0, 0.0, 0.0, 6.0]], dtype=dtype)
    logits.requires_grad_()
    values = loss(logits, torch.tensor([0, 3, 1]))
    (gradient,) = torch.autograd.grad(values.sum(), logits)
    assert values.isfinite().all()
    assert values.dtype == torch.float64
    if dtype != torch.float16:  # whose own range ends at 65504
        assert gradient.isfinite().all()
        assert gradient[0, 0] < 0 < gradient[0, 1]


@pytest.mark.parametrize(("loss", "least"), [(dlr, 3), (targeted_dlr, 4)])
def test_ratios_need_enough_classes(loss, least):
    classes = torch.zeros(2, dtype=torch.int64)
    loss(torch.eye(2, least), classes)
    with pytest.raises(
        ValueError, match=f"{loss.__name__} needs at least {least} logits, got {least - 1}; use mar"
    ):
        loss(torch.eye(2, least - 1), classes)


@pytest.mark.parametrize("kind", [IFGSM, PGD, APGD])
def test_a_targeted_goal_takes_the_targeted_form(kind):
    attack = kind(THREAT, loss=dlr, goal=TargetShift(1))
    labels = torch.tensor([0, 0, 2])
    expected = targeted_dlr(WIDE, torch.tensor([1, 1, 3]))
    assert torch.equal(attack.objective(WIDE, labels), -expected)
    assert torch.equal(kind(THREAT, loss=dlr).objective(WIDE, labels), dlr(WIDE, labels))
    plain = kind(THREAT, loss=margin, goal=TargetShift(1)).objective(WIDE, labels)
    assert torch.equal(plain, -margin(WIDE, torch.tensor([1, 1, 3])))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_losses_of_confident_half_precision_logits_keep_their_gradient(dtype):
    logits = torch.tensor([[14.0, 0.0]]).to(dtype).requires_grad_()
    loss = cross_entropy(logits, torch.tensor([0]))
    assert loss.dtype == torch.float64
    assert loss > 0
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert gradient.dtype == dtype
    assert gradient[0, 0] < 0 < gradient[0, 1]


@pytest.mark.parametrize("loss", [cross_entropy, margin, dlr, targeted_dlr])
def test_losses_are_float64_whatever_the_logits_are(loss):
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        assert loss(WIDE.to(dtype), torch.zeros(3, dtype=torch.int64)).dtype == torch.float64


def test_a_saturated_softmax_keeps_its_gradient():
    """At a margin of 20 logits the softmax of the class is exactly 1 in float32."""
    logits = torch.tensor([[20.0, 0.0, -1.0]], requires_grad=True)
    classes = torch.tensor([0])
    assert saturated(logits, classes).tolist() == [True]
    assert saturated(logits.double(), classes).tolist() == [False]
    (gradient,) = torch.autograd.grad(cross_entropy(logits, classes).sum(), logits)
    others = [math.exp(-20), math.exp(-21)]
    expected = torch.tensor([[-sum(others), *others]])
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=0)


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


def test_attacks_are_values():
    assert PGD(THREAT, seed=1) == PGD(PixelLinf(8), seed=1)
    assert len({FGSM(THREAT), FGSM(THREAT), FGSM(THREAT, seed=2)}) == 2
    assert "eps_255=8" in repr(IFGSM(THREAT))
