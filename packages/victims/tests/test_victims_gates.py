"""Gates alone: rules, methods, contexts and recorders."""

import math
import subprocess
import sys

import pytest
import torch
from torch import nn

from leadgrad.victims import (
    FGM,
    LGM,
    BestOf,
    Constant,
    Gate,
    RelativeSigmoid,
    Sigmoid,
    gradient_method,
    record_decisions,
    record_occupancies,
)
from leadgrad.victims.occupancy.gates import gates
from leadgrad.victims.occupancy.surrogates import LEAST_SINGLE_SIZE, LEAST_SIZE

MARGINS = torch.tensor([-2.0, -0.0, 0.0, 0.5], dtype=torch.double)


class TwoGates(nn.Module):
    """The smallest network with gates: the first gates what the second sees."""

    def __init__(self):
        super().__init__()
        self.first, self.second = Gate(), Gate(inclusive=True)

    def forward(self, x):
        return self.second(self.first(x) * x)


def methods(network):
    return [gate.method for gate in gates(network)]


def test_the_rule_at_zero_is_the_familys():
    assert Gate()(MARGINS).tolist() == [0, 0, 0, 1]
    assert Gate(inclusive=True)(MARGINS).tolist() == [0, 1, 1, 1]


def test_fgm_has_no_gradient():
    margin = MARGINS.clone().requires_grad_()
    assert not Gate()(margin).requires_grad


@pytest.mark.parametrize("slope", [0.0, 0.3, 7.0])
def test_lgm_is_the_sigmoid_and_its_derivative(slope):
    margin = MARGINS.clone().requires_grad_()
    gate = Gate()
    for forward in ("soft", "hard"):
        with gradient_method(gate, LGM(Sigmoid(slope), forward)):
            occupancy = gate(margin)
        (gradient,) = torch.autograd.grad(occupancy.sum(), margin)
        soft = [1 / (1 + math.exp(-slope * q)) for q in MARGINS.tolist()]
        assert gradient.tolist() == pytest.approx([slope * o * (1 - o) for o in soft])
        expected = soft if forward == "soft" else [0, 0, 0, 1]
        assert occupancy.tolist() == pytest.approx(expected, abs=0 if forward == "hard" else 1e-15)


def test_constant_weighs_all_alike_and_leads_nothing():
    margin = MARGINS.clone().requires_grad_()
    gate = Gate()
    with gradient_method(gate, LGM(Constant(0.5))):
        occupancy = gate(margin)
    assert occupancy.tolist() == [0.5] * 4
    assert not occupancy.requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("method", [FGM(), LGM(Sigmoid(3)), LGM(Constant(), "hard")])
def test_occupancy_has_the_margins_shape_and_dtype(dtype, method):
    gate = Gate()
    gate.method = method
    occupancy = gate(torch.randn(3, 1, 2, 2).to(dtype))
    assert occupancy.shape == (3, 1, 2, 2)
    assert occupancy.dtype == dtype


@pytest.mark.parametrize("slope", [-1.0, math.inf, math.nan])
def test_slope_must_be_finite_and_not_negative(slope):
    with pytest.raises(ValueError, match=f"slope must be finite and at least 0, got {slope}"):
        Sigmoid(slope)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_constant_must_be_an_occupancy(value):
    with pytest.raises(ValueError, match=f"got {value}"):
        Constant(value)


def test_forward_must_be_soft_or_hard():
    with pytest.raises(ValueError, match="got 'fg'"):
        LGM(Sigmoid(1), forward="fg")


def test_gates_have_no_state_and_are_found_once():
    network = TwoGates()
    network.again = network.first
    assert list(network.state_dict()) == []
    assert list(network.parameters()) == []
    assert gates(network) == [network.first, network.second]
    assert "margin > 0" in repr(network.first)
    assert "margin >= 0" in repr(network.second)


