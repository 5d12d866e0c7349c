"""A choice of k among several: exact under FGM, shares that sum to k under LGM."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from leadgrad.victims import (
    FGM,
    LGM,
    Choice,
    Constant,
    MarginError,
    RelativeSigmoid,
    Sigmoid,
    VoxelLGM,
    gradient_method,
    record_decisions,
    record_occupancies,
)
from leadgrad.victims.occupancy.gates import gates

SCORES = torch.randn(6, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def under(method, scores, k):
    choice = Choice(k)
    with gradient_method(choice, method):
        return choice(scores)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_exactly_the_k_greatest_are_chosen(k):
    chosen = under(FGM(), SCORES, k)
    assert torch.equal(chosen.sum(-1), torch.full((6, 3), float(k), dtype=torch.float64))
    least = torch.where(chosen == 1, SCORES, torch.inf).amin(-1)
    most = torch.where(chosen == 0, SCORES, -torch.inf).amax(-1)
    assert bool((least > most).all())


@pytest.mark.parametrize(
    ("row", "k", "expected"),
    [
        ([1.0, 1.0, 1.0, 0.0], 1, [1, 0, 0, 0]),
        ([1.0, 1.0, 1.0, 0.0], 2, [1, 1, 0, 0]),
        ([0.0, 2.0, 1.0, 1.0], 2, [0, 1, 1, 0]),
        ([-torch.inf, 0.0, -torch.inf, -torch.inf], 2, [1, 1, 0, 0]),
        ([torch.inf, torch.inf, 0.0, -torch.inf], 1, [1, 0, 0, 0]),
    ],
)
def test_ties_go_to_the_first(row, k, expected):
    scores = torch.tensor([row])
    choice = Choice(k)
    with record_decisions(choice) as record:
        assert choice(scores).tolist() == [expected]
    (decision,) = record
    assert decision.choices == k
    assert not decision.margin.isnan().any()
    # The margin is no other rule than the decision, but where it is 0
    clear = decision.margin.abs().isfinite() & (decision.margin != 0)
    assert torch.equal((decision.margin > 0)[clear], decision.hard[clear])


@pytest.mark.parametrize(
    "surrogate", [Sigmoid(0.001), Sigmoid(1.0), Sigmoid(40.0), RelativeSigmoid(5.0), Constant(0.5)]
)
@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shares_sum_to_k(surrogate, k, dtype):
    shares = under(LGM(surrogate), SCORES.to(dtype), k)
    assert shares.dtype == dtype
    assert bool(((shares >= 0) & (shares <= 1 + 1e-6)).all())
    torch.testing.assert_close(shares.sum(-1), torch.full((6, 3), float(k), dtype=dtype))


def test_a_constant_leads_nothing_and_a_steep_surrogate_is_the_choice():
    torch.testing.assert_close(under(LGM(Constant(0.5)), SCORES, 2), torch.full_like(SCORES, 2 / 5))
    steep = under(LGM(Sigmoid(1e6)), SCORES, 2)
    torch.testing.assert_close(steep, under(FGM(), SCORES, 2))


@pytest.mark.parametrize("k", [1, 2])
def test_the_gradient_is_that_of_shares_that_keep_their_sum(k):
    scores = SCORES[:2].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: under(LGM(Sigmoid(2.0)), s, k), scores)
    (gradient,) = torch.autograd.grad(under(LGM(Sigmoid(2.0)), scores, k).sum(), scores)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-9, rtol=0)
    assert not under(FGM(), scores, k).requires_grad


def test_hard_values_with_a_led_gradient():
    scores = SCORES.clone().requires_grad_()
    weights = torch.arange(5.0, dtype=torch.float64)
    gradients = []
    for forward in ("soft", "hard"):
        value = under(LGM(Sigmoid(2.0), forward), scores, 2)
        gradients += torch.autograd.grad((value * weights).sum(), scores)
    torch.testing.assert_close(value.detach(), under(FGM(), SCORES, 2))
    torch.testing.assert_close(*gradients)


def test_an_infinite_score_is_chosen_or_not_without_a_gradient():
    scores = torch.tensor([[0.3, -torch.inf, 0.1, 0.2]], dtype=torch.float64, requires_grad=True)
    shares = under(LGM(Sigmoid(2.0)), scores, 2)
    assert shares[0, 1] == 0
    torch.testing.assert_close(shares.sum(), torch.tensor(2.0, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(shares[0, 0], scores)
    assert bool(gradient.isfinite().all())
    assert gradient[0, 1] == 0


class Router(nn.Module):
    def __init__(self, again=None):
        super().__init__()
        self.choice, self.again = Choice(2), again

    def forward(self, x):
        if self.again is None:
            return self.body(x)
        return checkpoint(self.body, x, use_reentrant=self.again)

    def body(self, x):
        return (self.choice(x) * x.exp()).sum(-1)


@pytest.mark.parametrize("again", [False, True])
def test_a_forward_that_is_made_again_has_the_first_ones_method(again):
    gradients = []
    for network in (Router(), Router(again)):
        x = SCORES.clone().requires_grad_()
        with record_occupancies(network) as record, gradient_method(network, LGM(Sigmoid(2.0))):
            value = network(x)
        value.sum().backward()
        gradients.append(x.grad)
        assert len(record) == 1
    torch.testing.assert_close(*gradients)
    assert gates(Router()) != []


def test_what_is_no_choice_is_refused():
    for wrong, message in (((2,), "E of at least 2"), ((3, 1), "E of at least 2")):
        with pytest.raises(ValueError, match=message):
            Choice(2)(torch.zeros(wrong))
    with pytest.raises(ValueError, match="at least 1"):
        Choice(0)
    network = Router()
    with pytest.raises(MarginError, match="gate 'choice' of Router"), record_decisions(network):
        network(SCORES * torch.nan)
    with pytest.raises(ValueError, match="stands for several surrogates"):
        under(LGM(), SCORES, 1)


def test_voxel_methods_lead_it_too():
    scores = SCORES.clone()
    assert torch.equal(
        under(VoxelLGM(Sigmoid(2.0)), scores, 1), under(LGM(Sigmoid(2.0)), scores, 1)
    )
