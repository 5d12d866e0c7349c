"""Attacks on a victim that really leaves out what it does not execute."""

import json

import pytest
from run_config import arguments, attack, attack_config, node

from leadgrad.attacks import FGSM, PixelLinf
from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.cli import main
from leadgrad.victims import SkipNet


def test_the_attack_finds_what_it_finds_on_the_masked_victim(tmp_path):
    masked = attack(attack_config(), tmp_path / "masked")
    skipped = attack(attack_config(model__execution="skip"), tmp_path / "skipped")
    assert skipped["counts"] == masked["counts"]
    assert skipped["compute"] == masked["compute"]
    run = json.loads((tmp_path / "skipped" / "run.json").read_text())
    assert run["config"]["model"]["execution"] == "skip"
    assert main(["verify", str(tmp_path / "skipped")]) == 0


def test_a_victim_without_such_a_path_is_refused(tmp_path, capsys):
    static = node("leadgrad.victims.ResNet", depth=8, num_classes=2)
    config = attack_config(model__network=static, model__execution="skip")
    assert main(arguments("attack", config, tmp_path / "run")) == 1
    assert "has no path that leaves out" in capsys.readouterr().err


def test_the_callers_network_stays_as_it_was():
    network = SkipNet(8)
    module = AttackModule(network, FGSM(PixelLinf(1)), execution="skip")
    assert module.victim.execution == "skip"
    assert network.execution == "masked"


@pytest.mark.parametrize("value", ["fast"])
def test_other_words_are_refused(value, tmp_path, capsys):
    config = attack_config(model__execution=value)
    with pytest.raises(SystemExit):
        main(arguments("attack", config, tmp_path / "run"))
    assert "fast is none of masked, skip" in capsys.readouterr().err
