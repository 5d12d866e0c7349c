"""Relations, candidates, soft voxels, by hand: docs/reference/scenes.md, "Test values"."""

import math

import pytest
import torch

from leadgrad.victims import FGM, LGM, Lookahead, RelativeSigmoid, Sigmoid, gradient_method
from leadgrad.victims.occupancy.reach import Reach, candidate_pairs
from leadgrad.victims.occupancy.relations import RBF, BilinearInterpolation, relation
from leadgrad.victims.occupancy.soft_or import segment_or
from leadgrad.victims.occupancy.voxel_methods import VoxelFGM, VoxelLGM
from leadgrad.victims.occupancy.voxelize import Voxelizer

NEIGHBOURS = [(0, 0, 0), (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 1, 1)]
VALUES = [
    (
        (0.5, 0.5, 0.5),
        10,
        (0.98005553, 0.0066035622, 0.0066035622, 0.0066035622, 0.0066035622, 4.4494e-5, 2.998e-7),
        1.0202132,
    ),
    (
        (0.9, 0.5, 0.5),
        10,
        (0.72130559, 0.26535350, 1.2174838e-4, 0.0048601189, 0.0048601189, 0.0017879378, 1.2047e-5),
        1.0135555,
    ),
    (
        (0.9, 0.5, 0.5),
        25,
        (0.92413493, 0.075857615, 1.69e-10, 3.4439e-6, 3.4439e-6, 2.8270e-7, 1.05e-12),
        1.0000075,
    ),
    (
        (0.95, 0.95, 0.5),
        10,
        (0.38486244, 0.23343087, 4.6277e-5, 0.23343087, 0.0025931827, 0.14158298, 9.5398e-4),
        1.0068436,
    ),
    (
        (0.999, 0.999, 0.999),
        10,
        (0.12688437, 0.12562185, 1.158e-5, 0.12562185, 0.12562185, 0.12437190, 0.12313437),
        1.0001376,
    ),
    (
        (0.8, 0.6, 0.3),
        10,
        (0.82393364, 0.11150729, 3.1370e-4, 0.015090871, 7.8802e-4, 0.0020423273, 1.9533e-6),
        1.0037224,
    ),
]


def related(point, voxels, surrogate):
    voxels = torch.tensor(voxels, dtype=torch.float64)
    point = torch.as_tensor(point, dtype=torch.float64)
    return relation(surrogate, 0.5 - (voxels + 0.5 - point).abs())


@pytest.mark.parametrize(("point", "slope", "values", "total"), VALUES)
def test_relation_values(point, slope, values, total):
    got = related(point, NEIGHBOURS, Sigmoid(slope))
    torch.testing.assert_close(got, torch.tensor(values).double(), rtol=2e-4, atol=1e-11)
    grid = torch.cartesian_prod(*[torch.arange(-1.0, 2)] * 3).tolist()
    assert float(related(point, grid, Sigmoid(slope)).sum()) == pytest.approx(total, abs=1e-6)


@pytest.mark.parametrize(("slope", "derivative"), [(10, 1.93989), (25, 1.75258)])
def test_relation_derivative(slope, derivative):
    point = torch.tensor((0.9, 0.5, 0.5), dtype=torch.float64, requires_grad=True)
    own, neighbour = related(point, NEIGHBOURS[:2], Sigmoid(slope))
    for value, sign in ((own, -1), (neighbour, 1)):
        (gradient,) = torch.autograd.grad(value, point, retain_graph=True)
        assert float(gradient[0]) == pytest.approx(sign * derivative, abs=1e-5)


def test_the_other_relations_are_one_half_on_a_face():
    for surrogate in (BilinearInterpolation(), RBF()):
        values = related((1.0, 0.5, 0.5), [(0, 0, 0), (1, 0, 0), (2, 0, 0)], surrogate)
        torch.testing.assert_close(values[:2], torch.full((2,), 0.5).double())
    assert related((0.5, 0.5, 0.5), [(1, 0, 0)], BilinearInterpolation()) == 0
    # Table VII's Gaussian of the whole distance
    distance = math.dist((0.8, 0.6, 0.3), (1.5, 0.5, 0.5))
    wide = RBF(square_width=0.7)
    assert float(related((0.8, 0.6, 0.3), [(1, 0, 0)], wide)) == pytest.approx(
        math.exp(-(distance**2) / 0.7)
    )


