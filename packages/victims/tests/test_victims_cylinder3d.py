"""Cylinder3D: names and sizes, its convolutions against dense ones, weights, attacks' gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from leadgrad.victims import (
    FGM,
    LGM,
    BilinearInterpolation,
    CheckpointError,
    Cylinder3D,
    Reach,
    Sigmoid,
    VoxelLGM,
    gradient_method,
    load_published,
    prepare_for_attack,
)
from leadgrad.victims.networks.cylinder3d import STRIDES, ClassConv
from leadgrad.victims.networks.cylinder_blocks import (
    FLAT,
    STANDING,
    ContextBlock,
    GridConv,
    ReconBlock,
    UpBlock,
)
from leadgrad.victims.sparse import unique_coordinates
from leadgrad.victims.sparse.strided import GridGeometry

SMALL = {
    "num_classes": 5,
    "width": 2,
    "point_widths": (4, 4, 4, 6),
    "compressed": 3,
    "grid": (24, 20, 8),
    "high": (12.0, 3.1415926, 2.0),
}
SHAPE = (7, 6, 5)


def small(**changes):
    torch.manual_seed(0)
    network = Cylinder3D(**{**SMALL, **changes}).double()
    coords, features = scan()
    network.train()
    network(coords, features)  # batch norms that fit
    return network.eval().requires_grad_(False)


def scan(count=150, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coords = torch.rand(count, 3, dtype=torch.float64, generator=generator) - 0.5
    coords = coords * torch.tensor([18.0, 18.0, 4.0]) - torch.tensor([0, 0, 1.0])
    return coords, torch.rand(count, 1, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("method", [FGM(), VoxelLGM()])
def test_points_of_another_dtype_are_refused_by_name(method):
    network = small().float()
    coords, features = scan()
    with gradient_method(network, method, Reach(0.05, 0.05, coords.float())):
        assert network(coords.float(), features.float()).dtype == torch.float32
        for given in ((coords, features.float()), (coords.float(), features)):
            words = "come to torch.float64, but the network is torch.float32; convert the network"
            with pytest.raises(TypeError, match=words):
                network(*given)
    with pytest.raises(TypeError, match=r"but the network is torch\.float64"):
        network.double()(coords.float(), features.float())


def test_parameters_of_the_published_network():
    network = Cylinder3D()
    assert sum(p.numel() for p in network.parameters()) == 55_853_366
    assert network.effective_parameters == 49_586_486
    assert sum(p.numel() for p in Cylinder3D(width=16).parameters()) == 14_071_542
    assert len(network.state_dict()) == 274
    parts = dict(network.cylinder_3d_spconv_seg.named_children())
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    assert sizes == {
        "downCntx": 27_904,
        "resBlock2": 221_696,
        "resBlock3": 885_760,
        "resBlock4": 3_540_992,
        "resBlock5": 14_159_872,
        "upBlock0": 25_956_352,
        "upBlock1": 8_259_584,
        "upBlock2": 2_065_408,
        "upBlock3": 516_608,
        "ReconNet": 37_248,
        "logits": 69_140,
    }
    generator = network.cylinder_3d_generator
    assert sum(p.numel() for p in generator.PPmodel.parameters()) == 108_690
    assert sum(p.numel() for p in generator.fea_compression.parameters()) == 4_112
    names = set(network.state_dict())
    assert "cylinder_3d_generator.PPmodel.10.weight" in names
    assert "cylinder_3d_spconv_seg.resBlock5.pool.weight" in names
    assert "cylinder_3d_spconv_seg.upBlock0.up_subm.weight" in names


def cells(count=60, seed=0):
    generator = torch.Generator().manual_seed(seed)
    xyz = [torch.randint(0, n, (count,), generator=generator) for n in SHAPE]
    return unique_coordinates(torch.stack([torch.zeros(count, dtype=torch.int64), *xyz], 1))[0]


class Dense:
    """The same on a dense grid of one scene: what is not a cell is 0, before each convolution."""

    def __init__(self, coords, occupancy):
        self.coords = coords
        self.shape = (1, *SHAPE)
        self.there = torch.zeros(self.shape, dtype=torch.bool)
        self.there[tuple(coords.T)] = True
        self.occupancy = occupancy

    def grid(self, rows):
        made = rows.new_zeros(*self.shape, rows.shape[1])
        return made.index_put(tuple(self.coords.T), rows).permute(0, 4, 1, 2, 3)

    def conv(self, rows, conv):
        kernel = conv.weight[: torch.tensor(conv.computed).prod()]
        weight = kernel.view(*conv.computed, *kernel.shape[1:]).permute(4, 3, 0, 1, 2)
        pad = tuple(n // 2 for n in conv.computed)
        made = F.conv3d(self.grid(rows), weight, padding=pad).permute(0, 2, 3, 4, 1)
        return self.occupancy * made[tuple(self.coords.T)]

    def act(self, rows, norm):
        return self.occupancy * norm(F.leaky_relu(rows))


def double(block):
    for module in block.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return block.double().eval()


def agree(ours, dense, inputs):
    torch.testing.assert_close(ours, dense)
    grad = torch.randn(ours.shape, dtype=ours.dtype, generator=torch.Generator().manual_seed(9))
    for a, b in zip(
        torch.autograd.grad(ours, inputs, grad, retain_graph=True),
        torch.autograd.grad(dense, inputs, grad),
        strict=True,
    ):
        assert b.abs().max() > 1e-6
        torch.testing.assert_close(a, b)


@pytest.fixture
def parts():
    torch.manual_seed(1)
    coords = cells()
    feats = torch.randn(len(coords), 3, dtype=torch.float64, requires_grad=True)
    occupancy = torch.rand(len(coords), 1, dtype=torch.float64, requires_grad=True)
    return (
        feats,
        occupancy,
        GridGeometry(coords, SHAPE, STRIDES, occupancy),
        Dense(coords, occupancy),
    )


@pytest.mark.parametrize("computed", [None, FLAT, STANDING])
def test_a_context_block_is_the_dense_one(parts, computed):
    feats, occupancy, geometry, dense = parts
    sizes = (STANDING, FLAT, FLAT, STANDING)
    block = double(ContextBlock(3, 4, sizes, computed, pool=False))
    ours, _ = block(feats, geometry, 0)
    one = dense.act(dense.conv(feats, block.conv1), block.bn0)
    one = dense.act(dense.conv(one, block.conv1_2), block.bn0_2)
    other = dense.act(dense.conv(feats, block.conv2), block.bn1)
    other = dense.act(dense.conv(other, block.conv3), block.bn2)
    agree(ours, one + other, (feats, occupancy, *block.parameters()))


@pytest.mark.parametrize("computed", [None, (3, 1, 1)])
def test_a_context_by_dimension_is_the_dense_one(parts, computed):
    feats, occupancy, geometry, dense = parts
    block = double(ReconBlock(3, computed))
    pairs = ((block.conv1, block.bn0), (block.conv1_2, block.bn0_2), (block.conv1_3, block.bn0_3))
    weights = sum((occupancy * norm(dense.conv(feats, conv))).sigmoid() for conv, norm in pairs)
    agree(block(feats, geometry, 0), weights * feats, (feats, occupancy, *block.parameters()))


@pytest.mark.parametrize("computed", [None, FLAT])
def test_the_fine_half_of_an_up_block_is_the_dense_one(parts, computed):
    """The coarse half is that of test_victims_strided."""
    feats, occupancy, geometry, dense = parts
    block = double(UpBlock(4, 3, computed))
    coarse = torch.randn(len(geometry.cells(1).coords), 4, dtype=torch.float64)
    ours = block(coarse, feats, geometry, 1)
    o = geometry.occupancy(1)
    up = o * block.trans_bn(F.leaky_relu(block.trans_dilao(coarse, geometry, 1)))
    x = block.up_subm(up, geometry, 1) + feats
    for conv, norm in (
        (block.conv1, block.bn1),
        (block.conv2, block.bn2),
        (block.conv3, block.bn3),
    ):
        x = dense.act(dense.conv(x, conv), norm)
    (unread,) = torch.autograd.grad(ours.sum(), block.conv3.weight, retain_graph=True)
    assert bool((unread[9:] == 0).all()) == (computed is not None)
    read = [p for n, p in block.named_parameters() if n != "conv3.weight"]
    agree(ours, x, (feats, occupancy, *read))


def test_the_classes_convolution_is_that_of_the_joined_halves(parts):
    feats, occupancy, geometry, dense = parts
    block = ClassConv(6, 4).double()
    context = torch.randn(len(feats), 3, dtype=torch.float64)
    joined = torch.cat([context, feats], 1)
    weight = block.weight.view(3, 3, 3, 6, 4).permute(4, 3, 0, 1, 2)
    made = F.conv3d(dense.grid(joined), weight, block.bias, padding=1).permute(0, 2, 3, 4, 1)
    expected = occupancy * made[tuple(dense.coords.T)]
    agree(block(context, feats, geometry), expected, (feats, occupancy, *block.parameters()))


def test_a_shared_rulebook_by_hand():
    """A standing kernel that says its slice's number, read through the flat one's neighbours."""
    conv = GridConv(1, 1, STANDING, FLAT)
    with torch.no_grad():
        conv.weight.copy_(torch.arange(9.0).view(9, 1, 1))
    for offset, seen in (((0, -1, -1), 0), ((0, 0, 0), 4), ((0, 1, 1), 8)):
        at = torch.tensor([[0, 2, 2, 2], [0, 2 + offset[0], 2 + offset[1], 2 + offset[2]]])
        coords, row, _ = unique_coordinates(at)
        feats = torch.zeros(len(coords), 1)
        feats[row[1]] = 1
        out = conv(feats, GridGeometry(coords, SHAPE), 0)
        assert out[row[0]].item() == seen
    beside = torch.tensor([[0, 2, 2, 2], [0, 3, 2, 2]])
    out = conv(torch.tensor([[0.0], [1.0]]), GridGeometry(beside, SHAPE), 0)
    assert out[0].item() == 0, "of a neighbour along ρ it sees nothing"


def as_released(network, layout):
    """The network's state as spconv would have stored it, unread slices NaN."""
    state, declared = {}, {}
    for name, module in network.named_modules():
        if isinstance(module, GridConv):
            declared[f"{name}.weight"] = (1, 3, 3)
    for name, value in network.state_dict().items():
        if value.ndim == 3:
            slices = len(value)
            size = {27: (3, 3, 3), 9: declared.get(name, (3, 3, 3)), 3: (3, 1, 1)}[slices]
            value = value.clone()
            if "upBlock" in name and name.endswith("conv3.weight"):
                value[9:] = torch.nan
            value = value.view(*size, *value.shape[1:])
            if layout == 2:
                value = value.permute(4, 0, 1, 2, 3)
        state[name] = value
    return state


