"""Runs of several processes: none outlives its parent, none waits for one that is gone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_config import arguments, attack_config, fit_config, node
from run_processes import PATIENCE, launched, start_ranks, start_script

from leadgrad.pipelines.cli import main
from leadgrad.pipelines.runs.directory import RunDirectory

pytestmark = pytest.mark.ddp
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
HINT = "The same command goes on from there: leadgrad "
DDP = ["--trainer.devices=2", "--trainer.strategy=ddp"]


def config(images=80, **changes):
    """Batches of two images whose forward takes as long as SLOW_SECONDS says."""
    slow = {"model__network": node("own_victims.SlowGated", num_classes=2)}
    sizes = {"data__init_args__batch_size": 2, "data__init_args__eval_size": images}
    return attack_config(**slow | sizes | changes)


def finished(run):
    return len(run.numbers(".json"))


def until(happened):
    limit = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < limit, "hangs"
        time.sleep(0.01)


def runs(process):
    """Whether it exists and is no zombie, which has ended but was not asked for."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def assert_told(error, rank, how):
    """One line names the process that is gone and says how to go on; nothing else is printed."""
    (line,) = [line for line in error.splitlines() if line and "waiting since" not in line]
    assert line.startswith(f"rank {rank} {how}; what is finished is kept in ")
    assert HINT in line


@linux
@pytest.mark.parametrize("command", ["attack", "fit"])
def test_a_process_ends_with_the_one_that_started_it(tmp_path, command):
    """Killed as soon as the other exists, which is still importing then."""
    settings = config() if command == "attack" else fit_config()
    parent = start_script(arguments(command, settings, tmp_path / "run", *DDP))
    until(lambda: parent.poll() is not None or launched(parent.pid))
    (child,) = launched(parent.pid)
    parent.kill()
    parent.communicate(timeout=PATIENCE)
    until(lambda: not runs(child))


PARENT = """
import subprocess, sys, time
from leadgrad.pipelines.processes.parents import parenthood
with parenthood():
    child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
print(child.pid, flush=True)
time.sleep(float(sys.argv[2]))
"""
CHILD = """
import os, sys, time
sys.platform = {platform!r}
from leadgrad.pipelines.processes.parents import end_with_parent
{before}
end_with_parent()
assert "LEADGRAD_PARENT" not in os.environ, "grandlaunched have another parent"
open({ready!r}, "w").close()
time.sleep(100000)
"""


@linux
@pytest.mark.parametrize("platform", ["linux", "another"])
@pytest.mark.parametrize("early", [False, True])
def test_a_parent_is_missed_on_every_system(tmp_path, platform, early):
    """Also if it ended before the child could ask the kernel to tell of it."""
    ready = tmp_path / "ready"
    before = "while os.getppid() == int(os.environ['LEADGRAD_PARENT']): time.sleep(0.01)"
    code = CHILD.format(platform=platform, before=before if early else "", ready=str(ready))
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, code, "0" if early else "100000"],
        stdout=subprocess.PIPE,
        text=True,
    )
    child = int(parent.stdout.readline())
    if not early:
        until(ready.exists)
        assert runs(child)
        parent.kill()
    parent.wait()
    parent.stdout.close()
    until(lambda: not runs(child))
    assert ready.exists() != early


