"""What share of a network's cost is executed, of occupancies of any kind."""

import pytest
import torch
from torch import nn

from leadgrad.victims.networks.network import GatedNetwork, executed_share


class Costly(GatedNetwork):
    """Two gates, of which a unit of the second costs three times one of the first."""

    def unit_costs(self):
        return (1.0, 3.0)


def test_units_are_weighed_by_their_costs():
    occupancies = [torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.tensor([1.0, 0.0])]
    assert executed_share(Costly(), occupancies).tolist() == pytest.approx([4 / 5, 1 / 5])
    assert executed_share(nn.Identity(), occupancies).tolist() == pytest.approx([2 / 3, 1 / 3])


@pytest.mark.parametrize("dtype", [torch.bool, torch.float16, torch.bfloat16, torch.float32])
def test_nearly_all_is_not_all_in_any_precision(dtype):
    units = torch.ones(2, 1000)
    units[0, :2] = 0
    share = executed_share(nn.Identity(), [units.to(dtype)])
    torch.testing.assert_close(share, torch.tensor([0.998, 1.0]))


def test_much_cost_is_no_infinity_in_half_precision():
    class Great(GatedNetwork):
        def unit_costs(self):
            return (1e9,)

    assert executed_share(Great(), [torch.ones(1, 4, dtype=torch.float16)]).tolist() == [1.0]


def test_a_network_that_decides_nothing_is_refused():
    with pytest.raises(ValueError, match="decides nothing"):
        executed_share(nn.Identity(), [])
