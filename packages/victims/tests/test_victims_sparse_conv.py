"""The sparse convolution function against dense convolutions of PyTorch."""

import pytest
import torch
import torch.nn.functional as F

from leadgrad.victims.sparse import (
    Geometry,
    functional,
    hybrid_offsets,
    hypercube_offsets,
    sparse_conv,
    unique_coordinates,
)

REACH, BATCHES = 4, 2  # coordinates in [-4, 4), two scenes


def voxels(count=220, seed=0):
    generator = torch.Generator().manual_seed(seed)
    xyz = torch.randint(-REACH, REACH, (count, 3), generator=generator)
    batch = torch.randint(0, BATCHES, (count, 1), generator=generator)
    coords = unique_coordinates(torch.cat([batch, xyz], 1))[0]
    return coords[torch.randperm(len(coords), generator=generator)]


def draw(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()


def cell(coords, stride):
    """Flat place of each coordinate in the dense grid of a level."""
    side = 2 * REACH // stride
    b, x, y, z = coords[:, 0], *((coords[:, 1:] + REACH) // stride).T
    return ((b * side + x) * side + y) * side + z, side


def to_dense(coords, feats, stride):
    """(B, C, X, Y, Z)."""
    place, side = cell(coords, stride)
    grid = feats.new_zeros(BATCHES * side**3, feats.shape[1]).index_put((place,), feats)
    return grid.view(BATCHES, side, side, side, -1).permute(0, 4, 1, 2, 3)


def from_dense(grid, coords, stride):
    return grid.permute(0, 2, 3, 4, 1).flatten(0, 3)[cell(coords, stride)[0]]


def dense_weight(kernel, offsets):
    """(Cout, Cin, x, y, z) of slices at offsets."""
    at = offsets - offsets.amin(0)
    size = int(at.max()) + 1
    flat = (at[:, 0] * size + at[:, 1]) * size + at[:, 2]
    order = flat.argsort()
    return kernel[order].view(size, size, size, *kernel.shape[1:]).permute(4, 3, 0, 1, 2)


def agree(ours, dense, inputs):
    torch.testing.assert_close(ours, dense)
    grad = draw(*ours.shape, seed=3).detach()
    for a, b in zip(
        torch.autograd.grad(ours, inputs, grad),
        torch.autograd.grad(dense, inputs, grad),
        strict=True,
    ):
        assert a.abs().max() > 0.1
        torch.testing.assert_close(a, b)


@pytest.fixture(params=[None, 1 << 10], ids=["one block", "many blocks"])
def block_bytes(request, monkeypatch):
    if request.param is not None:
        monkeypatch.setattr(functional, "CPU_BLOCK_BYTES", request.param)


@pytest.mark.usefixtures("block_bytes")
@pytest.mark.parametrize("rows", ["sorted", "any"])
@pytest.mark.parametrize(
    "offsets",
    [hypercube_offsets(3), hybrid_offsets(), hypercube_offsets(5), hypercube_offsets(1)],
    ids=["cube 3", "hybrid 3", "cube 5", "cube 1"],
)
def test_submanifold_convolution_is_conv3d(offsets, rows):
    coords = voxels()
    if rows == "sorted":
        coords = unique_coordinates(coords)[0]
    feats, kernel = draw(len(coords), 3), draw(len(offsets), 3, 5, seed=2)
    ours = sparse_conv(feats, kernel, Geometry(coords).submanifold_map(1, offsets))
    dense = F.conv3d(
        to_dense(coords, feats, 1), dense_weight(kernel, offsets), padding=int(offsets.max())
    )
    agree(ours, from_dense(dense, coords, 1), (feats, kernel))


@pytest.mark.usefixtures("block_bytes")
@pytest.mark.parametrize("stride", [1, 2])
def test_strided_and_transposed_convolution(stride):
    geometry, offsets = Geometry(voxels()), hypercube_offsets(2)
    fine, coarse = geometry.voxels(stride).coords, geometry.voxels(2 * stride).coords
    feats, kernel = draw(len(fine), 3), draw(8, 3, 5, seed=2)
    dense = F.conv3d(to_dense(fine, feats, stride), dense_weight(kernel, offsets), stride=2)
    ours = sparse_conv(feats, kernel, geometry.down_map(stride))
    agree(ours, from_dense(dense, coarse, 2 * stride), (feats, kernel))

    feats = draw(len(coarse), 3)
    weight = dense_weight(kernel, offsets).transpose(0, 1)
    dense = F.conv_transpose3d(to_dense(coarse, feats, 2 * stride), weight, stride=2)
    ours = sparse_conv(feats, kernel, geometry.up_map(2 * stride))
    agree(ours, from_dense(dense, fine, stride), (feats, kernel))


def test_submanifold_convolution_on_a_coarse_level():
    geometry, offsets = Geometry(voxels(60)), hybrid_offsets()
    coords = geometry.voxels(2).coords
    feats, kernel = draw(len(coords), 3), draw(27, 3, 5, seed=2)
    ours = sparse_conv(feats, kernel, geometry.submanifold_map(2, offsets))
    dense = F.conv3d(to_dense(coords, feats, 2), dense_weight(kernel, offsets), padding=1)
    agree(ours, from_dense(dense, coords, 2), (feats, kernel))


@pytest.mark.usefixtures("block_bytes")
@pytest.mark.parametrize("name", ["submanifold", "down", "up"])
def test_gradcheck(name):
    geometry = Geometry(voxels(30))
    kernel_map = {
        "submanifold": geometry.submanifold_map(1, hybrid_offsets()),
        "down": geometry.down_map(1),
        "up": geometry.up_map(2),
    }[name]
    feats, kernel = draw(len(kernel_map.source_set), 2), draw(kernel_map.volume, 2, 3, seed=2)
    assert torch.autograd.gradcheck(lambda f, k: sparse_conv(f, k, kernel_map), (feats, kernel))


@pytest.mark.parametrize(
    ("site", "hybrid", "cube"),
    [((1, 0, 0), 1, 12), ((0, -1, 0), 4, 16), ((-1, -1, -1), 26, 26), ((0, 0, 1), 9, 4)],
)
def test_offset_probes(site, hybrid, cube):
    """Weight of slice k is k, a 1 at the origin, read at a site.

    docs/reference/scenes.md, "Order of kernel offsets" and "Test values".
    """
    geometry = Geometry(torch.tensor([[0, 0, 0, 0], [0, *site]]))
    feats = torch.tensor([[1.0], [0.0]])
    for offsets, expected, centre in (
        (hybrid_offsets(), hybrid, 0),
        (hypercube_offsets(3), cube, 13),
    ):
        kernel = torch.arange(27.0).view(27, 1, 1)
        out = sparse_conv(feats, kernel, geometry.submanifold_map(1, offsets))
        assert out[:, 0].tolist() == [centre, expected]


def test_offset_probes_of_five_cubed_and_of_strided_kernels():
    geometry = Geometry(torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0]]))
    kernel = torch.arange(125.0).view(125, 1, 1)
    feats = torch.tensor([[1.0], [0.0]])
    out = sparse_conv(feats, kernel, geometry.submanifold_map(1, hypercube_offsets(5)))
    assert out[:, 0].tolist() == [62, 61]
    kernel = torch.arange(8.0).view(8, 1, 1)
    for child, parent in (((1, 0, 1), [0, 0, 0, 0]), ((-1, 2, 3), [0, -2, 2, 2])):
        geometry = Geometry(torch.tensor([[0, *child]]))
        assert geometry.voxels(2).coords.tolist() == [parent]
        for kernel_map in (geometry.down_map(1), geometry.up_map(2)):
            assert sparse_conv(torch.ones(1, 1), kernel, kernel_map).item() == 5


