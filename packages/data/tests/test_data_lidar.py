from dataclasses import replace
from math import inf, pi

import numpy as np
import pytest

from leadgrad.data.draws import Draws
from leadgrad.data.lidar import HEIGHT_M, Footing, Scanner
from leadgrad.data.lidar_solids import Solid, cross, facing, window

EXACT = Scanner(columns=720, range_noise_m=0.0, roof_m=None, lossless=True)
BALL = Solid("ellipsoid", (8.0, 3.0, -0.5), (1.5, 0.8, 1.1), 3, 0.5, yaw_rad=0.7)
CRATE = Solid("box", (6.0, -4.0, -1.0), (1.0, 2.0, 0.7), 4, 0.5, yaw_rad=-0.4)
MAST = Solid("cylinder", (-5.0, 1.0, 0.3), (0.4, 0.4, 2.0), 5, 0.5)
SOLIDS = [BALL, CRATE, MAST]


class Plane:
    """A level road."""

    def height(self, x, y):
        return np.full(np.shape(x), -HEIGHT_M)

    def footing(self, x, y):
        ones = np.ones(len(x))
        return Footing(np.full(len(x), 9, dtype=np.uint8), 0.4 * ones, 0.01 * ones)


class Steps(Plane):
    """A road with a step of 0.2 m at x = 7, and beyond it a slope."""

    def height(self, x, y):
        return -HEIGHT_M + np.where(x > 7, 0.2 + 0.05 * (x - 7), 0.0)


def scan(solids, ground=None, scanner=EXACT, seed=0):
    return scanner.scan(solids, ground, Draws("test", seed))


def own_frame(solid, points):
    cos, sin = np.cos(solid.yaw_rad), np.sin(solid.yaw_rad)
    x, y, z = (points - np.array(solid.centre)).T
    return np.stack([cos * x + sin * y, cos * y - sin * x, z], axis=1) / np.array(solid.half)


def test_the_sensors_angles():
    elevation = np.rad2deg(Scanner().elevations_rad)
    assert len(elevation) == 64
    assert (np.diff(elevation) > 0).all()
    assert elevation[[0, -1]] == pytest.approx([-24.8, 2.0])
    assert np.diff(elevation)[:31] == pytest.approx(0.515, abs=0.001)
    assert np.diff(elevation)[32:] == pytest.approx(1 / 3)
    assert len(Scanner(columns=900).azimuths_rad) == 900


def test_points_lie_on_the_sensors_beams():
    scene = scan(SOLIDS, Plane(), replace(EXACT, range_noise_m=0.02))
    x, y, z = scene.coords.astype(np.float64).T
    elevation = np.arctan2(z, np.hypot(x, y))
    nearest = np.abs(elevation[:, None] - EXACT.elevations_rad).min(axis=1)
    assert nearest.max() < 1e-5
    column = np.arctan2(y, x) / (2 * pi / 720)
    assert np.abs(column - np.rint(column)).max() < 1e-3
    # The highest row first, each by ascending azimuth.
    row = np.abs(elevation[:, None] - EXACT.elevations_rad).argmin(axis=1)
    place = -row * 720 + np.rint(column).astype(int) % 720
    assert (np.diff(place) > 0).all()


def test_without_noise_points_lie_on_surfaces():
    scene = scan(SOLIDS, Plane())
    coords = scene.coords.astype(np.float64)
    assert set(np.unique(scene.label)) == {3, 4, 5, 9}
    ball = own_frame(BALL, coords[scene.label == 3])
    assert np.linalg.norm(ball, axis=1) == pytest.approx(1, abs=1e-5)
    crate = np.abs(own_frame(CRATE, coords[scene.label == 4]))
    assert crate.max(axis=1) == pytest.approx(1, abs=1e-5)
    mast = own_frame(MAST, coords[scene.label == 5])
    assert np.hypot(mast[:, 0], mast[:, 1]) == pytest.approx(1, abs=1e-5)
    assert np.abs(mast[:, 2]).max() < 1
    assert coords[scene.label == 9, 2] == pytest.approx(-HEIGHT_M, abs=2e-4)


