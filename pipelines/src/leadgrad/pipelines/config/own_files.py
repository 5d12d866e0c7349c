"""Where a user's own classes are found: the working directory and the configurations' folders."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CONFIGURATIONS = (".yaml", ".yml", ".json")
_NAMED_IN = ("config", "model", "data", "trainer")
"""Options, or first parts of options, whose value may be a configuration file."""


@contextmanager
def own_files_importable(args: Sequence[str]) -> Iterator[None]:
    """Lets ``class_path: my_file.Net`` find ``my_file.py``, which a console script alone would not.

    Processes that Lightning starts repeat the command line, so they find the same files.

    Args:
        args: The command line. Folders of the configuration files in it are searched too.
    """
    folders = [Path.cwd(), *(path.parent.resolve() for path in configuration_files(args))]
    added = [name for name in dict.fromkeys(map(str, folders)) if name not in sys.path]
    # At the end: a torch.py that lies there must not be taken for the installed package
    sys.path.extend(added)
    try:
        yield
    finally:
        for name in added:
            if name in sys.path:
                sys.path.remove(name)


def configuration_files(args: Sequence[str]) -> Iterator[Path]:
    """The configuration files that a command line names and that are there."""
    for name, value in options(args):
        if name.split(".")[0] not in _NAMED_IN or value is None:
            continue
        if (value.endswith(CONFIGURATIONS) or name == "config") and os.path.isfile(value):
            yield Path(value)


def options(args: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Names, without dashes, and values of a command line's options; None without a value."""
    for number, argument in enumerate(args):
        if argument == "-c" or argument.startswith("-c="):
            argument = argument.replace("-c", "--config", 1)
        if not argument.startswith("--"):
            continue
        name, equals, value = argument[2:].partition("=")
        following = args[number + 1] if number + 1 < len(args) else None
        if equals:
            yield name.rstrip("+"), value
        elif following is None or following.startswith("--"):
            yield name.rstrip("+"), None
        else:
            yield name.rstrip("+"), following
