"""Our sparse engine against MinkowskiEngine 0.5.4, which the nox session minkowski builds."""

import collections
import importlib
import importlib.util
import os
import sys

import pytest
import torch

from leadgrad.victims import Sigmoid, gradient_method
from leadgrad.victims.networks.minkunet import MinkUNet
from leadgrad.victims.occupancy.reach import Reach
from leadgrad.victims.occupancy.voxel_methods import VoxelLGM
from leadgrad.victims.sparse import (
    DownConv,
    Geometry,
    PointwiseConv,
    SparseConv,
    SparseTensor,
    SubmanifoldConv,
    UpConv,
    hybrid_offsets,
    hypercube_offsets,
    unique_coordinates,
)

MODULE = "leadgrad.victims.sparse.minkowski"


@pytest.fixture(scope="module")
def engine():
    """The module; a MinkowskiEngine that is there and cannot be imported is an error."""
    if importlib.util.find_spec("MinkowskiEngine") is None:
        pytest.skip("MinkowskiEngine is not installed; the nox session minkowski builds it")
    return importlib.import_module(MODULE)


def voxels(count=300, seed=0):
    """Two scenes around the origin, in no order."""
    generator = torch.Generator().manual_seed(seed)
    xyz = torch.randint(-5, 5, (count, 3), generator=generator)
    batch = torch.randint(0, 2, (count, 1), generator=generator)
    coords = unique_coordinates(torch.cat([batch, xyz], 1))[0]
    return coords[torch.randperm(len(coords), generator=generator)]


def draw(*shape, dtype=torch.float64, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).to(dtype)


def assert_close(theirs, ours):
    """To 1e-5 of the greatest number, and there is something to compare."""
    scale = ours.abs().max()
    assert theirs.shape == ours.shape
    assert theirs.dtype == ours.dtype
    assert scale > 0
    assert (theirs - ours).abs().max() <= 1e-5 * scale


def outputs_and_gradients(convolve, geometry, *inputs):
    """Of ``convolve(geometry, *inputs)``, for all inputs that want a gradient."""
    out = convolve(geometry, *inputs)
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    return [out, *torch.autograd.grad(out, wanted, draw(*out.shape, dtype=out.dtype, seed=9))]


def compare(engine, coords, convolve, *inputs):
    ours = outputs_and_gradients(convolve, Geometry(coords), *inputs)
    theirs = outputs_and_gradients(convolve, engine.MinkowskiGeometry(coords), *inputs)
    for a, b in zip(theirs, ours, strict=True):
        assert_close(a, b)


dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
frozen = pytest.mark.parametrize("frozen", [False, True], ids=["trained", "frozen"])


@dtypes
@frozen
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    "offsets",
    [hypercube_offsets(3), hybrid_offsets(), hypercube_offsets(5), hypercube_offsets(1)],
    ids=["cube 3", "hybrid 3", "cube 5", "cube 1"],
)
def test_submanifold_convolution(engine, offsets, stride, frozen, dtype):
    coords = voxels()
    rows = len(Geometry(coords).voxels(stride))
    feats = draw(rows, 4, dtype=dtype).requires_grad_()
    kernel = draw(len(offsets), 4, 6, dtype=dtype, seed=2).requires_grad_(not frozen)
    compare(
        engine, coords, lambda g, f, k: g.submanifold_conv(f, k, stride, offsets), feats, kernel
    )


@dtypes
@frozen
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_down_convolution(engine, stride, frozen, dtype):
    coords = voxels()
    feats = draw(len(Geometry(coords).voxels(stride)), 4, dtype=dtype).requires_grad_()
    kernel = draw(8, 4, 6, dtype=dtype, seed=2).requires_grad_(not frozen)
    compare(engine, coords, lambda g, f, k: g.down_conv(f, k, stride), feats, kernel)


@dtypes
@frozen
@pytest.mark.parametrize("stride", [2, 4, 8])
def test_up_convolution(engine, stride, frozen, dtype):
    """Without the down convolution before it, whose map MinkowskiEngine would turn around."""
    coords = voxels()
    feats = draw(len(Geometry(coords).voxels(stride)), 4, dtype=dtype).requires_grad_()
    kernel = draw(8, 4, 6, dtype=dtype, seed=2).requires_grad_(not frozen)
    compare(engine, coords, lambda g, f, k: g.up_conv(f, k, stride), feats, kernel)


@pytest.mark.parametrize("there", [False, True], ids=["no occupancy", "occupancy"])
def test_layers_one_after_another(engine, there):
    """All inputs' gradients, that of the occupancy too, through down and up on one geometry."""
    coords = voxels()
    torch.manual_seed(0)
    layers = torch.nn.ModuleList(
        [
            SubmanifoldConv(3, 5, hybrid_offsets(), bias=True),
            DownConv(5, 6),
            SubmanifoldConv(6, 6, hypercube_offsets(3)),
            UpConv(6, 4),
        ]
    ).double()
    feats = draw(len(coords), 3).requires_grad_()
    occupancy = torch.sigmoid(draw(len(coords), 1, seed=4)).requires_grad_() if there else None
    inputs = [feats, *layers.parameters(), *([occupancy] if there else [])]

    def run(kind):
        geometry = kind(coords, occupancy)
        x = SparseTensor(coords, feats, 1, occupancy)
        for layer in layers:
            x = layer(x, geometry)
        assert torch.equal(x.coords, coords)
        return [x.feats, *torch.autograd.grad(x.feats, inputs, draw(*x.feats.shape, seed=9))]

    for a, b in zip(run(engine.MinkowskiGeometry), run(Geometry), strict=True):
        assert_close(a, b)


