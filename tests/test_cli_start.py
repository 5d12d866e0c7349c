"""What a command answers before it imports torch: help, and what is missing or misspelt."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonargparse
import pytest
import yaml
from run_config import attack_config, fit_config

from leadgrad.pipelines.cli import main
from leadgrad.pipelines.commands.early import check_early
from leadgrad.pipelines.commands.table_usage import BOARD, TABLE_USAGES
from leadgrad.pipelines.commands.usage import FIGURE_USAGES, USAGES
from leadgrad.victims import SkipNet, save_weights

HEAVY = ("torch", "lightning", "torchmetrics", "tensorboard", "matplotlib", "scipy", "sklearn")
CARD = "nothing.json is no card of a published victim"
NO_ZOO = ["--victims={}", "--static=[]"]
# Command line; status; what is said
ANSWERS = [
    (["attack"], 2, "required: model.network, model.attack, data, run_dir"),
    (["attack", "--config", "good.yaml"], 2, "required: run_dir"),
    (["attack", "--config", "no.yaml", "--run_dir", "x"], 2, "no configuration file no.yaml"),
    (["attack", "--config", "bad.yaml", "--run_dir", "x"], 2, "bad.yaml is no YAML: "),
    (["attack", "--config=bytes.yaml", "--run_dir=x"], 2, "bytes.yaml cannot be read: "),
    (["attack", "--config", ".", "--run_dir", "x"], 2, "there is no configuration file ."),
    (["attack", "-c", "good.yaml", "--run-dir=x"], 2, "no key 'run-dir'; the nearest valid one is"),
    (["attack", "-c=misspelt.yaml", "--run_dir=x"], 2, "the nearest valid one is 'model.network'"),
    (["attack", "-c=good.yaml", "--run_dir=x", "--model.weights=w"], 1, "no checkpoint at w; give"),
    (["fit", "--config", "fit.yaml"], 2, "required: run_dir"),
    (["fit", "--config=fit.yaml", "--run_dir=x", "--backbone=w"], 1, "no checkpoint at w"),
    (["validate", "--config=fit.yaml", "--run_dir=x"], 1, "at x/weights.safetensors"),
    (["verify"], 2, "run_dir"),
    (["verify", "/nowhere"], 1, "/nowhere has no run.json; give the --run_dir of a finished"),
    (["verify", "x", "--fast"], 2, "There is no key 'fast'"),
    (["verify", "x", "y"], 2, "'y' is no option; give --OPTION VALUE, in quotes if VALUE has"),
    (["demo", "--shor"], 2, "the nearest valid one is 'short'"),
    (["prepare", "s3dis", "--sourc=x"], 2, "the nearest valid one is 'source'"),
    (["export-ply", "/nowhere"], 1, "/nowhere has no run.json"),
    (["verify-data", "/nowhere"], 1, "there is no folder /nowhere"),
    (["publish", "/nowhere", "a.safetensors", "--device=x"], 1, "there is no folder /nowhere"),
    (["publish", "/nowhere", "a.pt", "--device=x"], 1, "must end in .safetensors, got a.pt"),
    (["prepare", "s3dis", "--source=/nowhere", "--root=x"], 1, "there is no folder /nowhere"),
    (["table", "1", "--victims.SkipNet=nothing.safetensors"], 1, CARD),
    (["table", "1", "--victims={}", "--static=[nothing.safetensors]"], 1, CARD),
    (["table", "3", "--victim", "nothing.safetensors"], 1, CARD),
    (["table", "1", *NO_ZOO, "--tuning=t"], 1, "t is no tuning record: there is no such file"),
    (["table", "3", "--victin=x"], 2, "the nearest valid one is 'victim'"),
    (["table", "8"], 2, "there is no table 8; give one of 1, 2, strong, defences, families, 3, 4"),
    (["table", "2"], 2, "give your own, each with the card that leadgrad publish writes"),
    (["table", "defences"], 2, "required: victims or rdi_net; give published weights, each with"),
    (["table", "defences", "--rdi_net=w", "--data=Digits"], 1, "no checkpoint at w; give"),
    (["table", "families"], 2, "required: victims; give published weights, each with the card"),
    (["table", "families", "--victims=[a"], 2, "--victims [a is no YAML; write it as --help"),
    (["table", "2", "--victims={A: nothing.safetensors}", "--data=Digits"], 1, CARD),
    (["figure"], 2, "N is one of 2, 6, 7, 9"),
    (["figure", "2", "--victim=nothing.safetensors"], 1, CARD),
    (["figure", "2", "--step=1"], 2, "the nearest valid one is 'step_255'"),
    (["figure", "6", "--slope=a"], 2, "the nearest valid one is 'slopes'"),
    (["figure", "7", "/nowhere", "/nowhere"], 1, "/nowhere has no run.json; give the --run_dir"),
    (["tune", "--victims.DynConv=null", "--victims.SkipNet=nothing.safetensors"], 1, CARD),
    (["tune", "--slope=3"], 2, "the nearest valid one is 'slopes'"),
    *[([command, "--help"], 0, "--run_dir DIR") for command in ("attack", "fit", "validate")],
    *[([*table, "--help"], 0, "usage: leadgrad ") for table in (["table", "1"], ["table", "6"])],
    *[([name, "--help"], 0, name) for name in ("verify", "publish", "prepare", "demo", "tune")],
]
SCRIPT = """
import contextlib, io, json, sys
from leadgrad.pipelines.cli import main
answers = []
for args in json.loads(sys.argv[1]):
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            status = main(args)
        except SystemExit as stop:
            status = stop.code
    heavy = [name for name in sys.argv[2:] if name in sys.modules]
    answers.append((status, said.getvalue(), heavy))
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Status, words and heavy modules, of all command lines in one process."""
    folder = tmp_path_factory.mktemp("start")
    (folder / "good.yaml").write_text(yaml.safe_dump(attack_config()))
    (folder / "misspelt.yaml").write_text(yaml.safe_dump({"modell": {"network": 1}}))
    (folder / "fit.yaml").write_text(yaml.safe_dump(fit_config()))
    (folder / "bad.yaml").write_text("model: [")
    (folder / "bytes.yaml").write_bytes(b"model: \xff")
    lines = json.dumps([args for args, _, _ in ANSWERS])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, lines, *HEAVY],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("number", range(len(ANSWERS)), ids=[" ".join(one[0]) for one in ANSWERS])
def test_it_answers_before_torch_is_imported(answers, number):
    _, status, words = ANSWERS[number]
    given, said, heavy = answers[number]
    assert words in said
    assert (given, heavy) == (status, [])
    assert "Traceback" not in said
    if status:
        assert len(said.splitlines()) <= 8
    if said.startswith("error: "):
        assert len(said.splitlines()) == 2, "and a hint"


@pytest.mark.parametrize("command", ["attack", "fit", "validate"])
def test_help_fits_a_screen_and_has_an_example(capsys, command):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert stop.value.code == 0
    assert len(lines) < 80
    assert all(len(line) <= 100 for line in lines)
    assert any(line.startswith(f"  leadgrad {command} --config ") for line in lines)


def test_the_example_of_help_is_a_configuration():
    example = USAGES["attack"].example.split("with this my.yaml:")[1]
    config = yaml.safe_load(example)
    assert set(config) == {"model", "data"}
    assert set(config["model"]) == {"network", "weights", "attack", "method"}


def usage_of(command):
    return {**USAGES, **TABLE_USAGES, "figure 2": FIGURE_USAGES["2"], "board": BOARD}[command]


@pytest.mark.parametrize("command", [*USAGES, *TABLE_USAGES, "figure 2", "board"])
def test_help_quotes_what_shells_would_read_as_patterns(command):
    usage = usage_of(command)
    lines = "\n".join((usage.call, usage.remedy, usage.example))
    assert not re.search(r"--[\w.]+[ =]+[\[{]", lines)
    assert not re.search(r"[:,] [\[{]", " ".join(usage.options.values()))


class Stop(Exception):
    """Raised in place of parsing."""


def keys_of(command, monkeypatch) -> set[str]:
    """The options of a command's real parser."""
    found = []

    def parse_args(self, *args, **kwargs):
        found.append({action.dest for action in self._actions})
        raise Stop

    monkeypatch.setattr(jsonargparse.ArgumentParser, "parse_args", parse_args)
    with pytest.raises(Stop):
        command()
    (keys,) = found
    return {key for key in keys if not key.endswith(".help")}


