"""MultiExit: published names and places, its two rules, the rest's choice, what it costs."""

import math
import re

import pytest
import torch
import torch.nn.functional as F

from leadgrad.victims import (
    FGM,
    LGM,
    FixedExits,
    MultiExit,
    Sigmoid,
    Unled,
    executed_share,
    gradient_method,
    prepare_for_attack,
    record_decisions,
    record_occupancies,
)
from leadgrad.victims.networks.exit_threshold import calibrated_threshold

ALL = (1, 2, 3, 4, 5)


def network(threshold=1.2, seed=0, **settings):
    """Of random weights, with heads scaled so that different exits answer."""
    torch.manual_seed(seed)
    made = MultiExit(14, 4, exits=ALL, threshold=threshold, **settings).eval().double()
    shares = (0.2, 0.35, 0.5, 0.6, 0.7)
    with torch.no_grad():
        for number, (head, share) in enumerate(zip(linears(made), shares, strict=False)):
            while made.margin(made.exit_logits(images())[number]).quantile(share) > 0:
                head.weight.mul_(1.3)
    return made


def linears(made):
    heads = [made.get_submodule(name) for name in made.heads.values()]
    return [part for head in heads for part in head.modules() if isinstance(part, torch.nn.Linear)]


def images(count=16):
    generator = torch.Generator().manual_seed(1)
    scale = torch.linspace(0.1, 1, count, dtype=torch.float64).view(-1, 1, 1, 1)
    return scale * torch.rand(count, 3, 32, 32, generator=generator, dtype=torch.float64)


def by_hand(made, x):
    """The exact answer, and the number of the exit that gives it."""
    stacked = torch.stack(made.exit_logits(x)).detach()
    answers, taken = [], []
    for row in range(len(x)):
        probabilities = stacked[:, row].softmax(1)
        disorder = -(probabilities * probabilities.log()).sum(1)
        if made.rule == "entropy":
            sure = disorder[:-1] <= made.threshold
        else:
            sure = probabilities[:-1].amax(1) >= made.threshold
        last = int(disorder.argmin()) if made.chooser is not None else len(stacked) - 1
        k = int(sure.nonzero()[0]) if bool(sure.any()) else last
        answers.append(stacked[k, row].log_softmax(0))
        taken.append(k)
    return torch.stack(answers), taken


@pytest.mark.parametrize("rest", ["last", "least_entropy"])
@pytest.mark.parametrize(("rule", "threshold"), [("entropy", 1.2), ("confidence", 0.5)])
def test_the_first_sure_exit_answers(rule, threshold, rest):
    made, x = network(threshold, rule=rule, rest=rest), images()
    with record_occupancies(made) as record:
        answer = made(x)
    expected, taken = by_hand(made, x)
    torch.testing.assert_close(answer, expected)
    assert len(set(taken)) >= 3, "several exits answer"
    assert made.answered_by(record).tolist() == taken


def test_where_no_exit_is_sure_the_rest_decides():
    """A threshold that no exit meets."""
    found = {}
    for rest in ("last", "least_entropy"):
        made, x = network(rest=rest), images()
        made.threshold = 1e-6
        generator = torch.Generator().manual_seed(5)
        drawn = list(torch.randn(6, len(x), 4, generator=generator, dtype=torch.float64))
        made.exit_logits = lambda _, drawn=drawn: drawn
        with record_decisions(made) as decisions:
            answer = made(x)
        torch.testing.assert_close(answer, by_hand(made, x)[0])
        found[rest] = by_hand(made, x)[1]
        assert all(bool(decision.hard.any()) for decision in decisions[:5])
    assert set(found["last"]) == {5}
    assert len(set(found["least_entropy"])) > 1


def test_the_choice_of_the_least_entropy_leads():
    made, x = network(rest="least_entropy"), images().requires_grad_()
    made.threshold = 1e-6
    loss = torch.zeros(16, dtype=torch.long)
    gradients = []
    for method in (FGM(), LGM(Sigmoid(0.5)), LGM(Sigmoid(1e4))):
        with gradient_method(made, method):
            gradients.append(torch.autograd.grad(F.cross_entropy(made(x), loss), x)[0])
    assert not torch.allclose(gradients[0], gradients[1])
    torch.testing.assert_close(gradients[2], gradients[0], rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("rest", ["last", "least_entropy"])
def test_led_gradients_are_derivatives(rest):
    made, x = network(rest=rest), images(2)
    way = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    target, leading = torch.zeros(2, dtype=torch.long), LGM(Sigmoid(2.0))

    def loss(at):
        with gradient_method(made, leading):
            return F.cross_entropy(made(at), target)

    x.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(x), x)
    with torch.no_grad():
        step = 1e-7
        numeric = (loss(x + step * way) - loss(x - step * way)) / (2 * step)
    torch.testing.assert_close((gradient * way).sum(), numeric, rtol=1e-4, atol=1e-8)


FIXED = {
    "last": (FixedExits(last=True), [0, 0, 0, 0, 0, 1]),
    "second": (FixedExits((0.0, 1.0)), [0, 1, 0, 0, 0, 0]),
    "mean": (FixedExits((1 / 6,) * 6), [1 / 6] * 6),
    "some": (FixedExits((0.5, 0.0, 0.25, 0.25)), [0.5, 0, 0.25, 0.25, 0, 0]),
}


