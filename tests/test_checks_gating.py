"""C7, C8 and C10: what the gradient sees of the gates, and faults in it that must be found."""

from dataclasses import dataclass

import pytest
import torch
from checks_subjects import LEADING, network, reported, subject
from own_victims import OwnGated
from torch import nn

from leadgrad.pipelines.checks import run_checks
from leadgrad.pipelines.checks.gating import connection, consistency, variation
from leadgrad.pipelines.checks.methods import Kind, Replay, kind
from leadgrad.pipelines.checks.truth import truth_of_frozen, truth_of_method
from leadgrad.victims import (
    FGM,
    LGM,
    Constant,
    Decision,
    DynConv,
    Gate,
    GradientMethod,
    RelativeSigmoid,
    ResNet,
    Sigmoid,
    SkipNet,
    Surrogate,
)

STRAIGHT = LGM(Sigmoid(5.0), forward="hard")
EVERY = pytest.mark.parametrize("family", [SkipNet, DynConv, OwnGated])


def victim(family):
    return network() if family is OwnGated else network(family, depth=8)


@EVERY
@pytest.mark.parametrize("method", [FGM(), LEADING, STRAIGHT, LGM(Constant(0.5))])
def test_sound_networks(family, method):
    sound = subject(victim(family), method=method)
    for check in (consistency, truth_of_frozen, connection):
        assert check(sound).verdict == "PASS", check(sound).value
    comparable = method not in (FGM(), STRAIGHT)
    check = truth_of_method(sound)
    assert check.verdict == ("PASS" if comparable else "SKIP"), check.value
    if method == STRAIGHT:
        assert "straight-through" in check.value


class Crinkled(nn.Module):
    """A kink every 5e-5 of each pixel, as ReLU networks of many trained layers have somewhere."""

    def forward(self, images):
        waves = ((images / 1e-4).frac() - 0.5).abs() * 1e-4
        signal = (images + 0.5 * waves).flatten(1).sum(1, keepdim=True)
        return torch.cat([signal, -signal], 1)


def test_kinks_are_no_fault():
    checked = truth_of_frozen(subject(Crinkled(), method=FGM()))
    assert checked.verdict == "PASS", checked.value


def test_without_gates():
    plain = subject(network(ResNet, depth=8), method=FGM())
    for check in (consistency, truth_of_method, connection):
        assert check(plain).verdict == "SKIP"
        assert check(plain).value == "the victim has no gates"
    assert truth_of_frozen(plain).verdict == "PASS"


class OtherPathWithGraph(OwnGated):
    """What is skipped without a graph is halved with one."""

    def forward(self, images):
        x = torch.relu(self.stem(images - 0.5))
        run = self.image_gate(self.image_score(x.mean((2, 3))).squeeze(1))
        x = x + run.view(-1, 1, 1, 1) * self.first(x)
        run = self.position_gate(self.position_score(x))
        weight = 0.5 if run.requires_grad else 1.0
        return self.head((x + weight * run * self.second(x)).mean((2, 3)))


def test_c7_soft_and_hard_are_other_networks():
    check = consistency(subject(network(OtherPathWithGraph)))
    assert check.verdict == "FAIL"
    assert check.value.startswith("16 of 16 differ")


class AtZero(OwnGated):
    """Every margin is 0, where a sigmoid of any slope is one half."""

    def __init__(self, num_classes):
        super().__init__(num_classes=num_classes)
        self.image_score.weight.data.zero_()
        self.image_score.bias.data.zero_()


def test_c7_margins_of_0_prove_nothing():
    check = consistency(subject(network(AtZero)))
    assert check.verdict == "WARN"
    assert "16 left out, with a margin of 0" in check.value


