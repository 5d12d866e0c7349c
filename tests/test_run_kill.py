"""Attacks that are killed or stopped keep what was finished, and end as the unbroken run does."""

import json
import os
import random
import shlex
import signal
import time
from pathlib import Path

import pytest
from run_config import arguments, attack, attack_config, node, threat
from run_processes import Command, start_ranks

from leadgrad.pipelines.cli import main
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.pipelines.tasks.images.records import BatchRecord

BATCHES = 40
ZOO = Path(__file__).parents[1] / "zoo"


def config() -> dict:
    """Many batches of some 20 ms each, so that a signal lands inside the loop."""
    return attack_config(
        model__attack=node("leadgrad.attacks.IFGSM", threat=threat(), steps=3),
        data__init_args__batch_size=2,
        data__init_args__eval_size=2 * BATCHES,
    )


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return attack(config(), tmp_path_factory.mktemp("unbroken") / "run")


def finished(run: RunDirectory) -> int:
    return len(run.numbers(".json"))


def assert_readable(run: RunDirectory) -> None:
    """Every file that has its final name is whole, whenever the process died."""
    for path in run.path.rglob("*.json"):
        json.loads(path.read_bytes())
    for path in run.batches.glob("[0-9]*.safetensors"):
        BatchRecord.read(path)
    for batch in run.numbers(".json"):
        assert run.problem(batch) is None


def assert_unbroken(run: RunDirectory, unbroken: dict) -> None:
    results = run.results()
    for name in ("digest", "counts", "architecture_change", "compute"):
        assert results[name] == unbroken[name]
    assert not [path for path in run.path.rglob(".*") if path.is_file()]
    assert main(["verify", str(run.path)]) == 0


@pytest.mark.parametrize("kills", [6, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments(unbroken, tmp_path, kills):
    """SIGKILL, again and again on one directory: in the start, in batches and between them."""
    run, moment = RunDirectory(tmp_path / "run"), random.Random(kills)
    args = arguments("attack", config(), run.path)
    log = tmp_path / "log"
    statuses = []
    while len(statuses) < kills and 0 not in statuses:  # 0: it ended before it was killed
        before = finished(run)
        command = Command.start(args, log)
        wanted = before + moment.randrange(max(2, BATCHES // kills))
        command.until(lambda wanted=wanted: finished(run) >= min(wanted, BATCHES - 2))
        time.sleep(moment.uniform(0, 0.05))
        command.signal(signal.SIGKILL)
        statuses.append(command.wait())
        assert_readable(run)
        assert finished(run) >= before
    assert statuses.count(-signal.SIGKILL) >= kills // 2
    assert finished(run) > 0
    assert Command.start(args, log).wait() == 0
    assert_unbroken(run, unbroken)


def test_killed_in_the_start(unbroken, tmp_path):
    """Between the kept weights and run.json lies what another configuration could trip over."""
    run, log = RunDirectory(tmp_path / "run"), tmp_path / "log"
    args = arguments("attack", config(), run.path)
    other = arguments("attack", {**config(), "seed_everything": 5}, tmp_path / "other" / "run")
    other[other.index("--run_dir") + 1] = str(run.path)
    command = Command.start(other, log)
    command.until(lambda: any(run.path.glob("*")) or any(run.path.glob(".*")))
    command.signal(signal.SIGKILL)
    assert command.wait() == -signal.SIGKILL
    if not (run.path / "run.json").exists():
        assert main(args) == 0
        assert_unbroken(run, unbroken)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "Ctrl-C"]
)
def test_stopped(unbroken, tmp_path, number, status):
    run, log = RunDirectory(tmp_path / "run"), tmp_path / "log"
    args = arguments("attack", config(), run.path)
    command = Command.start(args, log)
    command.until(lambda: finished(run) >= 3)
    command.signal(number)
    before = finished(run)
    assert command.wait() == status
    assert before <= finished(run) < BATCHES
    assert finished(run) <= before + 2, "stops within a batch"
    assert (
        f"The same command goes on from there:\n  leadgrad {shlex.join(args)}\n" in command.output()
    )
    assert str(run.batches) in command.output()
    assert "Traceback" not in command.output()
    assert_readable(run)
    assert main(resume_command(command)) == 0
    assert_unbroken(run, unbroken)


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.ddp)])
def test_a_stopped_table_goes_on_as_a_table(tmp_path, processes):
    """Not as the attack of the one cell that was stopped, which may be a process of its own."""
    line = f"table defences --victims [{ZOO}/digits_dynconv14.safetensors] --data Digits"
    line += f" --limit {BATCHES} --batch_size 2 --evaluations 10 --checks off --eps_255 1"
    line += f" --accelerator cpu --out {tmp_path} --processes {processes} --cells"
    args = [*line.split(), '["*/fgm--pgd", "*/fgm--apgd"]']
    cells = tmp_path / "cells" / "digits_dynconv14"
    command = Command.start(args, tmp_path / "log")
    command.until(lambda: finished(RunDirectory(cells / "fgm--pgd")) >= 2)
    os.killpg(command.process.pid, signal.SIGINT)  # as a terminal does
    assert command.wait() == 130
    assert resume_command(command) == args
    assert main(args) == 0
    assert len(list(cells.glob("*/results.json"))) == 2


def resume_command(command: Command) -> list[str]:
    """What the message says, as a reader would copy it."""
    (line,) = [line for line in command.output().splitlines() if line.startswith("  leadgrad ")]
    return shlex.split(line)[1:]


@pytest.mark.ddp
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "Ctrl-C"]
)
def test_stopped_in_two_processes(unbroken, tmp_path, number, status):
    """As a scheduler or a terminal does, to all processes; the first alone speaks."""
    run = RunDirectory(tmp_path / "run")
    args = arguments("attack", config(), run.path)
    ranks = start_ranks(args, 2, tmp_path / "log")
    ranks[0].until(lambda: finished(run) >= 4)
    for rank in ranks:
        rank.signal(number)
    assert [rank.wait() for rank in ranks] == [status, status]
    assert finished(run) < BATCHES
    assert ["The same command" in rank.output() for rank in ranks] == [True, False]
    assert_readable(run)
    assert main(args) == 0
    assert_unbroken(run, unbroken)


def test_killed_while_the_report_is_written(unbroken, tmp_path, monkeypatch):
    """All batches are there, but no results: the next start only computes them."""
    run = RunDirectory(tmp_path / "run")
    args = arguments("attack", config(), run.path)

    def die(*_):
        raise SystemExit(9)

    with monkeypatch.context() as patched:
        patched.setattr("leadgrad.pipelines.api.attacking.write_report", die)
        with pytest.raises(SystemExit):
            main(args)
    notes = {path: path.stat().st_ino for path in Path(run.batches).iterdir()}
    assert main(args) == 0
    assert notes == {path: path.stat().st_ino for path in Path(run.batches).iterdir()}
    assert_unbroken(run, unbroken)
