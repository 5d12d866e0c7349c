"""Sparse layers and tensors: occupancies, candidate sets, checkpoint names."""

import dataclasses

import pytest
import torch
from torch import nn

from leadgrad.victims.sparse import (
    DownConv,
    Geometry,
    PointwiseConv,
    SparseBatchNorm,
    SparseTensor,
    SubmanifoldConv,
    UpConv,
    hybrid_offsets,
    hypercube_offsets,
    unique_coordinates,
)


def voxels(count=120, reach=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    xyz = torch.randint(-reach, reach, (count, 3), generator=generator)
    batch = torch.randint(0, 2, (count, 1), generator=generator)
    coords = unique_coordinates(torch.cat([batch, xyz], 1))[0]
    return coords[torch.randperm(len(coords), generator=generator)]


class TinyUNet(nn.Module):
    """Stem, a residual block, down twice, up twice with a skip, classifier: float64, eval mode."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = SubmanifoldConv(3, 4, hypercube_offsets(5))
        self.bn0 = SparseBatchNorm(4)
        self.down = DownConv(4, 4)
        self.bn1 = SparseBatchNorm(4)
        self.conv = SubmanifoldConv(4, 6, hybrid_offsets(), bias=True)
        self.norm = SparseBatchNorm(6)
        self.downsample = nn.ModuleList([PointwiseConv(4, 6), SparseBatchNorm(6)])
        self.deeper = DownConv(6, 6)
        self.bn2 = SparseBatchNorm(6)
        self.up2 = UpConv(6, 6)
        self.bn3 = SparseBatchNorm(6)
        self.up1 = UpConv(6, 5)
        self.bn4 = SparseBatchNorm(5)
        self.final = PointwiseConv(9, 2, bias=True)
        for name, kernel in self.named_parameters():
            if name.endswith("kernel"):
                kernel.data *= 3  # else the untrained signal dies away over the layers
        for norm in (m.bn for m in self.modules() if isinstance(m, SparseBatchNorm)):
            nn.init.uniform_(norm.bias, -1, 1)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            norm.running_mean.uniform_(-0.3, 0.3)
            norm.running_var.uniform_(0.5, 1.5)
        self.double().eval()

    def forward(self, x, geometry):
        def relu(t):
            return t.replace_feats(t.feats.relu())

        skip = relu(self.bn0(self.stem(x, geometry), geometry))
        x = relu(self.bn1(self.down(skip, geometry), geometry))
        shortcut = x
        for layer in self.downsample:
            shortcut = layer(shortcut, geometry)
        x = self.norm(self.conv(x, geometry), geometry)
        x = relu(x.replace_feats(x.feats + shortcut.feats))
        x = relu(self.bn2(self.deeper(x, geometry), geometry))
        x = relu(self.bn3(self.up2(x, geometry), geometry))
        x = relu(self.bn4(self.up1(x, geometry), geometry))
        x = x.replace_feats(torch.cat([x.feats, skip.feats], 1))
        return self.final.spread(x, geometry)


@pytest.fixture(name="network", scope="module")
def _network():
    return TinyUNet()


def forward(network, coords, feats, occupancy=None):
    x = SparseTensor(coords, feats, occupancy=occupancy)
    return network(x, Geometry(x.coords, x.occupancy)).feats


@pytest.fixture(name="candidates")
def _candidates():
    """A superset of voxels, which of them are occupied, features of all."""
    coords = voxels(400)
    generator = torch.Generator().manual_seed(3)
    occupied = torch.rand(len(coords), generator=generator) < 0.5
    feats = torch.randn(len(coords), 3, dtype=torch.float64, generator=generator)
    return coords, occupied, feats


def test_hard_occupancies_on_a_superset_equal_the_sparse_forward(network, candidates):
    coords, occupied, feats = candidates
    occupancy = occupied.double().unsqueeze(1)
    exact = forward(network, coords[occupied], feats[occupied])
    relaxed = forward(network, coords, feats * occupancy, occupancy)
    assert not occupied.all()
    assert exact.abs().max() > 0.1
    torch.testing.assert_close(relaxed[occupied], exact, rtol=0, atol=1e-12)


def test_without_the_product_after_batch_norm_they_differ(network, candidates, monkeypatch):
    coords, occupied, feats = candidates
    occupancy = occupied.double().unsqueeze(1)
    exact = forward(network, coords[occupied], feats[occupied])
    monkeypatch.setattr(
        SparseBatchNorm, "forward", lambda self, x, geometry: x.replace_feats(self.bn(x.feats))
    )
    torch.testing.assert_close(forward(network, coords[occupied], feats[occupied]), exact)
    relaxed = forward(network, coords, feats * occupancy, occupancy)
    assert (relaxed[occupied] - exact).abs().max() > 0.1


def test_a_network_of_soft_occupancies_has_right_gradients(network):
    coords = voxels(7, reach=2)
    generator = torch.Generator().manual_seed(4)
    feats = torch.randn(len(coords), 3, dtype=torch.float64, generator=generator)
    occupancy = torch.rand(len(coords), 1, dtype=torch.float64, generator=generator)
    assert torch.autograd.gradcheck(
        lambda f, o: forward(network, coords, f, o),
        (feats.requires_grad_(), occupancy.requires_grad_()),
    )


def test_every_layer_multiplies_by_the_occupancy_and_what_it_spreads_is_not_yet(candidates):
    coords, occupied, feats = candidates
    occupancy = occupied.double().unsqueeze(1)
    geometry = Geometry(coords, occupancy)
    x = SparseTensor(coords, feats, occupancy=occupancy)
    coarse = geometry.tensor(
        torch.ones(len(geometry.voxels(2)), 3, dtype=torch.float64), 2
    ).occupied()
    conv = SubmanifoldConv(3, 2, hybrid_offsets(), bias=True).double()
    norm = SparseBatchNorm(3).double().eval()
    nn.init.ones_(norm.bn.bias)
    for layer, argument in (
        (conv, x),
        (norm, x),
        (PointwiseConv(3, 2, bias=True).double(), x),
        (DownConv(3, 2).double(), x),
        (UpConv(3, 2).double(), coarse),
    ):
        out = layer(argument, geometry)
        known = geometry.occupancy(out.stride)
        assert out.occupancy is known or out.occupancy is occupancy
        assert (known == 0).any()
        assert (out.feats[known[:, 0] == 0] == 0).all()
        assert (out.feats[known[:, 0] == 1] != 0).any()
    final = PointwiseConv(3, 2, bias=True).double()
    assert (final.spread(x, geometry).feats[~occupied] != 0).all()


def test_rows_in_any_order_give_the_same_rows(network, candidates):
    coords, _, feats = candidates
    occupancy = torch.rand(len(coords), 1, dtype=torch.float64)
    order = torch.randperm(len(coords))
    out = forward(network, coords, feats, occupancy)
    permuted = forward(network, coords[order], feats[order], occupancy[order])
    torch.testing.assert_close(permuted, out[order], rtol=0, atol=1e-12)


def test_a_second_forward_is_bit_identical(network, candidates):
    coords, _, feats = candidates
    network = TinyUNet().requires_grad_(True)
    runs = []
    for _ in range(2):
        network.zero_grad()
        inputs = feats.clone().requires_grad_()
        forward(network, coords, inputs).square().sum().backward()
        runs.append([inputs.grad, *(p.grad.clone() for p in network.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_scenes_of_a_batch_do_not_meet(network, candidates):
    coords, _, feats = candidates
    second = coords[:, 0] == 1
    alone = coords[second].clone()
    alone[:, 0] = 0
    torch.testing.assert_close(
        forward(network, coords, feats)[second], forward(network, alone, feats[second])
    )


def test_translation_by_the_coarsest_stride_changes_nothing(network, candidates):
    coords, _, feats = candidates
    moved = coords + torch.tensor([0, -12, 8, 4])
    torch.testing.assert_close(forward(network, moved, feats), forward(network, coords, feats))


def test_checkpoint_names_and_shapes():
    shapes = {name: tuple(p.shape) for name, p in TinyUNet().named_parameters()}
    expected = {
        "stem.kernel": (125, 3, 4),
        "down.kernel": (8, 4, 4),
        "conv.kernel": (27, 4, 6),
        "conv.bias": (1, 6),
        "up1.kernel": (8, 6, 5),
        "downsample.0.kernel": (4, 6),
        "downsample.1.bn.weight": (6,),
        "norm.bn.bias": (6,),
        "final.kernel": (9, 2),
        "final.bias": (1, 2),
    }
    assert {name: shapes[name] for name in expected} == expected
    assert "bn0.bn.running_mean" in TinyUNet().state_dict()
    assert len(TinyUNet().state_dict()) == 10 + 7 * 5


@pytest.mark.parametrize(
    ("layer", "fan"),
    [
        (SubmanifoldConv(20, 40, hybrid_offsets()), 27 * 20),
        (DownConv(20, 40), 8 * 20),
        (UpConv(20, 40), 8 * 40),
        (PointwiseConv(20, 400), 20),
    ],
)
def test_kernels_start_uniform_within_one_over_root_fan(layer, fan):
    bound = fan**-0.5
    assert 0.98 * bound < layer.kernel.abs().max() <= bound
    assert layer.kernel.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)


def test_a_sparse_tensor_is_frozen_and_checks_its_rows():
    coords, feats = torch.zeros(2, 4, dtype=torch.int64), torch.ones(2, 3)
    x = SparseTensor(coords, feats, occupancy=torch.tensor([[0.5], [0.0]]))
    assert x.with_feats(feats).feats[:, 0].tolist() == [0.5, 0.0]
    assert x.replace_feats(feats).feats is feats
    with pytest.raises(dataclasses.FrozenInstanceError):
        x.stride = 2
    with pytest.raises(ValueError, match=r"feats must have shape \(2, C\)"):
        SparseTensor(coords, torch.ones(3, 3))
    with pytest.raises(ValueError, match=r"occupancy must have shape \(2, 1\)"):
        SparseTensor(coords, feats, occupancy=torch.ones(2))


def test_a_tensor_of_another_geometry_is_refused():
    geometry = Geometry(voxels(50))
    other = SparseTensor(torch.zeros(1, 4, dtype=torch.int64), torch.ones(1, 3))
    with pytest.raises(ValueError, match="give the geometry of this tensor"):
        SubmanifoldConv(3, 2, hybrid_offsets())(other, geometry)
    with pytest.raises(ValueError, match="finer than stride 1"):
        UpConv(3, 2)(other, geometry)


def test_layers_print_their_shapes():
    assert str(DownConv(3, 4)) == "DownConv(3, 4, slices=8)"
    assert str(PointwiseConv(3, 4)) == "PointwiseConv(3, 4, slices=1)"