class WrongBackward(torch.autograd.Function):
    """The identity, with a gradient that is one per cent too large."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return 1.01 * gradient


class WrongBranch(OwnGated):
    """Of both FGM and LGM."""

    def forward(self, images):
        return super().forward(WrongBackward.apply(images))


class WrongGate(Gate):
    """Of LGM alone: between score and decision."""

    def forward(self, margin):
        return super().forward(WrongBackward.apply(margin))


class WrongMargin(OwnGated):
    def __init__(self, num_classes):
        super().__init__(num_classes=num_classes)
        self.image_gate, self.position_gate = WrongGate(), WrongGate(inclusive=True)


@pytest.mark.parametrize("method", [LEADING, STRAIGHT, FGM()])
def test_c8_a_wrong_backward(method):
    faulty = subject(network(WrongBranch), method=method)
    assert truth_of_frozen(faulty).verdict == "FAIL"
    assert "error 0.0099" in truth_of_frozen(faulty).value
    assert truth_of_method(faulty).verdict == ("FAIL" if method == LEADING else "SKIP")


def test_c8_a_wrong_backward_on_the_way_to_a_gate():
    faulty = subject(network(WrongMargin))
    assert truth_of_frozen(faulty).verdict == "PASS"
    assert truth_of_method(faulty).verdict == "FAIL"


class Float32Alone(OwnGated):
    def forward(self, images):
        return super().forward(images.float())


def test_c8_no_float64():
    check = truth_of_frozen(subject(network(Float32Alone)))
    assert check.verdict == "SKIP"
    assert check.value.startswith("the victim has no float64 copy")


@pytest.mark.parametrize("slope", [0.0, 0.1, 100.0, 1e4])
def test_c8_of_any_slope(slope):
    """A steep surrogate bends within a coarse step, and a flat one drowns in rounding."""
    sound = subject(network(SkipNet, depth=8), method=LGM(Sigmoid(slope)))
    check = truth_of_method(sound)
    assert check.verdict == "PASS", check.value


@dataclass(frozen=True)
class DetachedScale(Surrogate):
    """A slope from the margins themselves, held constant in the gradient."""

    def __call__(self, margin):
        return torch.sigmoid(margin / margin.detach().abs().mean())


@dataclass(frozen=True)
class Own(GradientMethod):
    """A method that has neither surrogate nor slope: hard values, gradient of a ramp."""

    def occupancy(self, margin, hard):
        ramp = margin.clamp(-1, 1) / 2
        return hard.to(margin.dtype) + (ramp - ramp.detach())


def test_c8_a_method_whose_gradient_is_not_its_derivative():
    check = truth_of_method(subject(network(), method=LGM(DetachedScale())))
    assert check.verdict == "WARN"
    assert "not the derivative of the occupancy" in check.value


def test_a_method_of_ones_own():
    own = subject(network(), method=Own())
    assert truth_of_method(own).verdict == "SKIP"
    assert connection(own).verdict == consistency(own).verdict == "PASS"


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (FGM(), Kind.FROZEN),
        (LGM(Constant(0.5)), Kind.FROZEN),
        (LEADING, Kind.RELAXED),
        (LGM(Sigmoid(1e3)), Kind.RELAXED),
        (STRAIGHT, Kind.STRAIGHT),
        (Own(), Kind.STRAIGHT),
        (LGM(DetachedScale()), Kind.OTHER),
    ],
)
def test_kinds(method, expected):
    margin = torch.linspace(-0.5, 1, 7, dtype=torch.float64)
    hard = margin > 0
    decision = Decision(margin, hard, method.occupancy(margin, hard))
    assert kind(method, [decision]) is expected


class DetachedMargin(OwnGated):
    """One gate of two is cut off from the images; the other one still leads."""

    def forward(self, images):
        x = torch.relu(self.stem(images - 0.5))
        run = self.image_gate(self.image_score(x.mean((2, 3))).squeeze(1).detach())
        x = x + run.view(-1, 1, 1, 1) * self.first(x)
        x = x + self.position_gate(self.position_score(x)) * self.second(x)
        return self.head(x.mean((2, 3)))


class DetachedOccupancy(OwnGated):
    def forward(self, images):
        x = torch.relu(self.stem(images - 0.5))
        run = self.image_gate(self.image_score(x.mean((2, 3))).squeeze(1))
        x = x + run.view(-1, 1, 1, 1) * self.first(x)
        x = x + self.position_gate(self.position_score(x)).detach() * self.second(x)
        return self.head(x.mean((2, 3)))


class DetachedMargins(DetachedOccupancy):
    """No gate leads, while soft values still make another gradient than FGM's."""

    def __init__(self, num_classes):
        super().__init__(num_classes=num_classes)
        self.image_gate = DetachingGate()


