"""Points to voxels and back: exact, as the victim computes, and relaxed, as a gradient needs it.

Exact: a voxel is there if a point is in it, has the features of its first point, and gives its
logits to all its points. Relaxed: a voxel's features are the mean of its points' weighted by their
relation to it, times the relaxed OR of these weights; logits come back as a weighted sum; and under
LGM all voxels within reach are candidates, each with an occupancy that the network multiplies by.
See docs/reference/scenes.md, "Voxels", "Candidates", "Relaxed input" and "Relaxed output".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from leadgrad.victims.occupancy.partition import Cells, Partition
from leadgrad.victims.occupancy.places import Places
from leadgrad.victims.occupancy.reach import candidate_pairs
from leadgrad.victims.occupancy.relations import relation
from leadgrad.victims.occupancy.soft_or import segment_or
from leadgrad.victims.occupancy.voxel_grid import in_voxels, voxel_index
from leadgrad.victims.sparse import SparseTensor, unique_coordinates
from leadgrad.victims.sparse.coordinates import COORDINATE_LIMIT

LEAST_WEIGHT = 1e-10
"""Below it a voxel's weights count as none (docs/reference/scenes.md, "Relaxed input")."""


@dataclass(frozen=True)
class Voxels(Cells):
    """A scene's voxels, and the way back to its points. N points, M voxels, C classes.

    Args:
        tensor: What the network gets.
        readout: Rows of the network's logits (M', C) to the points' (N, C).
        own: Row of the voxel that each point is in. Shape: (N,), int64.
    """

    tensor: SparseTensor
    readout: Callable[[Tensor], Tensor]
    own: Tensor

    @property
    def coords(self) -> Tensor:
        """Scene, x, y, z of each voxel. Shape: (M', 4), int64."""
        return self.tensor.coords


class Voxelizer(Partition):
    """Turns points into voxels, under the present gradient method and reach.

    Without a reach nobody moves the points: voxels are exact, whatever FGM. Has no parameters.
    Observers get the voxels that hold a point, under every method, as ``Places``.

    Args:
        voxel_m: Voxel edge v in metres.
        features: Number of feature columns of a point, such as 3 of RGB.
        levels: Strides 1, 2, 4, ... that the network behind it computes at. The architecture's
            change is counted at each.
        coordinate_features: Whether features hold the voxel's coordinates besides the points', as
            S3DIS's do: x and y less the mean of the scene's points, and z, in voxel edges.
        floor_slope: Slope of the smooth floor of the relaxed coordinate features.
        floor_as_released: Use the released program's smooth floor, which is saturated and acts as
            rounding (D38 in docs/reference/differences.md), instead of one with a gradient.
    """

    def __init__(
        self,
        voxel_m: float,
        *,
        features: int = 3,
        levels: int = 1,
        coordinate_features: bool = False,
        floor_slope: float = 20.0,
        floor_as_released: bool = False,
    ) -> None:
        super().__init__()
        if not 0 < voxel_m < 100:
            raise ValueError(f"voxel_m must be a voxel's edge in metres, got {voxel_m}")
        if features < 1:
            raise ValueError(f"features must count at least one column, got {features}")
        if levels < 1:
            raise ValueError(f"levels must count at least stride 1, got {levels}")
        self.voxel_m = voxel_m
        self.features = features
        self.levels = levels
        self.coordinate_features = coordinate_features
        self.floor_slope = floor_slope
        self.floor_as_released = floor_as_released

    @property
    def channels(self) -> int:
        """Features per voxel."""
        return self.features + 3 * self.coordinate_features

    def forward(self, coords: Tensor, features: Tensor, scene: Tensor | None = None) -> Voxels:
        """Voxels of one or several scenes.

        Args:
            coords: Positions in metres. Shape: (N, 3).
            features: Of each point. All columns are shifted by 0.5, which centres colours in
                [0, 1]. Shape: (N, F).
            scene: Which scene of the batch each point is in, from 0. Shape: (N,); all 0 if None.

        Raises:
            ValueError: If there is no point, shapes disagree, a feature is not finite, or a
                position is not finite or too far away to be numbered.
        """
        check_points(coords, features, scene, self.features)
        self._check_distance(coords)
        scenes = torch.zeros_like(coords[:, 0], dtype=torch.int64) if scene is None else scene
        if self.observers:
            places = Places.of(self.occupied(coords, scenes), self.levels, int(scenes.max()) + 1)
            for observe in self.observers:
                observe(places)
        if self.reach is None:
            if self.method.leads:
                raise ValueError(
                    f"{type(self.method).__name__} leads voxels that points may step into, which "
                    "depends on the attacker; give gradient_method(network, method, reach)"
                )
            return self._exact(coords, features, scenes)
        return self._relaxed(coords, features, scenes)

    def index(self, coords: Tensor) -> Tensor:
        """The voxel that each position is in (``voxel_grid``). Shape: (N, 3), int64."""
        return voxel_index(coords, self.voxel_m)

    def occupied(self, coords: Tensor, scene: Tensor | None = None) -> Tensor:
        """The voxels that hold a point: batch, x, y, z, sorted. Shape: (M, 4), int64."""
        scenes = torch.zeros_like(coords[:, 0], dtype=torch.int64) if scene is None else scene
        return unique_coordinates(torch.cat([scenes[:, None], self.index(coords)], 1))[0]

    def _exact(self, coords: Tensor, features: Tensor, scene: Tensor) -> Voxels:
        index = self.index(coords)
        voxels, inverse, first = unique_coordinates(torch.cat([scene[:, None], index], 1))
        feats = features - 0.5
        if self.coordinate_features:
            feats = torch.cat([feats, _centred(index.double(), scene).to(features.dtype)], 1)
        tensor = SparseTensor(voxels, feats[first])
        return Voxels(tensor, lambda logits: logits[inverse], inverse)

    def _relaxed(self, coords: Tensor, features: Tensor, scene: Tensor) -> Voxels:
        assert self.reach is not None, "forward asked"
        soft = self.method.relations()
        if soft.occupancy is None:
            point, index = torch.arange(len(coords), device=coords.device), self.index(coords)
        else:
            point, index = candidate_pairs(coords, self.voxel_m, self.reach, any_axis=soft.any_axis)
        voxels, voxel, _ = unique_coordinates(torch.cat([scene[point, None], index], 1))
        position = in_voxels(coords, self.voxel_m)
        # In float64 up to the difference, so that a point is inside of its own voxel
        margins = (0.5 - (index.double() + 0.5 - position[point]).abs()).to(coords.dtype)
        weights = {one: relation(one, margins) for one in {soft.input, soft.output}}
        entering = weights[soft.input]
        feats = features - 0.5
        if self.coordinate_features:
            feats = torch.cat([feats, _centred(position, scene).to(features.dtype)], 1)
        total = _gathered(entering[:, None], voxel, len(voxels))
        mean = _gathered(entering[:, None] * feats[point], voxel, len(voxels)) / torch.where(
            total < LEAST_WEIGHT, torch.ones_like(total), total
        )
        if self.coordinate_features:
            floors = self._smooth_floor(mean[:, self.features :])
            mean = torch.cat([mean[:, : self.features], floors], 1)
        inside = segment_or(entering, voxel, len(voxels))[:, None]
        occupancy = None
        if soft.occupancy == soft.input:
            occupancy = inside
        elif soft.occupancy is not None:
            led = relation(soft.occupancy, margins)
            occupancy = segment_or(led, voxel, len(voxels))[:, None]
        leaving = weights[soft.output][:, None]

        def readout(logits: Tensor) -> Tensor:
            # Not divided by the weights' sum, as in the released program
            # (docs/reference/scenes.md, "Relaxed output")
            return _gathered(leaving * logits[voxel], point, len(coords))

        tensor = SparseTensor(voxels, inside * mean, 1, occupancy)
        return Voxels(tensor, readout, voxel[: len(coords)])

    def _check_distance(self, coords: Tensor) -> None:
        limit_m = COORDINATE_LIMIT * self.voxel_m
        bad = (coords.detach().abs() >= limit_m).any(1)
        if bool(bad.any()):
            first = int(bad.nonzero()[0])
            raise ValueError(
                f"{int(bad.sum())} of {len(coords)} points are farther than {limit_m:g} m, the "
                f"first is point {first} at {coords[first].tolist()}; repair the scene"
            )

    def _smooth_floor(self, value: Tensor) -> Tensor:
        base = (value.detach() - 0.5).floor()
        past = value - base if self.floor_as_released else value - base - 1
        return base + torch.sigmoid(self.floor_slope * past)