@pytest.mark.parametrize("rest", ["last", "least_entropy"])
@pytest.mark.parametrize("name", FIXED)
def test_fixed_exits_are_mixed_alike_for_all(name, rest):
    method, weights = FIXED[name]
    made, x = network(rest=rest), images(4)
    with gradient_method(made, method), record_decisions(made) as decisions:
        answer = made(x)
    each = torch.stack(made.exit_logits(x)).softmax(2)
    expected = (torch.tensor(weights, dtype=torch.float64)[:, None, None] * each).sum(0).log()
    torch.testing.assert_close(answer, expected)
    with record_occupancies(made) as record:
        made(x)
    assert all(torch.equal(one.hard, own) for one, own in zip(decisions, record, strict=True))


@pytest.mark.parametrize("weights", [(), (0.5, 0.4), (1.5, -0.5)])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(ValueError, match="sum to 1"):
        FixedExits(weights)
    with pytest.raises(ValueError, match="7 weights, but the network has 6"):
        FixedExits((1 / 7,) * 7).going_on(6)


def test_unled_has_the_values_without_the_leading():
    made, x = network(), images(4).requires_grad_()
    led = LGM(Sigmoid(2.0))
    gradients, values = [], []
    for method in (led, Unled(led), FGM()):
        with gradient_method(made, method):
            values.append(made(x))
        loss = F.cross_entropy(values[-1], torch.zeros(4, dtype=torch.long))
        gradients.append(torch.autograd.grad(loss, x)[0])
    assert torch.equal(values[0], values[1])
    assert not torch.allclose(gradients[0], gradients[1])
    assert not torch.allclose(gradients[1], gradients[2])
    assert not Unled(led).leads


@pytest.mark.parametrize(("rule", "share"), [("entropy", 0.5), ("confidence", 0.3)])
def test_a_threshold_is_chosen_for_a_share_of_the_compute(rule, share):
    made = network(1.2 if rule == "entropy" else 0.5, rule=rule)
    before, x = made.threshold, images(32)
    threshold = calibrated_threshold(made, [x[:20], x[20:]], share)
    assert made.threshold == before
    made.threshold = threshold
    with record_occupancies(made) as record:
        made(x)
    found = float(made.conditional_macs(record).double().mean()) / made.conditional_macs_total()
    assert found == pytest.approx(share, abs=1 / 32)
    with pytest.raises(ValueError, match=r"must lie in \(0, 1\), got 1"):
        calibrated_threshold(made, [x], 1.0)


@pytest.mark.parametrize("size", [32, 30, 33])
def test_costs_are_the_macs_of_what_runs_behind_each_exit(size):
    made = MultiExit(14, 4, exits=ALL, rest="least_entropy", image_size=size).eval().double()
    counted = []

    def count(module, _, out):
        positions = out[0, 0].numel() if out.ndim == 4 else 1
        counted.append((name_of[module], positions * module.weight.numel()))

    name_of = {module: name for name, module in made.named_modules()}
    for module in made.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(count)
    with record_occupancies(made) as record:
        made(torch.rand(3, 3, size, size, dtype=torch.float64))
    stages, spent = [], 0
    for (name, macs), (after, _) in zip(counted, [*counted[1:], ("", 0)], strict=True):
        spent += macs
        if name.startswith(("branch", "fc")) and not after.startswith("branch"):
            stages.append(spent)
            spent = 0
    assert made.stage_macs() == stages[1:]
    assert made.unit_costs() == (*map(float, stages[1:]), 0.0)
    share = executed_share(made, [units.double() for units in record])
    torch.testing.assert_close(share, made.conditional_macs(record).double() / sum(stages[1:]))


def test_folding_keeps_the_answers():
    made = network()
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
    prepared = prepare_for_attack(made)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in prepared.modules())
    torch.testing.assert_close(prepared(images()), made(images()))


def test_names_and_places_are_the_published_ones():
    made = MultiExit(38)
    assert list(made.heads) == [2, 5, 8, 11, 14, 17, 18]
    assert sum(value.numel() for value in made.state_dict().values()) == 695909
    assert len(made.state_dict()) == 296
    for name, shape in {
        "branch_layer2.5.weight": (32, 64, 3, 3),
        "branch_layer4.1.conv2.weight": (32, 32, 3, 3),
        "branch_layer6.2.bias": (10,),
        "group2_layer0.downsample.0.weight": (64, 32, 1, 1),
        "fc.weight": (10, 64),
    }.items():
        assert made.state_dict()[name].shape == shape


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"exits": ()}, "from 1 to 5, got []"),
        ({"exits": (2, 6)}, "got [2, 6]"),
        ({"exits": (1.0,)}, "got [1.0]"),
        ({"exits": (True,)}, "got [True]"),
        ({"threshold": 2.4}, "between 0 and 2.30259 (nats) with 10 classes, got 2.4"),
        ({"threshold": math.nan}, "got nan"),
        ({"rule": "confidence", "threshold": 0.1}, "between 0.1 and 1 (probability)"),
        ({"rule": "sure"}, "rule must be"),
        ({"rest": "first"}, "rest must be"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        MultiExit(14, **settings)
