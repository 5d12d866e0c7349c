"""Commands in processes of their own, to be signalled and killed.

They are forked from a server that has imported everything, because an ordinary start spends seconds
on imports. What is left out that way, the console script, one test of several devices starts.
"""

import contextlib
import importlib
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 1800  # seconds until a process counts as hanging: ten times what slow machines need
PRELOADED = ["commands.attack", "commands.fit", "commands.verify"]

started: list[int] = []
"""Process groups of this test's commands, which the fixture of conftest.py ends."""

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload([f"leadgrad.pipelines.{name}" for name in PRELOADED])


def run_command(args: Sequence[str], log: str, environment: dict[str, str]) -> None:
    """What the forked process does."""
    os.setsid()  # a group of its own, with whatever it starts
    os.environ["LEADGRAD_PARENT"] = str(os.getppid())  # the server, which ends with the tests
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job's is ignored
    multiprocessing.set_start_method(
        "fork", force=True
    )  # of loader workers, as by default on Linux
    os.environ.update(environment)
    meeting = importlib.import_module("leadgrad.pipelines.processes.meeting")
    meeting.FIRST_NOTICE_S = float(environment.get("FIRST_NOTICE_S", meeting.FIRST_NOTICE_S))
    file = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    main = importlib.import_module("leadgrad.pipelines.cli").main
    sys.exit(main(args))


@dataclass
class Command:
    """A started command."""

    process: multiprocessing.Process
    log: Path

    @classmethod
    def start(cls, args: Sequence[str], log: Path, **environment: str) -> "Command":
        process = context.Process(target=run_command, args=(list(args), str(log), environment))
        process.start()
        started.append(process.pid)
        return cls(process, log)

    def until(self, happened: Callable[[], bool]) -> None:
        """Waits for something that the command does; fails if the command ends before."""
        limit = time.monotonic() + PATIENCE
        while not happened():
            assert self.process.is_alive(), f"ended too early:\n{self.output()}"
            assert time.monotonic() < limit, f"hangs:\n{self.output()}"
            time.sleep(0.002)

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.kill(self.process.pid, number)

    def wait(self) -> int:
        """Exit status; minus the signal's number where a signal killed it."""
        self.process.join(PATIENCE)
        if self.process.is_alive():
            end_group(self.process.pid)
            self.process.join()
            raise AssertionError(f"hangs:\n{self.output()}")
        return self.process.exitcode

    def output(self) -> str:
        return self.log.read_text() if self.log.exists() else ""


def end_group(number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(number, signal.SIGKILL)


def start_script(args: Sequence[str], **environment: str) -> subprocess.Popen:
    """The console script, in a process group of its own."""
    process = subprocess.Popen(
        [Path(sysconfig.get_path("scripts")) / "leadgrad", *args],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    started.append(process.pid)
    return process


def start_nodes(
    args: Sequence[str], log: Path, *options: str, **environment: str
) -> list[subprocess.Popen]:
    """The command on two nodes of one process each, by a real ``torchrun`` each, on loopback."""
    meet = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", "--rdzv-id=tests"]
    meet.append(f"--rdzv-endpoint=127.0.0.1:{free_port()}")
    line = [sys.executable, "-m", "torch.distributed.run", *meet, *options]
    line += ["-m", "leadgrad.pipelines.cli", *args]
    paths = [*sys.path, str(Path(__file__).parent)]
    agents = []
    for number in range(2):
        with log.with_suffix(f".node{number}").open("w") as file:
            agent = subprocess.Popen(
                line,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started.append(agent.pid)
        agents.append(agent)
    return agents


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def launched(process: int) -> list[int]:
    """Processes of a distributed run that this one has started; Linux."""
    ranks = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # ended meanwhile
            for child in task.read_text().split():
                if b"LOCAL_RANK=" in Path(f"/proc/{child}/environ").read_bytes():
                    ranks.append(int(child))
    return ranks


def start_ranks(
    args: Sequence[str],
    world: int,
    log: Path,
    *,
    nodes: int = 1,
    strategy: Sequence[str] = ("=ddp",),
    **more: str,
) -> list[Command]:
    """One command per rank of a distributed run, started from outside as ``torchrun`` does."""
    port, local = free_port(), world // nodes
    options = [f"--trainer.strategy{value}" for value in strategy] if nodes == 1 else []
    return [
        Command.start(
            [*args, *options],
            log.with_suffix(f".{rank}"),
            RANK=str(rank),
            LOCAL_RANK=str(rank % local),
            WORLD_SIZE=str(world),
            LOCAL_WORLD_SIZE=str(local),
            GROUP_RANK=str(rank // local),
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(port),
            TORCHELASTIC_RUN_ID="tests",
            **more,
        )
        for rank in range(world)
    ]
