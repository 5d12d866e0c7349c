"""Convolutions on a bounded grid against dense ones, their sets of cells and their occupancies."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from leadgrad.victims.sparse import unique_coordinates
from leadgrad.victims.sparse.strided import (
    GridGeometry,
    coarser,
    row_major_offsets,
    strided_map,
    window_or,
)

SHAPE, SCENES = (7, 6, 5), 2
SIZES = [(1, 3, 3), (3, 1, 3), (3, 1, 1), (1, 3, 1), (1, 1, 3), (3, 3, 3)]
STRIDES = [(2, 2, 2), (2, 2, 1)]


def cells(count=90, seed=0):
    generator = torch.Generator().manual_seed(seed)
    xyz = [torch.randint(0, n, (count,), generator=generator) for n in SHAPE]
    scene = torch.randint(0, SCENES, (count,), generator=generator)
    return unique_coordinates(torch.stack([scene, *xyz], 1))[0]


def draw(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()


def to_dense(coords, feats, shape):
    """(B, C, X, Y, Z)."""
    grid = feats.new_zeros(SCENES, *shape, feats.shape[1])
    return grid.index_put(tuple(coords.T), feats).permute(0, 4, 1, 2, 3)


def from_dense(grid, coords):
    return grid.permute(0, 2, 3, 4, 1)[tuple(coords.T)]


def dense_kernel(kernel, size):
    """(Cout, Cin, x, y, z) of slices in row-major order."""
    return kernel.view(*size, *kernel.shape[1:]).permute(4, 3, 0, 1, 2)


def agree(ours, dense, inputs):
    torch.testing.assert_close(ours, dense)
    grad = draw(*ours.shape, seed=9).detach()
    mine = torch.autograd.grad(ours, inputs, grad)
    theirs = torch.autograd.grad(dense, inputs, grad)
    for a, b in zip(mine, theirs, strict=True):
        assert b.abs().max() > 1e-3
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("size", SIZES)
def test_submanifold_convolutions_are_dense_ones_read_at_the_cells(size):
    coords = cells()
    feats = draw(len(coords), 3)
    kernel = draw(len(row_major_offsets(size)), 3, 4, seed=2)
    ours = GridGeometry(coords, SHAPE).submanifold_conv(feats, kernel, 0, size)
    dense = F.conv3d(
        to_dense(coords, feats, SHAPE),
        dense_kernel(kernel, size),
        padding=tuple(n // 2 for n in size),
    )
    agree(ours, from_dense(dense, coords), (feats, kernel))


@pytest.mark.parametrize("stride", STRIDES)
def test_strided_convolutions_are_dense_ones_wherever_a_window_holds_a_cell(stride):
    coords = cells(25)
    geometry = GridGeometry(coords, SHAPE, (stride,))
    coarse = geometry.cells(1).coords
    there = to_dense(coords, torch.ones(len(coords), 1), SHAPE)
    windows = F.conv3d(there, torch.ones(1, 1, 3, 3, 3), stride=stride, padding=1)[:, 0]
    assert geometry.shapes[1] == tuple(windows.shape[1:])
    assert torch.equal(coarse, windows.nonzero())
    feats, kernel = draw(len(coords), 3), draw(27, 3, 4, seed=2)
    dense = F.conv3d(
        to_dense(coords, feats, SHAPE),
        dense_kernel(kernel, (3, 3, 3)),
        stride=stride,
        padding=1,
    )
    agree(geometry.down_conv(feats, kernel, 0), from_dense(dense, coarse), (feats, kernel))


@pytest.mark.parametrize("stride", STRIDES)
def test_inverse_convolutions_are_dense_transposed_ones_read_at_the_cells(stride):
    coords = cells(25)
    geometry = GridGeometry(coords, SHAPE, (stride,))
    coarse = geometry.cells(1).coords
    feats, kernel = draw(len(coarse), 3), draw(27, 3, 4, seed=2)
    ours = geometry.up_conv(feats, kernel, 1)
    # Size of the output: s·(coarse - 1) + 1 + what is missing
    given = geometry.shapes[1]
    missing = [n - ((c - 1) * s + 1) for n, c, s in zip(SHAPE, given, stride, strict=True)]
    dense = F.conv_transpose3d(
        to_dense(coarse, feats, given),
        kernel.view(3, 3, 3, 3, 4).permute(3, 4, 0, 1, 2),
        stride=stride,
        padding=1,
        output_padding=missing,
    )
    agree(ours, from_dense(dense, coords), (feats, kernel))


@pytest.mark.parametrize("stride", STRIDES)
def test_occupancies_are_products_over_windows(stride):
    coords = cells(40)
    occupancy = torch.rand(len(coords), 1, dtype=torch.float64)
    occupancy[::5], occupancy[1::7] = 1.0, 0.0
    occupancy.requires_grad_()
    geometry = GridGeometry(coords, SHAPE, (stride,), occupancy)
    ours = geometry.occupancy(1)
    absent = 1 - to_dense(coords, occupancy, SHAPE)[:, 0]
    absent = F.pad(absent, (1, 1, 1, 1, 1, 1), value=1.0)
    slow = []
    for scene, *at in geometry.cells(1).coords.tolist():
        low = [a * s for a, s in zip(at, stride, strict=True)]
        x, y, z = (slice(a, a + 3) for a in low)
        slow.append(1 - absent[scene, x, y, z].reshape(-1).prod())
    agree(ours[:, 0], torch.stack(slow), (occupancy,))


def test_a_pyramid_is_the_dense_one_and_back():
    """Down twice and up twice, with occupancies at each level: values and all gradients."""
    strides = ((2, 2, 2), (2, 2, 1))
    coords = cells(60)
    feats, occupancy = draw(len(coords), 2), torch.rand(len(coords), 1, dtype=torch.float64)
    occupancy.requires_grad_()
    kernels = [draw(27, 2, 2, seed=seed) for seed in range(4)]
    geometry = GridGeometry(coords, SHAPE, strides, occupancy)
    x = feats
    for level in (0, 1):
        x = geometry.down_conv(x, kernels[level], level) * geometry.occupancy(level + 1)
    for level in (2, 1):
        x = geometry.up_conv(x, kernels[level + 1], level) * geometry.occupancy(level - 1)

    shapes = [SHAPE, coarser(SHAPE, strides[0])]
    shapes.append(coarser(shapes[1], strides[1]))
    o = [to_dense(coords, occupancy, SHAPE)]
    for stride in strides:
        windows = F.pad(1 - o[-1], (1,) * 6, value=1.0)
        for axis, step in enumerate(stride):
            windows = windows.unfold(2 + axis, 3, step)
        o.append(1 - windows.flatten(5).prod(5))
    y = to_dense(coords, feats, SHAPE)
    for level, stride in enumerate(strides):
        y = F.conv3d(y, dense_kernel(kernels[level], (3, 3, 3)), stride=stride, padding=1)
        y = y * o[level + 1]
    for level, stride in ((2, strides[1]), (1, strides[0])):
        pairs = zip(shapes[level - 1], shapes[level], stride, strict=True)
        missing = [n - ((c - 1) * s + 1) for n, c, s in pairs]
        kernel = kernels[level + 1].view(3, 3, 3, 2, 2).permute(3, 4, 0, 1, 2)
        y = F.conv_transpose3d(y, kernel, stride=stride, padding=1, output_padding=missing)
        y = y * o[level - 1]
    agree(x, from_dense(y, coords), (feats, occupancy, *kernels))


@pytest.mark.parametrize(
    ("offset", "slice_"),
    [((-1, 0, 0), 4), ((0, 1, 0), 16), ((1, 1, 1), 26), ((0, 0, -1), 12), ((0, 0, 0), 13)],
)
def test_slices_are_numbered_row_major(offset, slice_):
    assert tuple(row_major_offsets((3, 3, 3))[slice_].tolist()) == offset


def test_which_coarser_cells_a_cell_feeds():
    """With stride 2, input 5 feeds 2 by slice 2 and 3 by slice 0, input 6 feeds 3 by slice 1."""
    for cell, expected in ((5, {(2, 2), (3, 0)}), (6, {(3, 1)}), (0, {(0, 1)})):
        fine = GridGeometry(torch.tensor([[0, cell, 0, 0]]), (8, 1, 1)).cells(0)
        down = strided_map(fine, (4, 1, 1), (2, 2, 2))
        found = set()
        for k in range(27):
            _, target = down.pairs(k)
            found |= {(int(down.target_set.coords[t, 1]), k // 9) for t in target}
        assert found == expected


def test_sizes_of_the_levels_of_cylinder3d():
    shape, found = (480, 360, 32), []
    for stride in ((2, 2, 2), (2, 2, 2), (2, 2, 1), (2, 2, 1)):
        shape = coarser(shape, stride)
        found.append(shape)
    assert found == [(240, 180, 16), (120, 90, 8), (60, 45, 8), (30, 23, 8)]


def test_pairs_ascend_at_both_ends_and_each_is_once():
    coords = cells(150)
    down = GridGeometry(coords, SHAPE, STRIDES[:1]).down_map(0)
    seen = set()
    for k in range(27):
        source, target = down.pairs(k)
        for ends in (source, target):
            assert (ends.diff() > 0).all()
        fine, coarse = coords[source, 1:], down.target_set.coords[target, 1:]
        at = torch.tensor([k // 9, k // 3 % 3, k % 3])
        assert torch.equal(fine, coarse * 2 + at - 1)
        seen |= set(zip(source.tolist(), target.tolist(), strict=True))
    assert len(seen) == len(down.source)
    cell = {tuple(row): number for number, row in enumerate(down.target_set.coords.tolist())}
    expected = 0
    for scene, *xyz in coords.tolist():
        axes = [[(a + 1 - k) // 2 for k in range(3) if (a + 1 - k) % 2 == 0] for a in xyz]
        expected += sum((scene, *at) in cell for at in itertools.product(*axes))
    assert len(seen) == expected


def test_edges_of_the_grid_do_not_meet():
    coords = torch.tensor([[0, 0, 0, 0], [0, 0, 5, 0]])
    kernel = torch.ones(9, 1, 1)
    out = GridGeometry(coords, SHAPE).submanifold_conv(torch.ones(2, 1), kernel, 0, (1, 3, 3))
    assert out[:, 0].tolist() == [1, 1]


def test_a_steep_or_has_a_gradient():
    fine = GridGeometry(torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0]]), SHAPE).cells(0)
    down = strided_map(fine, (4, 3, 3), (2, 2, 2))
    one = torch.tensor([[1.0], [0.25]], dtype=torch.float64, requires_grad=True)
    made = window_or(one, down)
    assert made[:, 0].tolist() == [1.0, 0.25]
    (gradient,) = torch.autograd.grad(made[0, 0], one)
    assert gradient[:, 0].tolist() == [0.75, 0.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coords": torch.tensor([[0, 7, 0, 0]])}, r"grid of \(7, 6, 5\), got \[7, 0, 0\]"),
        ({"coords": torch.tensor([[0, -1, 0, 0]])}, "clip them to the grid"),
        ({"coords": torch.tensor([[0, 1, 0, 0], [0, 0, 0, 0]])}, "must be sorted"),
        ({"strides": ((3, 2, 2),)}, "strides must be 1 or 2"),
        ({"occupancy": torch.ones(3, 1)}, r"occupancy must have shape \(1, 1\)"),
    ],
)
def test_what_is_no_grid_is_refused(change, message):
    given = {"coords": torch.tensor([[0, 1, 1, 1]]), "shape": SHAPE, **change}
    with pytest.raises(ValueError, match=message):
        GridGeometry(**given)


def test_even_kernels_are_refused():
    with pytest.raises(ValueError, match=r"must be odd and at least 1, got \(2, 3, 3\)"):
        row_major_offsets((2, 3, 3))
