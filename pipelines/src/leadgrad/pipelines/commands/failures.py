"""What an exception that ended a command means for its user, in a line."""

from __future__ import annotations

import json
from argparse import ArgumentError
from pickle import UnpicklingError
from zipfile import BadZipFile

import yaml

from leadgrad.pipelines.config.instantiate import import_problem

_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
_DAMAGED = (json.JSONDecodeError, UnicodeDecodeError, BadZipFile, EOFError, UnpicklingError)


def explained(error: Exception) -> str | None:
    """The message for stderr.

    Args:
        error: As it reached ``main``.

    Returns:
        None for what only a traceback explains: a fault of the program, or in a network's own code.
    """
    said = " ".join(str(error).split())
    kind = f"{type(error).__module__}.{type(error).__name__}"
    if isinstance(error, MemoryError) or any(words in said.lower() for words in _NO_MEMORY):
        return (
            f"out of memory ({said or 'no more to be had'}); take fewer samples at once "
            "(--data.batch_size), or end other programs"
        )
    if isinstance(error, ImportError | SyntaxError):
        return import_problem(error) or said
    if isinstance(error, _DAMAGED) or "SafetensorError" in kind:
        return (
            f"{_place(error)} read a file that is damaged or of another kind "
            f"({type(error).__name__}: {said}); restore it, or name another"
        )
    if isinstance(error, KeyError) and (place := _place(error)):
        return f"{place} read a file that lacks the key {said}; restore it, or make it anew"
    if isinstance(error, ValueError | TypeError | OSError):
        return str(error)
    if isinstance(error, ArgumentError | yaml.YAMLError) or kind.endswith(
        ".MisconfigurationException"
    ):
        return said
    return None


def _place(error: BaseException) -> str:
    """The module and line of this package that met the error itself; "" if others did."""
    step = error.__traceback__
    place = ""
    while step is not None:
        module = str(step.tb_frame.f_globals.get("__name__"))
        if module.startswith("leadgrad."):
            place = f"{module}, line {step.tb_lineno},"
        elif isinstance(error, KeyError):
            place = ""
        step = step.tb_next
    return place