def test_a_ground_with_a_step_is_met_where_it_is():
    coords = scan([], Steps()).coords.astype(np.float64)
    upright = np.abs(coords[:, 0] - 7) < 1e-3
    assert upright.sum() > 20
    assert (coords[upright, 2] < -HEIGHT_M + 0.2 + 1e-3).all()
    level = coords[~upright]
    assert level[:, 2] == pytest.approx(Steps().height(level[:, 0], level[:, 1]), abs=1e-3)


@pytest.mark.parametrize("solid", [*SOLIDS, replace(CRATE, centre=(-3.0, 0.2, -1.0))])
def test_no_beam_is_left_out(solid):
    """The window of a solid holds every beam that meets it; on the seam at 0 and 2 pi too."""
    tangents, azimuths = np.tan(EXACT.elevations_rad), EXACT.azimuths_rad
    for turned in np.linspace(0, 2 * pi, 12, endpoint=False):
        cos, sin = np.cos(turned), np.sin(turned)
        x, y, z = solid.centre
        moved = replace(solid, centre=(cos * x - sin * y, sin * x + cos * y, z))
        into, out = cross(moved, azimuths, tangents)
        met = (into < out) & (out > 0)
        part = window(moved, tangents, 720)
        inside = np.zeros(met.shape, dtype=bool)
        for columns in part.columns:
            inside[part.rows, columns] = True
        assert met.any()
        assert not (met & ~inside).any()
        assert inside.sum() < met.size


def test_the_first_thing_hides_those_behind_it():
    wall = Solid("box", (10.0, 0.0, 0.0), (0.1, 6.0, 4.0), 1, 0.5)
    behind = Solid("cylinder", (14.0, 0.0, 0.0), (0.5, 0.5, 4.0), 2, 0.5)
    before = Solid("ellipsoid", (5.0, 0.0, 0.0), (0.5, 0.5, 0.5), 3, 0.5)
    for solids in ([wall, behind, before], [before, behind, wall]):
        scene = scan(solids, Plane())
        assert set(np.unique(scene.label)) == {1, 3, 9}
        coords = scene.coords
        # No ground in the shadow of the wall.
        shadow = (coords[:, 0] > 10.2) & (np.abs(coords[:, 1]) < 0.6 * coords[:, 0] - 0.1)
        assert not shadow.any()
        # Nothing of the wall where the ball covers it.
        on_wall = coords[scene.label == 1].astype(np.float64)
        sight = on_wall / np.linalg.norm(on_wall, axis=1, keepdims=True) @ (1.0, 0.0, 0.0)
        assert sight.max() < np.cos(np.arcsin(0.5 / 5)) + 1e-4


def test_leaves_let_a_share_of_the_beams_pass():
    hedge = Solid("box", (8.0, 0.0, 0.0), (0.5, 6.0, 3.0), 15, 0.4, density=1.5)
    wall = Solid("box", (12.0, 0.0, 0.0), (0.1, 9.0, 4.0), 13, 0.4)
    scene = scan([hedge, wall], None, Scanner(range_noise_m=0, roof_m=None, lossless=True))
    slopes = np.abs(scene.coords[:, 1:] / scene.coords[:, :1])
    straight = (slopes < 0.2).all(axis=1)
    leaf = scene.label == 15
    assert leaf[straight].mean() == pytest.approx(1 - np.exp(-1.5 * 1.01), abs=0.01)
    depth = scene.coords[leaf & straight, 0] - 7.5
    assert 0 < depth.min() < 0.01
    assert depth.max() < 1
    # That of a cut-off exponential, 1 / 1.5 - 1 / (e^1.5 - 1)
    assert depth.mean() == pytest.approx(0.379, abs=0.02)


