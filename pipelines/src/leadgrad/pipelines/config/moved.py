"""Classes whose modules have moved: what runs and cards of former versions call them."""

from __future__ import annotations

from typing import Any

_ROOMS = {
    "networks": ("dynconv", "minkunet", "minkunet_minkowski", "network", "resnet", "skipnet"),
    "occupancy": ("best_of", "lookahead", "methods", "relations", "surrogates", "voxel_methods"),
    "training": ("averaging", "classifier", "recipe", "skipnet_rl"),
}
MOVED = {
    **{
        f"leadgrad.victims.{module}": f"leadgrad.victims.{room}.{module}"
        for room, modules in _ROOMS.items()
        for module in modules
    },
    "leadgrad.victims.dynconv_training": "leadgrad.victims.training.dynconv",
    "leadgrad.victims.segmentation_training": "leadgrad.victims.training.segmentation",
    "leadgrad.victims.skipnet_training": "leadgrad.victims.training.skipnet",
}
"""Former module to present one; none of the former names is a module now."""


def present(value: Any) -> Any:
    """A configuration with the present path of every class that it names.

    Args:
        value: Nodes ``{class_path, init_args}``, and what else a configuration holds.
    """
    if isinstance(value, dict):
        made = {key: present(one) for key, one in value.items()}
        if isinstance(made.get("class_path"), str):
            module, _, name = made["class_path"].rpartition(".")
            made["class_path"] = f"{MOVED.get(module, module)}.{name}" if module else name
        return made
    return [present(one) for one in value] if isinstance(value, list) else value
