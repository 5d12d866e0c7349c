"""What of a Lightning trainer decides numbers: refused where it may not differ, else remembered."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.plugins import Precision

NEUTRAL = frozenset(
    {
        # Where and on how much hardware
        *("accelerator", "strategy", "devices", "num_nodes"),
        # What is written, shown and measured beside the work
        *("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"),
        *("default_root_dir", "log_every_n_steps", "profiler", "detect_anomaly", "barebones"),
        "num_sanity_val_steps",
        # How much of the work is done now: what is left shows
        *("limit_predict_batches", "limit_test_batches"),
        "inference_mode",  # an attack leaves it by itself, a fit has none
        "use_distributed_sampler",  # our loaders deal batches out themselves
    }
)
"""Options of ``Trainer`` that cannot change a number. Every other one is part of a run's identity,
so one that a later Lightning adds counts until somebody has looked at it."""


def deciding_options(
    options: Mapping[str, Any], usual: Mapping[str, Any], *, always: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Trainer options that may change numbers and are not as usual.

    Args:
        options: As configured.
        usual: Defaults of the command, where they are not Lightning's.
        always: Names that are given even if they are as usual.
    """
    defaults = {name: each.default for name, each in signature(Trainer).parameters.items()}
    defaults.update(usual)
    return {
        name: value
        for name, value in options.items()
        if name in always or (name not in NEUTRAL and value != defaults.get(name))
    }


def refuse_precision(trainer: Trainer) -> None:
    """Refuses a precision other than float32 for an attack, whichever option brings it.

    Raises:
        ValueError: If the trainer, a plugin or a strategy would run the victim in another one.
    """
    plugin = trainer.precision_plugin
    if type(plugin) is Precision:
        return
    raise ValueError(
        f"the trainer's precision is {trainer.precision} ({type(plugin).__name__}), which would "
        "change the victim, whose answers are reported in float32; leave it out. For gradients in "
        "bfloat16 there is --model.surrogate_precision=bfloat16"
    )
