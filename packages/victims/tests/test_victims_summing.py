"""The threshold of a relaxed choice: where the search ends, and that its end changes no bit."""

import pytest
import torch

from leadgrad.victims import Constant, RelativeSigmoid, Sigmoid
from leadgrad.victims.occupancy.summing import DOUBLINGS, HALVINGS, summing_to


def all_steps(surrogate, margin, total):
    """The whole search, however early it stands still."""

    def excess(threshold):
        return surrogate(margin - threshold).sum(-1, keepdim=True) - total

    low = high = torch.zeros_like(margin[..., :1])
    for step in range(DOUBLINGS):
        low = torch.where(excess(low) < 0, low - 2.0**step, low)
        high = torch.where(excess(high) > 0, high + 2.0**step, high)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = excess(middle) >= 0
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    soft = surrogate(margin - (low + high) / 2)
    soft = torch.where(soft.sum(-1, keepdim=True) == 0, 1.0, soft)
    return (soft * (total / soft.sum(-1, keepdim=True))).clamp(max=1)


def some_margins(scale, dtype=torch.float32):
    made = scale * torch.randn(12, 32, generator=torch.Generator().manual_seed(0)).to(dtype)
    made[0] = 0.0
    made[1, 0], made[2, :3] = torch.inf, -torch.inf
    return made


@pytest.mark.parametrize("scale", [1e-4, 1.0, 3000.0])
@pytest.mark.parametrize("total", [1, 4, 8])
@pytest.mark.parametrize(
    "surrogate",
    [Sigmoid(4.0), Sigmoid(1e-3), Sigmoid(500.0), RelativeSigmoid(2.0), Constant()],
    ids=str,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_its_end_changes_no_bit(surrogate, total, scale, dtype):
    margin = some_margins(scale, dtype)
    assert torch.equal(summing_to(surrogate, margin, total), all_steps(surrogate, margin, total)), (
        "one batch"
    )
    alone = torch.cat([summing_to(surrogate, row, total) for row in margin.split(1)])
    assert torch.equal(summing_to(surrogate, margin, total), alone), "and each row by itself"


def test_it_ends_where_no_row_moves_any_more():
    counted = []

    class Counted(Sigmoid):
        def __call__(self, margin):
            counted.append(len(margin))
            return super().__call__(margin)

    summing_to(Counted(4.0), some_margins(1.0), 3)
    assert 20 < len(counted) < 60, "of 2 * DOUBLINGS + HALVINGS and the answer"
