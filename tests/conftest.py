"""Lets the tests of this folder import its helper modules, and computes with one thread."""

import os
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
# Processes that the tests start: beside other load two OpenMP threads are far slower than one
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """As in the processes that the tests start: results are the same bits for the same threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _no_process_left():
    """Whatever a test started and then failed to wait for ends with it."""
    yield
    run_processes = sys.modules.get("run_processes")
    while run_processes is not None and run_processes.started:
        run_processes.end_group(run_processes.started.pop())
