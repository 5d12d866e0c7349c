"""Choices of k of E at their edges: ties, infinities, flat scores; recorded, made again."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from leadgrad.victims import (
    FGM,
    LGM,
    BestOf,
    Choice,
    Constant,
    Lookahead,
    MarginError,
    RelativeSigmoid,
    Sigmoid,
    VoxelLGM,
    deciding_as,
    gradient_method,
    record_decisions,
    record_occupancies,
)
from leadgrad.victims.occupancy.gates import gates

INF = math.inf
METHODS = [
    LGM(Sigmoid(0.7)),
    LGM(Sigmoid(40.0)),
    LGM(RelativeSigmoid(5.0)),
    LGM(Constant(0.3)),
    VoxelLGM(Sigmoid(2.0)),
]


def scores(*shape, dtype=torch.double):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def chosen(method, values, k):
    choice = Choice(k)
    with gradient_method(choice, method):
        return choice(values)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_k_greatest_are_chosen(k):
    values = scores(3, 4, 5)
    occupancy = Choice(k)(values)
    assert occupancy.sum(-1).eq(k).all()
    for row, own in zip(values.reshape(-1, 5).tolist(), occupancy.reshape(-1, 5), strict=True):
        greatest = sorted(range(5), key=lambda unit: -row[unit])[:k]
        assert own.nonzero().flatten().tolist() == sorted(greatest)


@pytest.mark.parametrize(
    ("row", "k", "expected", "margins"),
    [
        ([1, 1, 1, 1], 2, [1, 1, 0, 0], [0, 0, 0, 0]),
        ([0, 3, 1, 3], 1, [0, 1, 0, 0], [-3, 0, -2, 0]),
        ([-0.0, 0.0, -1, -1], 1, [1, 0, 0, 0], [0, 0, -1, -1]),
        ([INF, INF, 0, INF], 2, [1, 1, 0, 0], [0, 0, -INF, 0]),
        ([-INF, -INF, -INF, -INF], 2, [1, 1, 0, 0], [0, 0, 0, 0]),
        ([-INF, 5, -INF, -INF], 2, [1, 1, 0, 0], [0, INF, 0, 0]),
        ([-INF, 5, INF, -INF], 1, [0, 0, 1, 0], [-INF, -INF, INF, -INF]),
        ([-INF, INF, -INF, -INF], 1, [0, 1, 0, 0], [-INF, INF, -INF, -INF]),
        ([3, 1, -1, -INF], 3, [1, 1, 1, 0], [INF, INF, INF, -INF]),
        ([4, 1, -1, 0], 1, [1, 0, 0, 0], [1.5, -1.5, -3.5, -2.5]),
        ([3, 1, 2, 0], 4, [1, 1, 1, 1], [INF] * 4),
    ],
)
def test_ties_go_to_the_first_and_infinite_scores_decide(row, k, expected, margins):
    choice = Choice(k)
    with record_decisions(choice) as record:
        occupancy = choice(torch.tensor([row], dtype=torch.double))
    assert occupancy.tolist() == [expected]
    (decision,) = record
    assert decision.margin.tolist() == [margins]
    assert decision.hard.tolist() == [[bool(each) for each in expected]]
    assert decision.choices == k


def test_large_scores_do_not_overflow():
    big = torch.finfo(torch.float32).max
    assert Choice(1)(torch.tensor([[big, big / 2, 0.0]])).tolist() == [[1, 0, 0]]
    with record_decisions(choice := Choice(1)) as record:
        choice(torch.tensor([[big, big / 2, 0.0]]))
    assert record[0].margin.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("k", "units"), [(1, 2), (1, 7), (3, 7), (6, 7), (7, 7)])
def test_relaxed_occupancies_sum_to_k(method, k, units, dtype):
    values = 10 * scores(4, 3, units, dtype=dtype)
    occupancy = chosen(method, values, k)
    assert occupancy.dtype == dtype
    assert occupancy.shape == values.shape
    assert occupancy.min() >= 0
    assert occupancy.max() <= 1
    error = 1e-12 if dtype == torch.float64 else 8 * torch.finfo(dtype).eps * k
    assert float((occupancy.double().sum(-1) - k).abs().max()) <= error


@pytest.mark.parametrize("method", METHODS[:3])
def test_tied_scores_share_what_is_chosen(method):
    expected = torch.tensor([[0.5, 0.5, 0.5, 0.5]], dtype=torch.double)
    torch.testing.assert_close(chosen(method, torch.zeros_like(expected), 2), expected)
    # Of two infinite ones each is as good as the other; no finite one is
    values = torch.tensor([[INF, INF, 0.0, -INF]], dtype=torch.double)
    expected = torch.tensor([[0.5, 0.5, 0, 0]], dtype=torch.double)
    torch.testing.assert_close(chosen(method, values, 1), expected)


def test_what_cannot_reach_k_is_scaled():
    values = scores(2, 4)
    for surrogate in (Constant(0.3), Constant(0.0), Sigmoid(0.0)):
        torch.testing.assert_close(chosen(LGM(surrogate), values, 3), torch.full_like(values, 0.75))


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("slope", [0.7, 3.0])
def test_the_gradient_is_that_of_the_implicit_function(slope, k):
    method = LGM(Sigmoid(slope))
    values = scores(2, 3, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: chosen(method, x, k), values)
    # Against an own solution of Σ sigmoid(λ(s - t)) = k, and its differences
    weights = scores(5) + 1
    row = values.detach()[0, 0]

    def value(x):
        low, high = x.min() - 50, x.max() + 50
        for _ in range(200):
            middle = (low + high) / 2
            if torch.sigmoid(slope * (x - middle)).sum() > k:
                low = middle
            else:
                high = middle
        return (weights * torch.sigmoid(slope * (x - low))).sum()

    x = row[None].clone().requires_grad_()
    out = (weights * chosen(method, x, k)).sum()
    (gradient,) = torch.autograd.grad(out, x)
    assert float(out.detach()) == pytest.approx(float(value(row)))
    step = 1e-6
    for unit in range(5):
        moved = step * torch.eye(5, dtype=torch.double)[unit]
        difference = (value(row + moved) - value(row - moved)) / (2 * step)
        assert float(gradient[0, unit]) == pytest.approx(float(difference), abs=1e-7)
    assert float(gradient.sum()) == pytest.approx(0, abs=1e-12)


def test_a_gradient_changes_no_value():
    values = scores(3, 6, dtype=torch.float32)
    for method in METHODS[:3]:
        led = chosen(method, values.clone().requires_grad_(), 2)
        with torch.no_grad():
            assert torch.equal(chosen(method, values, 2), led)


def test_hard_keeps_the_choice_and_has_the_soft_gradient():
    weights = scores(6)
    gradients = []
    for forward in ("soft", "hard"):
        values = scores(3, 6).requires_grad_()
        occupancy = chosen(LGM(Sigmoid(2.0), forward), values, 2)
        gradients.append(torch.autograd.grad((weights * occupancy).sum(), values)[0])
    assert torch.equal(occupancy.detach(), Choice(2)(values.detach()))
    assert torch.equal(*gradients)
    assert gradients[0].abs().max() > 0


def test_a_steep_relaxation_is_the_choice():
    values = scores(8, 6)
    torch.testing.assert_close(chosen(LGM(Sigmoid(1e5)), values, 2), Choice(2)(values))


def test_frozen_choices_have_no_gradient():
    for method in (FGM(), Lookahead()):
        assert not chosen(method, scores(2, 3).requires_grad_(), 1).requires_grad
    with pytest.raises(ValueError, match="candidates"):
        chosen(BestOf((FGM(),)), scores(2, 3), 1)
    with pytest.raises(ValueError, match="candidates"):
        chosen(LGM(), scores(2, 3), 1)


@pytest.mark.parametrize("method", [FGM(), LGM(Sigmoid(1.0)), LGM(Constant())])
def test_a_nan_score_is_an_error_that_names_the_choice(method):
    network = nn.Sequential(nn.Identity(), Choice(1))
    values = scores(2, 4)
    values[1, 2] = math.nan
    message = r"at gate '1' of Sequential, 1 of 8 margins \(2, 4\) are NaN"
    with pytest.raises(MarginError, match=message), gradient_method(network, method):
        network(values)


@pytest.mark.parametrize("k", [0, -1])
def test_k_counts_something(k):
    with pytest.raises(ValueError, match=f"got {k}"):
        Choice(k)


@pytest.mark.parametrize("shape", [(4,), (2, 1), (2, 3, 1)])
def test_scores_have_samples_and_enough_units(shape):
    with pytest.raises(ValueError, match=r"must be \(B, ..., E\) with E of at least 2"):
        Choice(2)(torch.zeros(shape))


class Routed(nn.Module):
    """Tokens (B, T, C) through the chosen ones of three experts."""

    def __init__(self, again=False):
        super().__init__()
        torch.manual_seed(0)
        self.router, self.choice = nn.Linear(4, 3), Choice(1)
        self.experts = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.again = again

    def part(self, x):
        occupancy = self.choice(self.router(x))
        outputs = [expert(x).tanh() for expert in self.experts]
        return sum(occupancy[..., e, None] * out for e, out in enumerate(outputs))

    def forward(self, x):
        if self.again:
            return checkpoint(self.part, x, use_reentrant=False)
        return self.part(x)


def test_a_choice_is_enumerated_and_recorded_like_a_gate():
    network = Routed()
    x = scores(2, 5, 4, dtype=torch.float32)
    assert gates(network) == [network.choice]
    assert "the 1 greatest" in repr(network)
    assert list(network.choice.state_dict()) == []
    with record_occupancies(network) as record:
        network(x)
        with gradient_method(network, LGM(Sigmoid(1.0))), record_decisions(network) as decisions:
            network(x)
    assert [each.shape for each in record] == [(2, 5, 3)] * 2
    assert torch.equal(*record)
    assert record[0].dtype == torch.bool
    (decision,) = decisions
    assert not torch.equal(decision.occupancy, decision.hard.float())
    assert torch.equal((decision.margin > 0), decision.hard)
    network(x)
    assert len(record) == 2


def test_margins_lie_between_scores_and_occupancies():
    network = Routed()
    x = scores(2, 5, 4, dtype=torch.float32)
    with gradient_method(network, LGM(Sigmoid(1.0))), record_decisions(network) as record:
        out = network(x)
    (gradient,) = torch.autograd.grad(out.square().sum(), record[0].margin)
    assert gradient.abs().max() > 0


def test_a_choice_that_is_made_again_has_the_first_ones_method_and_record():
    gradients = []
    for again in (False, True):
        network = Routed(again)
        x = scores(2, 5, 4, dtype=torch.float32).requires_grad_()
        with record_occupancies(network) as record:
            with gradient_method(network, LGM(Sigmoid(1.0))):
                out = network(x)
            out.square().sum().backward()
        assert len(record) == 1
        gradients.append(x.grad)
    assert torch.equal(*gradients)


def test_choices_are_foreseen():
    network = Routed()
    here, there = scores(2, 5, 4, dtype=torch.float32), -scores(2, 5, 4, dtype=torch.float32)
    with record_occupancies(network) as elsewhere:
        network(there)
    with (
        deciding_as(network, lambda: network(there)),
        record_decisions(network) as record,
    ):
        network(here)
    assert torch.equal(record[0].occupancy.bool(), elsewhere[0])
    assert not torch.equal(record[0].hard, elsewhere[0])


def test_a_copy_has_its_own_choice():
    network = Routed()
    twin = copy.deepcopy(network)
    with record_occupancies(network) as record:
        twin(scores(2, 5, 4, dtype=torch.float32))
    assert record == []


@pytest.mark.parametrize("method", [FGM(), LGM(Sigmoid(1.0))])
def test_a_choice_compiles(method):
    torch._dynamo.reset()
    network = Routed()
    x = scores(2, 5, 4, dtype=torch.float32)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    with gradient_method(network, method), torch.no_grad():
        torch.testing.assert_close(compiled(x), network(x))
        assert compiled(torch.full_like(x, math.nan)).isnan().all()
    torch._dynamo.reset()
