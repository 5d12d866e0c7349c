"""Objects from the ``{class_path, init_args}`` that configurations, runs and cards hold.

What a class or function takes as ``**kwargs`` stands under ``dict_kwargs``, beside ``init_args``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def instantiate(node: dict[str, Any], **more: Any) -> Any:
    """An object from its class path and arguments.

    Args:
        node: ``class_path``, and ``init_args`` and ``dict_kwargs``, which may be missing and may
            hold such nodes themselves.
        more: Arguments beside, or instead of, those of the node.
    """
    module, _, name = str(node["class_path"]).rpartition(".")
    made = getattr(import_module(module), name)
    arguments = {
        key: instantiate(value) if isinstance(value, dict) and "class_path" in value else value
        for part in ("init_args", "dict_kwargs")
        for key, value in (node.get(part) or {}).items()
    }
    return made(**{**arguments, **more})