def test_rows_may_come_in_any_order():
    coords = voxels()
    order = torch.randperm(len(coords), generator=torch.Generator().manual_seed(5))
    feats, kernel = draw(len(coords), 3), draw(27, 3, 5, seed=2)
    grad = draw(len(coords), 5, seed=3).detach()
    results = []
    for rows in (torch.arange(len(coords)), order):
        kernel_map = Geometry(coords[rows]).submanifold_map(1, hybrid_offsets())
        out = sparse_conv(feats[rows], kernel, kernel_map)
        results.append((out, *torch.autograd.grad(out, (feats, kernel), grad[rows])))
    (out, *grads), (permuted, *permuted_grads) = results
    assert torch.equal(out[order], permuted)
    assert all(torch.equal(a, b) for a, b in zip(grads, permuted_grads, strict=True))


def test_a_map_of_a_single_voxel():
    geometry = Geometry(torch.tensor([[0, -7, 3, 5]]))
    feats, kernel = draw(1, 3), draw(27, 3, 5, seed=2)
    out = sparse_conv(feats, kernel, geometry.submanifold_map(1, hypercube_offsets(3)))
    agree(out, feats @ kernel[13], (feats, kernel))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision_stays_near_float64_and_repeats_bit_for_bit(dtype):
    coords = voxels(400)
    kernel_map = Geometry(coords).submanifold_map(1, hybrid_offsets())
    feats, kernel = draw(len(coords), 16), draw(27, 16, 8, seed=2)
    grad = draw(len(coords), 8, seed=3).detach()
    runs = []
    for kind in (torch.float64, dtype, dtype):
        inputs = [t.detach().to(kind).requires_grad_() for t in (feats, kernel)]
        out = sparse_conv(*inputs, kernel_map)
        runs.append((out, *torch.autograd.grad(out, inputs, grad.to(kind))))
    tolerance = 1e-5 if dtype == torch.float32 else 0.03
    for exact, once, again in zip(*runs, strict=True):
        assert once.dtype == dtype
        assert torch.equal(once, again)
        assert (once.double() - exact).abs().max() < tolerance * exact.abs().max()


