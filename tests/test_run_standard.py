"""``leadgrad attack`` with the standard: its methods by default, its cost, its checks."""

import json
from pathlib import Path

import pytest
import torch
from run_config import QUIET, arguments, attack, attack_config, node, threat
from scene_config import random_voxel_network, scene_config

from leadgrad.attacks import PixelLinf, Standard
from leadgrad.pipelines import api
from leadgrad.pipelines.cli import main
from leadgrad.pipelines.runs.zoo import Card
from leadgrad.pipelines.tasks.images.budget_curve import budget_curve
from leadgrad.victims import STANDARD

ZOO = Path(__file__).parents[1] / "zoo"
STANDARD_40 = node("leadgrad.attacks.Standard", threat=threat(eps_255=2), budget=40)


def config(**changes):
    return attack_config(model__method=None, model__attack=STANDARD_40, **changes)


def method_of(run):
    return json.loads((run / "run.json").read_text())["config"]["model"]["method"]


def test_without_a_method_it_is_run_under_the_standard_ones(tmp_path):
    results = attack(config(), tmp_path / "run")
    method = method_of(tmp_path / "run")
    assert method["class_path"] == "leadgrad.victims.BestOf"
    assert len(method["init_args"]["methods"]) == len(STANDARD)
    assert 0 < results["cost"]["gradients_per_sample"] <= 40
    assert main(["verify", str(tmp_path / "run")]) == 0
    given = attack_config(model__attack=STANDARD_40, model__method=method)
    again = attack(given, tmp_path / "given")
    assert again["digest"] == results["digest"]


def test_the_function_does_the_same(tmp_path):
    made = config()
    results = attack(made, tmp_path / "run")
    found = api.attack(
        made["model"]["network"],
        made["data"],
        Standard(PixelLinf(2), budget=40),
        run_dir=tmp_path / "function",
        checks="off",
        trainer={"accelerator": "cpu", "enable_progress_bar": False},
    )
    assert found["digest"] == results["digest"]
    assert method_of(tmp_path / "function") == method_of(tmp_path / "run")


def test_other_attacks_are_under_fgm_as_ever(tmp_path):
    attack(attack_config(model__method=None), tmp_path / "run")
    assert method_of(tmp_path / "run") == {"class_path": "leadgrad.victims.FGM"}


def test_a_network_without_gates_has_one_surrogate(tmp_path):
    static = node("leadgrad.victims.ResNet", depth=8, num_classes=2)
    results = attack(config(model__network=static), tmp_path / "run")
    fgm = attack_config(
        model__attack=STANDARD_40,
        model__network=static,
        model__method=node("leadgrad.victims.FGM"),
    )
    assert attack(fgm, tmp_path / "fgm")["digest"] == results["digest"]


@pytest.mark.parametrize("level", ["fast", "full"])
def test_its_checks_are_made(level, tmp_path):
    code = main(arguments("attack", config(), tmp_path / "run", f"--checks={level}"))
    checks = json.loads((tmp_path / "run" / "results.json").read_text())["checks"]
    found = {check["id"]: check["verdict"] for check in checks}
    assert code in (0, 3)
    assert {"C2", "C6", "C8", "C12"} <= set(found)
    assert found["C6"] == found["C8"] == "PASS"


def test_results_count_the_parts_that_images_fell_to(tmp_path):
    results = attack(config(), tmp_path / "run")
    fallen = results["noted"]["fallen to"]
    assert sum(fallen.values()) == results["counts"]["won"]
    assert set(fallen) <= {part.words for part in Standard(PixelLinf(2), budget=40).schedule(3, 2)}
    assert main(["verify", str(tmp_path / "run")]) == 0, "it computes them again"
    assert "noted" not in attack(attack_config(model__method=None), tmp_path / "other")


def test_what_was_noted_is_on_the_page_and_in_the_terminal(tmp_path, capsys):
    assert main(arguments("attack", config(), tmp_path / "run")) in (0, 3)
    assert "fallen to" in capsys.readouterr().out
    page = (tmp_path / "run" / "report.html").read_text()
    assert "fallen to" in page
    assert "methods=[LGM(surrogate=Sigmoid(slope=4.0), forward=soft), FGM()" in page


def test_scenes_have_a_standard_too(tmp_path):
    (tmp_path / "weights").mkdir()
    weights = tmp_path / "weights" / "victim.pt"
    torch.save(random_voxel_network().state_dict(), weights)
    budget = node("leadgrad.attacks.PointLinf", eps_m=0.1)
    made = scene_config(
        model__weights=str(weights),
        model__attack=node("leadgrad.attacks.PointStandard", threat=budget, budget=20),
        model__method=None,
    )
    assert main(arguments("attack", made, tmp_path / "run")) in (0, 3)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    methods = method_of(tmp_path / "run")["init_args"]["methods"]
    assert [one["class_path"].rsplit(".", 1)[1] for one in methods] == ["VoxelLGM", "VoxelFGM"]
    assert results["cost"]["gradients_per_sample"] == 20
    assert sum(results["noted"]["worst under"].values()) == 2
    assert results["adversarial_miou"] < results["clean_miou"]
    assert main(["verify", str(tmp_path / "run")]) == 0


def test_nearest_tells_the_accuracy_at_every_budget(tmp_path):
    card = Card.read(ZOO / "digits_dynconv14.safetensors")
    fgsm = node("leadgrad.attacks.FGSM", threat=threat(eps_255=16))
    near = node(
        "leadgrad.attacks.Nearest", threat=threat(eps_255=16), attack=fgsm, resolution_255=2.0
    )

    def results_of(name, chosen):
        made = {
            "model": {
                "network": card.content["network"],
                "weights": str(card.weights),
                "attack": chosen,
            },
            "data": node("leadgrad.data.Digits", limit=40),
            "trainer": dict(QUIET),
        }
        return attack(made, tmp_path / name)

    results, one = results_of("run", near), results_of("one", fgsm)
    points = budget_curve(results)
    assert points[0].budget == 0
    assert points[0].value == results["clean_accuracy"]
    assert points[-1].budget == 16
    assert points[-1].value == results["adversarial_accuracy"]
    values = [point.value for point in points]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) > 2
    assert values[-1] <= one["adversarial_accuracy"]
    assert "Every budget" in (tmp_path / "run" / "report.html").read_text()
    assert "Every budget" not in (tmp_path / "one" / "report.html").read_text()
    assert budget_curve(one) == []
