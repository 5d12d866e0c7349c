"""The command line's parser: LightningCLI's, with an answer to unknown keys."""

from __future__ import annotations

import difflib
import inspect
import re
import sys
from typing import Any, NoReturn

from jsonargparse import set_parsing_settings
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from leadgrad.attacks import Attack

# Attacks are dataclasses that are chosen by class; jsonargparse takes dataclasses as fixed otherwise.
set_parsing_settings(subclasses_enabled=[Attack])

_UNKNOWN = re.compile(
    r"unrecognized arguments: (?P<argument>\S+)"
    r"|Option '(?P<option>[^']+)' is not accepted"
    r"|Key '(?P<key>[^']+)' is not expected"
    r"|(?:Group|Subcommand) '[^']*' does not accept (?:option|nested key) '(?P<nested>[^']+)'"
    r"|Unexpected (?:arguments|keys): (?P<unexpected>\S+)",
    re.IGNORECASE,
)


class Parser(LightningArgumentParser):
    """Adds the nearest valid name to the message about an unknown one."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Exits with status 2, without the usage's forty lines."""
        found = _UNKNOWN.search(message)
        if found:
            wrong = next(group for group in found.groups() if group).lstrip("-").split("=")[0]
            message += f"\n  {suggestion(wrong, self._known_keys(wrong))}"
        if not self.exit_on_error:
            super().error(message, ex)
        print(f"error: {message}\n(--help lists the options)", file=sys.stderr)
        raise SystemExit(2)

    def _known_keys(self, wrong: str) -> list[str]:
        keys: set[str] = set()
        for action in self._actions:
            keys.add(action.dest)
            for classes in _classes(action):
                keys.update(f"{action.dest}.{name}" for name in _parameters(classes))
        if "." not in wrong:
            keys |= {key.rsplit(".", 1)[-1] for key in keys}
        return sorted(keys)


def suggestion(wrong: str, known: list[str]) -> str:
    """A line that names the key nearest to a wrong one."""
    near = difflib.get_close_matches(wrong, known, n=1, cutoff=0.0)
    return f"There is no key {wrong!r}; the nearest valid one is {near[0]!r}"


class CLI(LightningCLI):
    """LightningCLI with our parser, taking its arguments as given."""

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Our parser in place of Lightning's."""
        self.parser_class = Parser
        return super().init_parser(**{**kwargs, "dump_header": None})

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses without Lightning's warning about a second source of arguments."""
        self.config = parser.parse_args(args)


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