@pytest.mark.parametrize("trained", [(True, True), (True, False), (False, True), (False, False)])
def test_only_the_gradients_asked_for_are_computed(trained, monkeypatch):
    coords = voxels()
    kernel_map = Geometry(coords).submanifold_map(1, hybrid_offsets())
    feats = draw(len(coords), 3).detach().requires_grad_(trained[0])
    kernel = draw(27, 3, 5, seed=2).detach().requires_grad_(trained[1])
    products = {"mm": 0, "weights": 0}
    real_mm, real_add = torch.mm, functional._add_product

    def counted_mm(*args, **kwargs):
        products["mm"] += 1
        return real_mm(*args, **kwargs)

    def counted_add(*args):
        products["weights"] += 1
        return real_add(*args)

    out = sparse_conv(feats, kernel, kernel_map)
    assert out.requires_grad == any(trained)
    if not any(trained):
        return
    kept = [t is not None for t in out.grad_fn.saved_tensors]
    assert kept == [trained[1], trained[0]]  # each gradient needs the other operand only
    monkeypatch.setattr(torch, "mm", counted_mm)
    monkeypatch.setattr(functional, "_add_product", counted_add)
    out.sum().backward()
    assert (feats.grad is not None, kernel.grad is not None) == trained
    assert (products["mm"] > 0) == trained[0]
    assert (products["weights"] > 0) == trained[1]


@pytest.mark.parametrize("channels", [3, 96, 384])
def test_a_block_stays_below_32_mib(channels):
    axis = torch.arange(20)
    xyz = torch.cartesian_prod(axis, axis, axis)
    coords = torch.cat([torch.zeros(len(xyz), 1, dtype=torch.int64), xyz], 1)
    kernel_map = Geometry(coords).submanifold_map(1, hybrid_offsets())
    rows = torch.zeros(1, channels, dtype=torch.float64)
    blocks = kernel_map.blocks(functional._pairs_per_block(rows))
    assert sum(sum(block.sizes) for block in blocks) == kernel_map.starts[-1] - len(coords)
    assert max(sum(block.sizes) for block in blocks) * channels * 8 < 32 << 20
    assert [b.targets.stop for b in blocks[:-1]] == [b.targets.start for b in blocks[1:]]


def test_mismatches_are_named():
    coords = voxels()
    kernel_map = Geometry(coords).submanifold_map(1, hybrid_offsets())
    feats, kernel = torch.zeros(len(coords), 3), torch.zeros(27, 3, 5)
    with pytest.raises(ValueError, match="source voxels"):
        sparse_conv(feats[1:], kernel, kernel_map)
    with pytest.raises(ValueError, match=r"shape \(27, 3, out channels\)"):
        sparse_conv(feats, kernel[:8], kernel_map)
    with pytest.raises(TypeError, match=r"float32, the kernel is torch\.float64"):
        sparse_conv(feats, kernel.double(), kernel_map)
