"""What torchrun and srun say about the processes that they have started.

Imports only what is quick: it is asked before anything else is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")
"""Of torchrun, of Lightning's own launcher, of srun; in the order in which Lightning asks."""


def global_rank(environment: Mapping[str, str] = os.environ) -> int:
    """Number of this process among those of its run; 0 of a single one."""
    return next((int(environment[name]) for name in _RANKS if environment.get(name)), 0)


def world_options(environment: Mapping[str, str] = os.environ) -> dict[str, int]:
    """The trainer's ``devices`` and ``num_nodes`` where another program has started the processes.

    torchrun tells both; of srun's tasks Lightning must be told itself (docs/machines.md).

    Raises:
        ValueError: If torchrun may start the processes again on a store that it does not empty.
    """
    if "TORCHELASTIC_RUN_ID" not in environment:
        return {}
    local, world = int(environment["LOCAL_WORLD_SIZE"]), int(environment["WORLD_SIZE"])
    if world > 1:
        _refuse_a_kept_store(environment)
    return {"devices": local, "num_nodes": world // local}


def _refuse_a_kept_store(environment: Mapping[str, str]) -> None:
    """Refuses restarts in which a process may read the address of one that has ended.

    torchrun (torch 2.15) keeps one store for all attempts, with one set of keys: whoever starts
    first reads where the others of the last attempt were, and is refused, or waits for 30 minutes
    (pytorch/pytorch issue 135712). Without sharing, each attempt has a store of its own.
    """
    restarts = environment.get("TORCHELASTIC_MAX_RESTARTS", "0")
    if int(restarts) > 0 and environment.get("TORCHELASTIC_USE_AGENT_STORE") == str(True):
        raise ValueError(
            f"torchrun's --max-restarts is {restarts}, but its processes share one store, in which "
            "a second attempt finds the addresses of the first and may hang; set "
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in the environment of torchrun on every node, "
            "with --rdzv-backend=c10d or --standalone, or leave --max-restarts out "
            "(docs/machines.md)"
        )


def refuse_inner_processes(processes: int, environment: Mapping[str, str] = os.environ) -> None:
    """Refuses that a process of several starts processes of its own.

    Raises:
        ValueError: If this is one.
    """
    world = environment.get("WORLD_SIZE")
    if world is not None and int(world) > 1:
        raise ValueError(
            f"processes is {processes}, but this is one of {world} processes that torchrun has "
            "started, which share the work already; leave processes out"
        )


def print_only_first(environment: Mapping[str, str] = os.environ) -> None:
    """Drops what other processes than the first print as results; messages on stderr stay."""
    if global_rank(environment) > 0 and sys.stdout is sys.__stdout__:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the end
