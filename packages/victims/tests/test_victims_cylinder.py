"""Points to cylindrical cells: exact, frozen and led."""

import math

import pytest
import torch
from torch import Tensor

from leadgrad.victims import FGM, LGM, Reach, Sigmoid, VoxelFGM, VoxelLGM, gradient_method
from leadgrad.victims.occupancy.cell_max import cell_max
from leadgrad.victims.occupancy.change import record_architecture
from leadgrad.victims.occupancy.cylinder import CylinderPartition
from leadgrad.victims.occupancy.cylinder_grid import CylinderGrid, polar

GRID = CylinderGrid((12, 16, 6), high=(6.0, 3.1415926, 2.0))
STRIDES = ((2, 2, 2), (2, 2, 1))


def points(*rows) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def scattered(count=60, seed=0, reach_m=5.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    coords = torch.rand(count, 3, dtype=torch.float64, generator=generator) - 0.5
    coords = coords * torch.tensor([2 * reach_m, 2 * reach_m, 5.0]) - torch.tensor([0, 0, 1.0])
    return coords, torch.rand(count, 1, dtype=torch.float64, generator=generator)


def led(partition, coords, features, method, *, step_m=0.1, origin=None):
    reach = Reach(step_m, 10 * step_m, coords.detach() if origin is None else origin)
    with gradient_method(partition, method, reach):
        return partition(coords, features)


def test_features_of_a_point_by_hand():
    """The published grid: offsets from the cell's middle, polar and Cartesian position."""
    partition = CylinderPartition(CylinderGrid())
    cells = partition(points((3, 4, 0)), points((0.7,)))
    assert cells.coords.tolist() == [[0, 47, 232, 20]]
    expected = [0.0417537, -0.0003059, 0.0322581, 5, 0.9272952, 0, 3, 4, 0.7]
    assert cells.rows[0].tolist() == pytest.approx(expected, abs=6e-8)


def test_points_beyond_the_bounds_keep_their_position_as_a_feature():
    cells = CylinderPartition(CylinderGrid())(points((60, 10, 3)), points((0.0,)))
    assert cells.coords.tolist() == [[0, 479, 188, 31]]
    assert float(cells.rows[0, 0]) == pytest.approx(10.7754332, abs=1e-6)


@pytest.mark.parametrize("method", [FGM(), VoxelFGM()])
def test_frozen_cells_are_the_exact_ones(method):
    partition, (coords, features) = CylinderPartition(GRID), scattered()
    exact, frozen = partition(coords, features), led(partition, coords, features, method)
    assert torch.equal(exact.rows, frozen.rows)
    assert torch.equal(exact.coords, frozen.coords)
    assert frozen.occupancy is None


def test_a_steep_surrogate_leaves_the_occupied_cells_alone():
    partition, (coords, features) = CylinderPartition(GRID), scattered()
    exact = partition(coords, features)
    cells = led(partition, coords, features, LGM(Sigmoid(1e5)))
    there = cells.occupancy[:, 0] > 0.5
    assert len(cells.coords) > len(exact.coords)
    assert torch.equal(cells.coords[there], exact.coords)
    assert float((cells.occupancy[:, 0] - there.double()).abs().max()) < 1e-6
    count = len(coords)
    assert torch.equal(cells.rows[:count], exact.rows)
    assert torch.equal(cells.coords[cells.own], exact.coords[exact.own])


def test_occupancy_of_one_point_by_hand():
    """0.05 cells from a border in azimuth, in the middle otherwise: r is σ(λ·0.05)·σ(λ·0.5)²."""
    rho_m, phi_rad, z_m = GRID.centre(torch.tensor([[5, 8, 3]]))[0].tolist()
    phi_rad += 0.45 * GRID.cell[1]
    coords = points((rho_m * math.cos(phi_rad), rho_m * math.sin(phi_rad), z_m))
    cells = led(
        CylinderPartition(GRID), coords, points((0.0,)), VoxelLGM(Sigmoid(10.0)), step_m=0.1
    )
    found = {
        tuple(cell[1:]): o
        for cell, o in zip(cells.coords.tolist(), cells.occupancy[:, 0], strict=True)
    }
    sigmoid = 1 / (1 + math.exp(-10 * 0.05))
    middle = 1 / (1 + math.exp(-10 * 0.5))
    assert set(found) == {(5, 8, 3), (5, 9, 3)}
    assert float(found[5, 8, 3]) == pytest.approx(sigmoid * middle**2)
    assert float(found[5, 9, 3]) == pytest.approx((1 - sigmoid) * middle**2)
    # The cell that it may enter gets it as the network would see it there
    assert len(cells.rows) == 2
    assert float(cells.rows[1, 1]) == pytest.approx(-0.55 * GRID.cell[1])


def test_cells_on_both_sides_of_the_seam_are_neighbours():
    coords = points((-3.0, 0.01, 0.0))
    cells = led(CylinderPartition(GRID), coords, points((0.0,)), VoxelLGM(Sigmoid(10.0)))
    azimuths = sorted(cells.coords[:, 2].tolist())
    assert azimuths == [0, 14]
    assert cells.occupancy[:, 0].tolist() == pytest.approx(
        cells.occupancy.flip(0)[:, 0].tolist(), abs=0.1
    ), "next to the border, half here and half there"
    assert cells.rows[:, 1].abs().max() < GRID.cell[1]


@pytest.mark.parametrize("position", [(6.58, 2.93, 0.2), (2.2, 1.0, -5.0), (2.2, 1.0, 3.0)])
def test_beyond_the_bounds_there_is_no_border(position):
    cells = led(CylinderPartition(GRID), points(position), points((0.0,)), VoxelLGM(Sigmoid(10.0)))
    assert len(cells.coords) == 1
    assert float(cells.occupancy[0]) > 0.9


def test_the_released_program_takes_the_first_cells_border_for_its_middle():
    """An ordinary point in the first bin is next to nothing (docs/reference/differences.md)."""
    coords = points((0.45, 0.03, 0.0))  # ρ index 0, at 0.83 of it
    here = led(CylinderPartition(GRID), coords, points((0.0,)), VoxelLGM(Sigmoid(10.0)))
    there = led(
        CylinderPartition(GRID, as_released=True),
        coords,
        points((0.0,)),
        VoxelLGM(Sigmoid(10.0)),
    )
    own = [float(cells.occupancy[cells.own[0]]) for cells in (here, there)]
    assert own[1] < 0.1 < 0.5 < own[0]


def test_what_may_enter_an_occupied_cell_enters_it_as_released_alone():
    coords = points((3.0, 0.3, 0.0), (3.52, 0.3, 0.0))
    features = points((0.0,), (1.0,))
    method = VoxelLGM(Sigmoid(10.0))
    ours, released = (
        led(CylinderPartition(GRID, as_released=flag), coords, features, method, step_m=0.4)
        for flag in (False, True)
    )
    occupied = set(ours.own.tolist())
    assert not occupied & set(ours.entered[2:].tolist())
    assert occupied & set(released.entered[2:].tolist())


@pytest.mark.parametrize("as_released", [False, True])
def test_derivatives_of_occupancies_and_features(as_released):
    partition = CylinderPartition(GRID, as_released=as_released)
    coords, features = scattered(8, seed=3)
    coords = torch.cat([coords, coords[:1] + 0.05])

    def made(x):
        features_ = torch.cat([features, features[:1]])
        cells = led(partition, x, features_, VoxelLGM(Sigmoid(3.0)), origin=coords)
        return cells.rows, cells.occupancy

    x = coords.clone().requires_grad_()
    assert torch.autograd.gradcheck(made, (x,), eps=1e-7, atol=1e-4)


def test_gradients_are_finite_where_geometry_is_degenerate():
    coords = torch.tensor(
        [
            (0.0, 0.0, 0.0),  # on the axis
            (-3.0, 0.0, 0.0),  # on the seam
            (0.0, 0.0, -9.0),
            (79.9, 1.0, 0.3),  # far away
            (2.0, 2.0, 0.0),
            (2.0, 2.0, 0.0),  # at one place
        ],
        requires_grad=True,
    )
    cells = led(
        CylinderPartition(CylinderGrid()),
        coords,
        torch.rand(6, 1),
        VoxelLGM(Sigmoid(200.0)),
        step_m=0.01,
    )
    (cells.rows.sum() + (cells.occupancy * torch.rand_like(cells.occupancy)).sum()).backward()
    assert coords.grad.isfinite().all()


def test_two_scenes_are_as_each_alone():
    partition = CylinderPartition(GRID, STRIDES)
    scenes = [scattered(40, seed) for seed in (0, 1)]
    coords, features = (torch.cat(parts) for parts in zip(*scenes, strict=True))
    number = torch.arange(2).repeat_interleave(40)
    method, reach = VoxelLGM(Sigmoid(5.0)), Reach(0.1, 0.2, coords)
    with gradient_method(partition, method, reach), record_architecture(partition) as places:
        together = partition(coords, features, number)
    assert places[0].scenes == 2
    for scene, (own, its) in enumerate(scenes):
        alone = led(partition, own, its, method, origin=own)
        rows = together.coords[:, 0] == scene
        assert torch.equal(together.coords[rows, 1:], alone.coords[:, 1:])
        assert torch.equal(together.occupancy[rows], alone.occupancy)
        assert torch.equal(
            together.rows[number.nonzero()[:, 0] if scene else slice(40)], alone.rows[:40]
        )


def test_observers_see_the_cells_of_every_level_under_every_method():
    partition = CylinderPartition(GRID, STRIDES)
    coords, features = scattered()
    exact = partition(coords, features)
    seen = []
    for method in (FGM(), LGM(Sigmoid(5.0))):
        with record_architecture(partition) as places:
            led(partition, coords, features, method)
        (made,) = places
        assert [len(level) for level in made.levels] == [
            len(exact.geometry.cells(level)) for level in range(3)
        ]
        seen.append(made.levels[0])
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], exact.coords)


