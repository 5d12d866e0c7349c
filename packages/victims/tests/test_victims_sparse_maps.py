"""Coordinates, kernel maps and geometries against brute force."""

import itertools

import pytest
import torch

from leadgrad.victims.sparse import (
    CoordinateSet,
    Geometry,
    hybrid_offsets,
    hypercube_offsets,
    soft_or,
    unique_coordinates,
)
from leadgrad.victims.sparse.coordinates import BATCH_LIMIT, COORDINATE_LIMIT, pack, unpack
from leadgrad.victims.sparse.kernel_map import submanifold_map


def voxels(count=150, *, reach=5, batches=2, seed=0):
    """Distinct voxels around the origin, in random order."""
    generator = torch.Generator().manual_seed(seed)
    xyz = torch.randint(-reach, reach, (count, 3), generator=generator)
    batch = torch.randint(0, batches, (count, 1), generator=generator)
    coords = unique_coordinates(torch.cat([batch, xyz], 1))[0]
    return coords[torch.randperm(len(coords), generator=generator)]


def listed(kernel_map):
    """All (slice, source row, target row)."""
    return [
        (k, source, target)
        for k in range(kernel_map.volume)
        for source, target in zip(*(rows.tolist() for rows in kernel_map.pairs(k)), strict=True)
    ]


def test_keys_hold_coordinates_in_lexicographic_order():
    coords = voxels()
    edge = torch.tensor([[0] + 3 * [-COORDINATE_LIMIT], [BATCH_LIMIT - 1] + 3 * [COORDINATE_LIMIT]])
    coords = torch.cat([coords, edge])
    keys = pack(coords)
    assert torch.equal(unpack(keys), coords)
    assert coords[keys.argsort()].tolist() == sorted(coords.tolist())
    assert torch.equal(pack(coords.int()), keys)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([0, COORDINATE_LIMIT + 1, 0, 0], "shift the scene"),
        ([0, 0, 0, -COORDINATE_LIMIT - 1], "shift the scene"),
        ([-1, 0, 0, 0], "number the scenes"),
        ([BATCH_LIMIT, 0, 0, 0], "number the scenes"),
    ],
)
def test_coordinates_out_of_range_are_refused(row, message):
    with pytest.raises(ValueError, match=message):
        pack(torch.tensor([row]))


