"""Cylinder3D on real scans of SemanticKITTI, where there are some: fit, attack, verification."""

import json
import os
from pathlib import Path

import pytest
from run_config import QUIET, arguments, node
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from leadgrad.pipelines.cli import main
from leadgrad.pipelines.runs.directory import RunDirectory

DATA = os.environ.get("LEADGRAD_DATA") or None
pytestmark = pytest.mark.skipif(DATA is None, reason="LEADGRAD_DATA names no folder of real data")
NETWORK = node(
    "leadgrad.victims.Cylinder3D",
    width=2,
    point_widths=[8, 8, 8, 8],
    compressed=4,
    grid=[120, 90, 16],
)


@pytest.fixture(scope="module")
def data():
    return node(
        "leadgrad.data.SemanticKITTI",
        root=str(Path(DATA) / "semantickitti"),
        sequences={"train": ["00", "03", "04", "06"], "validation": ["08"]},
        limit=1,
    )


@pytest.fixture(scope="module")
def fit(data, tmp_path_factory):
    model = node(
        "leadgrad.victims.training.cylinder3d.CylinderSegmenter",
        network=NETWORK,
        recipe=node("leadgrad.victims.training.adam.AdamOneCycle", max_lr=0.02),
    )
    trainer = {**QUIET, "max_epochs": 4, "log_every_n_steps": 1}
    run = tmp_path_factory.mktemp("scans") / "fit"
    assert main(arguments("fit", {"model": model, "data": data, "trainer": trainer}, run)) == 0
    return run


def test_a_fit_learns(fit):
    (folder,) = {path.parent for path in fit.rglob("events*")}
    losses = [one.value for one in EventAccumulator(str(folder)).Reload().Scalars("train/loss")]
    assert len(losses) == 16
    assert sum(losses[-4:]) < sum(losses[:4])
    assert json.loads((fit / "training.json").read_bytes())["val_miou"] > 0


@pytest.mark.parametrize("method", ["FGM", "LGM"])
def test_an_attack_verifies(fit, data, method, tmp_path):
    surrogate = node("leadgrad.victims.Sigmoid", slope=10.0)
    model = {
        "network": NETWORK,
        "weights": str(fit / "weights.safetensors"),
        "attack": node(
            "leadgrad.attacks.PointIFGSM",
            threat=node("leadgrad.attacks.PointLinf", eps_m=0.05),
            steps=2,
            step_size_m=0.02,
        ),
        "method": node(
            f"leadgrad.victims.{method}", **({"surrogate": surrogate} if method == "LGM" else {})
        ),
    }
    run = RunDirectory(tmp_path / "run")
    config = {"model": model, "data": data, "trainer": dict(QUIET)}
    assert main(arguments("attack", config, run.path)) == 0
    assert main(["verify", str(run.path)]) == 0
    results = run.results()
    assert results["points"] > 120_000
    assert results["names"] == ["08/000000"]
    assert (results["candidate_ratio"] > 1) == (method == "LGM")
