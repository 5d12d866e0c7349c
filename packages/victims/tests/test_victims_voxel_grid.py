"""Which voxel a position is in, against exact arithmetic."""

import math
from fractions import Fraction

import pytest
import torch

from leadgrad.victims import VoxelFGM, VoxelLGM, gradient_method
from leadgrad.victims.occupancy.reach import Reach, candidate_pairs
from leadgrad.victims.occupancy.surrogates import Sigmoid
from leadgrad.victims.occupancy.voxel_grid import in_voxels, voxel_index
from leadgrad.victims.occupancy.voxelize import Voxelizer

EDGES = ["0.02", "0.025", "0.05", "0.08", "0.1", "0.3", "0.125"]
COUNT = 6000


def millimetres():
    """Every millimetre of a room, as float32 holds it. Shape: (2·COUNT + 1, 3)."""
    return (torch.arange(-COUNT, COUNT + 1).double() / 1000).float()[:, None].expand(-1, 3)


def exact(coords, edge):
    return [math.floor(Fraction(x) / Fraction(edge)) for x in coords[:, 0].tolist()]


@pytest.mark.parametrize("edge", EDGES)
def test_the_index_is_the_exact_floor_of_the_stored_position(edge):
    coords = millimetres()
    index = voxel_index(coords, float(edge))
    assert index.dtype == torch.int64
    assert index[:, 0].tolist() == exact(coords, edge)
    far = torch.rand(3000, 3, generator=torch.Generator().manual_seed(0)) * 400 - 200
    assert voxel_index(far, float(edge))[:, 0].tolist() == exact(far, edge)


@pytest.mark.parametrize("edge", EDGES)
def test_a_position_that_float32_holds_exactly_starts_its_voxel(edge):
    """Borders among the multiples of 1/8 m, where decimals and what is stored are the same."""
    eighths = [k for k in range(-200, 200) if Fraction(k, 8) % Fraction(edge) == 0]
    coords = torch.tensor(eighths)[:, None].expand(-1, 3) / 8
    wanted = [int(Fraction(k, 8) / Fraction(edge)) for k in eighths]
    assert eighths
    assert voxel_index(coords, float(edge))[:, 0].tolist() == wanted


@pytest.mark.parametrize("edge", EDGES)
def test_a_decimal_is_in_its_voxel_or_on_the_border_that_float32_rounds_it_below(edge):
    index = voxel_index(millimetres(), float(edge))[:, 0].tolist()
    for k, found in zip(range(-COUNT, COUNT + 1), index, strict=True):
        decimal = Fraction(k, 1000) / Fraction(edge)
        assert found in {math.floor(decimal), math.ceil(decimal) - 1}


@pytest.mark.parametrize("edge", EDGES)
def test_every_maker_of_indices_has_the_one_rule(edge):
    coords, voxel_m = millimetres(), float(edge)
    voxelizer, wanted = Voxelizer(voxel_m), exact(millimetres(), edge)
    color = torch.zeros(len(coords), 3)
    scene = torch.arange(len(coords)) % 4096  # next to no two points share a voxel then
    reach = Reach(voxel_m / 10, voxel_m / 5, coords)
    _, candidates = candidate_pairs(coords, voxel_m, reach)
    assert candidates[: len(coords), 0].tolist() == wanted
    assert voxelizer.index(coords)[:, 0].tolist() == wanted
    made = [voxelizer(coords, color, scene)]
    for method in (VoxelFGM(), VoxelLGM()):
        with gradient_method(voxelizer, method, reach):
            made.append(voxelizer(coords, color, scene))
    for voxels in made:
        assert voxels.tensor.coords[voxels.own, 1].tolist() == wanted


@pytest.mark.parametrize("edge", EDGES)
def test_a_point_is_inside_of_its_own_voxel(edge):
    coords, voxel_m = millimetres(), float(edge)
    voxelizer, color = Voxelizer(voxel_m), torch.zeros(len(millimetres()), 3)
    scene = torch.arange(len(coords)) % 4096
    steep = VoxelLGM(Sigmoid(1e6))
    with gradient_method(voxelizer, steep, Reach(0.0, 0.0, coords)):
        voxels = voxelizer(coords, color, scene)
    assert voxels.tensor.occupancy.dtype == torch.float32
    assert float(voxels.tensor.occupancy.min()) >= 0.124  # half along each axis, on a corner


def test_gradients_are_those_of_positions_in_voxel_edges():
    coords = (torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) * 2).requires_grad_()
    color = torch.rand(50, 3, generator=torch.Generator().manual_seed(1))
    voxelizer = Voxelizer(0.25, coordinate_features=True)

    def gradient(coords, color):
        reach = Reach(0.1, 0.1, coords.detach())
        with gradient_method(voxelizer, VoxelLGM(), reach):
            voxels = voxelizer(coords, color)
        return torch.autograd.grad(voxels.tensor.feats.square().sum(), coords)[0]

    single = gradient(coords, color)
    assert single.dtype == torch.float32
    double = gradient(coords.detach().double().requires_grad_(), color.double())
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)
    assert in_voxels(coords, 0.25).dtype == torch.float64


def test_the_mean_of_a_million_points_does_not_drift():
    generator = torch.Generator().manual_seed(0)
    coords = torch.rand(1_000_000, 3, generator=generator) * torch.tensor([40.0, 0.05, 0.05])
    coords[:, 0] += 100
    voxels = Voxelizer(0.05, coordinate_features=True)(coords, torch.zeros(len(coords), 3))
    wanted = voxels.tensor.coords[:, 1].double() - voxel_index(coords, 0.05)[:, 0].double().mean()
    torch.testing.assert_close(voxels.tensor.feats[:, 3].double(), wanted, rtol=0, atol=1e-3)