def test_contexts_nest_and_restore():
    network, outer, inner = TwoGates(), LGM(Sigmoid(1)), LGM(Sigmoid(9))
    network.second.method = LGM(Constant())
    with gradient_method(network, outer):
        assert methods(network) == [outer, outer]
        with gradient_method(network.first, inner):
            assert methods(network) == [inner, outer]
        assert methods(network) == [outer, outer]
        with gradient_method(network, FGM()):
            assert methods(network) == [FGM(), FGM()]
        assert methods(network) == [outer, outer]
    assert methods(network) == [FGM(), LGM(Constant())]


@pytest.mark.parametrize("context", [record_decisions, record_occupancies])
def test_everything_is_restored_after_an_exception(context):
    network = TwoGates()
    with (
        pytest.raises(RuntimeError, match="inside"),
        gradient_method(network, LGM(Sigmoid(1))),
        context(network),
    ):
        raise RuntimeError("inside")
    assert methods(network) == [FGM(), FGM()]
    assert [gate.observers for gate in gates(network)] == [(), ()]


def test_records_are_in_order_of_execution_and_nest():
    network = TwoGates()
    with record_occupancies(network) as outer:
        network(MARGINS)
        with record_decisions(network.second) as inner, record_occupancies(network) as both:
            network(MARGINS)
        network(MARGINS)
    first, second = [False, False, False, True], [False, True, True, True]
    # -2·0 is -0, which the inclusive gate executes
    second[0] = True
    assert [o.tolist() for o in outer] == [first, second] * 3
    assert [o.tolist() for o in both] == [first, second]
    assert [decision.hard.tolist() for decision in inner] == [second]
    network(MARGINS)
    assert len(outer) == 6


def test_a_decision_has_its_margin_its_rule_and_what_was_used():
    gate, margin = Gate(), MARGINS.clone().requires_grad_()
    with gradient_method(gate, LGM(Sigmoid(2))), record_decisions(gate) as record:
        occupancy = gate(margin)
    (decision,) = record
    assert decision.margin is margin
    assert decision.occupancy is occupancy
    assert decision.hard.tolist() == [False, False, False, True]
    with gradient_method(gate, LGM(Sigmoid(2))), record_occupancies(gate) as record:
        gate(margin)
    assert record[0].tolist() == [False, False, False, True]
    assert not record[0].requires_grad


@pytest.mark.parametrize("module", ["leadgrad.victims", "leadgrad.victims.occupancy.gates"])
def test_importing_victims_imports_no_lightning(module):
    script = f"import sys, {module}; sys.exit('lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_idle_only_where_nothing_runs_and_no_gradient_asks():
    nothing, something = torch.zeros(3), torch.tensor([0.0, 1.0])
    assert Gate.idle(nothing)
    assert not Gate.idle(something)
    assert not Gate.idle(nothing.clone().requires_grad_())


@pytest.mark.parametrize("factor", [1e-3, 1.0, 250.0])
def test_a_relative_slope_does_not_see_the_size_of_margins(factor):
    torch.manual_seed(0)
    margin = torch.randn(3, 1, 4, 5)
    relaxed = RelativeSigmoid(3.0)
    torch.testing.assert_close(relaxed(factor * margin), relaxed(margin))


def test_a_relative_slope_is_that_of_a_sigmoid_over_each_samples_mean_margin():
    margin = torch.tensor([[1.0, -3.0], [0.5, 0.5]], requires_grad=True)
    occupancy = RelativeSigmoid(2.0)(margin)
    slopes = torch.tensor([[1.0], [4.0]])  # 2 over 2, and 2 over 0.5
    torch.testing.assert_close(occupancy, torch.sigmoid(slopes * margin))
    (gradient,) = torch.autograd.grad(occupancy.sum(), margin)
    soft = occupancy.detach()
    torch.testing.assert_close(gradient, slopes * soft * (1 - soft))


