"""Data of one's own, from arrays to a verified attack and its report."""

import sys
import types

import numpy as np
import pytest
from run_config import arguments, attack, attack_config, class_path, node
from scene_config import NETWORK, scene_config

from leadgrad.data import ImageDataModule, SceneDataModule
from leadgrad.data.base import ImageSplit
from leadgrad.data.scene_arrays import SceneArrays
from leadgrad.pipelines.cli import main
from leadgrad.pipelines.runs.directory import RunDirectory

DRAWS = np.random.default_rng(0)
SIZES = (300, 200)
COORDS = [DRAWS.random((size, 3)) * 3 for size in SIZES]
COLORS = [DRAWS.integers(0, 256, (size, 3), dtype=np.uint8) for size in SIZES]
LABELS = [DRAWS.choice([0, 1, 2, 255], size) for size in SIZES]
NAMES = ["attic", "Büro 3"]


def own_rooms() -> SceneDataModule:
    return SceneDataModule.from_arrays(COORDS, COLORS, LABELS, names=NAMES)


class OwnRooms(SceneDataModule):
    """Written by hand, with what has to be written and no palette."""

    num_classes, class_names = 3, ("floor", "wall", "thing")

    def load_split(self, name):
        return SceneArrays(COORDS, COLORS, LABELS, names=NAMES).split("test")


def own_images() -> ImageDataModule:
    return ImageDataModule.from_arrays(
        DRAWS.integers(0, 256, (6, 3, 16, 16), dtype=np.uint8), [0, 1] * 3, batch_size=4
    )


class MislabelledImages(ImageDataModule):
    num_classes, class_names, image_size = 2, ("a", "b"), 16

    def load_split(self, name):
        return ImageSplit.of(np.zeros((6, 3, 16, 16), dtype=np.uint8), np.arange(6))


class NamelessImages(ImageDataModule):
    num_classes, image_size = 2, 16

    def load_split(self, name):
        return ImageSplit.of(np.zeros((6, 3, 16, 16), dtype=np.uint8), np.arange(6) % 2)


def path_of(made):
    """The name under which a configuration finds something of this file."""
    if isinstance(made, type):
        return class_path(made, "own_sets")
    made.__module__ = "own_sets"
    home = sys.modules.setdefault("own_sets", types.ModuleType("own_sets"))
    setattr(home, made.__name__, made)
    return f"own_sets.{made.__name__}"


def small(data):
    network = {**NETWORK, "init_args": {**NETWORK["init_args"], "num_classes": 3}}
    return scene_config(model__network=network, data=data)


def folder_of(root):
    (root / "test").mkdir(parents=True)
    for name, *scene in zip(NAMES, COORDS, COLORS, LABELS, strict=True):
        content = dict(zip(("coords", "features", "labels"), scene, strict=True))
        np.savez(root / "test" / f"{name}.npz", **content)
    return node("leadgrad.data.SceneFolder", root=str(root), num_classes=3)


@pytest.mark.parametrize("kind", ["from_arrays", "by hand", "folder"])
def test_scenes_of_one_s_own_are_attacked_reported_and_verified(tmp_path, kind):
    data = {
        "from_arrays": lambda: node(path_of(own_rooms)),
        "by hand": lambda: node(path_of(OwnRooms)),
        "folder": lambda: folder_of(tmp_path / "scenes"),
    }[kind]()
    run = tmp_path / "run"
    assert main(arguments("attack", small(data), run)) == 0
    assert main(["verify", str(run)]) == 0
    results = RunDirectory(run).results()
    assert sorted(results["names"]) == sorted(NAMES)
    assert results["points"] == sum(SIZES)
    assert "Büro 3" in (run / "report.html").read_text(encoding="utf-8")
    assert main(["export-ply", str(run)]) == 0


def test_images_in_memory_are_attacked_and_verified(tmp_path):
    config = attack_config(data=node(path_of(own_images)))
    assert attack(config, tmp_path / "run")["samples"] == 6
    assert main(["verify", str(tmp_path / "run")]) == 0


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            MislabelledImages,
            "error: split 'test' of MislabelledImages: 4 labels are not in 0..1, the first is 2",
        ),
        (NamelessImages, "error: NamelessImages states no class_names; set a tuple"),
    ],
)
def test_a_set_that_breaks_the_contract_is_refused_before_work_starts(
    tmp_path, capsys, made, message
):
    config = attack_config(data=node(path_of(made)))
    assert main(arguments("attack", config, tmp_path / "run")) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
