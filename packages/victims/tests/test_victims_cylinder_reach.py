"""Cylindrical cells: their numbers, gradients at the axis, and which of them a point may enter."""

import math

import pytest
import torch

from leadgrad.victims.occupancy.cylinder_grid import CylinderGrid, polar
from leadgrad.victims.occupancy.cylinder_reach import reachable_cells
from leadgrad.victims.occupancy.reach import Reach

GRID = CylinderGrid()


def points(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def test_sizes_of_the_published_cells():
    assert GRID.cell == pytest.approx((0.1043841, 0.0175019, 0.1935484), abs=5e-8)


@pytest.mark.parametrize(
    ("position", "index", "offsets"),
    [
        ((10, 0, -1.5), (95, 179, 12), (0.0313152, 0.0, 0.0806452)),
        ((3, 4, 0), (47, 232, 20), (0.0417537, -0.0003059, 0.0322581)),
        ((-20, -1e-6, -1.73), (191, 0, 11), None),
        ((60, 10, 3), (479, 188, 31), (10.7754332, None, None)),
        ((0, 0, -9), (0, 179, 0), None),
        ((-20, 0.0, 0), (191, 359, 20), None),
    ],
)
def test_indices_by_hand(position, index, offsets):
    where = polar(points(position))
    found = GRID.index(where)
    assert tuple(found[0].tolist()) == index
    away = (where - GRID.centre(found))[0].tolist()
    for value, expected in zip(away, offsets or (), strict=False):
        assert expected is None or value == pytest.approx(expected, abs=6e-8)


def test_only_what_lies_beyond_is_in_the_last_cell():
    below = math.nextafter(50.0, 0.0)
    values = torch.tensor([below, 50.0, 1e6, -1.0, 0.0], dtype=torch.float64)
    assert GRID.axis_index(0, values).tolist() == [478, 479, 479, 0, 0]


def test_float32_positions_have_the_cell_of_their_float64_value():
    generator = torch.Generator().manual_seed(0)
    coords = (torch.rand(20_000, 3, generator=generator) - 0.5) * 160
    assert torch.equal(GRID.index(polar(coords)), GRID.index(polar(coords.double())))


def test_gradients_at_the_axis_are_finite():
    coords = points((0, 0, 0), (1e-9, -1e-9, 1), (1e-5, 0, 1), (-3, 0, 1)).requires_grad_()
    polar(coords)[:, :2].sum().backward()
    assert coords.grad.isfinite().all()
    assert coords.grad[:2].tolist() == [[0, 0, 0]] * 2
    assert coords.grad[2, :2].tolist() == pytest.approx([1, 1e5])
    x = points((3.0, -4.0, 1.0), (-0.2, 0.1, 0.0)).requires_grad_()
    assert torch.autograd.gradcheck(polar, (x,))


SMALL = CylinderGrid((12, 16, 6), high=(6.0, 3.1415926, 2.0))
CASES = [
    (SMALL, (1.0, 0.3, 0.0), 0.4),
    (SMALL, (-2.0, 0.05, -1.0), 0.3),  # across the seam
    (SMALL, (-0.7, -0.01, 0.1), 0.05),
    (SMALL, (0.05, -0.08, 0.0), 0.2),  # around the axis
    (SMALL, (0.0, 0.0, 0.0), 0.1),
    (SMALL, (5.95, 0.4, 1.95), 0.2),  # into the last cells, and beyond
    (SMALL, (7.0, 1.0, -4.05), 0.2),  # beyond, and back in
    (SMALL, (1.6, 1.6, 0.4), 1.7),  # as large as several cells
    (GRID, (3.0, 4.0, 0.0), 0.1),
    (GRID, (-0.5, 0.002, -1.7), 0.01),
    (GRID, (12.0, -9.0, -1.73), 0.05),
]


@pytest.mark.parametrize(("grid", "position", "step_m"), CASES)
@pytest.mark.parametrize("eps_m", [math.inf, 0.5])
def test_candidates_are_the_cells_that_a_dense_sample_of_the_box_is_in(
    grid, position, step_m, eps_m
):
    """``eps_m``: as a share of the step; the clean position is a little aside."""
    x = points(position)
    aside = points((0.3, -0.2, 0.1)) * step_m
    reach = Reach(step_m, min(eps_m, 9) * step_m, x + aside if eps_m < 1 else x)
    point, cell = reachable_cells(x, grid, reach)
    assert (point == 0).all()
    found = set(map(tuple, cell.tolist()))
    assert len(found) == len(cell)
    assert tuple(cell[0].tolist()) == tuple(grid.index(polar(x))[0].tolist())
    low = torch.maximum(x - step_m, reach.origin - reach.eps_m)
    high = torch.minimum(x + step_m, reach.origin + reach.eps_m)
    axes = [torch.linspace(0, 1, count, dtype=torch.float64) for count in (301, 301, 9)]
    share = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).view(-1, 3)
    sampled = grid.index(polar(low + share * (high - low)))
    sampled = set(map(tuple, torch.unique(sampled, dim=0).tolist()))
    sliver = {one for one in sampled if one[1] == grid.shape[1] - 1}
    assert sampled - sliver <= found
    # What no sample met is a corner that the box has cut off
    missed = found - sampled
    assert len(missed) <= 0.03 * len(found) + 1


def test_a_point_in_the_middle_of_its_cell_has_no_other():
    middle = GRID.centre(torch.tensor([[95, 40, 12]]))
    rho, phi, z = middle[0].tolist()
    x = points((rho * math.cos(phi), rho * math.sin(phi), z))
    assert len(reachable_cells(x, GRID, Reach(0.03, 0.03, x))[0]) == 1


def test_first_pairs_are_the_own_cells_in_order():
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(500, 3, generator=generator, dtype=torch.float64) - 0.5) * 30
    point, cell = reachable_cells(x, GRID, Reach(0.02, 0.02, x))
    assert torch.equal(point[:500], torch.arange(500))
    assert torch.equal(cell[:500], GRID.index(polar(x)))
    rows = torch.cat([point[:, None], cell], 1)
    assert len(torch.unique(rows, dim=0)) == len(rows)


def test_a_reach_of_other_points_is_refused():
    x = points((1, 1, 1))
    with pytest.raises(ValueError, match="reach is for 2 points, got 1"):
        reachable_cells(x, GRID, Reach(0.1, 0.1, x.repeat(2, 1)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (480, 4, 32)}, "5 cells of azimuth"),
        ({"low": (0.0, -1.0, -4.0)}, "full turn"),
        ({"low": (1.0, -3.1415926, -4.0)}, "begin at 0 m"),
        ({"high": (50.0, 3.1415926, -5.0)}, "must ascend"),
    ],
)
def test_what_is_no_grid_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        CylinderGrid(**change)
