"""Objects as the ``{class_path, init_args}`` that run.json keeps, so that a run can be rebuilt."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from inspect import Parameter, signature
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np

from leadgrad.pipelines.attack.module import default_method
from leadgrad.pipelines.config.instantiate import imported
from leadgrad.pipelines.runs.zoo import Card

Node = Mapping[str, Any]
"""A class and its arguments: ``{"class_path": "my_file.Net", "init_args": {"depth": 8}}``."""


def node_of(value: Any) -> Any:
    """A value as a configuration has it.

    Args:
        value: A frozen value such as ``LGM(Sigmoid(5.0))``, a function, a node, or plain data.

    Raises:
        TypeError: If it is an object that does not tell its arguments, as a network.
    """
    if isinstance(value, type | FunctionType):
        return public_path(value)
    if is_dataclass(value):
        arguments = {field.name: getattr(value, field.name) for field in fields(value)}
        kept = {name: node_of(one) for name, one in arguments.items() if name != "_"}
        return {"class_path": node_of(type(value)), "init_args": kept}
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, Mapping):
        return {str(key): node_of(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [node_of(one) for one in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(
        f"a {type(value).__name__} does not tell the arguments that it was made with; give its "
        'class and arguments: {"class_path": "my_file.Net", "init_args": {"depth": 8}}'
    )


def public_path(made: Callable[..., Any]) -> str:
    """Where a class or function is imported from: the first package that has it by its name."""
    parts = made.__module__.split(".")
    for count in range(1, len(parts) + 1):
        home = ".".join(parts[:count])
        if getattr(sys.modules.get(home), made.__qualname__, None) is made:
            return f"{home}.{made.__qualname__}"
    return f"{made.__module__}.{made.__qualname__}"


def brief(node: Any) -> Any:
    """A node without the arguments that are its class's defaults, the others in its order."""
    if not (isinstance(node, Mapping) and "class_path" in node):
        return node
    given = node.get("init_args") or {}
    made = imported(str(node["class_path"]))
    defaults = {name: each.default for name, each in signature(made).parameters.items()}
    ordered = [*(name for name in defaults if name in given), *(given.keys() - defaults.keys())]
    kept = {
        name: brief(given[name])
        for name in ordered
        if not _same(given[name], defaults.get(name, Parameter.empty))
    }
    return {"class_path": public_path(made), "init_args": kept}


def _same(given: Any, default: Any) -> bool:
    """Whether an argument is a default, which may be a value or a function."""
    if default is Parameter.empty:
        return False
    return bool(brief(node_of(given)) == brief(node_of(default)))


def method_node(attack: Node) -> dict[str, Any]:
    """The method that an attack is made under where none is given.

    Args:
        attack: Its class and arguments.
    """
    made = imported(str(attack["class_path"]))
    method: dict[str, Any] = node_of(default_method(made))
    return method if method["init_args"] else {"class_path": method["class_path"]}


def network_node(
    network: Node | Card | str | os.PathLike[str], weights: str | os.PathLike[str] | None
) -> dict[str, Any]:
    """A victim as the settings ``network`` and ``weights`` of an attack.

    Args:
        network: Class and arguments; or a published victim, by its card or its weights file.
        weights: Of a network that is not published; None keeps what it was built with.
    """
    if isinstance(network, Mapping):
        return {"network": dict(network), "weights": None if weights is None else str(weights)}
    card = network if isinstance(network, Card) else Card.read(network)
    chosen = card.weights if weights is None else weights
    return {"network": card.content["network"], "weights": str(chosen)}
