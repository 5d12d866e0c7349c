"""MinkUNet: published counts and keys, exact and led forwards, true gradients, recomputation."""

import pytest
import torch
import torch.nn.functional as F

from leadgrad.victims import LGM, Sigmoid, gradient_method, load_published
from leadgrad.victims.networks.minkunet import MinkUNet
from leadgrad.victims.occupancy.reach import Reach
from leadgrad.victims.occupancy.voxel_methods import VoxelFGM, VoxelLGM
from leadgrad.victims.sparse import hybrid_offsets, hypercube_offsets

S3DIS = {"coordinate_features": True, "decoder": (256,) * 4}
SMALL = {"blocks": (2,) * 8, "decoder": (128, 128, 96, 96)}
COUNTS = [
    ({}, 37_856_052),
    ({"stem_kernel": 3}, 37_846_644),
    ({"num_classes": 13}, 37_855_373),
    ({"num_classes": 13, "coordinate_features": True}, 37_867_373),
    ({"num_classes": 13, **S3DIS}, 57_164_941),
    ({"num_classes": 13, "decoder": (256,) * 4}, 57_152_941),
    ({"num_classes": 13, "blocks": (2,) * 8, **S3DIS}, 41_013_133),
    (SMALL, 15_493_172),
    ({**SMALL, "blocks": (1,) * 8}, 8_024_500),
]


@pytest.mark.parametrize(("arguments", "count"), COUNTS)
def test_parameter_counts(arguments, count):
    parameters = MinkUNet(**arguments).parameters()
    assert sum(parameter.numel() for parameter in parameters) == count


def test_keys_are_those_of_the_released_checkpoints():
    state = MinkUNet().state_dict()
    assert len(state) == 374
    shapes = {
        "conv0p1s1.kernel": (125, 3, 32),
        "conv4p8s2.kernel": (8, 128, 128),
        "convtr4p16s2.kernel": (8, 256, 256),
        "block4.5.conv2.kernel": (27, 256, 256),
        "block5.0.downsample.0.kernel": (384, 256),
        "block5.0.downsample.1.bn.running_var": (256,),
        "bntr7.bn.num_batches_tracked": (),
        "final.kernel": (96, 20),
        "final.bias": (1, 20),
    }
    assert {name: tuple(state[name].shape) for name in shapes} == shapes
    assert "block1.0.downsample.0.kernel" not in state


def tiny(**arguments):
    torch.manual_seed(0)
    widths = {"encoder": (8, 8, 12, 12), "decoder": (12, 8, 8, 8), "blocks": (1,) * 8, "stem": 8}
    network = MinkUNet(4, 0.1, **{**widths, **arguments}).double().eval()
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.uniform_(-0.3, 0.3)
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2.0)
    return network.requires_grad_(False)


def room(count=400, seed=0):
    """A floor and a wall, with colours."""
    generator = torch.Generator().manual_seed(seed)
    coords = torch.rand(count, 3, generator=generator, dtype=torch.float64) * 2
    half = count // 2
    coords[:half, 2] *= 0.02
    coords[half:, 0] *= 0.02
    return coords, torch.rand(count, 3, generator=generator, dtype=torch.float64)


def test_orders_of_offsets_are_the_same_network_with_permuted_kernels():
    hybrid, plain = tiny(), tiny(hybrid_blocks=False)
    place = {tuple(offset): at for at, offset in enumerate(hybrid_offsets().tolist())}
    order = [place[tuple(offset)] for offset in hypercube_offsets(3).tolist()]
    # The conversion in docs/reference/scenes.md, "Order of kernel offsets"
    assert order[:9] == [19, 15, 23, 11, 9, 13, 21, 17, 25]
    state = {
        name: value[order] if ".conv" in name and len(value.shape) == 3 else value
        for name, value in hybrid.state_dict().items()
    }
    load_published(plain, state)
    coords, color = room()
    torch.testing.assert_close(plain(coords, color), hybrid(coords, color))
    assert not torch.allclose(tiny(hybrid_blocks=False)(coords, color), hybrid(coords, color))


def test_a_released_file_loads(tmp_path):
    network = tiny()
    content = {"iteration": 1, "epoch": 1, "arch": "Res16UNet34C", "optimizer": {}}
    torch.save({**content, "state_dict": network.state_dict()}, tmp_path / "net.pth")
    other = load_published(tiny(), tmp_path / "net.pth")
    assert torch.equal(other.final.kernel, network.final.kernel)


def one_per_voxel(coords, color, voxel_m=0.1):
    index = (coords / voxel_m).floor().long()
    _, first = torch.unique(index, dim=0, return_inverse=True)
    kept = torch.stack([(first == voxel).nonzero()[0, 0] for voxel in range(int(first.max()) + 1)])
    return coords[kept], color[kept]


