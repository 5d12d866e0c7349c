"""Objects from the ``{class_path, init_args}`` that configurations, runs and cards hold.

What a class or function takes as ``**kwargs`` stands under ``dict_kwargs``, beside ``init_args``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from types import TracebackType
from typing import Any

from leadgrad.pipelines.config.moved import present
from leadgrad.pipelines.config.nearest import suggestion


class ClassPathError(ValueError):
    """A class that a configuration, run or card names and that cannot be imported or called."""


def instantiate(node: dict[str, Any], **more: Any) -> Any:
    """An object from its class path and arguments.

    Args:
        node: ``class_path`` and ``init_args``, which may hold such nodes themselves, alone or in
            lists; and ``dict_kwargs``, what a function with ``**kwargs`` takes beside them.
        more: Arguments beside, or instead of, those of the node.

    Raises:
        ClassPathError: If there is no such class, its file cannot be imported, or it does not take
            these arguments.
    """
    node = present(node)
    made = imported(str(node["class_path"]))
    given = {**(node.get("init_args") or {}), **(node.get("dict_kwargs") or {})}
    arguments = {**{key: _value(value) for key, value in given.items()}, **more}
    try:
        inspect.signature(made).bind(**arguments)
    except ValueError:
        pass  # a class of C code, which does not say what it takes
    except TypeError as error:
        raise ClassPathError(
            f"{node['class_path']} does not take the arguments {', '.join(arguments) or 'none'}: "
            f"{error}; has it changed since they were written?"
        ) from error
    return made(**arguments)


def _value(value: Any) -> Any:
    if isinstance(value, list):
        return [_value(one) for one in value]
    return instantiate(value) if isinstance(value, dict) and "class_path" in value else value


def imported(class_path: str) -> Any:
    """The class or function of this name.

    Raises:
        ClassPathError: If there is none, or its file cannot be imported.
    """
    module, _, name = class_path.rpartition(".")
    if not module:
        raise ClassPathError(f"{class_path!r} is no class path; expected such as my_file.Net")
    try:
        home = import_module(module)
    except Exception as error:
        problem = import_problem(error, class_path)
        raise ClassPathError(problem or f"{class_path} cannot be imported: {error}") from error
    if not hasattr(home, name):
        known = [f"{module}.{other}" for other in vars(home) if not other.startswith("_")]
        raise ClassPathError(suggestion(class_path, known, kind="class"))
    return getattr(home, name)


def import_problem(error: BaseException, class_path: str | None = None) -> str | None:
    """In a line: which module is not found, or which line of a file cannot be imported.

    Args:
        error: What an import raised, or what was raised on account of that.
        class_path: Whose import it was, where that is known.

    Returns:
        None if ``error`` comes of no import.
    """
    for cause in _causes(error):
        what = f"{class_path} cannot be imported: " if class_path else ""
        if place := _broken_place(cause):
            said = cause.msg if isinstance(cause, SyntaxError) else str(cause)
            return f"{what}{place}: {type(cause).__name__}: {' '.join(said.split())}"
        if isinstance(cause, ModuleNotFoundError) and cause.name:
            return (
                f"{what}there is no module {cause.name!r}; start the command in the folder where "
                f"{cause.name.split('.')[0]}.py lies, or set PYTHONPATH to that folder; a package "
                "must be installed"
            )
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        context = None if error.__suppress_context__ else error.__context__
        error = error.__cause__ or context


def _broken_place(error: BaseException) -> str | None:
    """File and line of a module whose execution, started by an import, raised ``error``."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    place = None
    step: TracebackType | None = error.__traceback__
    while step is not None:
        frame = step.tb_frame
        # The program itself is executed too, but by no import
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") != "__main__":
            place = f"{frame.f_code.co_filename}, line {step.tb_lineno}"
        step = step.tb_next
    return place
