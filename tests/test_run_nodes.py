"""Runs on several nodes, which torchrun starts; and two commands in one run directory."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from run_config import arguments, attack_config, fit_config, node
from run_processes import PATIENCE, Command, launched, start_nodes, start_ranks

from leadgrad.pipelines.api import attack
from leadgrad.pipelines.cli import main
from leadgrad.pipelines.processes.world import global_rank, world_options
from leadgrad.pipelines.runs.directory import RunDirectory, RunError
from leadgrad.pipelines.runs.owner import sole_owner

pytestmark = pytest.mark.ddp


def config(images=40):
    """Batches of two images whose forward takes as long as SLOW_SECONDS says."""
    slow = {"model__network": node("own_victims.SlowGated", num_classes=2)}
    sizes = {"data__init_args__batch_size": 2, "data__init_args__eval_size": images}
    return attack_config(**slow | sizes)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The digest of a single process."""
    run = RunDirectory(tmp_path_factory.mktemp("alone") / "run")
    assert main(arguments("attack", config(), run.path)) == 0
    return run.results()["digest"]


def finished(run):
    return len(run.numbers(".json"))


def test_two_nodes_of_torchrun(alone, tmp_path):
    run = RunDirectory(tmp_path / "run")
    agents = start_nodes(arguments("attack", config(), run.path), tmp_path / "log")
    logs = [tmp_path / f"log.node{number}" for number in range(2)]
    assert [agent.wait(PATIENCE) for agent in agents] == [0, 0], [log.read_text() for log in logs]
    assert run.results()["digest"] == alone
    shown = [log.read_text().count("adversarial accuracy") for log in logs]
    assert sum(shown) == 1, "one node reports"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_torchrun_starts_a_killed_node_again(alone, tmp_path):
    """All processes are started anew and go on from the finished batches."""
    run = RunDirectory(tmp_path / "run")
    args = arguments("attack", config(), run.path)
    environment = {"SLOW_SECONDS": "0.1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    agents = start_nodes(args, tmp_path / "log", "--max-restarts=1", **environment)
    limit = time.monotonic() + PATIENCE
    logs = [tmp_path / f"log.node{number}" for number in range(2)]
    while finished(run) < 3:
        assert all(agent.poll() is None for agent in agents), [log.read_text() for log in logs]
        assert time.monotonic() < limit, "hangs"
        time.sleep(0.05)
    (worker,) = launched(agents[1].pid)
    kept = [path.stat().st_mtime_ns for path in sorted(run.batches.glob("00000[0-2].*"))]
    os.kill(worker, signal.SIGKILL)
    assert [agent.wait(PATIENCE) for agent in agents] == [0, 0], [log.read_text() for log in logs]
    assert run.results()["digest"] == alone
    again = [path.stat().st_mtime_ns for path in sorted(run.batches.glob("00000[0-2].*"))]
    assert again == kept, "finished batches are not attacked again"
    shown = [log.read_text().count("adversarial accuracy") for log in logs]
    assert sum(shown) == 1, "one node reports"


@pytest.mark.parametrize("then", [1, 3])
def test_a_lost_node_ends_the_other_which_keeps_its_batches(alone, tmp_path, then):
    """The same command goes on, with fewer or more processes."""
    run = RunDirectory(tmp_path / "run")
    args = arguments("attack", config(), run.path)
    nodes = start_ranks(args, 2, tmp_path / "log", nodes=2, SLOW_SECONDS="0.1")
    nodes[0].until(lambda: finished(run) > 2)
    nodes[1].signal(signal.SIGKILL)
    assert [each.wait() for each in nodes] == [1, -signal.SIGKILL]
    assert "rank 1 has ended; what is finished is kept in" in nodes[0].output()
    kept = finished(run)
    assert 2 < kept < 20
    if then == 1:
        assert main(args) == 0
    else:
        nodes = start_ranks(args, then, tmp_path / "again", nodes=then)
        assert [each.wait() for each in nodes] == [0] * then
    assert run.results()["digest"] == alone


def test_a_sweep_on_two_nodes_is_the_same_sweep(tmp_path):
    """Cell by cell; the second node waits for each cell's report, and prints nothing."""
    options = ["--eps=[1,4]", "--attacks=[FGSM]", "--methods=[FGM]", "--slopes=[0.5]"]
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({**attack_config(), "model": one_victim()}))
    line = ["sweep", "--config", str(file), "--checks=off", *options, "--run_dir"]
    assert main([*line, str(tmp_path / "one")]) == 0
    nodes = start_ranks([*line, str(tmp_path / "two")], 2, tmp_path / "log", nodes=2)
    assert [each.wait() for each in nodes] == [0, 0], nodes[1].output()
    digests = [
        [json.loads(path.read_text())["digest"] for path in sorted((folder).rglob("results.json"))]
        for folder in (tmp_path / "one", tmp_path / "two")
    ]
    assert len(digests[0]) == 4
    assert digests[0] == digests[1]
    assert "sweep.html" in nodes[0].output()
    assert "sweep.html" not in nodes[1].output()


