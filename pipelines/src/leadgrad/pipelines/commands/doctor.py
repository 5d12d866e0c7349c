"""``leadgrad doctor``: what this machine has, which data is found, and what will be slow."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from leadgrad.pipelines.attack.bfloat16 import native_bfloat16
from leadgrad.pipelines.attack.results import versions
from leadgrad.pipelines.commands.arguments import doctor_parser
from leadgrad.pipelines.commands.verify_data import KindError, detect

OPTIONAL = {
    "timm": "FromTimm and the networks of tokens",
    "MinkowskiEngine": "MinkUNet on another engine, to compare",
    "torchattacks": "benches beside another library",
}
"""Packages that leadgrad can do without, and what for."""


def cores() -> int | None:
    """That this process may use; None where the system does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def devices() -> list[tuple[str, str]]:
    """Of what an attack can run on, with memory and cores."""
    rows = [("CPU", f"{cores()} cores, {torch.get_num_threads()} threads of torch")]
    for number in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(number)
        rows.append((f"CUDA {number}", f"{card.name}, {card.total_memory / 2**30:.0f} GiB"))
    return rows


def data(root: Path) -> list[tuple[str, str]]:
    """Which data sets lie in a folder, or in its folders; by names alone, nothing is read."""
    own = _kind(root)
    rows = [] if own is None else [(str(root), own)]
    for folder in sorted(each for each in root.glob("*") if each.is_dir()):
        kind = _kind(folder)
        if kind is not None and kind != own:  # of the root's kind it is a part of that
            rows.append((str(folder), kind))
    return rows or [(str(root), "no data set; the digits and the made-up scenes need none")]


def _kind(folder: Path) -> str | None:
    """Of the data in a folder; None of some other folder, or of none."""
    try:
        return detect(folder)
    except KindError:
        return None


def slow() -> list[str]:
    """What will take long here, and the remedy."""
    found = []
    if not torch.cuda.is_available():
        found.append(
            "no CUDA device: ImageNet and the published recipes of scenes take days here; the "
            "demo, the digits, CIFAR-10 and made-up scenes do not"
        )
    capability = torch.backends.cpu.get_cpu_capability()
    if capability == "DEFAULT":
        found.append("torch uses no AVX2 here: all on the processor takes several times as long")
    if not native_bfloat16():
        found.append(
            "bfloat16 is emulated by this processor: leave surrogate_precision and "
            "trainer.precision at float32 on it"
        )
    threads, own = torch.get_num_threads(), cores()
    if own is not None and threads > own:
        found.append(
            f"torch has {threads} threads for {own} cores, which wait for each other: set "
            f"OMP_NUM_THREADS={own} or less"
        )
    return found


def main(args: Sequence[str]) -> int:
    """Prints it all."""
    options = doctor_parser().parse_args(list(args))
    optional = [
        (name, ("installed" if find_spec(name) else "not installed") + f"; for {use}")
        for name, use in OPTIONAL.items()
    ]
    instructions = [
        ("torch", torch.backends.cpu.get_cpu_capability()),
        ("bfloat16", "native" if native_bfloat16() else "emulated"),
    ]
    console = Console()
    for title, rows in (
        ("versions", list(versions().items())),
        ("devices", devices()),
        ("instructions", instructions),
        ("optional", optional),
        ("data", data(Path(options.root))),
    ):
        table = Table(title=title, title_justify="left", show_header=False)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for line in slow():
        console.print(f"slow: {line}", markup=False, soft_wrap=True)
    return 0
