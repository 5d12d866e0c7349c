"""A network that chooses experts, through the checks of an attack."""

import pytest
import torch
from checks_subjects import subject
from torch import nn

from leadgrad.pipelines.checks.gating import connection, consistency
from leadgrad.pipelines.checks.truth import truth_of_frozen, truth_of_method
from leadgrad.victims import LGM, Choice, Gate, RelativeSigmoid, Sigmoid


class Experts(nn.Module):
    """Every position goes through two of four convolutions; a gate follows for all channels."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.router, self.choice = nn.Conv2d(3, 4, 3, padding=1, bias=False), Choice(2)
        self.experts = nn.ModuleList(nn.Conv2d(3, 6, 3, padding=1) for _ in range(4))
        self.gate, self.classes = Gate(), nn.Linear(6, 4)
        self.router.weight.data *= 5

    def forward(self, images):
        occupancy = self.choice(self.router(images).movedim(1, -1))
        x = sum(
            occupancy[:, None, :, :, number] * expert(images).tanh()
            for number, expert in enumerate(self.experts)
        )
        x = x.mean((2, 3))
        return self.classes(x + self.gate(x) * x)


METHODS = [LGM(Sigmoid(1.0)), LGM(RelativeSigmoid(2.0)), LGM(Sigmoid(1.0), "hard")]


@pytest.mark.parametrize("method", METHODS)
def test_choices_pass_the_checks_of_gates(method):
    checked = subject(Experts(), method=method)
    expected = "SKIP" if method.forward == "hard" else "PASS"
    assert truth_of_method(checked).verdict == expected
    assert connection(checked).verdict == "PASS"
    assert consistency(checked).verdict == "PASS"
    assert truth_of_frozen(checked).verdict == "PASS"
