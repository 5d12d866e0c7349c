"""Cylinder3D on made-up streets: fit, publish, attack, resume, two processes, verify, Table V."""

import csv
import json
import shutil

import pytest
import torch
from run_config import QUIET, arguments, node
from run_processes import start_ranks
from tampering import edit

from leadgrad.pipelines.api.verifying import verify
from leadgrad.pipelines.cli import main
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.pipelines.tasks.scenes.records import scenes_of

NETWORK = node(
    "leadgrad.victims.Cylinder3D",
    width=2,
    point_widths=[8, 8, 8, 8],
    compressed=4,
    grid=[60, 45, 16],
)
DATA = node(
    "leadgrad.data.SyntheticStreets",
    columns=120,
    train_streets=4,
    validation_streets=1,
    test_streets=3,
    limit=2,
)
FIT = {
    "model": node(
        "leadgrad.victims.training.cylinder3d.CylinderSegmenter",
        network=NETWORK,
        recipe=node("leadgrad.victims.training.adam.AdamOneCycle", max_lr=0.02),
    ),
    "data": DATA,
    "trainer": {**QUIET, "max_epochs": 6, "log_every_n_steps": 1},
}
LED = node("leadgrad.victims.VoxelLGM", surrogate=node("leadgrad.victims.Sigmoid", slope=10.0))


def attack_config(weights, method, **more):
    attack = node(
        "leadgrad.attacks.PointIFGSM",
        threat=node("leadgrad.attacks.PointLinf", eps_m=0.1),
        steps=3,
        step_size_m=0.05,
        **more,
    )
    model = {"network": NETWORK, "weights": str(weights), "attack": attack, "method": method}
    return {"model": model, "data": DATA, "trainer": dict(QUIET)}


@pytest.fixture(scope="module")
def victim(tmp_path_factory):
    folder = tmp_path_factory.mktemp("streets")
    assert main(arguments("fit", FIT, folder / "fit")) == 0
    target = folder / "small.safetensors"
    assert main(["publish", str(folder / "fit"), str(target), "--device", "a test's CPU"]) == 0
    return target


@pytest.fixture(scope="module")
def run(victim):
    run = RunDirectory(victim.with_name("led"))
    assert main(arguments("attack", attack_config(victim, LED), run.path, "--checks=fast")) == 0
    return run


def test_what_was_trained_is_published(victim):
    card = json.loads(victim.with_suffix(".json").read_bytes())
    assert card["accuracy"]["test"]["miou"] > 2
    assert card["network"]["class_path"] == "leadgrad.victims.Cylinder3D"
    assert "unlabelled" in card["accuracy"]["test"]["class_iou"]


def test_cells_are_led_and_counted(run):
    results = run.results()
    assert results["adversarial_miou"] < results["clean_miou"]
    assert results["candidate_ratio"] > 1
    assert set(results["architecture_change"]["strides"]) == {"1", "2", "4", "8", "16"}
    assert 0 < results["architecture_change"]["percent"] < 100
    assert 0 < results["changed_voxel_percent"] < 100
    assert results["displacement"]["max_axis_m"] == pytest.approx(0.1, abs=1e-5)
    failed = [check for check in results["checks"] if check["verdict"] == "FAIL"]
    assert failed == []
    page = (run.path / "report.html").read_text()
    assert "remission" in page


def test_it_is_verified_and_what_is_tampered_with_is_found(run, tmp_path):
    assert main(["verify", str(run.path)]) == 0
    shutil.copytree(run.path, tmp_path / "copy")
    copy = RunDirectory(tmp_path / "copy")
    edit(copy, 1, "voxels", lambda x: x + 1)
    assert ("C27", "answers to the saved points, and voxels") in {
        (found.check, found.name) for found in verify(copy) if found.problems
    }


