"""What ``leadgrad attack`` does otherwise for scenes than for images."""

from __future__ import annotations

import json
import os
from typing import Any

import torch

from leadgrad.data import ImageDataModule
from leadgrad.data.scene_loaders import SceneReader
from leadgrad.data.scenes import SceneDataModule
from leadgrad.pipelines.attack_module import AttackModule
from leadgrad.pipelines.rundir import AttackDirectory, RunDirectory, RunError
from leadgrad.pipelines.scene_attack import voxelizer_of
from leadgrad.pipelines.scene_records import SceneDirectory
from leadgrad.pipelines.scene_report import write_scene_report
from leadgrad.pipelines.scene_results import scene_summary
from leadgrad.pipelines.trial import try_copy

TRIED = 1000
"""Points, side by side as they come in the file."""

AttackedData = ImageDataModule | SceneDataModule


def attack_directory(path: str | os.PathLike[str], data: Any) -> AttackDirectory[Any]:
    """The run directory for this kind of data.

    Raises:
        RunError: If the data is neither images nor scenes, or scenes come several in a batch.
    """
    if isinstance(data, ImageDataModule):
        return RunDirectory(path)
    if not isinstance(data, SceneDataModule):
        raise RunError(
            f"attacks need an ImageDataModule or a SceneDataModule, got {type(data).__name__}"
        )
    if data.batch_size != 1:
        raise RunError(
            f"scenes are attacked one by one, got --data.batch_size={data.batch_size}; give 1"
        )
    return SceneDirectory(path)


def try_scenes(module: AttackModule, data: SceneDataModule) -> int:
    """Asks for the victim's answers to some points of the first scene.

    Returns:
        Number of logits that the victim gives a point.

    Raises:
        ValueError: If it is no voxel network, or the copy of it that is attacked is not the same.
    """
    voxelizer_of(module.victim)
    scene = SceneReader(data.split(data.attack_split))[0]
    coords, color = scene["coords"][:TRIED].float(), scene["color"][:TRIED]
    try_copy(module.network, module.victim, lambda victim: victim(coords.clone(), color.clone()))
    with torch.no_grad():
        return int(module.victim(coords, color).shape[1])


def refuse_image_settings(module: AttackModule, checks: str, asked: dict[str, Any]) -> None:
    """Refuses what only attacks on images do, before anything is attacked without it.

    Args:
        module: The attack.
        checks: Level of the sanity checks.
        asked: Values of the checks' other options, by name; None where not given.

    Raises:
        RunError: If something is asked for that would be left out.
    """
    if module.surrogate_precision != "float32":
        raise RunError(
            f"scenes are attacked in float32, got surrogate_precision={module.surrogate_precision}"
        )
    given = [f"--{name}" for name, value in asked.items() if value is not None]
    given += ["--checks=full"] if checks == "full" else []
    if given:
        raise RunError(f"the sanity checks are for images, got {given[0]}; leave it out for scenes")


def finish_scenes(
    run: SceneDirectory, module: AttackModule, data: SceneDataModule, config: dict[str, Any]
) -> None:
    """Computes results.json and report.html of a run whose scenes have all been attacked.

    Raises:
        RunError: If scenes are missing.
    """
    count = data.num_attack_batches()
    run.require(count, "scenes")
    names = [data.scene_name(index) for index in range(count)]
    results = scene_summary(run, voxelizer_of(module.victim).voxel_m, config, names)
    results = json.loads(json.dumps(results))
    write_scene_report(run, results, [list(colour) for colour in data.palette])
    # Last: a run whose results are there has its report too
    run.write("results.json", json.dumps(results, indent=2).encode())
    run.sweep()