def scenes(count=500):
    """Points of two scenes on both sides of 0, in no order: positions, colours, scenes."""
    generator = torch.Generator().manual_seed(3)
    coords = torch.rand(count, 3, generator=generator, dtype=torch.float64) * 2 - 1
    coords[: count // 2, 2] *= 0.03
    color = torch.rand(count, 3, generator=generator, dtype=torch.float64)
    return coords, color, torch.randint(0, 2, (count,), generator=generator)


def tiny(geometry, **arguments):
    torch.manual_seed(0)
    widths = {"encoder": (8, 8, 12, 12), "decoder": (12, 8, 8, 8), "blocks": (1,) * 8, "stem": 8}
    network = MinkUNet(4, 0.1, **widths, **arguments).double()
    network.geometry = geometry
    return network


@pytest.mark.parametrize(
    "arguments",
    [{}, {"hybrid_blocks": False, "stem_kernel": 3}, {"recompute": True}],
    ids=["hybrid", "cubes", "recomputed"],
)
@pytest.mark.parametrize("led", [False, True], ids=["exact", "led"])
def test_whole_network(engine, led, arguments):
    """Logits, and gradients to every weight and, where voxels are led, to the points."""
    coords, color, scene = scenes()
    coords.requires_grad_(led)
    color.requires_grad_()

    def run(kind):
        network = tiny(kind, **arguments).eval()
        inputs = [color, *([coords] if led else []), *network.parameters()]
        if not led:
            logits = network(coords, color, scene)
            return [logits, *torch.autograd.grad(logits, inputs, draw(*logits.shape, seed=9))]
        reach = Reach(0.05, 0.05, coords.detach())
        with gradient_method(network, VoxelLGM(Sigmoid(20.0)), reach):
            logits = network(coords, color, scene)
            return [logits, *torch.autograd.grad(logits, inputs, draw(*logits.shape, seed=9))]

    for a, b in zip(run(engine.MinkowskiGeometry), run(Geometry), strict=True):
        assert_close(a, b)


def test_a_class_path_of_its_own(engine):
    """What configurations name."""
    kind = importlib.import_module("leadgrad.victims.networks.minkunet_minkowski").MinkUNetMinkowski
    assert issubclass(kind, MinkUNet)
    assert kind(4, 0.1).geometry is engine.MinkowskiGeometry
    assert MinkUNet(4, 0.1).geometry is Geometry


def test_a_geometry_leaves_the_threads_alone(engine):
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            geometry = engine.MinkowskiGeometry(voxels())
            geometry.down_conv(draw(len(voxels()), 1), draw(8, 1, 1), 1)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_what_it_cannot_do(engine):
    coords = voxels()
    geometry, feats = engine.MinkowskiGeometry(coords), draw(len(coords), 2)
    cross = torch.tensor([[0, 0, 0], [0, 0, 1], [0, 0, -1]])
    with pytest.raises(ValueError, match="whole cubes of an odd size, got 3 offsets"):
        geometry.submanifold_conv(feats, draw(3, 2, 2), 1, cross)
    with pytest.raises(TypeError, match=r"float32 and float64, got torch\.bfloat16"):
        geometry.down_conv(feats.bfloat16(), draw(8, 2, 2).bfloat16(), 1)
    with pytest.raises(ValueError, match="one row for each of the map's"):
        geometry.down_conv(feats[1:], draw(8, 2, 2), 1)
    with pytest.raises(ValueError, match=r"kernel must have shape \(8, 2, out channels\)"):
        geometry.down_conv(feats, draw(27, 2, 2), 1)
    with pytest.raises(ValueError, match="computes on the processor, coords are on meta"):
        engine.MinkowskiGeometry(coords.to("meta"))


def test_all_of_a_networks_convolutions_go_through_its_geometry():
    asked = []

    class Counting(Geometry):
        def submanifold_conv(self, feats, kernel, stride, offsets):
            asked.append(stride)
            return super().submanifold_conv(feats, kernel, stride, offsets)

        def down_conv(self, feats, kernel, stride):
            asked.append("down")
            return super().down_conv(feats, kernel, stride)

        def up_conv(self, feats, kernel, stride):
            asked.append("up")
            return super().up_conv(feats, kernel, stride)

    network = tiny(Counting)
    network(*scenes())
    assert len(asked) == sum(isinstance(m, SparseConv) for m in network.modules()) - len(
        [m for m in network.modules() if isinstance(m, PointwiseConv)]
    )
    assert asked.count("down") == asked.count("up") == 4


def test_without_minkowskiengine_an_error_says_how_to_get_it(monkeypatch):
    """And what an import changes for everybody is taken back."""
    monkeypatch.setitem(sys.modules, "MinkowskiEngine", None)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with pytest.raises(ImportError, match="which the nox session minkowski does") as caught:
        importlib.import_module(MODULE)
    assert type(caught.value).__name__ == "MinkowskiMissingError"
    assert not hasattr(collections, "Sequence")
    assert os.environ["OMP_NUM_THREADS"] == "3"
