"""Commands as others read them, in cards and on pages: without the paths of one machine."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

_ABSOLUTE = re.compile(r"""(?<![\w.:/~*?-])/[^\s,\[\]{}'"=:]+""")
"""A path inside a longer word, such as a list; not what follows the scheme of a URL."""


def portable(words: Sequence[str]) -> str:
    """One line to type, whose absolute paths are relative.

    To the working directory where they lie below it; else their last part alone, which says what is
    meant and not where it lay.
    """
    return shlex.join(_relative(word) for word in words)


def _relative(word: str) -> str:
    name, equals, value = word.rpartition("=")
    if value.startswith("/") and not set(value) & set(",[]{}'\""):
        return name + equals + _short(value)
    return _ABSOLUTE.sub(lambda found: _short(found[0]), word)


def _short(path: str) -> str:
    here, full = Path.cwd(), Path(path)
    return str(full.relative_to(here)) if full.is_relative_to(here) else full.name