@pytest.mark.parametrize("layout", [1, 2])
def test_published_weights_of_either_layout(layout):
    network = small()
    state = as_released(network, layout)
    assert any(bool(value.isnan().any()) for value in state.values() if value.is_floating_point())
    torch.manual_seed(5)
    other = Cylinder3D(**SMALL).double().eval()
    load_published(other, state)
    coords, features = scan(seed=2)
    torch.testing.assert_close(other(coords, features), network(coords, features))
    assert all(value.isfinite().all() for value in other.state_dict().values())


def test_published_weights_mean_nothing_with_declared_kernels():
    state = as_released(small(), 1)
    with pytest.raises(CheckpointError, match='load them into Cylinder3D\\(variant="released"\\)'):
        load_published(Cylinder3D(**SMALL, variant="as_designed").double(), state)


def test_other_nans_and_shapes_are_refused():
    state = as_released(small(), 1)
    name = "cylinder_3d_spconv_seg.upBlock1.conv2.weight"
    broken = {**state, name: state[name] * torch.nan}
    with pytest.raises(CheckpointError, match="1 keys not finite"):
        load_published(Cylinder3D(**SMALL).double(), broken)
    with pytest.raises(CheckpointError, match="no kernel of 9 slices"):
        load_published(Cylinder3D(**SMALL).double(), {**state, name: state[name][..., :1]})