def test_steep_led_forward_is_the_exact_one():
    """Candidates that are not occupied change nothing, in a whole network.

    docs/reference/method.md, "Occupancy of voxels".
    """
    network = tiny()
    coords, color = one_per_voxel(*room())
    exact = network(coords, color)
    method = VoxelLGM(Sigmoid(1e6))
    with gradient_method(network, method, Reach(0.05, 0.05, coords)):
        led = network(coords, color)
        voxels = network.voxelizer(coords, color)
    assert len(voxels.tensor.coords) > 1.2 * voxels.occupied
    torch.testing.assert_close(led, exact, atol=1e-9, rtol=0)


def test_steep_frozen_forward_is_the_exact_one():
    network = tiny()
    coords, color = one_per_voxel(*room())
    with gradient_method(network, VoxelFGM(Sigmoid(1e6)), Reach(0.05, 0.05, coords)):
        soft = network(coords, color)
    torch.testing.assert_close(soft, network(coords, color), atol=1e-9, rtol=0)


METHODS = [
    VoxelLGM(Sigmoid(10.0)),
    VoxelLGM(Sigmoid(25.0), input=Sigmoid(10.0), output=Sigmoid(8.0)),
    LGM(Sigmoid(12.0)),
    VoxelFGM(),
]


@pytest.mark.parametrize("features", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_gradient_is_that_of_the_relaxed_network(method, features):
    """Eq. 28 in docs/reference/method.md, through voxels and network, by finite differences."""
    network = tiny(coordinate_features=features)
    coords, color = room(150)
    labels = torch.arange(150) % 4
    reach = Reach(0.02, 0.02, coords)

    def loss(x):
        with gradient_method(network, method, reach):
            return F.cross_entropy(network(x, color), labels)

    x = coords.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(x), x)
    generator = torch.Generator().manual_seed(1)
    for _ in range(4):
        direction = torch.randn(coords.shape, generator=generator, dtype=torch.float64)
        # Away from the places where a candidate appears or a floor jumps
        settled = _settled(coords, 0.1, (0.0, 0.02), 1e-5).all(1, keepdim=True)
        direction = direction * settled
        h = 1e-7
        difference = float(loss(coords + h * direction) - loss(coords - h * direction)) / (2 * h)
        assert float((gradient * direction).sum()) == pytest.approx(difference, rel=1e-3, abs=1e-8)


def _settled(coords, voxel_m, moves, margin):
    """Where no index changes within ``margin`` of the position or of a step from it."""
    near = torch.zeros_like(coords, dtype=torch.bool)
    for move in (*moves, *(-move for move in moves)):
        part = (coords + move) / voxel_m % 1
        near |= (part < margin) | (part > 1 - margin)
        near |= (part - 0.5).abs() < margin  # the kink of |centre - position|
    return ~near


def test_frozen_voxels_have_no_neighbours_and_led_ones_do():
    network = tiny()
    coords = torch.tensor([(0.099, 0.05, 0.05), (0.55, 0.55, 0.55)], dtype=torch.float64)
    color = torch.rand(2, 3, dtype=torch.float64)
    reach = Reach(0.01, 0.01, coords)
    counts = {}
    for method in (VoxelFGM(), VoxelLGM()):
        with gradient_method(network, method, reach):
            voxels = network.voxelizer(coords, color)
        counts[type(method)] = (len(voxels.tensor.coords), voxels.occupied)
    assert counts == {VoxelFGM: (2, 2), VoxelLGM: (3, 2)}


@pytest.mark.parametrize("method", [VoxelFGM(), VoxelLGM()])
def test_recomputation_changes_nothing(method):
    coords, color = room()
    gradients = []
    for recompute in (False, True):
        network = tiny(recompute=recompute)
        x = coords.clone().requires_grad_()
        with gradient_method(network, method, Reach(0.03, 0.03, coords)):
            logits = network(x, color)
        # After the context has been left, as attacks do
        gradients.append(torch.autograd.grad(logits.square().mean(), x)[0])
    assert torch.equal(*gradients)


def test_weights_get_gradients_in_training():
    network = tiny(recompute=True).train().requires_grad_(True)
    coords, color = room()
    network(coords, color).square().mean().backward()
    assert all(bool(parameter.grad.any()) for parameter in network.parameters())


def test_order_of_points_and_batch_do_not_matter():
    network = tiny()
    coords, color = one_per_voxel(*room())
    alone = network(coords, color)
    order = torch.randperm(len(coords), generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(network(coords[order], color[order]), alone[order])
    twice = network(
        torch.cat([coords, coords + 0.5]),
        torch.cat([color, color]),
        torch.arange(2).repeat_interleave(len(coords)),
    )
    torch.testing.assert_close(twice[: len(coords)], alone)


def test_wrong_numbers_of_stages():
    with pytest.raises(ValueError, match="need 4, 4 and 8 numbers, got 3"):
        MinkUNet(encoder=(8, 8, 8))


def test_a_network_of_one_feature_column():
    coords, colours = room()
    network = tiny(features=1)
    assert network.conv0p1s1.kernel.shape[1] == 1
    assert network(coords, colours[:, :1]).shape == (len(coords), 4)
    with pytest.raises(ValueError, match="takes 1 feature columns, the scene has 3"):
        network(coords, colours)