def test_or_of_two_points():
    points = torch.tensor([(0.8, 0.6, 0.3), (0.2, 0.2, 0.2)])
    r = relation(Sigmoid(10), 0.5 - (0.5 - points).abs())
    torch.testing.assert_close(r, torch.tensor([0.8239336, 0.6833254]))
    torch.testing.assert_close(segment_or(r, torch.zeros(2).long(), 1), torch.tensor([0.9442443]))


def test_or_has_the_right_gradient_also_where_a_relation_is_one():
    relation_ = torch.tensor([0.3, 1.0, 0.6, 1.0, 1.0, 0.2], dtype=torch.float64)
    voxel = torch.tensor([0, 0, 1, 2, 2, 3])
    relation_.requires_grad_()
    (gradient,) = torch.autograd.grad(segment_or(relation_, voxel, 5).sum(), relation_)
    # Each is the product of the others' 1 - r: voxel 0 has 0 and 0.7, voxel 2 has two ones
    assert gradient.tolist() == pytest.approx([0, 0.7, 1, 0, 0, 1])
    inner = torch.rand(12, dtype=torch.float64) * 0.98 + 0.01
    segments = torch.randint(0, 4, (12,), generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(
        lambda r: segment_or(r, segments, 4), inner.requires_grad_(), atol=1e-7
    )


EXTENSIONS = [
    ((0.9, 0.5, 0.5), 0.0025, [(1, 0, 0)]),
    ((0.9, 0.5, 0.5), 0.005, [(1, 0, 0)]),
    ((0.95, 0.95, 0.5), 0.005, [(1, 0, 0), (0, 1, 0), (1, 1, 0)]),
    ((0.5, 0.5, 0.5), 0.005, []),
    # A tie: 0.5 + 0.5 floors to 1 on every axis
    ((0.9, 0.5, 0.5), 0.01, [v for v in torch.cartesian_prod(*[torch.arange(2)] * 3).tolist()][1:]),
]


@pytest.mark.parametrize(("point", "step_m", "added"), EXTENSIONS)
def test_candidates(point, step_m, added):
    coords = torch.tensor([point], dtype=torch.float64) * 0.02
    pairs = candidate_pairs(coords, 0.02, Reach(step_m, 0.05, coords))
    found = {tuple(voxel) for voxel in pairs[1].tolist()}
    assert found == {(0, 0, 0), *map(tuple, added)}
    assert len(pairs[0]) == len(found)


def test_candidates_are_those_a_point_can_enter():
    generator = torch.Generator().manual_seed(0)
    origin = torch.rand(400, 3, generator=generator, dtype=torch.float64) - 0.5
    eps, voxel_m = 0.013, 0.02
    coords = origin + eps * (2 * torch.rand(400, 3, generator=generator, dtype=torch.float64) - 1)
    reach = Reach(0.01, eps, origin)
    point, voxel = candidate_pairs(coords, voxel_m, reach)
    assert (voxel[:400] == (coords / voxel_m).floor()).all()
    assert (point[:400] == torch.arange(400)).all()
    made = set(zip(point.tolist(), map(tuple, voxel.tolist()), strict=True))
    assert len(made) == len(point)
    # Every place that a step and the budget allow, among a fine grid of moves, is a candidate
    for move in torch.cartesian_prod(*[torch.linspace(-1, 1, 5, dtype=torch.float64)] * 3):
        there = (coords + 0.01 * move).clamp(origin - eps, origin + eps)
        for number, place in enumerate((there / voxel_m).floor().long().tolist()):
            assert (number, tuple(place)) in made
    loose = candidate_pairs(coords, voxel_m, reach, any_axis=True)
    assert made < set(zip(loose[0].tolist(), map(tuple, loose[1].tolist()), strict=True))


def test_reach_of_other_points():
    with pytest.raises(ValueError, match="reach is for 2 points, got 3"):
        candidate_pairs(torch.zeros(3, 3), 0.02, Reach(0.01, 0.01, torch.zeros(2, 3)))
    with pytest.raises(ValueError, match="step_m must be finite"):
        Reach(math.nan, 0.01, torch.zeros(2, 3))


def colours(values):
    return (torch.tensor(values, dtype=torch.float64)[:, None] + 0.5).expand(-1, 3)


def test_soft_input_of_one_voxel():
    """Features 1 and 3 (colours minus one half) at the two points of the OR."""
    coords = torch.tensor([(0.8, 0.6, 0.3), (0.2, 0.2, 0.2)], dtype=torch.float64)
    voxelizer = Voxelizer(1.0)
    reach = Reach(0.0, 0.0, coords)
    with gradient_method(voxelizer, VoxelFGM(Sigmoid(10.0)), reach):
        voxels = voxelizer(coords, colours([1.0, 3.0]))
    assert voxels.tensor.occupancy is None
    torch.testing.assert_close(
        voxels.tensor.feats, torch.full((1, 3), 1.800402).double(), atol=1e-6, rtol=0
    )
    logits = torch.tensor([[2.0, -1.0]], dtype=torch.float64)
    weights = torch.tensor([[0.8239336], [0.6833254]], dtype=torch.float64)
    torch.testing.assert_close(voxels.readout(logits), weights * logits, atol=1e-6, rtol=0)


def test_led_voxels_are_the_occupied_and_those_within_reach():
    coords = torch.tensor([(0.9, 0.5, 0.5), (0.5, 0.5, 0.5)], dtype=torch.float64)
    voxelizer = Voxelizer(1.0)
    with gradient_method(voxelizer, VoxelLGM(Sigmoid(10.0)), Reach(0.2, 0.2, coords)):
        voxels = voxelizer(coords, colours([1.0, 3.0]))
    assert voxels.tensor.coords.tolist() == [[0, 0, 0, 0], [0, 1, 0, 0]]
    assert voxels.occupied == 1
    here = 1 - (1 - 0.72130559) * (1 - 0.98005553)
    torch.testing.assert_close(
        voxels.tensor.occupancy, torch.tensor([[here], [0.26535350]]).double()
    )
    # The added voxel holds the feature of the one point that may step in, times its occupancy
    torch.testing.assert_close(voxels.tensor.feats[1], torch.full((3,), 0.26535350).double())
    slopes = VoxelLGM(Sigmoid(25.0), input=Sigmoid(10.0), output=Sigmoid(5.0))
    with gradient_method(voxelizer, slopes, Reach(0.2, 0.2, coords)):
        apart = voxelizer(coords, colours([1.0, 3.0]))
    torch.testing.assert_close(apart.tensor.feats, voxels.tensor.feats)
    assert float(apart.tensor.occupancy[1]) == pytest.approx(0.075857615, rel=1e-6)


def test_exact_voxels_have_their_first_point():
    coords = torch.tensor([(0.9, 0.5, 0.5), (-0.1, 0.5, 0.5), (0.1, 0.2, 0.3)])
    voxels = Voxelizer(1.0)(coords, colours([1.0, 2.0, 3.0]).float())
    assert voxels.tensor.coords.tolist() == [[0, -1, 0, 0], [0, 0, 0, 0]]
    assert voxels.tensor.feats[:, 0].tolist() == [2.0, 1.0]
    assert voxels.readout(torch.tensor([[5.0], [7.0]])).tolist() == [[7.0], [5.0], [7.0]]


def test_scenes_of_a_batch_are_kept_apart():
    coords = torch.tensor([(0.9, 0.5, 0.5), (0.1, 0.2, 0.3), (7.5, 0.5, 0.5)])
    scene = torch.tensor([0, 1, 1])
    voxelizer = Voxelizer(1.0, coordinate_features=True)
    voxels = voxelizer(coords, torch.full((3, 3), 0.5), scene)
    assert voxels.tensor.coords.tolist() == [[0, 0, 0, 0], [1, 0, 0, 0], [1, 7, 0, 0]]
    # x less the mean over the scene's points, in voxel edges
    assert voxels.tensor.feats[:, 3].tolist() == [0.0, -3.5, 3.5]


@pytest.mark.parametrize(
    ("released", "values"),
    [(True, (3.0, 3.99995, 3.0)), (False, (2.982, 3.0, 2.5))],
)
def test_smooth_floor(released, values):
    """3.49 and 3.5 are rounded by the released program; the repaired one has slope at integers."""
    voxelizer = Voxelizer(1.0, coordinate_features=True, floor_as_released=released)
    given = [3.49, 3.5, 3.0] if released else [3.2, 3.49, 3.0]
    got = voxelizer._smooth_floor(torch.tensor(given, dtype=torch.float64)).tolist()
    assert got == pytest.approx(values, abs=1e-3)


def test_large_slopes_are_the_exact_voxels():
    generator = torch.Generator().manual_seed(1)
    coords = torch.rand(300, 3, generator=generator, dtype=torch.float64)
    color = torch.rand(300, 3, generator=generator, dtype=torch.float64)
    voxelizer = Voxelizer(0.05)
    exact = voxelizer(coords, color)
    with gradient_method(voxelizer, VoxelLGM(Sigmoid(1e7)), Reach(0.02, 0.02, coords)):
        led = voxelizer(coords, color)
    there = led.tensor.occupancy[:, 0] > 0.5
    assert led.tensor.coords[there].tolist() == exact.tensor.coords.tolist()
    assert set(led.tensor.occupancy[:, 0].tolist()) == {0.0, 1.0}
    assert not led.tensor.feats[~there].any()
    assert led.occupied == len(exact.tensor.coords) == int(there.sum())


BAD = [
    (torch.zeros(0, 3), "no point"),
    (torch.full((2, 3), math.nan), "2 of 2 points are not finite"),
    (torch.tensor([[0.0, 0, 0], [1e30, 0, 0]]), "the first is point 1"),
    (torch.tensor([[0.0, 0, 0], [math.inf, 0, 0]]), "1 of 2 points"),
    (torch.zeros(2, 2), r"coords must be \(N, 3\), got \(2, 2\)"),
]


@pytest.mark.parametrize(("coords", "message"), BAD)
def test_bad_scenes(coords, message):
    with pytest.raises(ValueError, match=message):
        Voxelizer(0.05)(coords, torch.zeros(len(coords), 3))


def test_features_that_do_not_fit_are_refused_by_their_number():
    coords = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"takes 1 feature columns, the scene has 3; .*features=3"):
        Voxelizer(0.05, features=1)(coords, torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"features must be \(2, F\), got \(2,\)"):
        Voxelizer(0.05)(coords, torch.zeros(2))
    with pytest.raises(ValueError, match="at least one column, got 0"):
        Voxelizer(0.05, features=0)