def test_our_own_weights_load_into_both_variants():
    for variant in ("released", "as_designed"):
        network = small(variant=variant)
        other = load_published(Cylinder3D(**SMALL, variant=variant).double(), network.state_dict())
        coords, features = scan()
        assert torch.equal(other.eval()(coords, features), network(coords, features))


def loss_of(network, method, coords, features, labels, origin):
    with gradient_method(network, method, Reach(0.1, 0.5, origin)):
        return F.cross_entropy(network(coords, features), labels)


@pytest.mark.parametrize(
    "method",
    [FGM(), VoxelLGM(Sigmoid(3.0)), LGM(BilinearInterpolation())],
    ids=lambda m: type(m).__name__,
)
@pytest.mark.parametrize("variant", ["released", "as_designed"])
def test_derivatives_from_points_to_loss(variant, method):
    network = small(variant=variant)
    coords, features = scan(40, seed=4)
    labels = torch.arange(40) % 5
    x = coords.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss_of(network, method, x, features, labels, coords), x)
    step = 1e-6
    for point, axis in ((0, 0), (7, 1), (23, 2), (39, 0)):
        moved = [coords.clone(), coords.clone()]
        moved[0][point, axis] += step
        moved[1][point, axis] -= step
        up, down = (loss_of(network, method, each, features, labels, coords) for each in moved)
        slope = float(up - down) / (2 * step)
        assert float(gradient[point, axis]) == pytest.approx(slope, rel=1e-3, abs=1e-8)


