"""The ``leadgrad`` command."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from leadgrad.pipelines.commands.terminal import forgiving_streams
from leadgrad.pipelines.config.nearest import suggestion
from leadgrad.pipelines.config.own_files import own_files_importable
from leadgrad.pipelines.processes.parents import end_with_parent
from leadgrad.pipelines.processes.typed import remembering
from leadgrad.pipelines.processes.world import print_only_first
from leadgrad.pipelines.runs.quiet import LIBRARIES, ignore_warnings

_ROOM = "leadgrad.pipelines"
COMMANDS = {
    "fit": (f"{_ROOM}.commands.fit", "train a victim"),
    "validate": (f"{_ROOM}.commands.fit", "measure a trained victim's clean accuracy"),
    "publish": (f"{_ROOM}.commands.publish", "write a finished fit's weights and card"),
    "attack": (f"{_ROOM}.commands.attack", "attack a victim and write a run directory"),
    "verify": (f"{_ROOM}.commands.verify", "recompute a run's numbers from its files alone"),
    "export-ply": (f"{_ROOM}.commands.export_ply", "write a run's attacked scenes as PLY files"),
    "prepare": (
        f"{_ROOM}.commands.prepare",
        "unpack ImageNet, make scenes of raw ScanNet or S3DIS scans",
    ),
    "verify-data": (f"{_ROOM}.commands.verify_data", "list every damaged file of a data set"),
    "sweep": (f"{_ROOM}.commands.sweep", "compare attacks, budgets and methods on a victim"),
    "tune": (f"{_ROOM}.paper.tune_cli", "choose slopes on validation images"),
    "table": (f"{_ROOM}.commands.table", "measure a table of the paper again"),
    "figure": (f"{_ROOM}.commands.figure", "draw a figure of the paper from a run"),
    "board": (f"{_ROOM}.commands.board", "published victims, frozen and in the worst case"),
    "doctor": (f"{_ROOM}.commands.doctor", "what this machine has, and what will be slow"),
    "completion": (f"{_ROOM}.commands.completion", "a shell's script for the Tab key"),
    "demo": (f"{_ROOM}.demo.command", "train and attack small victims on real digits"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns the exit status."""
    end_with_parent()
    print_only_first()
    forgiving_streams()
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help"):
        print(usage())
        return 0 if args else 2
    if args[0] not in COMMANDS:
        wrong = suggestion(args[0], list(COMMANDS), kind="command")
        print(f"error: {wrong}\n(leadgrad --help lists all)", file=sys.stderr)
        return 2
    # Lightning 2.6 calls a jsonargparse name that was renamed in 4.49
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    ignore_warnings()
    try:
        with own_files_importable(args[1:]), remembering(["leadgrad", *args]):
            return _run(args[0], args[1:])
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as shells report it
    except Exception as error:
        from leadgrad.pipelines.commands.failures import explained

        message = explained(error)
        if message is None or os.environ.get("LEADGRAD_TRACEBACK"):
            raise
        print(f"error: {message}\n(LEADGRAD_TRACEBACK=1 shows where)", file=sys.stderr)
        return 1


def _run(name: str, args: Sequence[str]) -> int:
    from leadgrad.pipelines.commands.early import check_early

    check_early(name, args)
    args = ["--help" if argument == "--help_all" else argument for argument in args]
    module = COMMANDS[name][0]
    command: Callable[[Sequence[str]], int] = import_module(module).main
    for library in LIBRARIES:  # now, as their import switches remarks on
        logging.getLogger(library).setLevel(logging.WARNING)
    return command([name, *args] if module.endswith("commands.fit") else args)


def usage() -> str:
    """What there is."""
    lines = [f"  {name:<12} {purpose}" for name, (_, purpose) in COMMANDS.items()]
    return "\n".join(["usage: leadgrad COMMAND [--help] ...", "", *lines])


if __name__ == "__main__":
    sys.exit(main())
