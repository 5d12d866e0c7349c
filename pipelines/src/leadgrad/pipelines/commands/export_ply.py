"""``leadgrad export-ply``: attacked scenes as PLY files, which any viewer of point clouds opens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from leadgrad.data.features import COLOURS, colour_columns
from leadgrad.data.ply import write_vertices
from leadgrad.pipelines.attack.task import task_of_run
from leadgrad.pipelines.commands.arguments import export_ply_parser
from leadgrad.pipelines.runs.directory import RunDirectory, RunError
from leadgrad.pipelines.tasks.scenes.pictures import colour_bytes
from leadgrad.pipelines.tasks.scenes.records import SceneBatch, SceneRecord, SceneRun, scenes_of


def vertices(record: SceneRecord, feature_names: Sequence[str]) -> NDArray[np.void]:
    """The points of one scene: where the attack moved them, features, classes, where they were.

    Args:
        record: The scene.
        feature_names: Name of each column of its features.

    Returns:
        Coordinates in metres and features with the bits of the record, but colours as bytes, which
        viewers expect. Shape: (P,).

    Raises:
        RunError: If a feature has the name of something else.
    """
    features = record.features
    colours = [feature_names[column] for column in colour_columns(feature_names)]
    shown = {
        name: colour_bytes(features[:, column]) if name in colours else features[:, column].numpy()
        for column, name in enumerate(feature_names)
    }
    fields = [
        *((name, "<f4") for name in ("x", "y", "z")),
        *((name, values.dtype.str) for name, values in shown.items()),
        *((name, "u1") for name in ("label", "clean_answer", "adv_answer")),
        *((name, "<f4") for name in ("clean_x", "clean_y", "clean_z", "displacement_m")),
    ]
    names = [name for name, _ in fields]
    if twice := [name for name in feature_names if names.count(name) > 1]:
        raise RunError(
            f"the feature {twice[0]} cannot be exported, a PLY file has another {twice[0]} of each "
            "point; rename it in feature_names"
        )
    rows = np.empty(len(record.label), np.dtype(fields))
    for name, values in shown.items():
        rows[name] = values
    for column, axis in enumerate("xyz"):
        rows[axis] = record.adv_inputs[:, column].numpy()
        rows[f"clean_{axis}"] = record.clean_inputs[:, column].numpy()
    rows["label"] = record.label.numpy()
    rows["clean_answer"] = record.clean_answers.numpy()
    rows["adv_answer"] = record.adv_answers.numpy()
    rows["displacement_m"] = (record.adv_inputs - record.clean_inputs).norm(dim=1).numpy()
    return rows


def export(run: SceneRun, folder: Path) -> list[Path]:
    """Writes one file per scene, each complete or not there.

    Args:
        run: Of a finished attack.
        folder: Where to; made if need be. A slash in a scene's name becomes an underscore.

    Returns:
        The files, in the order of the scenes.

    Raises:
        RunError: If the run has not finished, or is damaged.
    """
    paths, results = [], run.results()
    run.require_whole()
    feature_names = results.get("feature_names", COLOURS)  # older runs had no others
    for name, record in zip(results["names"], scenes_of(run), strict=True):
        paths.append(folder / f"{name.replace('/', '_')}.ply")
        rows = vertices(record, feature_names)
        write_vertices(paths[-1], rows, ["adversarial scene, leadgrad", f"scene {name}"])
    return paths


def main(args: Sequence[str]) -> int:
    """Writes a run's scenes and says where they are."""
    options = export_ply_parser().parse_args(list(args))
    run: SceneRun = RunDirectory(options.run_dir)
    task = task_of_run(run)
    if not issubclass(task.record, SceneBatch):
        raise RunError(f"{run.path} holds an attack on {task.inputs}; only scenes have PLY files")
    paths = export(run, Path(options.out or run.path / "ply"))
    Console().print(f"{len(paths)} scenes in {paths[0].parent}", soft_wrap=True)
    return 0
