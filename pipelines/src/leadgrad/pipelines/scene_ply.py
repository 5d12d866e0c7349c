"""``leadgrad export-ply``: attacked scenes as PLY files, which any viewer of point clouds opens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from leadgrad.data.ply import write_vertices
from leadgrad.pipelines.arguments import export_ply_parser
from leadgrad.pipelines.rundir import RunError
from leadgrad.pipelines.scene_records import SceneDirectory, SceneRecord
from leadgrad.pipelines.verify import opened

VERTEX = np.dtype(
    [(name, "<f4") for name in ("x", "y", "z")]
    + [(name, "u1") for name in ("red", "green", "blue", "label", "clean_answer", "adv_answer")]
    + [(name, "<f4") for name in ("clean_x", "clean_y", "clean_z", "displacement_m")]
)
"""One point: where the attack moved it, colour, classes, where it was, and how far that is."""


def vertices(record: SceneRecord) -> NDArray[np.void]:
    """The points of one scene. Coordinates in metres, the bits of the record. Shape: (P,)."""
    rows = np.empty(len(record.label), VERTEX)
    for column, axis in enumerate("xyz"):
        rows[axis] = record.adv_inputs[:, column].numpy()
        rows[f"clean_{axis}"] = record.clean_inputs[:, column].numpy()
    for column, name in enumerate(("red", "green", "blue")):
        rows[name] = record.color[:, column].numpy()
    rows["label"] = record.label.numpy()
    rows["clean_answer"] = record.clean_answers.numpy()
    rows["adv_answer"] = record.adv_answers.numpy()
    rows["displacement_m"] = (record.adv_inputs - record.clean_inputs).norm(dim=1).numpy()
    return rows


def export(run: SceneDirectory, folder: Path) -> list[Path]:
    """Writes one file per scene, each complete or not there.

    Args:
        run: Of a finished attack.
        folder: Where to; made if need be. A slash in a scene's name becomes an underscore.

    Returns:
        The files, in the order of the scenes.
    """
    paths = []
    for name, record in zip(run.results()["names"], run.records(), strict=True):
        paths.append(folder / f"{name.replace('/', '_')}.ply")
        write_vertices(
            paths[-1], vertices(record), ["adversarial scene, leadgrad", f"scene {name}"]
        )
    return paths


def main(args: Sequence[str]) -> int:
    """Writes a run's scenes and says where they are."""
    options = export_ply_parser().parse_args(list(args))
    run = opened(options.run_dir)
    if not isinstance(run, SceneDirectory):
        raise RunError(f"{run.path} holds an attack on images; only scenes have PLY files")
    paths = export(run, Path(options.out or run.path / "ply"))
    Console().print(f"{len(paths)} scenes in {paths[0].parent}", soft_wrap=True)
    return 0