def test_bad_inputs_are_named():
    with pytest.raises(TypeError, match="floor and convert"):
        pack(torch.zeros(3, 4))
    with pytest.raises(ValueError, match=r"shape \(M, 4\)"):
        pack(torch.zeros(3, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="no rows"):
        Geometry(torch.zeros(0, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"\(0, 1, -2, 3\) occurs again"):
        Geometry(torch.tensor([[0, 1, -2, 3], [0, 0, 0, 0], [0, 1, -2, 3]]))
    with pytest.raises(ValueError, match="multiples of 2"):
        CoordinateSet.build(torch.tensor([[0, 1, 0, 0]]), 2)
    with pytest.raises(ValueError, match="power of two"):
        Geometry(voxels()).voxels(3)
    with pytest.raises(ValueError, match="occupancy must have shape"):
        Geometry(voxels(), torch.ones(3))
    with pytest.raises(ValueError, match="is alone"):
        submanifold_map(CoordinateSet.build(voxels()), hypercube_offsets(2))
    with pytest.raises(ValueError, match="occur once"):
        submanifold_map(CoordinateSet.build(voxels()), torch.zeros(2, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="may reach"):
        submanifold_map(CoordinateSet.build(voxels()), torch.tensor([[300, 0, 0], [-300, 0, 0]]))
    with pytest.raises(ValueError, match="odd or 2"):
        hypercube_offsets(4)


def test_unique_is_sorted_and_knows_first_occurrences():
    coords = voxels(40, reach=2)
    repeated = coords[torch.randint(0, len(coords), (200,))]
    distinct, inverse, first = unique_coordinates(repeated)
    assert distinct.tolist() == sorted(map(list, set(map(tuple, repeated.tolist()))))
    assert torch.equal(distinct[inverse], repeated)
    rows = repeated.tolist()
    assert first.tolist() == [rows.index(row) for row in distinct.tolist()]


def test_find_gives_rows():
    coords = voxels()
    known = CoordinateSet.build(coords)
    assert torch.equal(known.find(coords), torch.arange(len(coords)))
    assert known.find(torch.tensor([[0, 100, 0, 0], [1, -100, 0, 0]])).tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("offsets", "stride"),
    [
        (hypercube_offsets(3), 1),
        (hybrid_offsets(), 1),
        (hybrid_offsets(), 2),
        (hypercube_offsets(5), 1),
        (hypercube_offsets(5), 4),
        (hypercube_offsets(1), 1),
        # no centre, and a gap along z
        (torch.tensor([[0, 0, 3], [0, 0, -3], [1, 0, 0], [-1, 0, 0], [0, 0, 1], [0, 0, -1]]), 1),
    ],
)
def test_submanifold_pairs_are_those_of_brute_force(offsets, stride):
    coords = voxels(300, reach=4) * torch.tensor([1, stride, stride, stride])
    found = listed(submanifold_map(CoordinateSet.build(coords, stride), offsets))
    row = {tuple(c): i for i, c in enumerate(coords.tolist())}
    expected = [
        (k, row[source], target)
        for target, (b, x, y, z) in enumerate(coords.tolist())
        for k, (dx, dy, dz) in enumerate(offsets.tolist())
        if (source := (b, x + dx * stride, y + dy * stride, z + dz * stride)) in row
    ]
    assert len(found) > len(coords) // 2
    assert sorted(found) == sorted(expected)  # equal as lists: each pair exactly once


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_downsampling_and_its_map(stride):
    geometry = Geometry(voxels(300, reach=20))
    fine, coarse = geometry.voxels(stride).coords, geometry.voxels(2 * stride).coords
    floored = [(b, *(c // (2 * stride) * 2 * stride for c in xyz)) for b, *xyz in fine.tolist()]
    assert coarse.tolist() == sorted(map(list, set(floored)))
    assert [tuple(c) for c in coarse[geometry.parents(stride)].tolist()] == floored
    offsets = hypercube_offsets(2)
    down, up = geometry.down_map(stride), geometry.up_map(2 * stride)
    assert sorted(source for _, source, _ in listed(down)) == list(range(len(fine)))
    for k, source, target in listed(down):
        expected = coarse[target] + torch.cat([torch.zeros(1), offsets[k] * stride]).long()
        assert torch.equal(fine[source], expected)
    assert sorted((k, t, s) for k, s, t in listed(down)) == sorted(listed(up))


def test_offset_orders_are_those_of_the_reference_page():
    hybrid, cube = hybrid_offsets().tolist(), hypercube_offsets(3).tolist()
    to_cube = [19, 15, 23, 11, 9, 13, 21, 17, 25, 5, 3, 7, 1, 0, 2, 6, 4, 8, 20, 16, 24, 12, 10, 14]
    to_cube += [22, 18, 26]
    assert [hybrid[i] for i in to_cube] == cube
    to_row_major = [19, 5, 20, 11, 1, 12, 21, 6, 22, 15, 3, 16, 9, 0, 10, 17, 4, 18, 23, 7, 24, 13]
    to_row_major += [2, 14, 25, 8, 26]
    row_major = [list(o) for o in itertools.product((-1, 0, 1), repeat=3)]
    assert [hybrid[i] for i in to_row_major] == row_major
    five = hypercube_offsets(5).tolist()
    probes = {0: [-2, -2, -2], 62: [0, 0, 0], 63: [1, 0, 0], 87: [0, 0, 1]}
    assert {i: five[i] for i in probes} == probes
    assert hypercube_offsets(2).tolist()[5] == [1, 0, 1]


def test_a_geometry_finds_each_map_once_and_shares_none():
    coords = voxels()
    first, second = Geometry(coords), Geometry(coords)
    assert first.submanifold_map(1, hybrid_offsets()) is first.submanifold_map(1, hybrid_offsets())
    assert first.submanifold_map(1, hybrid_offsets()) is not first.submanifold_map(
        1, hypercube_offsets(3)
    )
    assert first.down_map(1) is first.down_map(1)
    assert first.down_map(1) is not second.down_map(1)


def family(*occupancies):
    """Children of one voxel of stride 2, in scrambled order."""
    cells = hypercube_offsets(2)[torch.tensor([5, 2, 7, 0, 1, 3, 4, 6])][: len(occupancies)] - 2
    coords = torch.cat([torch.zeros(len(cells), 1, dtype=torch.int64), cells], 1)
    return coords, torch.tensor(occupancies, dtype=torch.float64).unsqueeze(1)


@pytest.mark.parametrize(
    ("children", "parent"),
    [
        ((0.9, 0.2), 0.92),
        ((0.5, 0.5, 0.5), 0.875),
        ((0.3, 1.0, 0.4), 1.0),
        ((1.0, 1.0), 1.0),
        ((0.0,) * 8, 0.0),
        ((0.25,), 0.25),
    ],
)
def test_soft_or_of_a_family(children, parent):
    found = Geometry(*family(*children)).occupancy(2)
    torch.testing.assert_close(found, torch.tensor([[parent]], dtype=torch.float64))
    if parent in (0.0, 1.0):
        assert found.item() == parent


@pytest.mark.parametrize(
    "children",
    [(0.9, 0.2), (1.0, 0.2), (1.0, 1.0, 0.3), (0.0, 0.0), (0.0, 1.0), (1.0,), (1.0,) * 8],
)
def test_soft_or_gradient_is_exact_also_at_saturation(children):
    coords, occupancy = family(*children)
    occupancy.requires_grad_()
    (found,) = torch.autograd.grad(Geometry(coords, occupancy).occupancy(2).sum(), occupancy)
    expected = [
        torch.tensor([1 - o for j, o in enumerate(children) if j != i]).prod()
        for i in range(len(children))
    ]
    torch.testing.assert_close(found[:, 0], torch.stack(expected).double())


def test_soft_or_gradcheck_through_four_levels():
    coords = voxels(60, reach=8)
    occupancy = torch.rand(len(coords), 1, dtype=torch.float64)
    occupancy[:5], occupancy[5:10] = 0.0, 1.0
    occupancy.requires_grad_()
    assert torch.autograd.gradcheck(lambda o: Geometry(coords, o).occupancy(16), (occupancy,))


def test_soft_or_levels_match_a_product_over_descendants():
    coords = voxels(200, reach=8)
    occupancy = torch.rand(len(coords), 1, dtype=torch.float64)
    geometry = Geometry(coords, occupancy)
    top = geometry.parents(4)[geometry.parents(2)[geometry.parents(1)]]
    expected = [1 - (1 - occupancy[top == row, 0]).prod() for row in range(len(geometry.voxels(8)))]
    torch.testing.assert_close(geometry.occupancy(8)[:, 0], torch.stack(expected))


def test_soft_or_takes_any_order_of_children():
    occupancy = torch.tensor([[0.5], [0.9], [0.2]])
    found = soft_or(occupancy, torch.tensor([1, 0, 0]), torch.tensor([3, 7, 0]), 2)
    torch.testing.assert_close(found, torch.tensor([[0.92], [0.5]]))
