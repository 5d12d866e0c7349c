"""Whatever ends a command is one line with a remedy, but for faults of a program."""

import json
from argparse import ArgumentError
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
import yaml
from run_config import arguments, attack, attack_config
from safetensors.torch import load_file

from leadgrad.pipelines.cli import COMMANDS, main
from leadgrad.pipelines.commands.failures import explained


def out_of_memory():
    raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 3 GiB")


def no_memory():
    raise MemoryError


def on_the_processor():
    torch.empty(1 << 60)


def refused_argument():
    raise ArgumentError(None, "two\n  lines")


def bad_yaml():
    yaml.safe_load("a: [")


def bad_json():
    json.loads("{")


def bad_text():
    b"\xff".decode()


def bad_weights(path):
    path.write_bytes(b"\x08")
    load_file(path)


def bad_archive(path):
    path.write_bytes(b"PK")
    ZipFile(path)


@pytest.mark.parametrize(
    ("raising", "words"),
    [
        (out_of_memory, "out of memory (CUDA out of memory. Tried to allocate 3 GiB); take fewer"),
        (no_memory, "out of memory (no more to be had); take fewer samples at once (--data.batch"),
        (on_the_processor, "take fewer samples at once"),
        (refused_argument, "two lines"),
        (bad_yaml, "expected the node content"),
        (bad_json, "damaged or of another kind (JSONDecodeError: "),
        (bad_text, "damaged or of another kind (UnicodeDecodeError: "),
        (bad_weights, "damaged or of another kind (SafetensorError: "),
        (bad_archive, "damaged or of another kind (BadZipFile: "),
    ],
)
def test_failures_that_a_user_can_mend(tmp_path, raising, words):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of every kind
        raising(*[tmp_path / "file"][: raising.__code__.co_argcount])
    message = explained(caught.value)
    assert words in message
    assert "\n" not in message


def test_a_fault_of_a_program_keeps_its_traceback():
    for error in (AttributeError("x"), RuntimeError("shapes"), AssertionError(), KeyError("a")):
        assert explained(error) is None


@pytest.fixture
def run(tmp_path) -> Path:
    attack(attack_config(), tmp_path / "run")
    return tmp_path / "run"


def last_error(args, capsys) -> str:
    assert main(args) == 1
    line, hint = capsys.readouterr().err.splitlines()[-2:]
    assert hint == "(LEADGRAD_TRACEBACK=1 shows where)"
    assert line.startswith("error: ")
    return line


def test_a_run_without_its_configuration(run, capsys):
    content = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**content, "config": {"data": {}}}))
    line = last_error(["verify", str(run)], capsys)
    assert "run.json is damaged: it has no configuration of the model; restore it" in line
    del content["fingerprint"]["data"]["count"]
    (run / "run.json").write_text(json.dumps(content))
    line = last_error(["verify", str(run)], capsys)
    assert "leadgrad.pipelines.api.verifying, line " in line
    assert "read a file that lacks the key 'count'; restore it, or make it anew" in line


def test_a_fit_whose_note_is_damaged(tmp_path, capsys):
    (tmp_path / "training.json").write_text("{")
    args = ["publish", str(tmp_path), str(tmp_path / "a.safetensors"), "--device=x"]
    assert "damaged or of another kind (JSONDecodeError" in last_error(args, capsys)


def test_a_trainer_that_this_machine_cannot_be(tmp_path, capsys):
    """Lightning's own refusals."""
    wrong = ["--trainer.accelerator=cpu", "--trainer.devices=0"]
    args = arguments("attack", attack_config(), tmp_path / "run", *wrong)
    assert "devices" in last_error(args, capsys)


def test_every_command_has_an_early_answer():
    from leadgrad.pipelines.commands.arguments import PARSERS
    from leadgrad.pipelines.commands.usage import USAGES

    named = {name.split()[0] for name in PARSERS}  # "figure 9"
    assert set(COMMANDS) == {*named, *USAGES, "board", "table"}
