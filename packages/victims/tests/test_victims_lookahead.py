"""Looking ahead: the network as it decides elsewhere, in value and gradient."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from leadgrad.victims import (
    FGM,
    Choice,
    Gate,
    Lookahead,
    Smoothed,
    deciding_as,
    gradient_method,
    record_decisions,
)


class Two(nn.Module):
    """Two branches: one for samples above 0, one for coordinates above 0.5."""

    def __init__(self, again=None):
        super().__init__()
        self.first, self.second = Gate(), Gate()
        self.again = again

    def forward(self, x):
        if self.again is None:
            return self.body(x)
        return checkpoint(self.body, x, use_reentrant=self.again)

    def body(self, x):
        whole = self.first(x.mean(1))[:, None]
        return whole * x.sin() + self.second(x - 0.5) * x.exp()


X = torch.tensor([[0.3, -0.1, 0.7], [-0.4, 0.2, -0.3]], dtype=torch.float64)
THERE = torch.tensor([[-0.3, 0.6, -0.7], [0.4, 0.8, 0.6]], dtype=torch.float64)


def reference(x, there):
    return (there.mean(1) > 0)[:, None] * x.sin() + (there > 0.5) * x.exp()


@pytest.mark.parametrize("again", [None, False, True])
def test_value_and_gradient_are_those_of_the_network_that_decides_as_there(again):
    network = Two(again)
    x = X.clone().requires_grad_()
    with deciding_as(network, lambda: network(THERE.clone().requires_grad_())):
        value = network(x)
    assert torch.equal(value, reference(X, THERE))
    value.sum().backward()
    y = X.clone().requires_grad_()
    (expected,) = torch.autograd.grad(reference(y, THERE).sum(), y)
    assert torch.equal(x.grad, expected)
    assert not torch.equal(value, network(x)), "the decisions differ"
    assert network.first.method == network.second.method == FGM()
    assert network.first.observers == ()


def test_what_is_recorded_is_the_rule_here():
    network = Two()
    with deciding_as(network, lambda: network(THERE)), record_decisions(network) as record:
        network(X)
    assert torch.equal(record[1].hard, X > 0.5)
    assert torch.equal(record[1].occupancy, (THERE > 0.5).double())


def test_without_a_proposal_it_is_fgm():
    network = Two()
    with gradient_method(network, Lookahead()):
        assert torch.equal(network(X), reference(X, X))
    assert Lookahead().looks_ahead
    assert not FGM().looks_ahead


def test_decisions_of_other_shapes_are_refused():
    network = Two()
    with (
        deciding_as(network, lambda: network(THERE[:1])),
        pytest.raises(ValueError, match="same shape"),
    ):
        network(X)
    with deciding_as(network, lambda: None), pytest.raises(ValueError, match="was not asked"):
        network(X)


def test_methods_return_after_an_error():
    network = Two()

    def broken():
        raise RuntimeError("broken on purpose")

    with pytest.raises(RuntimeError, match="on purpose"), deciding_as(network, broken):
        pass
    assert network.first.observers == ()
    assert network.first.method == FGM()


class Chosen(nn.Module):
    """One of three branches."""

    def __init__(self):
        super().__init__()
        self.choice = Choice()

    def forward(self, x):
        return (self.choice(x) * torch.stack([x.sum(1), x.sin().sum(1), x.exp().sum(1)], 1)).sum(1)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_foreseen_decisions_are_smoothed(share):
    network, x = Two(), X.clone().requires_grad_()
    with deciding_as(network, lambda: network(THERE), smoothing=share):
        value = network(x)
    whole, single = (THERE.mean(1) > 0)[:, None].double(), (THERE > 0.5).double()
    whole, single = ((1 - share) * each + share / 2 for each in (whole, single))
    torch.testing.assert_close(value, whole * X.sin() + single * X.exp())
    value.sum().backward()
    torch.testing.assert_close(x.grad, whole * X.cos() + single * X.exp())


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_smoothed_decisions_here_and_there(share):
    """Of gates and choices; no gradient through either, and choices go on to sum to one."""
    for network in (Two(), Chosen()):
        x = X.clone().requires_grad_()
        with gradient_method(network, Smoothed(share)), record_decisions(network) as decisions:
            network(x)
        for decision in decisions:
            even = 0.5 if decision.choices is None else 1 / 3
            expected = (1 - share) * decision.hard.double() + share * even
            torch.testing.assert_close(decision.occupancy, expected)
            assert not decision.occupancy.requires_grad
        if share == 0:
            assert torch.equal(network(x), network(X))
    chosen = Chosen()
    foreseen = deciding_as(chosen, lambda: chosen(THERE), smoothing=share)
    with foreseen, record_decisions(chosen) as decisions:
        chosen(X)
    torch.testing.assert_close(decisions[0].occupancy.sum(1), torch.ones(2).double())
    assert decisions[0].occupancy.argmax(1).tolist() == THERE.argmax(1).tolist() or share == 1


@pytest.mark.parametrize(
    "made", [Smoothed, lambda s: Lookahead(smoothing=s), lambda s: Lookahead(taken=s)]
)
def test_shares_out_of_range_are_refused(made):
    with pytest.raises(ValueError, match=r"is a share and must lie in \[0, 1\], got 1.5"):
        made(1.5)
