"""Scenes with intensity in the place of colour, which nothing but ``own_lidar.py`` knows of.

From the command line: a fit, an attack on what it left, its verification, report and PLY files.
"""

import numpy as np
import pytest
import torch
from own_lidar import POINTS, SCENES, OwnLidar
from run_config import arguments, fit_config, node
from safetensors.torch import load_file
from scene_config import NETWORK, scene_config
from tampering import edit

from leadgrad.data import check_scene_batch
from leadgrad.data.ply import read_vertices
from leadgrad.pipelines.api.verifying import verify
from leadgrad.pipelines.cli import main
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.pipelines.tasks.scenes.records import scenes_of

LIDAR = node("own_lidar.OwnLidar")
MINKUNET = node(
    "leadgrad.victims.MinkUNet",
    **{**NETWORK["init_args"], "num_classes": 3, "features": 1, "voxel_m": 0.5},
)
SEGMENTER = node(
    "leadgrad.victims.training.segmentation.SceneSegmenter",
    network=MINKUNET,
    recipe=node("leadgrad.victims.training.recipe.SGDPolynomial"),
)


@pytest.fixture(scope="module")
def fit(tmp_path_factory):
    run = RunDirectory(tmp_path_factory.mktemp("lidar") / "fit")
    config = fit_config(model=SEGMENTER, data=LIDAR, trainer__max_epochs=12)
    assert main(arguments("fit", config, run.path)) == 0
    return run


@pytest.fixture(scope="module")
def victim(fit):
    target = fit.path.with_name("lidar.safetensors")
    assert main(["publish", str(fit.path), str(target), "--device", "a test's CPU"]) == 0
    return target


@pytest.fixture(scope="module")
def run(victim):
    config = scene_config(model__network=MINKUNET, model__weights=str(victim), data=LIDAR)
    run = RunDirectory(victim.with_name("run"))
    assert main(arguments("attack", config, run.path, "--checks=fast")) == 0
    return run


def test_the_scenes_are_what_the_table_says():
    for batch in OwnLidar().predict_dataloader():
        check_scene_batch(batch, 3)
        assert batch["features"].shape == (POINTS, 1)
        assert batch["features"].max() > 1, "intensities are no colours"
        assert batch["from_bytes"].tolist() == [False]


def test_the_network_learns_of_one_column(fit):
    weights = load_file(fit.path / "weights.safetensors")
    assert weights["conv0p1s1.kernel"].shape == (27, 1, 4)


def test_the_attack_keeps_intensities_as_they_are(run):
    results, records = run.results(), list(run.records())
    assert results["feature_names"] == ["intensity"]
    assert results["data"]["sha256"] == OwnLidar().manifest()["sha256"]
    assert results["adversarial_miou"] < results["clean_miou"]
    assert 0 < results["displacement"]["max_axis_m"] <= 0.1 + 1e-6
    assert len(records) == SCENES["test"]
    for record, batch in zip(records, OwnLidar().predict_dataloader(), strict=True):
        assert record.scenes[0].features.dtype == torch.float32
        for name, value in record.batch().items():
            assert torch.equal(value, batch[name])


def test_it_is_verified(run, tmp_path):
    assert main(["verify", str(run.path)]) == 0
    before = (run.batches / "000001.safetensors").read_bytes()
    note = (run.batches / "000001.json").read_bytes()
    edit(run, 1, "features", lambda x: x + 1e-3)
    found = {(f.check, f.name) for f in verify(run) if f.problems}
    (run.batches / "000001.safetensors").write_bytes(before)
    (run.batches / "000001.json").write_bytes(note)
    assert ("C28", "points, features and labels of the data set") in found


def test_the_report_shows_the_intensity(run):
    page = (run.path / "report.html").read_text()
    assert "intensity" in page
    assert "colours" not in page


def test_the_ply_files_hold_the_intensity(run, tmp_path):
    assert main(["export-ply", str(run.path), "--out", str(tmp_path)]) == 0
    for name, record in zip(run.results()["names"], scenes_of(run), strict=True):
        rows = read_vertices(tmp_path / f"{name}.ply", ("x", "intensity", "adv_answer"))
        assert "red" not in rows.dtype.names
        assert rows["intensity"].dtype == np.float32
        assert np.array_equal(rows["intensity"], record.features[:, 0])


def test_a_network_of_colours_is_refused_by_its_numbers(tmp_path, capsys):
    colours = node("leadgrad.victims.MinkUNet", **{**MINKUNET["init_args"], "features": 3})
    config = scene_config(model__network=colours, data=LIDAR)
    assert main(arguments("attack", config, tmp_path / "run")) == 1
    message = "the network takes 3 feature columns, the scene has 1; give the network features=1"
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
