"""What the literature raises in the place of the executed share: its gradient, written out here."""

import pytest
import torch
from torch import nn

from leadgrad.victims import (
    FGM,
    Choice,
    Gate,
    HingedCost,
    MultiExit,
    PoweredCost,
    UniformCost,
    executed_share,
    gradient_method,
    record_decisions,
)


class TwoGates(nn.Module):
    """A gate on the input, and one on what the first has done to it."""

    def __init__(self):
        super().__init__()
        self.first, self.second = Gate(), Gate()

    def margins(self, x, occupancy=None):
        first = x.sum(1)
        o = (first > 0).double() if occupancy is None else occupancy
        return first, (x * (1 + 3 * o[:, None])).prod(1) - 1

    def forward(self, x):
        first, _ = self.margins(x)
        o = self.first(first)
        _, second = self.margins(x, o)
        return x * self.second(second)[:, None]


X = torch.tensor([[0.2, 0.3], [-0.8, 0.3], [2.0, 1.0], [-0.1, 0.2]], dtype=torch.float64)


def raised(method, network, x):
    """The signal's mean over the gates, as attacks see it, and its gradient."""
    x = x.clone().requires_grad_()
    with gradient_method(network, method), record_decisions(network) as made:
        network(x)
    value = executed_share(network, [each.executed for each in made])
    (gradient,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), gradient


@pytest.mark.parametrize(
    ("method", "signal"),
    [
        (HingedCost(), lambda q: q.clamp(max=0)),
        (HingedCost(ceiling=0.5), lambda q: q.clamp(max=0.5)),
        (PoweredCost(), lambda q: (2 * torch.sigmoid(q).clamp(max=0.5)) ** 3.5),
        (PoweredCost(2.0, slope=3.0), lambda q: (2 * torch.sigmoid(3 * q).clamp(max=0.5)) ** 2),
    ],
)
def test_signals_have_their_own_gradient_and_features_keep_their_decisions(method, signal):
    network = TwoGates()
    value, gradient = raised(method, network, X)
    x = X.clone().requires_grad_()
    expected = torch.stack([signal(q) for q in network.margins(x)]).mean(0)
    (wanted,) = torch.autograd.grad(expected.sum(), x)
    torch.testing.assert_close(value, expected.detach())
    torch.testing.assert_close(gradient, wanted)
    assert wanted.abs().max() > 0
    with gradient_method(network, method):
        assert torch.equal(network(X), TwoGates()(X))


def test_the_power_is_the_direction_of_the_released_norm():
    network, method = TwoGates(), PoweredCost()
    _, gradient = raised(method, network, X)
    x = X.clone().requires_grad_()
    probabilities = torch.stack([q.sigmoid().clamp(max=0.5) for q in network.margins(x)], 1)
    (wanted,) = torch.autograd.grad(probabilities.norm(p=3.5, dim=1).sum(), x)
    ratio = gradient.norm(dim=1) / wanted.norm(dim=1)
    moved = wanted.norm(dim=1) > 0
    assert moved.sum() >= 3
    torch.testing.assert_close(gradient[moved], (ratio[:, None] * wanted)[moved])


@pytest.mark.parametrize("rule", ["entropy", "confidence"])
def test_exits_are_drawn_to_the_uniform_distribution(rule):
    torch.manual_seed(0)
    threshold = 0.8 if rule == "entropy" else 0.7
    network = MultiExit(14, rule=rule, threshold=threshold).double().eval()
    images = torch.rand(3, 3, 32, 32, dtype=torch.float64)
    value, gradient = raised(UniformCost(), network, images)
    x = images.clone().requires_grad_()
    logits = network.exit_logits(x)[:-1]
    uniform = torch.full((3, 10), 0.1, dtype=torch.float64)
    entropies = torch.stack(
        [nn.functional.cross_entropy(z, uniform, reduction="none") for z in logits], 1
    )
    weights = torch.tensor(network.stage_macs(), dtype=torch.float64)
    expected = -(entropies * weights).sum(1) / weights.sum()
    (wanted,) = torch.autograd.grad(expected.sum(), x)
    torch.testing.assert_close(value, expected.detach())
    torch.testing.assert_close(gradient, wanted)


def test_gates_behind_no_exit_have_no_logits():
    with pytest.raises(TypeError, match="HingedCost"):
        raised(UniformCost(), TwoGates(), X)


@pytest.mark.parametrize("method", [HingedCost(), PoweredCost()])
def test_what_no_input_moves_adds_no_gradient(method):
    margin = torch.tensor([[-torch.inf, 1.0, -2.0]], requires_grad=True)
    signal = method.spending(margin, None)
    (gradient,) = torch.autograd.grad(signal.sum(), margin)
    assert signal.isfinite().all()
    assert (gradient != 0).tolist() == [[False, False, True]]


@pytest.mark.parametrize("method", [HingedCost(), PoweredCost(), UniformCost()])
def test_choices_are_those_of_frozen_decisions(method):
    scores = torch.tensor([[1.0, 3.0, 2.0]])
    choice = Choice(2)
    with gradient_method(choice, method):
        made = choice(scores)
    with gradient_method(choice, FGM()):
        assert torch.equal(made, choice(scores))


@pytest.mark.parametrize("settings", [{"power": 0}, {"slope": -1.0}])
def test_numbers_without_a_meaning_are_refused(settings):
    with pytest.raises(ValueError, match="must be above 0"):
        PoweredCost(**settings)
