"""What a gradient method is, to gates and to voxelizers."""

import inspect

import pytest
import torch

from leadgrad.victims import (
    FGM,
    LGM,
    BestOf,
    Constant,
    FixedExits,
    GradientMethod,
    Lookahead,
    Sigmoid,
    Surrogate,
    Unled,
    VoxelFGM,
    VoxelLGM,
)


@pytest.mark.parametrize("base", [GradientMethod, Surrogate])
def test_bases_are_abstract(base):
    with pytest.raises(TypeError, match="abstract"):
        base()


@pytest.mark.parametrize("base", [GradientMethod, Surrogate])
def test_nothing_concrete_inherits_something_concrete(base):
    found = [base]
    for each in found:
        found += [
            one for one in each.__subclasses__() if one.__module__.startswith("leadgrad.victims")
        ]
    concrete = {each for each in found if not inspect.isabstract(each)}
    assert len(concrete) >= 5
    for each in concrete:
        assert not concrete.intersection(each.__mro__[1:]), each


@pytest.mark.parametrize(
    ("method", "leads"),
    [
        (FGM(), False),
        (VoxelFGM(), False),
        (Lookahead(), False),
        (LGM(), True),
        (LGM(Sigmoid(1.0), "hard"), True),
        (VoxelLGM(), True),
        (BestOf((FGM(), VoxelFGM())), False),
        (BestOf((FGM(), LGM(Constant()))), True),
    ],
)
def test_a_method_says_whether_it_leads(method, leads):
    assert method.leads is leads


def test_at_a_gate_a_voxel_networks_methods_are_those_of_images():
    margin = torch.tensor([-1.0, 0.0, 2.0], requires_grad=True)
    hard = margin > 0
    assert torch.equal(VoxelFGM().occupancy(margin, hard), FGM().occupancy(margin, hard))
    led = VoxelLGM(Sigmoid(3.0), input=Sigmoid(1.0))
    assert torch.equal(led.occupancy(margin, hard), LGM(Sigmoid(3.0)).occupancy(margin, hard))
    assert led.held(margin) == LGM(Sigmoid(3.0))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: LGM(5.0), TypeError, r"such as Sigmoid\(5.0\), got 5.0"),
        (lambda: LGM(Sigmoid), TypeError, "surrogate must be a Surrogate"),
        (lambda: BestOf(FGM()), TypeError, "methods must be a tuple"),
        (lambda: BestOf((FGM,)), TypeError, r"must be of values such as FGM\(\)"),
        (lambda: Unled(5), TypeError, "must be of values such as .*, got 5"),
        (lambda: Unled(LGM()), ValueError, "stands for several"),
        (lambda: Unled(BestOf((FGM(),))), ValueError, "stands for several"),
        (lambda: Unled(Lookahead()), ValueError, "leads nothing that Unled could leave out"),
        (lambda: FixedExits((float("nan"),)), ValueError, "sum to 1, got"),
        (lambda: FixedExits((2.0, -1.0)), ValueError, "at least 0 and sum to 1"),
    ],
)
def test_what_makes_no_sense_is_refused_when_it_is_made(make, error, message):
    with pytest.raises(error, match=message):
        make()
