"""Memory of this process, as Linux counts it: what the benches' peaks are measured with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def grown_mib(work: Callable[[], object]) -> float:
    """How far the greatest resident set grows over what is there before some work, in MiB."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from here
    before = _mib("VmRSS")
    work()
    return _mib("VmHWM") - before


def _mib(field: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1024
