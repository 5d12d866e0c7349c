"""Objects from the ``{class_path, init_args}`` that configurations, runs and cards hold."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def instantiate(node: dict[str, Any], **more: Any) -> Any:
    """An object from its class path and arguments.

    Args:
        node: ``class_path`` and ``init_args``, which may hold such nodes themselves.
        more: Arguments beside, or instead of, those of the node.
    """
    module, _, name = str(node["class_path"]).rpartition(".")
    made = getattr(import_module(module), name)
    arguments = {
        key: instantiate(value) if isinstance(value, dict) and "class_path" in value else value
        for key, value in node.get("init_args", {}).items()
    }
    return made(**{**arguments, **more})