def test_leading_needs_a_reach():
    partition, (coords, features) = CylinderPartition(GRID), scattered()
    with (
        gradient_method(partition, LGM(Sigmoid(1.0))),
        pytest.raises(ValueError, match="depends on the attacker"),
    ):
        partition(coords, features)


@pytest.mark.parametrize(
    ("coords", "features", "message"),
    [
        (torch.zeros(0, 3), torch.zeros(0, 1), "no point"),
        (torch.zeros(2, 3), torch.zeros(2, 3), "give the network features=3"),
        (torch.tensor([[torch.nan, 0, 0]]), torch.zeros(1, 1), "1 of 1 points are not finite"),
        (torch.zeros(1, 3), torch.tensor([[torch.inf]]), "features must be finite"),
    ],
)
def test_what_is_no_scan_is_refused(coords, features, message):
    with pytest.raises(ValueError, match=message):
        CylinderPartition(GRID)(coords, features)


def test_the_greatest_of_each_cell_and_its_gradient():
    values = torch.tensor(
        [[1.0, -5], [3, -4], [2, -6], [3, -9]], dtype=torch.float64, requires_grad=True
    )
    cell = torch.tensor([1, 0, 1, 0])
    made = cell_max(values, cell, 2)
    assert made.tolist() == [[3, -4], [2, -5]]
    made.sum().backward()
    assert values.grad.tolist() == [[0, 1], [0.5, 1], [1, 0], [0.5, 0]], "equals share"
    apart = torch.randn(9, 3, dtype=torch.float64, requires_grad=True)
    owner = torch.tensor([0, 1, 2, 2, 1, 0, 0, 1, 2])
    assert torch.autograd.gradcheck(lambda x: cell_max(x, owner, 3), (apart,))


def test_index_is_that_of_the_cells():
    partition, (coords, features) = CylinderPartition(GRID), scattered()
    cells = partition(coords, features)
    assert torch.equal(partition.index(coords), cells.coords[cells.own, 1:])
    assert torch.equal(partition.index(coords), GRID.index(polar(coords)))