def check_points(coords: Tensor, features: Tensor, scene: Tensor | None, columns: int) -> None:
    """Checks what a partition of space is given.

    Args:
        coords: Shape: (N, 3).
        features: Shape: (N, F).
        scene: Shape: (N,), or None.
        columns: F that the network takes.

    Raises:
        ValueError: If there is no point, a shape is another, or a value is not finite.
    """
    count = len(coords)
    if count == 0:
        raise ValueError("the scene has no point; leave empty scenes out")
    if coords.shape != (count, 3):
        raise ValueError(f"coords must be (N, 3), got {tuple(coords.shape)}")
    if features.ndim != 2 or len(features) != count:
        raise ValueError(f"features must be ({count}, F), got {tuple(features.shape)}")
    if features.shape[1] != columns:
        raise ValueError(
            f"the network takes {columns} feature columns, the scene has {features.shape[1]}; give "
            f"the network features={features.shape[1]}, or other data"
        )
    if scene is not None and scene.shape != (count,):
        raise ValueError(f"scene must be ({count},), got {tuple(scene.shape)}")
    if not bool(features.isfinite().all()):
        first = int((~features.isfinite().all(1)).nonzero()[0])
        raise ValueError(
            f"features must be finite, those of point {first} are {features[first].tolist()}; "
            "repair the scene"
        )
    bad = ~coords.isfinite().all(1)
    if bool(bad.any()):
        first = int(bad.nonzero()[0])
        raise ValueError(
            f"{int(bad.sum())} of {count} points are not finite, the first is point {first} at "
            f"{coords[first].tolist()}; repair the scene"
        )


def _centred(position: Tensor, scene: Tensor) -> Tensor:
    """Positions (N, 3), float64, with x and y less their mean over each scene's points.

    In float32 the mean of a million points is off by hundredths of a voxel.
    """
    count = int(scene.max()) + 1
    ones = _gathered(torch.ones_like(position[:, :1]), scene, count)
    mean = _gathered(position[:, :2], scene, count) / ones.clamp_min(1)
    return torch.cat([position[:, :2] - mean[scene], position[:, 2:]], 1)


def _gathered(values: Tensor, target: Tensor, rows: int) -> Tensor:
    """Sum of the values (P, C) that go to each of ``rows``. Shape: (rows, C)."""
    return values.new_zeros(rows, values.shape[1]).index_add(0, target, values)
