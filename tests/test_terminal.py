"""Printing never ends a run: not on a terminal of few characters, not into a closed pipe."""

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from run_config import arguments, attack_config
from run_processes import PATIENCE, start_script

from leadgrad.pipelines.cli import main
from leadgrad.pipelines.runs import progress
from leadgrad.pipelines.runs.directory import RunDirectory

TERMINALS = {
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "ascii": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
PRINTING = """
import sys
from leadgrad.pipelines.commands.terminal import forgiving_streams
forgiving_streams()
print("ε → λ", flush=True)
for line in range(100000):
    print(line)
print("ended →", file=sys.stderr)
"""


def finished(args, **environment):
    """Exit status and output of the script."""
    process = start_script(args, **environment)
    output = process.communicate(timeout=PATIENCE)
    return process.returncode, *output


@pytest.mark.parametrize("terminal", TERMINALS.values(), ids=TERMINALS)
def test_an_attack_and_its_verification_on_a_terminal_of_few_characters(tmp_path, terminal):
    """With its progress bar and all its tables."""
    config = attack_config(trainer__enable_progress_bar=True)
    run = RunDirectory(tmp_path / "run")
    status, out, error = finished(arguments("attack", config, run.path), **terminal)
    assert status == 0, error
    assert "? = 8" in out
    assert run.results()["samples"] == 12
    status, out, error = finished(["verify", str(run.path)], **terminal)
    assert status == 0, error
    assert out


@pytest.mark.parametrize("args", [["--help"], ["attack", "--help"], ["nothing"]])
def test_help_and_errors_on_a_terminal_of_few_characters(args):
    status, out, error = finished(args, **TERMINALS["ascii"])
    assert status == (2 if args == ["nothing"] else 0), error
    assert ("no command" if args == ["nothing"] else "usage") in out + error


def printing(**options):
    return subprocess.run(
        [sys.executable, *options.pop("flags", ()), "-c", PRINTING],
        stderr=subprocess.PIPE,
        timeout=PATIENCE,
        check=False,
        **options,
    )


def test_parts_of_long_work_are_told(monkeypatch):
    """In place on a terminal; elsewhere a line, once there was silence for long."""
    shown = io.StringIO()
    with progress.telling("work", Console(file=shown, force_terminal=True)) as tell:
        tell("C1")
    assert "work: C1" in shown.getvalue()
    for quiet_s, lines in ((1e9, 0), (0, 2)):
        monkeypatch.setattr(progress, "QUIET_S", quiet_s)
        said = io.StringIO()
        with progress.telling("work", Console(file=said)) as tell:
            tell("C1")
            tell("C2")
        assert said.getvalue().count("\n") == lines
    assert re.match(r"work: C1, \d+ s after their start\nwork: C2, ", said.getvalue())


def test_a_reader_that_has_gone():
    """Like head, which has its lines and closes the pipe."""
    head = subprocess.Popen(["head", "-1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    done = printing(stdout=head.stdin)
    first, _ = head.communicate(timeout=PATIENCE)
    assert first.decode() == "ε → λ\n"
    assert done.stderr.decode() == "ended →\n"
    assert done.returncode == 0


@pytest.mark.parametrize("flags", [[], ["-u"]], ids=["buffered", "unbuffered"])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_once(flags):
    with open("/dev/full", "wb") as full:
        done = printing(stdout=full, flags=flags)
    assert done.stderr.decode().count("<stdout> is incomplete: No space left on device") == 1
    assert done.stderr.decode().endswith("ended →\n")
    assert done.returncode == 0


def test_streams_of_a_caller_are_left_alone(capsys):
    before = sys.stdout
    main(["--help"])
    assert sys.stdout is before
    assert "usage" in capsys.readouterr().out