def one_victim():
    network = node("leadgrad.victims.SkipNet", depth=8, num_classes=2)
    return {"network": network, "attack": attack_config()["model"]["attack"]}


def test_a_fit_on_two_nodes_is_that_of_two_processes(tmp_path):
    found = []
    for name, nodes in (("two", 1), ("nodes", 2)):
        args = arguments("fit", fit_config(trainer__max_epochs=2), tmp_path / name)
        ranks = start_ranks(args, 2, tmp_path / f"{name}.log", nodes=nodes)
        assert [rank.wait() for rank in ranks] == [0, 0], ranks[1].output()
        assert f"trained weights: {tmp_path / name}" in ranks[0].output()
        found.append((tmp_path / name / "weights.safetensors").read_bytes())
    assert found[0] == found[1]


def test_two_commands_in_one_directory(alone, tmp_path):
    """The second is refused, named the first, and the first is not disturbed."""
    run = RunDirectory(tmp_path / "run")
    args = arguments("attack", config(), run.path)
    first = Command.start(args, tmp_path / "log", SLOW_SECONDS="0.1")
    first.until(lambda: finished(run) > 1)
    second = Command.start(args, tmp_path / "second")
    assert second.wait() == 1
    assert f"{run.path} is in use by process {first.process.pid} on " in second.output()
    assert "Traceback" not in second.output()
    assert first.wait() == 0
    assert run.results()["digest"] == alone
    assert main(args) == 0, "free again"
    assert not (run.path / ".lock").exists()


def test_a_directory_without_locks_is_told(tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.lockf", refuse)
    with sole_owner(tmp_path, rank=0):
        pass
    assert "cannot be locked (Operation not supported)" in capsys.readouterr().err


OWNER = """
import os, sys, time
from pathlib import Path
from leadgrad.pipelines.runs.owner import sole_owner
with sole_owner(Path(sys.argv[1]), rank=0):
    child = os.fork()  # as a loader's process
    if child:
        print(child, flush=True)
    time.sleep(100000)
"""


def test_a_killed_owner_leaves_no_lock_though_its_loaders_live_on(tmp_path):
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    loader = int(owner.stdout.readline())
    with sole_owner(tmp_path, rank=1):  # other ranks take none
        pass
    used = pytest.raises(RunError, match=f"is in use by process {owner.pid} on ")
    with used, sole_owner(tmp_path, rank=0):
        pass
    owner.kill()
    owner.wait()
    owner.stdout.close()
    with sole_owner(tmp_path, rank=0):
        os.kill(loader, signal.SIGKILL)


def test_what_torchrun_and_srun_say():
    assert world_options({}) == {}
    elastic = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8"}
    assert world_options(elastic) == {"devices": 8, "num_nodes": 2}
    assert global_rank({}) == 0
    assert global_rank({"RANK": "9", "LOCAL_RANK": "1"}) == 9
    assert global_rank({"SLURM_PROCID": "3"}) == 3


def test_restarts_on_a_store_that_keeps_the_first_attempt_are_refused():
    """Of gloo's addresses in it, a second attempt reads those that no process listens at."""
    kept = {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_MAX_RESTARTS": "3"}
    two = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1"}
    with pytest.raises(ValueError, match=r"is 3, .*set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"):
        world_options(two | kept)
    found = {"devices": 1, "num_nodes": 2}
    assert world_options(two | kept | {"TORCHELASTIC_USE_AGENT_STORE": "False"}) == found
    assert world_options(two | kept | {"TORCHELASTIC_MAX_RESTARTS": "0"}) == found
    alone = world_options(two | kept | {"WORLD_SIZE": "1"})
    assert alone == {"devices": 1, "num_nodes": 1}, "a single process meets nobody"


def test_processes_of_processes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    network = node("leadgrad.victims.SkipNet", depth=8, num_classes=2)
    with pytest.raises(ValueError, match="one of 2 processes that torchrun has started"):
        attack(
            network,
            attack_config()["data"],
            attack_config()["model"]["attack"],
            run_dir=tmp_path / "run",
            processes=2,
        )
    assert not (tmp_path / "run").exists()
