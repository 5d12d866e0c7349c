"""What the verifications of all kinds of data have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.attack.task import Examined
from leadgrad.pipelines.runs.directory import RunDirectory, flatten

CAUSE = (
    "; if the files are as the attack wrote them, the network computes with what its arguments, "
    "seed and state dict do not determine"
)
"""Of answers that are not the saved ones."""


def indices(run: RunDirectory[Any], module: AttackModule) -> Examined:
    """C23: every sample once, in order."""
    found = torch.cat([record.index for record in run.records()])
    expected = run.run()["fingerprint"]["data"]["count"]
    problems = []
    if not torch.equal(found, torch.arange(expected)):
        problems.append(f"indices are not 0 to {expected - 1}, each once, in order")
    return f"{len(found)} of {expected}", problems


def differences(reported: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """What a tree reports otherwise than expected.

    Args:
        reported: Nested.
        expected: Flat, by dotted keys.
    """
    flat = flatten(reported)
    return [
        f"{name}: reported {flat.get(name, 'nothing')!r}, expected {value!r}"
        for name, value in expected.items()
        if flat.get(name, "nothing") != value
    ]


def as_bytes(images: Tensor) -> Tensor:
    """Images in [0, 1] as bytes, rounded (truncation would move values past the budget)."""
    return (images * 255).round().clamp(0, 255).to(torch.uint8)
