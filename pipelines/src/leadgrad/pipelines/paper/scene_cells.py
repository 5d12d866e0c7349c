"""One number of a scene table: an ordinary ``leadgrad attack`` run, resumable and verifiable."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from leadgrad.attacks import Attack, PointIFGSM, PointLinf, PointNoise
from leadgrad.pipelines.api.attacking import attack
from leadgrad.pipelines.api.nodes import Node
from leadgrad.pipelines.checks import Level
from leadgrad.pipelines.paper.scene_layout import (
    BILINEAR,
    CORNERS,
    FGM,
    GAUSSIAN,
    LGM,
    RANDOM,
    SURFACE,
    Row,
    Setting,
)
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.pipelines.runs.zoo import Card
from leadgrad.pipelines.tasks.scenes.records import SceneRun
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


def voxel_edge_m(card: Card) -> float:
    """Voxel edge of a victim in metres, the unit of these tables' lengths.

    Raises:
        ValueError: If its cells are no cubes.
    """
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
        voxel_m: Its voxel edge, in metres.
        row: Budget and settings.
        method: Column.
        steps: Evaluations in place of the setting's; None keeps that.
    """

    card: Card
    voxel_m: float
    row: Row
    method: str
    steps: int | None = None

    def key(self) -> str:
        """For the cell's directory."""
        name = self.method.replace(", ", "-").replace(" ", "-").replace("'", "")
        steps = "" if self.steps is None else f"-{self.steps}steps"
        return f"{self.card.name}/eps-{self.row.eps_voxels:g}-voxels/{name}{steps}"

    def attack(self) -> Attack:
        """What is done to the scenes."""
        threat = PointLinf(float(f"{self.row.eps_voxels * self.voxel_m:.9g}"))
        if self.method in NOISE:
            # As many tries as FGM has iterates, of which the victim does worst on one
            tries = self.row.fgm.steps if self.steps is None else self.steps
            return PointNoise(threat, distribution=NOISE[self.method], tries=tries)  # type: ignore[arg-type]  # one of its names
        step_m = float(f"{self._setting.step_voxels * self.voxel_m:.9g}")
        steps = self._setting.steps if self.steps is None else self.steps
        return PointIFGSM(threat, steps=steps, step_size_m=step_m)

    def gradient(self) -> GradientMethod:
        """What its gradient sees of the voxels."""
        if self.method in NOISE:
            return VoxelFGM()
        if self.method in RELATIONS:
            return VoxelLGM(RELATIONS[self.method])
        setting = self._setting
        entering, leaving = Sigmoid(setting.input), Sigmoid(setting.output)
        if self.method != LGM:
            return VoxelFGM(input=entering, output=leaving)
        assert setting.occupancy is not None, "LGM's settings have one"
        return VoxelLGM(Sigmoid(setting.occupancy), input=entering, output=leaving)

    @property
    def _setting(self) -> Setting:
        """FGM's own, or LGM's, which the others have too."""
        return self.row.fgm if self.method == FGM else self.row.lgm

    def directory(self, folder: Path) -> SceneRun:
        """The cell's run directory, below the table's."""
        return RunDirectory(folder / "cells" / self.key())

    def finished(self, folder: Path) -> bool:
        """Whether its results are there."""
        return (self.directory(folder).path / "results.json").exists()

    def run(self, folder: Path, data: Node, accelerator: str, checks: Level = "fast") -> None:
        """Runs the attack, or what is left of it.

        Args:
            folder: Of the table.
            data: Class and arguments of the scenes.
            accelerator: Lightning's.
            checks: Level of the run's sanity checks.
        """
        attack(
            self.card,
            data,
            self.attack(),
            self.gradient(),
            run_dir=self.directory(folder).path,
            checks=checks,
            trainer={"accelerator": accelerator, "enable_progress_bar": False},
        )