@pytest.mark.parametrize("shape", [(-1,), (-1, 1), (-1, 1, 1, 1)])
@pytest.mark.parametrize("slope", [1.0, 5.0])
def test_a_relative_slope_of_scalar_gates_is_bounded(shape, slope):
    sizes = torch.tensor([1e-30, 1e-12, 1e-3, 0.1, 1.0, 2.9, 3.1, 30.0, 1e4])
    margin = torch.cat([sizes, -sizes, torch.zeros(1)]).reshape(shape).requires_grad_()
    occupancy = RelativeSigmoid(slope)(margin)
    (gradient,) = torch.autograd.grad(occupancy.sum(), margin)
    assert ((gradient > 0) | (margin.abs() > 100)).all()
    assert float(gradient.max()) <= slope / 4 / LEAST_SINGLE_SIZE + 1e-6
    near = margin.abs() < LEAST_SINGLE_SIZE
    plain = Sigmoid(slope / LEAST_SINGLE_SIZE)(margin)
    torch.testing.assert_close(occupancy[near], plain[near])
    alone = torch.cat([RelativeSigmoid(slope)(one[None]) for one in margin])
    # No sample depends on its batch, but for last bits: vectors of AVX2 round sigmoids otherwise
    torch.testing.assert_close(alone, occupancy, rtol=4 * torch.finfo().eps, atol=0)


def test_no_gate_outweighs_the_others_by_being_near_its_decision():
    gates_ = torch.tensor([[1e-30], [0.01], [1.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(RelativeSigmoid(5.0)(gates_).sum(), gates_)
    assert float(gradient.max() / gradient.min()) < 3


def test_a_relative_slope_of_many_units_is_bounded():
    margin = torch.full((2, 1, 3, 3), 1e-30, requires_grad=True)
    (gradient,) = torch.autograd.grad(RelativeSigmoid(5.0)(margin).sum(), margin)
    assert float(gradient.max()) <= 5.0 / 4 / LEAST_SIZE * 1.001


def test_a_relative_slope_of_many_units_has_the_bits_of_its_definition():
    torch.manual_seed(0)
    for shape in ((4, 1, 5, 7), (3, 2), (2, 64)):
        margin = 3 * torch.randn(shape)
        size = margin.abs().reshape(len(margin), -1).mean(1).view(-1, *[1] * (margin.ndim - 1))
        assert torch.equal(RelativeSigmoid(5.0)(margin), torch.sigmoid(5.0 * margin / size))


def test_margins_of_exactly_0_stay_half_occupied():
    occupancy = RelativeSigmoid(3.0)(torch.zeros(2, 1, 3, 3, requires_grad=True))
    assert torch.equal(occupancy, torch.full_like(occupancy, 0.5))


def test_the_best_of_some_stands_for_what_each_stands_for():
    half = LGM(Constant())
    assert BestOf((FGM(), half)).candidates() == (FGM(), half)
    assert BestOf((FGM(), LGM())).candidates() == (FGM(), *LGM().candidates())


def test_the_best_of_some_is_no_single_occupancy():
    with pytest.raises(ValueError, match="candidates"):
        BestOf((FGM(), LGM())).occupancy(MARGINS, MARGINS > 0)
    with pytest.raises(ValueError, match="at least one"):
        BestOf(())


def test_a_held_surrogate_is_the_same_there_and_has_its_gradient_as_derivative():
    margin = torch.randn(3, 4, dtype=torch.double)
    method = LGM(RelativeSigmoid(2.0))
    held = method.held(margin)
    hard = margin > 0
    assert torch.equal(held.occupancy(margin, hard), method.occupancy(margin, hard))
    assert torch.autograd.gradcheck(lambda q: held.occupancy(q, hard), margin.requires_grad_())
    assert FGM().held(margin) == FGM()
    assert LGM().held(margin) == LGM()
    assert LGM(Sigmoid(1.0)).held(margin) == LGM(Sigmoid(1.0))
