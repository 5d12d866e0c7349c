"""Decisions that some samples do not reach: recorded as not executed, and as not reached."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from leadgrad.victims import (
    FGM,
    LGM,
    Choice,
    Gate,
    Sigmoid,
    gradient_method,
    record_decisions,
    record_occupancies,
)

MARGIN = torch.tensor([[[1.0, -1.0], [2.0, 3.0]], [[4.0, 5.0], [-6.0, 7.0]]])
MASKS = [
    torch.tensor([True, False]),
    torch.tensor([[True, False], [False, True]]),
    torch.tensor([[False], [True]]),
]
MODULES = [Gate(), Gate(inclusive=True), Choice(1)]


@pytest.mark.parametrize("method", [FGM(), LGM(Sigmoid(1.0)), LGM(Sigmoid(1.0), "hard")])
@pytest.mark.parametrize("reached", MASKS)
@pytest.mark.parametrize("module", MODULES)
def test_what_is_not_reached_is_recorded_as_not_executed(module, reached, method):
    with gradient_method(module, method), record_decisions(module) as record:
        occupancy = module(MARGIN, reached)
        everywhere = module(MARGIN)
    assert torch.equal(occupancy, everywhere)
    masked, whole = record
    there = reached.view(*reached.shape, *[1] * (3 - reached.ndim)).expand(2, 2, 2)
    assert whole.reached is None
    assert torch.equal(masked.reached, there)
    assert torch.equal(masked.hard, whole.hard & there)
    assert torch.equal(masked.occupancy, whole.occupancy)
    assert whole.executed is whole.occupancy
    assert torch.equal(masked.executed, torch.where(there, whole.occupancy, 0.0))
    with record_occupancies(module) as units:
        module(MARGIN, reached)
    assert torch.equal(units[0], masked.hard)


def test_a_gate_may_be_reached_by_unit():
    reached = MARGIN > 1.5
    gate = Gate()
    with record_decisions(gate) as record:
        gate(MARGIN, reached)
    assert torch.equal(record[0].reached, reached)


@pytest.mark.parametrize(
    ("module", "reached"),
    [
        (Gate(), torch.tensor([1.0, 0.0])),
        (Gate(), torch.tensor([True, False, True])),
        (Gate(), torch.tensor(True)),
        (Gate(), torch.ones(1, 2, dtype=torch.bool)),
        (Gate(), torch.ones(2, 3, dtype=torch.bool)),
        (Gate(), torch.ones(2, 2, 2, 1, dtype=torch.bool)),
        (Choice(1), torch.ones(2, 2, 2, dtype=torch.bool)),
    ],
)
def test_what_is_reached_is_of_these_decisions(module, reached):
    with pytest.raises(ValueError, match="reached must be bool in the shape of the first axes"):
        module(MARGIN, reached)


class Exiting(nn.Module):
    """A second gate that only those samples reach whose first one executes."""

    def __init__(self, again):
        super().__init__()
        self.first, self.second, self.again = Gate(), Gate(), again

    def part(self, x):
        going_on = self.first(x[:, 0])
        inner = self.second(x[:, 1:], going_on.detach() > 0)
        return going_on + (going_on[:, None] * inner).sum(1)

    def forward(self, x):
        return checkpoint(self.part, x, use_reentrant=False) if self.again else self.part(x)


@pytest.mark.parametrize("again", [False, True])
def test_a_network_with_an_exit(again):
    network = Exiting(again)
    x = torch.tensor([[1.0, 1.0, -1.0], [-1.0, 1.0, 1.0]], requires_grad=True)
    with record_decisions(network) as record:
        out = network(x)
        if out.requires_grad:
            out.sum().backward()
    first, second = record
    assert first.reached is None
    assert second.reached.tolist() == [[True, True], [False, False]]
    assert second.hard.tolist() == [[True, False], [False, False]]


def test_reached_compiles():
    torch._dynamo.reset()
    network = Exiting(again=False)
    x = torch.tensor([[1.0, 1.0, -1.0], [-1.0, 1.0, 1.0]])
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), network(x))
    torch._dynamo.reset()