@pytest.mark.parametrize("coordinate_features", [False, True])
@pytest.mark.parametrize("method", [VoxelFGM(), VoxelLGM()])
def test_each_column_is_relaxed_as_it_would_be_alone(method, coordinate_features):
    generator = torch.Generator().manual_seed(2)
    coords, four = (torch.rand(60, n, generator=generator, dtype=torch.float64) for n in (3, 4))

    def feats(columns, led):
        voxelizer = Voxelizer(
            0.2, features=columns.shape[1], coordinate_features=coordinate_features
        )
        assert voxelizer.channels == columns.shape[1] + 3 * coordinate_features
        if not led:
            return voxelizer(coords, columns).tensor.feats
        with gradient_method(voxelizer, method, Reach(0.05, 0.05, coords)):
            return voxelizer(coords, columns).tensor.feats

    for led in (False, True):
        whole, colours, last = (feats(part, led) for part in (four, four[:, :3], four[:, 3:]))
        torch.testing.assert_close(whole[:, :3], colours[:, :3], rtol=0, atol=0)
        torch.testing.assert_close(whole[:, 3:4], last[:, :1], rtol=0, atol=0)
        torch.testing.assert_close(whole[:, 4:], last[:, 1:], rtol=0, atol=0)


def test_one_point_is_a_scene():
    voxels = Voxelizer(0.05)(torch.zeros(1, 3), torch.ones(1, 3))
    assert voxels.tensor.coords.tolist() == [[0, 0, 0, 0]]