def test_ranges_noise_and_losses():
    wall = [
        Solid("box", (0.0, 40.0, 0.0), (200.0, 1.0, 30.0), 13, 0.5),
        Solid("box", (90.0, 0.0, 0.0), (1.0, 200.0, 30.0), 13, 0.5),
    ]
    scanner = Scanner(columns=720)
    far = scan(wall, None, replace(EXACT, max_range_m=80))
    reach = np.linalg.norm(far.coords, axis=1)
    assert reach.max() <= 80
    assert reach.min() == pytest.approx(39, abs=0.05)
    lossy = scan(wall, None, scanner)
    assert 0.6 < len(lossy) / len(far) < 0.97
    noise = np.linalg.norm(scan(wall[:1], None, replace(EXACT, range_noise_m=0.02)).coords, axis=1)
    exact = np.linalg.norm(scan(wall[:1], None, EXACT).coords, axis=1)
    assert (noise - exact).std() == pytest.approx(0.02, rel=0.05)
    glass = scan([replace(wall[0], loss=0.5)], None, scanner)
    assert len(glass) / len(scan(wall[:1], None, scanner)) == pytest.approx(0.5, abs=0.02)


def test_remission_falls_with_material_distance_and_angle():
    def mean(solid):
        return scan([solid], None, Scanner()).features.mean()

    near = Solid("box", (10.0, 0.0, 0.0), (0.1, 1.5, 2.0), 1, 0.5)
    assert mean(near) > mean(replace(near, centre=(40.0, 0.0, 0.0))) > 0.05
    assert mean(near) > mean(replace(near, yaw_rad=1.2)) > 0.05
    assert mean(near) == pytest.approx(2 * mean(replace(near, remission=0.25)), rel=0.05)
    features = scan([near], None, Scanner()).features
    assert features.dtype == np.float32
    assert 0 <= features.min() <= features.max() <= 0.99
    assert np.abs(100 * features - np.rint(100 * features)).max() < 1e-4


def test_facing_of_each_shape():
    square = np.array([0, 0, 1, 2])
    centre = np.array([[5.0, 0, 0], [5, 0, 0], [5, 0, 0], [5, 0, 0]])
    half, yaw = np.ones((4, 3)), np.array([0, pi / 4, 0, 0])
    corner = 5 - 2**0.5 / 2
    points = np.array([[4.0, 0, 0], [corner, 2**0.5 / 2, 0], [4, 0, 0], [4, 0, 0]])
    beam = np.array([corner, 2**0.5 / 2]) / np.hypot(corner, 2**0.5 / 2)
    expected = [1, abs(beam @ (-(0.5**0.5), 0.5**0.5)), 1, 1]
    assert facing(square, centre, half, yaw, points) == pytest.approx(expected)


def test_the_scanners_own_roof_hides_what_is_near():
    whole, hidden = (
        scan([], Plane(), replace(EXACT, roof_m=roof)) for roof in (None, (1, 2, 1, 0.5))
    )
    assert 0.5 * len(whole) < len(hidden) < len(whole)
    front = hidden.coords[np.abs(hidden.coords[:, 1]) < 0.1]
    assert front[front[:, 0] > 0, 0].min() > HEIGHT_M / 0.5 - 0.1
    assert front[front[:, 0] < 0, 0].max() < -2 * HEIGHT_M / 0.5 + 0.1


def test_the_same_draws_give_the_same_scan():
    scanner = Scanner(columns=300)
    first, again, other = (scan(SOLIDS, Plane(), scanner, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.coords, again.coords)
    assert np.array_equal(first.features, again.features)
    assert first.coords.shape != other.coords.shape or (first.coords != other.coords).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"columns": 3}, "columns must be at least 4, got 3"),
        ({"max_range_m": 0}, "max_range_m must be above 0 .* got 0 and 0.02"),
        ({"range_noise_m": -1}, "got 80.0 and -1"),
        ({"range_noise_m": float("nan")}, "nan"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Scanner(**arguments)


def test_nothing_at_all_gives_no_point():
    assert len(scan([], None)) == 0
    assert inf > Scanner().max_range_m
