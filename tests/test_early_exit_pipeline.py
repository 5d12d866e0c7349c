"""An early-exit network through every command, from its configuration on: a family in one file."""

import json
from pathlib import Path

import pytest
import yaml
from run_config import QUIET, arguments, attack, changed, node, threat

from leadgrad.pipelines.cli import main
from leadgrad.pipelines.runs.zoo import Card

CONFIG = Path(__file__).parents[1] / "configs" / "train" / "digits_early_exit.yaml"
NETWORK = {"depth": 8, "exits": [1, 2], "threshold": 0.3}
SIGMOID = node("leadgrad.victims.Sigmoid", slope=1.0)
METHODS = {
    "FGM": node("leadgrad.victims.FGM"),
    "LGM": node("leadgrad.victims.LGM"),
    "LGM Sigmoid": node("leadgrad.victims.LGM", surrogate=SIGMOID),
    "LGM hard": node("leadgrad.victims.LGM", surrogate=SIGMOID, forward="hard"),
    "Lookahead": node("leadgrad.victims.Lookahead"),
}
UP = node("leadgrad.attacks.Compute", direction="up")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """Weights of three epochs, published."""
    folder = tmp_path_factory.mktemp("early_exit")
    config = yaml.safe_load(CONFIG.read_text())
    config["model"]["init_args"]["network"]["init_args"] = NETWORK
    config["model"]["init_args"]["recipe"]["init_args"]["max_lr"] = 0.2
    config["trainer"] = {**QUIET, "max_epochs": 3, "log_every_n_steps": 10}
    assert main(arguments("fit", config, folder / "fit")) == 0
    target = folder / "early.safetensors"
    assert main(["publish", str(folder / "fit"), str(target), "--device", "a test's CPU"]) == 0
    return target


def test_a_threshold_is_chosen_when_it_is_published(zoo, tmp_path):
    target = tmp_path / "half.safetensors"
    fit = str(zoo.parent / "fit")
    line = ["publish", fit, str(target), "--device", "a test's CPU", "--compute_share", "0.5"]
    assert main(line) == 0
    own, as_trained = (json.loads(path.with_suffix(".json").read_text()) for path in (target, zoo))
    chosen = own["network"]["init_args"].pop("threshold")
    assert chosen != as_trained["network"]["init_args"].pop("threshold")
    assert own["network"] == as_trained["network"]
    assert own["sha256"] == as_trained["sha256"]
    assert Card.read(target).load().threshold == chosen


def attack_config(zoo, method, steps=3, **settings):
    card = json.loads(zoo.with_suffix(".json").read_text())
    made = node("leadgrad.attacks.IFGSM", threat=threat(eps_255=16), steps=steps, **settings)
    model = {"network": card["network"], "weights": str(zoo), "attack": made, "method": method}
    data = node("leadgrad.data.Digits", batch_size=16, limit=32)
    return {"model": model, "data": data, "trainer": dict(QUIET)}


def assert_verified(run, capsys):
    capsys.readouterr()
    assert main(["verify", str(run)]) == 0
    assert "FAIL" not in capsys.readouterr().out


def test_the_fit_and_its_card_tell_who_answers(zoo):
    training = json.loads((zoo.parent / "fit" / "training.json").read_text())
    percents = [training[f"val_exit{k}_percent"] for k in (1, 2, 3)]
    assert sum(percents) == pytest.approx(100)
    assert min(percents) > 0, "each exit answers some"
    assert training["val_accuracy"] > 60, "learns"
    cost = json.loads(zoo.with_suffix(".json").read_text())["cost"]
    assert (cost["gates"], cost["varying_gates"]) == (2, 2)
    assert 0 < cost["conditional_cost"] < 1


@pytest.mark.parametrize("name", METHODS)
def test_attack_and_verify(name, zoo, tmp_path, capsys):
    results = attack(attack_config(zoo, METHODS[name]), tmp_path / "run")
    assert results["adversarial_accuracy"] < results["clean_accuracy"]
    assert results["architecture_change"]["countings"]["decisions/all"]["changed"] > 0
    macs = results["compute"]["conditional_macs"]
    for side in ("clean", "adversarial"):  # whose costs are its MACs
        share = results["compute"]["executed_share"][side]
        assert share == pytest.approx(100 * macs[side] / macs["all_executed"])
    assert_verified(tmp_path / "run", capsys)


def test_the_report_charts_the_gates(zoo, tmp_path):
    results = attack(attack_config(zoo, METHODS["LGM Sigmoid"]), tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text()
    assert 'alt="Share of executed units at each gate, clean and adversarial"' in page
    assert results["gates"] == 2


def test_all_checks(zoo, tmp_path):
    config = attack_config(zoo, METHODS["LGM Sigmoid"])
    options = ["--checks=full", "--allow_failed_checks=true"]
    results = attack(config, tmp_path / "run", *options)
    failed = {check["id"] for check in results["checks"] if check["verdict"] == "FAIL"}
    assert failed == set()
    passed = {check["id"] for check in results["checks"] if check["verdict"] == "PASS"}
    assert {"C2", "C3", "C4", "C6", "C7", "C8", "C10"} <= passed


def test_led_exits_raise_the_compute(zoo, tmp_path, capsys):
    config = attack_config(zoo, METHODS["LGM"], steps=8, goal=UP)
    spent = attack(config, tmp_path / "run")["compute"]["executed_share"]
    assert spent["adversarial"] > spent["clean"] + 5
    assert_verified(tmp_path / "run", capsys)


def test_frozen_exits_say_that_they_cannot(zoo, tmp_path, capsys):
    config = attack_config(zoo, METHODS["FGM"], goal=UP)
    assert main(arguments("attack", config, tmp_path / "run")) == 1
    assert "give a method that leads" in capsys.readouterr().err
    assert not (tmp_path / "run").exists(), "refused before anything was written"


def test_it_starts_from_a_static_twin(tmp_path):
    """As Shallow-Deep Networks are made of a trained network."""
    config = yaml.safe_load(CONFIG.read_text())
    config["model"]["init_args"]["network"]["init_args"] = NETWORK
    short = {"max_epochs": 1, "limit_train_batches": 2, "log_every_n_steps": 1}
    config = changed(config, {"trainer": {**QUIET, **short}})
    twin = tmp_path / "twin"
    static = changed(
        config,
        {
            "model__class_path": "leadgrad.victims.training.classifier.Classifier",
            "model__init_args__network": node("leadgrad.victims.ResNet", depth=8, shortcut="B"),
        },
    )
    assert main(arguments("fit", static, twin)) == 0
    options = [f"--backbone={twin / 'weights.safetensors'}"]
    assert main(arguments("fit", config, tmp_path / "run", *options)) == 0