@pytest.mark.parametrize("command", [*USAGES, *TABLE_USAGES, "figure 2", "board"])
def test_the_tables_of_help_are_those_of_the_real_parsers(monkeypatch, command):
    from leadgrad.pipelines.commands import attack as attack_cli
    from leadgrad.pipelines.commands import board as board_cli
    from leadgrad.pipelines.commands import figure as figure_cli
    from leadgrad.pipelines.commands import fit as train_cli
    from leadgrad.pipelines.commands import sweep
    from leadgrad.pipelines.commands import table as table_cli
    from leadgrad.pipelines.paper import tune_cli

    real = {
        "attack": lambda: attack_cli.AttackCLI([]),
        "fit": lambda: train_cli.TrainCLI([]),
        "validate": lambda: train_cli.TrainCLI([]),
        "tune": lambda: tune_cli.main([]),
        "sweep": lambda: sweep.main([]),
        "board": lambda: board_cli.main([]),
        "figure 2": lambda: figure_cli.main(["2"]),
    }
    keys = keys_of(real.get(command, lambda: table_cli.main([command])), monkeypatch)
    usage = usage_of(command)
    trainer = {key for key in keys if key.split(".")[0] == "trainer"}
    assert set(usage.options) - {"help_all"} == (keys - trainer) | ({"trainer"} & trainer)
    named = {*usage.required, *usage.either, *usage.weights, *usage.cards}
    assert named <= set(usage.options)


def test_all_options_can_be_had(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["attack", "--help_all"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert "--trainer.max_epochs" in said
    assert "--model.network" in said


def test_what_the_parser_takes_is_not_refused_early(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = attack_config()
    save_weights(SkipNet(8, num_classes=2), "w.safetensors")
    whole = {**config, "run_dir": "x", "checks": "off", "model.weights": "w.safetensors"}
    Path("whole.yaml").write_text(yaml.safe_dump(whole))
    Path("data.yaml").write_text(yaml.safe_dump({"data": config["data"]}))
    Path("model.yaml").write_text(yaml.safe_dump(config["model"]))
    Path("empty.yaml").write_text("")
    network, attack = "--model.network=SkipNet", "--model.attack=FGSM"
    for args in (
        ["--config", "whole.yaml"],
        ["--config=empty.yaml", "-c", "whole.yaml", "--model.network.depth", "8"],
        ["--config", "data.yaml", "--model", "model.yaml", "--run_dir=x"],
        ["--config", json.dumps(config), "--run_dir=x"],
        ["--config=data.yaml", network, attack, "--run_dir", "x", "--trainer.callbacks+=A"],
        ["--model.network.help", "SkipNet"],
        ["--print_config"],
        ["--print_config=skip_default", "--config", "data.yaml"],
        ["--help_all"],
    ):
        check_early("attack", args)
