"""The command line's parser: LightningCLI's, with an answer to unknown keys."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

from jsonargparse import set_parsing_settings
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from leadgrad.attacks import Attack
from leadgrad.pipelines.nearest import NEAREST, suggestion

# Attacks are dataclasses chosen by class; jsonargparse takes dataclasses as fixed otherwise
set_parsing_settings(subclasses_enabled=[Attack])

_UNKNOWN = re.compile(
    r"unrecognized arguments: -*(?P<argument>[^\s=]+)"
    r"|Option '(?P<option>[^']+)' is not accepted"
    r"|Key '(?P<key>[^']+)' is not expected"
    r"|Group '(?P<group>[^']*)' does not accept option '(?P<nested>[^']+)'"
    r"|Unexpected (?:arguments|keys): (?P<unexpected>\S+)",
    re.IGNORECASE,
)
_NO_CLASS = re.compile(r"module '(?P<module>[\w.]+)' has no attribute '(?P<name>\w+)'")
_INNER = re.compile(
    r"Problem with given class_path '(?P<path>[\w.]+)':\s+(?:Option|Key) '(?P<key>[\w.]+)' is not"
)
_OPTIONAL = re.compile(
    r"Does not validate against any of the Union subtypes\n.*?Errors:\n\s+- (?!Not a)(.*?)"
    r"\n\s+- Expected a <class 'NoneType'>\n.*",
    re.DOTALL,
)
"""What jsonargparse says of a value that it also compared with None, which nobody gave."""


class Parser(LightningArgumentParser):
    """Adds the nearest valid name to the message about an unknown one."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Exits with status 2, without the usage's forty lines."""
        message = _OPTIONAL.sub(r"\1", message)
        if NEAREST not in message:  # else the parser of an inner class has answered already
            message = "\n  ".join([message, *self._answers(message)])
        if "dict_kwargs" not in message and (found := _INNER.search(message)):
            message = "\n  ".join([message, *_of_kwargs(found["path"], found["key"])])
        if not self.exit_on_error:
            super().error(message, ex)
        print(f"error: {message}\n(--help lists the options)", file=sys.stderr)
        raise SystemExit(2)

    def _answers(self, message: str) -> Iterator[str]:
        if found := _UNKNOWN.search(message):
            wrong = ".".join(part for part in found.groups() if part)
            yield suggestion(wrong, self._known_keys())
        if found := _NO_CLASS.search(message):
            module = found["module"]
            names = [name for name in vars(sys.modules[module]) if not name.startswith("_")]
            known = [f"{module}.{name}" for name in names]
            yield suggestion(f"{module}.{found['name']}", known, kind="class")

    def _known_keys(self) -> list[str]:
        keys: set[str] = set()
        for action in self._actions:
            keys.add(action.dest)
            for classes in _classes(action):
                keys.update(f"{action.dest}.{name}" for name in _parameters(classes))
        return sorted(keys)


class CLI(LightningCLI):
    """LightningCLI with our parser, taking its arguments as given."""

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Our parser in place of Lightning's."""
        self.parser_class = Parser
        parser = super().init_parser(**{**kwargs, "dump_header": None})
        parser.allow_abbrev = False  # a misspelt option must not pass for a longer one
        return parser

    def instantiate_classes(self) -> None:
        """Reports what a class said of its arguments as the class said it."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            if found := _OPTIONAL.fullmatch(str(error)):
                raise ValueError(found[1]) from error
            raise

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses without Lightning's warning about a second source of arguments."""
        self.config = parser.parse_args(args)


def _of_kwargs(path: str, key: str) -> Iterator[str]:
    """Where arguments go that a signature has only as ``**kwargs``, which no parser sees into."""
    module, _, name = path.rpartition(".")
    parameters = inspect.signature(getattr(sys.modules[module], name)).parameters.values()
    if any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters):
        yield f"If {key!r} is of {path}'s **kwargs, give it under dict_kwargs, beside init_args"


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
