"""The readers on real scans of ScanNet and a real room of S3DIS, where there are some."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from leadgrad.data.s3dis import S3DIS
from leadgrad.data.s3dis_prepare import prepare_s3dis, verify_raw_s3dis, verify_s3dis
from leadgrad.data.scannet import ScanNet
from leadgrad.data.scannet_prepare import prepare_scannet, verify_raw_scannet, verify_scannet
from leadgrad.data.scene_batch import check_scene_batch
from leadgrad.pipelines.cli import main
from leadgrad.pipelines.runs.directory import RunDirectory

DATA = os.environ.get("LEADGRAD_DATA") or None
pytestmark = pytest.mark.skipif(DATA is None, reason="LEADGRAD_DATA names no folder of real data")


@pytest.fixture(scope="module")
def scannet(tmp_path_factory):
    root = tmp_path_factory.mktemp("scannet")
    outcomes = list(prepare_scannet(Path(DATA) / "scannet", root))
    assert {outcome.state for outcome in outcomes} == {"prepared"}
    return root, [outcome.name for outcome in outcomes]


@pytest.fixture(scope="module")
def s3dis(tmp_path_factory):
    root = tmp_path_factory.mktemp("s3dis")
    (outcome,) = prepare_s3dis(Path(DATA) / "s3dis", root)
    assert (outcome.name, outcome.state, outcome.notes) == ("Area_0/sample_1", "prepared", ())
    return root


def test_scannet_scans_are_whole(scannet):
    root, names = scannet
    assert verify_raw_scannet(Path(DATA) / "scannet").problems == ()
    report = verify_scannet(root)
    assert report.problems == report.notes == ()
    datamodule = ScanNet(root, {"train": names, "validation": names})
    assert datamodule.scene_sizes("validation") == (50_000,) * len(names)
    assert datamodule.manifest()["count"] == len(names) == 6
    seen = set()
    for batch in datamodule.predict_dataloader():
        check_scene_batch(batch, 20)
        extent = np.ptp(batch["coords"].numpy(), axis=0)
        assert (extent > 1.5).all()
        assert (extent < 15).all()
        floor = batch["coords"][batch["label"] == 1][:, 2]
        assert floor.mean() < batch["coords"][:, 2].mean()
        seen.update(batch["label"].unique().tolist())
    assert {0, 1, 4, 6, 255} <= seen
    assert seen <= {*range(20), 255}


def test_scannet_training_batches(scannet):
    root, names = scannet
    datamodule = ScanNet(
        root, {"train": names}, batch_size=3, attack_split="train", max_points=120_000
    )
    for batch in datamodule.train_dataloader():
        check_scene_batch(batch, 20)
        assert 1 <= len(batch["index"]) <= 3
        assert len(batch["coords"]) <= 120_000


def test_scannet_is_not_prepared_twice(scannet):
    root, _ = scannet
    before = {path: path.read_bytes() for path in root.rglob("*")}
    outcomes = prepare_scannet(Path(DATA) / "scannet", root)
    assert {outcome.state for outcome in outcomes} == {"kept"}
    assert {path: path.read_bytes() for path in root.rglob("*")} == before


def test_an_s3dis_room(s3dis):
    assert verify_raw_s3dis(Path(DATA) / "s3dis").problems == ()
    report = verify_s3dis(s3dis)
    assert report.problems == report.notes == ()
    datamodule = S3DIS(s3dis, {"train": ["Area_0"], "test": ["Area_0"]})
    (batch,) = datamodule.predict_dataloader()
    check_scene_batch(batch, 13)
    # The sample is thinned to 3 cm already, and 1 cm voxels keep nearly all of it.
    assert 20_000 < len(batch["coords"]) <= 20_784
    assert set(batch["label"].tolist()) <= {0, 5, 8, 10, 255}
    floor = batch["coords"][batch["label"] == 8][:, 2]
    table = batch["coords"][batch["label"] == 10][:, 2]
    assert floor.mean() < 0.1 < table.mean()
    (outcome,) = prepare_s3dis(Path(DATA) / "s3dis", s3dis)
    assert outcome.state == "kept"
    (batch,) = datamodule.train_dataloader()
    check_scene_batch(batch, 13)


def voxel_network(classes, **arguments):
    widths = {"encoder": [8] * 4, "decoder": [8] * 4, "blocks": [1] * 8, "stem": 8}
    return {
        "class_path": "leadgrad.victims.MinkUNet",
        "init_args": {"num_classes": classes, **widths, **arguments},
    }


@pytest.mark.parametrize("method", ["VoxelFGM", "VoxelLGM"])
@pytest.mark.parametrize("name", ["scannet", "s3dis"])
def test_an_attack_verifies(name, method, request, tmp_path):
    """Random weights: what counts is that reader, attack, records and verification agree."""
    if name == "scannet":
        root, names = request.getfixturevalue("scannet")
        network = voxel_network(20, voxel_m=0.05)
        data = {"class_path": "leadgrad.data.ScanNet"}
        data["init_args"] = {"splits": {"validation": names}, "attack_split": "validation"}
    else:
        root = request.getfixturevalue("s3dis")
        network = voxel_network(13, voxel_m=0.05, coordinate_features=True)
        data = {"class_path": "leadgrad.data.S3DIS", "init_args": {"areas": {"test": ["Area_0"]}}}
    data["init_args"] |= {"root": str(root), "limit": 1}
    args = [
        f"--model.network={json.dumps(network)}",
        "--model.attack=leadgrad.attacks.PointIFGSM",
        "--model.attack.threat=leadgrad.attacks.PointLinf",
        "--model.attack.threat.eps_m=0.02",
        "--model.attack.steps=2",
        f"--model.method=leadgrad.victims.{method}",
        f"--data={json.dumps(data)}",
        "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
        f"--run_dir={tmp_path / 'run'}",
    ]
    assert main(["attack", *args]) == 0
    assert main(["verify", str(tmp_path / "run")]) == 0
    results = RunDirectory(tmp_path / "run").results()
    assert results["points"] > 20_000
    assert (results["candidate_ratio"] > 1) == (method == "VoxelLGM")


@pytest.mark.parametrize("name", ["scannet", "s3dis"])
def test_a_fit_learns(name, request, tmp_path):
    """A tiny network, a few passes: real scenes go through training, validation and weights."""
    if name == "scannet":
        root, names = request.getfixturevalue("scannet")
        splits = {"splits": {"train": names[:2], "validation": names[2:3]}}
        network, kind = voxel_network(20, voxel_m=0.1), "ScanNet"
    else:
        root = request.getfixturevalue("s3dis")
        splits = {"areas": {name: ["Area_0"] for name in ("train", "validation", "test")}}
        network, kind = voxel_network(13, voxel_m=0.1, coordinate_features=True), "S3DIS"
    args = [
        "--model=leadgrad.victims.training.segmentation.SceneSegmenter",
        f"--model.network={json.dumps(network)}",
        "--model.recipe=leadgrad.victims.training.recipe.SGDPolynomial",
        f"--data=leadgrad.data.{kind}",
        f"--data.root={root}",
        f"--data.{next(iter(splits))}={json.dumps(next(iter(splits.values())))}",
        "--data.batch_size=2",
        "--trainer.accelerator=cpu",
        "--trainer.max_epochs=8",
        "--trainer.log_every_n_steps=1",
        "--trainer.enable_progress_bar=false",
        f"--run_dir={tmp_path / 'fit'}",
    ]
    assert main(["fit", *args]) == 0
    trained = json.loads((tmp_path / "fit" / "training.json").read_bytes())
    assert trained["epochs"] == 8
    assert 0 <= trained["val_miou"] <= 100
    (folder,) = {path.parent for path in (tmp_path / "fit").rglob("events*")}
    curves = EventAccumulator(str(folder)).Reload()
    losses = [point.value for point in curves.Scalars("train/loss")]
    assert len(losses) == 8
    assert losses[-1] < losses[0]
