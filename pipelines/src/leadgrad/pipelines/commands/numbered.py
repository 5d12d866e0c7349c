"""Commands that make one of the paper's numbered things: ``leadgrad table N``, ``figure N``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module


def run_numbered(
    command: str,
    modules: Mapping[str, str],
    args: Sequence[str],
    purposes: Mapping[str, str] | None = None,
) -> int:
    """Runs the one that the first argument names.

    Args:
        command: Its name.
        modules: Number to the module whose ``main`` gets all arguments.
        args: After the command.
        purposes: What each is, if their numbers do not say it.

    Returns:
        The exit status; 2 where there is no such number.
    """
    if args and args[0] in modules:
        run: Callable[[Sequence[str]], int] = import_module(modules[args[0]]).main
        return run(args)
    if args and not args[0].startswith("-"):
        print(
            f"error: there is no {command} {args[0]}; give one of {', '.join(modules)}\n"
            f"(leadgrad {command} --help lists them)",
            file=sys.stderr,
        )
        return 2
    lines = [f"usage: leadgrad {command} N [--help] ...", f"N is one of {', '.join(modules)}"]
    lines += [f"  {name}  {purpose}" for name, purpose in (purposes or {}).items()]
    print("\n".join(lines), file=sys.stderr)
    return 0 if args and args[0] in ("-h", "--help") else 2
