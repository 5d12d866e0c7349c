"""A parser whose refusal is one line, with the nearest valid name.

Apart from Lightning's, whose import takes seconds.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from jsonargparse import ArgumentParser

from leadgrad.pipelines.config.instantiate import ClassPathError, import_problem, imported
from leadgrad.pipelines.config.nearest import NEAREST, suggestion
from leadgrad.pipelines.config.refusals import one_line

_UNKNOWN = re.compile(
    r"unrecognized arguments: -*(?P<argument>[^\s=]+)"
    r"|Option '(?P<option>[^']+)' is not accepted"
    r"|Key '(?P<key>[^']+)' is not expected"
    r"|Group '(?P<group>[^']*)' does not accept option '(?P<nested>[^']+)'"
    r"|Unexpected (?:arguments|keys): (?P<unexpected>\S+)",
    re.IGNORECASE,
)
_STRAY = re.compile(r"unrecognized arguments: (?P<word>[^\s-]\S*)", re.IGNORECASE)
_GIVEN_CLASS = re.compile(r"Problem with given class_path '([\w.]+)'")
_OF_KEY = re.compile(r'Parser key "([\w.]+)"')
_NO_MODULE = re.compile(r"No module named '(?P<name>[\w.]+)'")
_NO_CLASS = re.compile(r"module '(?P<module>[\w.]+)' has no attribute '(?P<name>\w+)'")
_NOT_MADE = re.compile(
    r"Import path (?P<path>[\w.]+) does not correspond to a subclass of (?P<base>\w+)"
)
_NOT_MADE_OR_READ = re.compile(
    r"Expected a path but (?P<path>[\w.]+) .*?"
    r"Import path does not correspond to a subclass of (?P<base>\w+)",
    re.DOTALL,
)
"""The same of a value that may be a file's name too."""
OPTIONAL = re.compile(
    r"Does not validate against any of the Union subtypes\n.*?Errors:\n\s+- (?!Not a)(.*?)"
    r"\n\s+- Expected a <class 'NoneType'>\n.*",
    re.DOTALL,
)
"""What jsonargparse says of a value that it also compared with None, which nobody gave."""
_OPTIONAL_VALUE = re.compile(
    r"Does not validate against any of the Union subtypes\n[^\n]*\n\s+Errors:"
    r"\n\s+- (Expected a (?:<class|typing)[^\n]*)\n\s+- Expected a <class 'NoneType'>"
    r"\n[^\n]*\n\s+Given value: ([^\n]*)"
)
"""The same of a plain value, which stands at the end."""
_FURTHER, _NONE = "takes further arguments as dict_kwargs", "takes no arguments"
_RETURNS = "is a function that does not say what it returns"


class PlainParser(ArgumentParser):
    """jsonargparse's, with the nearest valid name in the message about an unknown one."""

    _made: Any = None
    """What an inner parser's arguments are for: a class, or a function that makes an object."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # A misspelt option must not pass for a longer one
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def add_class_arguments(
        self, class_type: type, nested_key: str | None = None, *args: Any, **kwargs: Any
    ) -> list[str]:
        """As its base, and remembers the class."""
        if nested_key is None:
            self._made = class_type
        added: list[str] = super().add_class_arguments(class_type, nested_key, *args, **kwargs)
        return added

    def add_function_arguments(
        self, function: Callable[..., Any], nested_key: str | None = None, *args: Any, **kwargs: Any
    ) -> list[str]:
        """As its base, and remembers the function."""
        if nested_key is None:
            self._made = function
        added: list[str] = super().add_function_arguments(function, nested_key, *args, **kwargs)
        return added

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Exits with status 2, without the usage's forty lines."""
        message = _OPTIONAL_VALUE.sub(r"\1. Got value: \2", message)
        message = _unimportable(message, ex) or OPTIONAL.sub(r"\1", message)
        if not any(answer in message for answer in (NEAREST, _FURTHER, _NONE, _RETURNS)):
            # Else the parser of an inner class has answered already
            message = "\n  ".join([message, *self._answers(message)])
        if not self.exit_on_error:
            super().error(message, ex)
        print(f"error: {one_line(message)}\n(--help lists the options)", file=sys.stderr)
        raise SystemExit(2)

    def _answers(self, message: str) -> Iterator[str]:
        if found := _STRAY.search(message):
            word = found["word"]
            yield f"{word!r} is no option; give --OPTION VALUE, in quotes if VALUE has spaces"
        elif found := _UNKNOWN.search(message):
            wrong = ".".join(part for part in found.groups() if part)
            known = self._known_keys()
            if self._made is not None and _takes_any(self._made):
                yield f"{self._name()} {_FURTHER}: {{{wrong}: ...}}, beside init_args"
            else:
                yield suggestion(wrong, known) if known else f"{self._name()} {_NONE}"
        if found := _NO_CLASS.search(message):
            module = found["module"]
            names = [name for name in vars(sys.modules[module]) if not name.startswith("_")]
            known = [f"{module}.{name}" for name in names]
            yield suggestion(f"{module}.{found['name']}", known, kind="class")
        found = _NOT_MADE.search(message) or _NOT_MADE_OR_READ.search(message)
        if found and _is_silent(imported(found["path"])):
            base = "nn.Module" if found["base"] == "Module" else found["base"]
            name = found["path"].rpartition(".")[2]
            yield f"{found['path']} {_RETURNS}; write def {name}(...) -> {base}:"

    def _name(self) -> str:
        return str(getattr(self._made, "__qualname__", self._made))

    def _known_keys(self) -> list[str]:
        keys: set[str] = set()
        for action in self._actions:
            if action.dest == "help" or action.dest.endswith(".help"):
                continue
            keys.add(action.dest)
            for classes in _classes(action):
                keys.update(f"{action.dest}.{name}" for name in _parameters(classes))
        return sorted(keys)


def _unimportable(message: str, error: Exception | None) -> str | None:
    """In a line, what keeps a class from being imported, if that is what ``message`` is about."""
    paths, keys = _GIVEN_CLASS.findall(message), _OF_KEY.findall(message)
    path = paths[-1] if paths else None
    problem = None if error is None else import_problem(error, path)
    if problem is None and path is not None and _NO_MODULE.search(message):
        # Of a value that may be a file's name too, jsonargparse hands on that failure alone
        try:
            imported(path)
        except ClassPathError as failed:
            problem = str(failed)
    return problem if problem is None or not keys else f"{keys[0]}: {problem}"


def _takes_any(made: Any) -> bool:
    kinds = (parameter.kind for parameter in inspect.signature(made).parameters.values())
    return inspect.Parameter.VAR_KEYWORD in kinds


def _is_silent(made: Any) -> bool:
    """Whether it is a function without the annotation of what it returns."""
    return inspect.isfunction(made) and "return" not in made.__annotations__


def _classes(action: Any) -> list[type]:
    """Classes that an option may be set to, with all their subclasses that are imported."""
    base = getattr(action, "_typehint", None)
    found, queue = [], [base] if isinstance(base, type) else []
    while queue:
        cls = queue.pop()
        if cls in (int, str, float, bool, dict, list) or cls in found:
            continue
        found.append(cls)
        queue.extend(cls.__subclasses__())
    return [cls for cls in found if cls.__module__.startswith("leadgrad.")]


def _parameters(cls: type) -> list[str]:
    return [name for name in inspect.signature(cls).parameters if name not in ("self", "args")]