def test_methods_of_voxels():
    assert FGM().relations() == VoxelFGM().relations()
    assert LGM(Sigmoid(7.0)).relations() == VoxelLGM(Sigmoid(7.0)).relations()
    assert VoxelLGM(input=RBF()).relations().input == RBF()
    # |0.5 - d| of a coordinate that is uniform in its voxel is a quarter of an edge in the mean
    assert LGM(RelativeSigmoid(5.0)).relations() == LGM(Sigmoid(20.0)).relations()
    assert [each.relations().occupancy for each in LGM().candidates()] == [
        Sigmoid(20.0),
        Sigmoid(0.1),
    ]
    assert VoxelFGM() == VoxelFGM(Sigmoid(20.0))
    assert VoxelLGM() == VoxelLGM(Sigmoid(10.0))
    with pytest.raises(ValueError, match="stands for several surrogates"):
        LGM().relations()
    for hard in (lambda: VoxelLGM(forward="hard"), LGM(Sigmoid(1.0), "hard").relations):
        with pytest.raises(ValueError, match="no forward"):
            hard()
    with pytest.raises(TypeError, match="Lookahead says nothing of voxels"):
        Lookahead().relations()
    voxelizer = Voxelizer(0.05)
    with (
        gradient_method(voxelizer, VoxelLGM()),
        pytest.raises(ValueError, match="depends on the attacker"),
    ):
        voxelizer(torch.zeros(1, 3), torch.ones(1, 3))
    assert voxelizer.reach is None
    assert voxelizer.method == FGM()


def test_a_network_computes_at_least_at_stride_1():
    with pytest.raises(ValueError, match="levels must count at least stride 1, got 0"):
        Voxelizer(0.05, levels=0)
