"""Features of scenes in records, pictures and PLY files, colours and others."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from leadgrad.data import SceneArrays, check_scene_batch
from leadgrad.pipelines.commands.export_ply import export, vertices
from leadgrad.pipelines.runs.directory import RunDirectory, RunError
from leadgrad.pipelines.runs.noted import Noted
from leadgrad.pipelines.tasks import PointSegmentation
from leadgrad.pipelines.tasks.scenes.pictures import feature_picture
from leadgrad.pipelines.tasks.scenes.records import SceneBatch, SceneRecord

OLD = Path(__file__).parent / "recorded/finished/scenes"
COLOURS = ["red", "green", "blue"]


@pytest.fixture(scope="module")
def old() -> SceneRecord:
    """Of a version that knew colours alone."""
    return SceneBatch.read(OLD / "batches/000000.safetensors").scenes[0]


def test_a_record_of_colours_is_one_of_features(old, tmp_path):
    before = load_file(OLD / "batches/000000.safetensors")
    assert "color" in before
    assert torch.equal(old.features, before["color"])
    (tmp_path / "new.safetensors").write_bytes(SceneBatch((old,)).to_bytes())
    again = SceneBatch.read(tmp_path / "new.safetensors")
    assert torch.equal(again.scenes[0].features, old.features)
    batch = again.batch()
    check_scene_batch(batch, 255)
    assert batch["from_bytes"].tolist() == [True]
    assert np.array_equal(batch["features"], before["color"].numpy() / np.float32(255))
    (path,) = export(RunDirectory(OLD, SceneBatch), tmp_path)
    assert b"property uchar red\n" in path.read_bytes()
    assert "feature_names" not in json.loads((OLD / "results.json").read_bytes())


def test_floats_stay_floats_in_a_record_even_where_they_might_be_bytes(old, tmp_path):
    features = (torch.arange(len(old.label)) % 2).float()[:, None]
    record = SceneBatch((replace(old, features=features),))
    (tmp_path / "float.safetensors").write_bytes(record.to_bytes())
    batch = SceneBatch.read(tmp_path / "float.safetensors").batch()
    assert torch.equal(batch["features"], features)
    assert batch["from_bytes"].tolist() == [False]


def test_parts_of_a_batch_say_what_the_whole_says():
    data = SceneArrays(
        [np.eye(3), np.eye(3)],
        [np.ones((3, 1)), np.ones((3, 1), np.uint8)],
        [[0, 1, 255]] * 2,
        feature_names=["intensity"],
        splits={"test": [0, 1]},
    )
    (batch,) = data.batches("test", 2)
    assert batch["from_bytes"].tolist() == [False, True]
    task = PointSegmentation()
    part = task.select(batch, torch.tensor([False, True]))
    check_scene_batch(part, 2)
    assert part["from_bytes"].tolist() == [True]
    checked = task.checked(data.batches("test", 1))
    check_scene_batch(checked, 2)
    assert checked["from_bytes"].tolist() == [False, True]


def test_pictures_show_colours_or_the_first_column():
    bytes_ = torch.tensor([[0, 10, 20, 255], [50, 60, 70, 80]], dtype=torch.uint8)
    title, shades = feature_picture(bytes_, ["blue", "green", "red", "intensity"])
    assert title == "colours"
    assert shades.tolist() == [[20, 10, 0], [70, 60, 50]]
    title, again = feature_picture(bytes_.float() / 255, ["blue", "green", "red", "intensity"])
    assert again.tolist() == shades.tolist()
    title, shades = feature_picture(bytes_, ["intensity", "green", "red", "ring"])
    assert (title, shades.tolist()) == ("intensity", [[0] * 3, [50] * 3])
    title, shades = feature_picture(torch.tensor([[-5.0], [5.0], [0.0]]), ["intensity"])
    assert shades.tolist() == [[0] * 3, [255] * 3, [128] * 3]
    assert not feature_picture(torch.ones(2, 1), ["flat"])[1].any()


def test_ply_files_hold_each_feature_under_its_name(old):
    intensity = torch.linspace(-3, 9, len(old.label))[:, None]
    mixed = replace(old, features=torch.cat([intensity, old.features.float() / 255], 1))
    rows, colours = vertices(mixed, ["intensity", *COLOURS]), vertices(old, COLOURS)
    assert np.array_equal(rows["intensity"], intensity[:, 0])
    for name in colours.dtype.names:
        assert rows.dtype[name] == colours.dtype[name]
        assert np.array_equal(rows[name], colours[name])
    # One of the three is no colour
    rows = vertices(replace(old, features=intensity), ["red"])
    assert np.array_equal(rows["red"], intensity[:, 0])
    with pytest.raises(RunError, match=r"the feature label cannot be exported.*feature_names"):
        vertices(replace(old, features=intensity), ["label"])


def test_notes_of_scenes_are_kept(old, tmp_path):
    second = SceneRecord(**{name: values.clone() for name, values in vars(old).items()})
    noted = Noted({"worst under": ("FGM",)}, {"worst under": torch.tensor([0, -1])})
    (tmp_path / "two.safetensors").write_bytes(SceneBatch((old, second), None, noted).to_bytes())
    again = SceneBatch.read(tmp_path / "two.safetensors")
    assert len(again.scenes) == 2
    assert again.noted is not None
    assert again.noted.values["worst under"].tolist() == [0, -1]
    assert again.noted.words == noted.words