@linux
def test_the_children_of_others_are_left_alone():
    """A shell's or torchrun's may outlive it: no signal was asked for."""
    code = """
import ctypes
from leadgrad.pipelines.processes.parents import end_with_parent
end_with_parent()
number = ctypes.c_int(-1)
ctypes.CDLL(None).prctl(2, ctypes.byref(number))
raise SystemExit(number.value)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@linux
def test_a_killed_process_ends_the_one_that_started_it(tmp_path):
    run = RunDirectory(tmp_path / "run")
    args = arguments("attack", config(), run.path, *DDP)
    parent = start_script(args, SLOW_SECONDS="0.1")
    until(lambda: parent.poll() is not None or finished(run) > 1)
    (child,) = launched(parent.pid)
    os.kill(child, signal.SIGKILL)
    _, error = parent.communicate(timeout=PATIENCE)
    assert parent.returncode == 1
    assert_told(error, 1, "was killed by SIGKILL")


@pytest.mark.parametrize("killed", [0, 1, 2])
def test_a_killed_process_ends_the_others(tmp_path, killed):
    """The first that is left speaks; the command then goes on from there."""
    run = RunDirectory(tmp_path / "run")
    args = arguments("attack", config(images=24), run.path)
    ranks = start_ranks(args, 3, tmp_path / "log", SLOW_SECONDS="0.1")
    ranks[0].until(lambda: finished(run) > 2)
    ranks[killed].signal(signal.SIGKILL)
    statuses = [rank.wait() for rank in ranks]
    assert statuses.pop(killed) == -signal.SIGKILL
    assert statuses == [1, 1]
    speaker = 1 if killed == 0 else 0
    assert_told(ranks[speaker].output(), killed, "has ended")
    assert "rank" not in ranks[3 - speaker - killed].output()
    assert finished(run) < 12
    assert main(args) == 0
    assert finished(run) == 12


def test_a_killed_process_ends_a_fit(tmp_path):
    """Whose processes meet in every step."""
    run = RunDirectory(tmp_path / "run")
    args = arguments("fit", fit_config(trainer__max_epochs=100000), run.path)
    ranks = start_ranks(args, 2, tmp_path / "log")
    ranks[0].until(lambda: (run.path / "checkpoints" / "last.ckpt").exists())
    ranks[1].signal(signal.SIGKILL)
    assert [rank.wait() for rank in ranks] == [1, -signal.SIGKILL]
    assert_told(ranks[0].output(), 1, "has ended")


def test_a_stopped_clock_is_waited_for(tmp_path):
    """A process that does nothing for a while lives: it is named, and the run ends as ever."""
    run = RunDirectory(tmp_path / "run")
    args = arguments("attack", config(images=12), run.path)
    times = {"SLOW_SECONDS": "0.1", "FIRST_NOTICE_S": "0.5"}
    ranks = start_ranks(args, 2, tmp_path / "log", **times)
    ranks[1].until(lambda: any(batch % 2 for batch in run.numbers(".json")))
    ranks[1].signal(signal.SIGSTOP)
    ranks[0].until(lambda: ranks[0].output().count(" for rank 1 (") >= 2)
    line = next(line for line in ranks[0].output().splitlines() if " for rank 1 (" in line)
    assert line.startswith("waiting since 2")
    assert line.endswith((" for rank 1 (1 batches finished)", " for rank 1 (2 batches finished)"))
    ranks[1].signal(signal.SIGCONT)
    assert [rank.wait() for rank in ranks] == [0, 0]
    assert run.results()["samples"] == 12


def test_a_process_that_fails_ends_the_others(tmp_path):
    """Its own message says why; the line of the first one names it."""
    broken = node("own_victims.BrokenInLaterRanks", num_classes=2)
    run = RunDirectory(tmp_path / "run")
    args = arguments("attack", config(model__network=broken), run.path)
    ranks = start_ranks(args, 2, tmp_path / "log", SLOW_SECONDS="0.1")
    assert [rank.wait() for rank in ranks] == [1, 1]
    assert_told(ranks[0].output(), 1, "has failed (ValueError)")
    assert "error: broken on purpose" in ranks[1].output()
    assert "Traceback" not in ranks[1].output()


def test_processes_that_are_not_there_yet_are_told(tmp_path):
    run = RunDirectory(tmp_path / "run")
    args = arguments("attack", config(images=4), run.path)
    first, second = start_ranks(args, 2, tmp_path / "log", FIRST_NOTICE_S="0.2")
    second.signal(signal.SIGSTOP)  # in its imports
    first.until(lambda: "for the 2 processes of this run to start" in first.output())
    second.signal(signal.SIGCONT)
    assert [first.wait(), second.wait()] == [0, 0]