class DetachingGate(Gate):
    def forward(self, margin):
        return super().forward(margin).detach()


@pytest.mark.parametrize("method", [LEADING, STRAIGHT, Own()])
@pytest.mark.parametrize(
    ("family", "loose"), [(DetachedMargin, 1), (DetachedOccupancy, 1), (DetachedMargins, 2)]
)
def test_c10_disconnected_gates(family, loose, method):
    check = connection(subject(network(family), method=method))
    assert check.verdict == "FAIL"
    assert check.value == f"{loose} of 2 gates are disconnected"


def test_c10_no_gate_varies_between_images():
    moving = network()
    assert variation(subject(moving)).verdict == "PASS"
    for score in (moving.image_score, moving.position_score):
        score.bias.data += 1e6
    still = subject(moving)
    check = variation(still)
    assert (check.id, check.verdict) == ("C10", "WARN")
    assert check.value == "0 of 2 gates vary"
    assert "decisions depend on the sample" in [
        each.name for each in run_checks(still, "fast", reported()) if each.verdict == "WARN"
    ]
    assert variation(still.rows(slice(1))).verdict == "SKIP"


def test_c10_a_saturated_surrogate_is_fgm():
    check = connection(subject(network(), method=LGM(Sigmoid(1e8))))
    assert check.verdict == "FAIL"
    assert "a smaller slope" in check.remedy


class LeakingGate(Gate):
    """A straight-through gradient of its own, which FGM must not have."""

    def forward(self, margin):
        return super().forward(margin + 0) + (margin - margin.detach())


class Leaking(OwnGated):
    def __init__(self, num_classes):
        super().__init__(num_classes=num_classes)
        self.image_gate = LeakingGate()


def test_c8_a_leak_through_a_gate_under_fgm():
    """The decision is recorded before it leaks, so that only the differences can tell."""
    faulty = subject(network(Leaking), method=FGM())
    assert connection(faulty).verdict == "PASS"
    assert truth_of_frozen(faulty).verdict == "FAIL"


def test_replay_is_used_up():
    replay = Replay([torch.ones(2)])
    assert torch.equal(replay.occupancy(torch.zeros(2), torch.zeros(2)), torch.ones(2))
    with pytest.raises(ValueError, match="more decisions than were recorded"):
        replay.occupancy(torch.zeros(2), torch.zeros(2))


def test_a_method_that_stands_for_several_is_checked_in_each():
    checked = subject(network(), method=LGM())
    checks = run_checks(checked, "fast", reported())
    assert checked.module.method == LGM(), "given back"
    names = [check.name for check in checks if check.name.startswith("the gradient leads")]
    assert len(names) == len(LGM().candidates())
    assert all("Sigmoid" in name for name in names)
    assert [check for check in checks if check.verdict == "FAIL"] == []


class Casting(OwnGated):
    """Computes in float32 whatever it is given, as code written for mixed precision does."""

    def forward(self, images):
        dtype = self.head.weight.dtype
        return super().forward(images.float().to(dtype))


def test_c8_tells_a_cast_from_a_wrong_gradient():
    checks = [check for check in run_checks(subject(network(Casting)), "fast", reported())]
    truth = [check for check in checks if check.id == "C8"]
    assert {check.verdict for check in truth} == {"WARN"}
    assert all("casts to a lower precision" in check.remedy for check in truth)


@pytest.mark.parametrize("cls", [OwnGated, SkipNet])
def test_c8_holds_the_scale_that_a_relative_surrogate_takes_for_constant(cls):
    victim = network(cls) if cls is OwnGated else network(SkipNet, depth=14)
    for surrogate in (RelativeSigmoid(5.0), RelativeSigmoid(1.0)):
        check = truth_of_method(subject(victim, method=LGM(surrogate)))
        assert check.verdict == "PASS", check.value
