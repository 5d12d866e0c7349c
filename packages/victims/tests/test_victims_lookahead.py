"""Looking ahead: the network as it decides elsewhere, in value and gradient."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from leadgrad.victims import FGM, Gate, Lookahead, deciding_as, gradient_method, record_decisions


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
