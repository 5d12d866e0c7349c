"""Pooled reductions against torch-scatter 2.1.2, which the nox session scatter builds."""

import pytest
import torch

from leadgrad.victims import Sigmoid, gradient_method
from leadgrad.victims.occupancy.cell_max import cell_max
from leadgrad.victims.occupancy.reach import Reach
from leadgrad.victims.occupancy.relations import relation
from leadgrad.victims.occupancy.soft_or import segment_or
from leadgrad.victims.occupancy.voxel_methods import VoxelFGM
from leadgrad.victims.occupancy.voxelize import Voxelizer, _gathered
from leadgrad.victims.sparse import Geometry, unique_coordinates

torch_scatter = pytest.importorskip("torch_scatter")

ROWS, TARGETS = 500, 60


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, dtype=torch.float64, generator=generator)


def targets(order):
    """Where each row goes; the last ten targets get none."""
    generator = torch.Generator().manual_seed(1)
    index = torch.randint(0, TARGETS - 10, (ROWS,), generator=generator)
    return index.sort()[0] if order == "runs" else index


def agree(ours, theirs, *inputs):
    """Values, and gradients that are not all 0."""
    torch.testing.assert_close(ours, theirs)
    grad = draw(*ours.shape, seed=5)
    mine = torch.autograd.grad(ours, inputs, grad)
    for a, b in zip(mine, torch.autograd.grad(theirs, inputs, grad), strict=True):
        assert a.abs().max() > 1e-3
        torch.testing.assert_close(a, b)


orders = pytest.mark.parametrize("order", ["any", "runs"])


@orders
@pytest.mark.parametrize("channels", [1, 3, 96])
def test_sums(channels, order):
    values, index = draw(ROWS, channels).requires_grad_(), targets(order)
    theirs = torch_scatter.scatter_sum(values, index, 0, dim_size=TARGETS)
    agree(_gathered(values, index, TARGETS), theirs, values)
    assert not theirs[-10:].any()


@orders
def test_soft_or_over_pairs(order):
    """Where a relation is 1, torch-scatter's gradient is 0 and ours is exact: not compared."""
    related, index = draw(ROWS).requires_grad_(), targets(order)
    theirs = 1 - torch_scatter.scatter_mul(1 - related, index, 0, dim_size=TARGETS)
    agree(segment_or(related, index, TARGETS), theirs, related)


def test_soft_or_over_children():
    generator = torch.Generator().manual_seed(2)
    coords = torch.randint(-6, 6, (400, 4), generator=generator)
    coords = unique_coordinates(torch.cat([coords[:, :1] % 2, coords[:, 1:]], 1))[0]
    coords = coords[torch.randperm(len(coords), generator=generator)]
    occupancy = draw(len(coords), 1).requires_grad_()
    geometry = Geometry(coords, occupancy)
    theirs = 1 - torch_scatter.scatter_mul(
        1 - occupancy, geometry.parents(1), 0, dim_size=len(geometry.voxels(2))
    )
    agree(geometry.occupancy(2), theirs, occupancy)


def test_weighted_means_of_voxels():
    """A voxel's colour is its points' mean by weight, times the relaxed OR of the weights."""
    coords, color = draw(ROWS, 3), draw(ROWS, 3, seed=3).requires_grad_()
    voxelizer, surrogate = Voxelizer(0.25), Sigmoid(20.0)
    with gradient_method(voxelizer, VoxelFGM(surrogate), Reach(0.01, 0.01, coords)):
        voxels = voxelizer(coords, color)
    index = voxelizer.index(coords)
    weights = relation(surrogate, 0.5 - (index + 0.5 - coords / 0.25).abs())
    place = unique_coordinates(torch.cat([torch.zeros_like(index[:, :1]), index], 1))[1]
    total = torch_scatter.scatter_sum(weights, place, 0)
    colours = torch_scatter.scatter_sum(weights[:, None] * (color - 0.5), place, 0)
    inside = 1 - torch_scatter.scatter_mul(1 - weights, place, 0)
    agree(voxels.tensor.feats, inside[:, None] * colours / total[:, None], color)


@orders
@pytest.mark.parametrize("channels", [1, 64])
def test_greatest_values_of_cells(channels, order):
    """Without equal values, among which torch-scatter picks one and ours share."""
    values, index = draw(ROWS, channels).requires_grad_(), targets(order)
    cells = int(index.max()) + 1
    theirs = torch_scatter.scatter_max(values, index, 0, dim_size=cells)[0]
    agree(cell_max(values, index, cells), theirs, values)