def test_a_steep_surrogate_is_the_exact_network():
    network, (coords, features) = small(), scan()
    with gradient_method(network, LGM(Sigmoid(1e5)), Reach(0.1, 0.5, coords)):
        led = network(coords, features)
    torch.testing.assert_close(led, network(coords, features), atol=1e-5, rtol=1e-5)


def test_default_lgm_works_without_a_slope():
    network, (coords, features) = small(), scan()
    for method in LGM().candidates():
        x = coords.clone().requires_grad_()
        loss = loss_of(network, method, x, features, torch.zeros(len(x), dtype=torch.int64), coords)
        loss.backward()
        assert x.grad.isfinite().all()


def test_two_scans_are_as_each_alone():
    network = small()
    scans = [scan(60, seed) for seed in (0, 1)]
    coords, features = (torch.cat(parts) for parts in zip(*scans, strict=True))
    together = network(coords, features, torch.arange(2).repeat_interleave(60))
    alone = torch.cat([network(*own) for own in scans])
    torch.testing.assert_close(together, alone)


def test_the_copy_that_is_attacked_answers_as_the_network():
    network, (coords, features) = small(), scan()
    assert torch.equal(prepare_for_attack(network)(coords, features), network(coords, features))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variant": "faithful"}, 'variant must be "released" or "as_designed"'),
        ({"width": 0}, "of at least 1, got width=0"),
        ({"point_widths": ()}, "of at least 1"),
        ({"grid": (24, 20)}, "are of ρ, φ and z"),
        ({"grid": (24.5, 20, 8)}, "whole numbers"),
        ({"grid": (70_000, 20, 8)}, "whole numbers"),
    ],
)
def test_what_is_no_network_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Cylinder3D(**{**SMALL, **change})
