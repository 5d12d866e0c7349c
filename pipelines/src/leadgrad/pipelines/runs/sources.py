"""The code that decides a run's numbers, as digests: a resumed run must have the same.

Weights, data and settings do not tell what a network, an attack or a gradient method *does*. What
is installed has a version; what is not (one's own files, or leadgrad itself where it is installed
from a working copy) is edited between one start and the next. So each module of the second kind
that the run's objects are made of, or that these import, stands in the fingerprint with a digest.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import io
import site
import sys
import sysconfig
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from importlib.machinery import ModuleSpec
from importlib.metadata import packages_distributions, version
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

OURS = "leadgrad."
"""Prefix of this project's modules, whose changes a reader tells from those of his own."""

UNKNOWN = "no source"
"""Stands for code that was typed into an interpreter: nothing can tell whether it changes."""

_VERSIONED = frozenset({"torch", "leadgrad", "lightning", "numpy", "torchmetrics"})
"""Packages that every run has."""


def code_digests(*objects: Any) -> dict[str, str]:
    """Digest (or version) of each module that these objects' behaviour comes from, by its name.

    Args:
        objects: Networks, attacks, gradient methods, datamodules, callbacks, functions.

    Returns:
        For a module that is no installed package's, 12 hex digits of the SHA-256 of its source
        without comments and docstrings; for an installed package, its version.
    """
    found: dict[str, str] = {}
    packages: set[str] = set()
    queue = sorted({name for each in objects for name in _modules_of(each)})
    seen: set[str] = set()
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        seen.add(name)
        module = sys.modules.get(name)
        file = _file(name)
        if file is None and name != "__main__":  # Python's own, or nothing that is there
            continue
        if file is not None and _is_installed(file):
            packages.add(name.partition(".")[0])
            continue
        found[name] = UNKNOWN if file is None else _digest(file)
        used = {name.rpartition(".")[0]}  # a package runs before its modules
        if file is not None:
            used |= _imported_by(name, file)
        queue += [each for each in used if not _is_foreign(each)]
        if module is not None:
            queue += [each for each in _used_by(module) if not _is_foreign(each)]
    return dict(sorted({**found, **_versions(packages)}.items()))


def own_modules(digests: Mapping[str, str]) -> dict[str, str]:
    """Those of ``code_digests`` that are not this project's."""
    return {name: value for name, value in digests.items() if not name.startswith(OURS)}


def _modules_of(value: Any) -> Iterator[str]:
    """Names of the modules that define a value's classes and functions, through its parts."""
    if isinstance(value, type):
        yield from (cls.__module__ for cls in value.__mro__)
    elif isinstance(value, functools.partial):
        yield from _modules_of(value.func)
    elif isinstance(value, list | tuple | set | frozenset):
        for part in value:
            yield from _modules_of(part)
    elif isinstance(value, Mapping):
        yield from _modules_of(list(value.values()))
    elif callable(value) and isinstance(getattr(value, "__module__", None), str):
        yield value.__module__
        if not hasattr(value, "__qualname__"):  # an object that can be called
            yield from _modules_of(type(value))
    else:
        yield from _modules_of(type(value))
    if isinstance(value, nn.Module):
        for part in value.modules():
            yield from _modules_of(type(part))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _modules_of(getattr(value, field.name))


def _used_by(module: ModuleType) -> set[str]:
    """Modules that a module's own names come from."""
    used = set()
    for value in list(vars(module).values()):
        # Modules are found by the import statements: a package also has as a name each of its own
        # that anything in this process has imported
        origin = None if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        if isinstance(origin, str):
            used.add(origin)
    return used


def _imported_by(name: str, file: Path) -> set[str]:
    """Modules that a module's source imports anywhere, also inside of a function.

    What it takes from them may be a number, which does not tell where it comes from.
    """
    if file.suffix != ".py" or not file.is_file():
        return set()
    return _imports(name, file, file.read_bytes())


@functools.cache  # by content: a table runs many attacks of the same code
def _imports(name: str, file: Path, source: bytes) -> set[str]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return set()
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    used = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            used |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            home = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            used |= {home} | {f"{home}.{alias.name}" for alias in node.names}
    return used


def _file(name: str) -> Path | None:
    """Where a module's source is, imported or not; None where it has none."""
    module = sys.modules.get(name)
    if module is not None:
        file = getattr(module, "__file__", None)
        return None if file is None else Path(file).resolve()
    try:
        spec = _spec(name)
    except (ImportError, AttributeError, ValueError):  # no module, or one in something else
        return None
    if spec is None or not spec.has_location or spec.origin is None:
        return None
    return Path(spec.origin).resolve()


def _spec(name: str) -> ModuleSpec | None:
    """Where a module would be found, without importing its packages as ``importlib.util`` does.

    What looks like a package may be a script, which would run, or need what is not there.
    """
    parent = name.rpartition(".")[0]
    path = None
    if parent in sys.modules:
        path = getattr(sys.modules[parent], "__path__", None)
    elif parent:
        found = _spec(parent)
        path = None if found is None else found.submodule_search_locations
    if not name or (parent and path is None):
        return None
    specs = (finder.find_spec(name, path) for finder in sys.meta_path)
    return next((spec for spec in specs if spec is not None), None)


def _is_foreign(name: str) -> bool:
    """Whether a name is no module, or one that is not to be followed: Python's, or installed."""
    file = _file(name)
    return file is None or _is_installed(file)


def _is_installed(file: Path) -> bool:
    """Whether a file is Python's or a package's."""
    if {"site-packages", "dist-packages"} & set(file.parts):
        return True
    return any(file.is_relative_to(folder) for folder in _folders())


@functools.cache
def _folders() -> tuple[Path, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    paths = [sysconfig.get_paths()[name] for name in names]
    paths += [*site.getsitepackages(), site.getusersitepackages()]
    return tuple({Path(path).resolve() for path in paths})


def _versions(packages: Iterable[str]) -> dict[str, str]:
    others = {name for name in packages if name not in _VERSIONED | sys.stdlib_module_names}
    if not others:
        return {}
    known = packages_distributions()
    return {name: version(known[name][0]) for name in others if name in known}


def _digest(file: Path) -> str:
    if not file.is_file():
        return UNKNOWN
    data = file.read_bytes()
    if file.suffix == ".py":
        data = essence(data)
    return hashlib.sha256(data).hexdigest()[:12]


@functools.cache  # likewise
def essence(source: bytes) -> bytes:
    """Python source without comments, docstrings, empty lines and trailing blanks.

    Text, not a syntax tree, whose form changes with the version of Python.
    """
    try:
        tree = ast.parse(source)
        tokens = list(tokenize.tokenize(io.BytesIO(source).readline))
    except (SyntaxError, ValueError, tokenize.TokenError):
        return source  # it was imported, so this Python read another file then: any change counts
    lines = source.decode(tokens[0].string).splitlines()
    for token in tokens:
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            _blank(lines, node)
    return "\n".join(line.rstrip() for line in lines if line.strip()).encode()


def _blank(lines: list[str], node: ast.Expr) -> None:
    """Leaves out a string that nothing reads, and nothing else that stands on its lines."""
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    before = lines[first].encode()[: node.col_offset].decode()
    after = lines[last].encode()[node.end_col_offset :].decode()
    lines[first : last + 1] = [""] * (last - first) + [before + after]
