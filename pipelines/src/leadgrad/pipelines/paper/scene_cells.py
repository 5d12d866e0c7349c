"""One number of a table of scenes: a victim under a method at a budget."""

from __future__ import annotations

from dataclasses import dataclass

from leadgrad import victims
from leadgrad.attacks import Attack, PointIFGSM, PointLinf, PointNoise
from leadgrad.pipelines.api.cells import Cell
from leadgrad.pipelines.paper.scene_layout import (
    BILINEAR,
    CORNERS,
    DEFAULT,
    FGM,
    GAUSSIAN,
    LGM,
    RANDOM,
    SURFACE,
    Row,
    Setting,
)
from leadgrad.pipelines.runs.zoo import Card
from leadgrad.victims import (
    RBF,
    BilinearInterpolation,
    GradientMethod,
    Sigmoid,
    VoxelFGM,
    VoxelLGM,
)
from leadgrad.victims.occupancy.partition import partition_of
from leadgrad.victims.occupancy.voxelize import Voxelizer

NOISE = {RANDOM: "uniform", CORNERS: "corners", SURFACE: "surface"}
RELATIONS = {BILINEAR: BilinearInterpolation(), GAUSSIAN: RBF()}


def unit_m(card: Card, unit: str) -> float:
    """A table's unit of length in metres: "m", or "voxels" for a victim's voxel edge.

    Raises:
        ValueError: If the victim's cells are no cubes, but the lengths are in their edges.
    """
    if unit == "m":
        return 1.0
    partition = partition_of(card.load())
    if not isinstance(partition, Voxelizer):
        raise ValueError(
            f"{card.name} computes in the cells of a {type(partition).__name__}, but this table's "
            "lengths are in voxel edges; give --victim a network with a Voxelizer"
        )
    return partition.voxel_m


@dataclass(frozen=True)
class SceneCell:
    """A victim under a method at a budget.

    Args:
        card: The victim.
        unit: Of lengths, as of ``SceneTable``.
        unit_m: In metres.
        row: Budget and settings.
        method: Column.
        steps: Evaluations in place of the setting's; None keeps that.
    """

    card: Card
    unit: str
    unit_m: float
    row: Row
    method: str
    steps: int | None = None

    def key(self) -> str:
        """For the cell's directory."""
        name = self.method.replace(", ", "-").replace(" ", "-").replace("'", "")
        name = name.replace("()", "-default")
        steps = "" if self.steps is None else f"-{self.steps}steps"
        return f"{self.card.name}/eps-{self.row.eps:g}-{self.unit}/{name}{steps}"

    @property
    def eps_m(self) -> float:
        """Budget in metres."""
        return float(f"{self.row.eps * self.unit_m:.9g}")

    def job(self) -> Cell:
        """Its attack."""
        return Cell(self.key(), self.card, self.attack(), self.gradient())

    def attack(self) -> Attack:
        """What is done to the scenes."""
        threat = PointLinf(self.eps_m)
        if self.method in NOISE:
            # As many tries as FGM has iterates, of which the victim does worst on one
            tries = self.row.fgm.steps if self.steps is None else self.steps
            return PointNoise(threat, distribution=NOISE[self.method], tries=tries)  # type: ignore[arg-type]  # one of its names
        step_m = float(f"{self._setting.step * self.unit_m:.9g}")
        steps = self._setting.steps if self.steps is None else self.steps
        return PointIFGSM(threat, steps=steps, step_size_m=step_m)

    def gradient(self) -> GradientMethod:
        """What its gradient sees of the voxels."""
        if self.method in NOISE:
            return VoxelFGM()
        if self.method in RELATIONS:
            return VoxelLGM(RELATIONS[self.method])
        if self.method == DEFAULT:
            return victims.LGM()
        setting = self._setting
        if setting.input is None or setting.output is None:
            return victims.FGM()
        entering, leaving = Sigmoid(setting.input), Sigmoid(setting.output)
        if self.method != LGM:
            return VoxelFGM(input=entering, output=leaving)
        assert setting.occupancy is not None, "LGM's settings have one"
        return VoxelLGM(Sigmoid(setting.occupancy), input=entering, output=leaving)

    @property
    def _setting(self) -> Setting:
        """FGM's own, or LGM's, which the others have too."""
        return self.row.fgm if self.method == FGM else self.row.lgm