@pytest.mark.parametrize("command", [["figure", "9"], ["export-ply"]])
def test_nothing_is_made_of_a_damaged_run(run, command, tmp_path, capsys):
    """Whoever looks at a picture does not verify first."""
    copy = shutil.copytree(run.path, tmp_path / "run")
    record = copy / "batches" / "000000.safetensors"
    content = bytearray(record.read_bytes())
    content[len(content) // 2] ^= 1
    record.write_bytes(content)
    assert main([*command, str(copy)]) == 1
    assert "000000.safetensors differs from what was written" in capsys.readouterr().err


def test_a_lost_scan_is_attacked_again_to_the_same_bits(run, victim, tmp_path):
    shutil.copytree(run.path, tmp_path / "copy")
    copy = RunDirectory(tmp_path / "copy")
    (copy.batches / "000001.safetensors").unlink()
    (copy.path / "results.json").unlink()
    config = attack_config(victim, LED)
    assert main(arguments("attack", config, copy.path, "--checks=fast")) == 0
    assert copy.results()["digest"] == run.results()["digest"]


@pytest.mark.ddp
def test_two_processes_save_the_same_bits(run, victim, tmp_path):
    args = arguments("attack", attack_config(victim, LED), tmp_path / "two")
    ranks = start_ranks(args, 2, tmp_path / "log")
    assert [rank.wait() for rank in ranks] == [0, 0]
    assert RunDirectory(tmp_path / "two").results()["digest"] == run.results()["digest"]


@pytest.mark.parametrize("method", ["FGM", "LGM"])
def test_frozen_cells_and_the_default_need_no_slope(run, victim, method, tmp_path):
    config = attack_config(victim, node(f"leadgrad.victims.{method}"))
    assert main(arguments("attack", config, tmp_path / "run")) == 0
    results = RunDirectory(tmp_path / "run").results()
    assert (results["candidate_ratio"] > 1) == (method == "LGM")
    assert results["digest"] != run.results()["digest"]


def test_lovasz_is_another_attack(run, victim, tmp_path):
    config = attack_config(victim, LED, loss="leadgrad.attacks.point_lovasz", delta=1e-12)
    assert main(arguments("attack", config, tmp_path / "run")) == 0
    one, other = scenes_of(RunDirectory(tmp_path / "run")), scenes_of(run)
    assert not torch.equal(next(one).adv_inputs, next(other).adv_inputs)


def test_table_5_and_figure_9(victim, tmp_path):
    options = [f"--victim={victim}", f"--data={json.dumps(DATA)}", "--limit=3", "--steps=2"]
    budgets = ["--budgets=[0.05]", '--methods=["Random","FGM","LGM","LGM()"]']
    rest = ["--accelerator=cpu", f"--out={tmp_path}"]
    assert main(["table", "5", *options, *budgets, *rest]) == 0
    with (tmp_path / "table5.csv").open() as file:
        lines = list(csv.DictReader(file))
    paper = {line["method"]: line["paper"] for line in lines}
    assert paper == {
        "before attack": "66.91",
        "Random": "18.68",
        "FGM": "10.94",
        "LGM": "7.28",
        "LGM()": "–",
    }
    assert [line["ε, m"] for line in lines[1:]] == ["0.05"] * 4
    assert all(0 < float(line["p"]) <= 1 for line in lines[3:])
    cell = tmp_path / "cells/small/eps-0.05-m/LGM-2steps"
    slopes = RunDirectory(cell).results()["method"]["init_args"]
    assert slopes["surrogate"]["init_args"]["slope"] == 200
    assert main(["figure", "9", str(cell), "--out", str(tmp_path / "scene.png")]) == 0
    assert (tmp_path / "scene.png").stat().st_size > 10_000


def test_tables_in_voxel_edges_say_that_cells_have_none(victim, tmp_path, capsys):
    options = [f"--victim={victim}", f"--data={json.dumps(DATA)}", f"--out={tmp_path}"]
    assert main(["table", "3", *options]) == 1
    assert "lengths are in voxel edges" in capsys.readouterr().err
