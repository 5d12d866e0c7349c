"""What records of all kinds hold: the costs of an attack, and an error for what is no record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass


class RecordError(ValueError):
    """A file that is no record of a batch."""


@dataclass(frozen=True)
class Cost:
    """What an attack on one batch took, summed over its samples.

    Args:
        gradients: Forward and backward passes of the surrogate.
        answers: Forward passes of the exact victim that the attack asked for.
    """

    gradients: int
    answers: int


def cost_metadata(cost: Cost | None) -> dict[str, str]:
    """A cost as a record's metadata; nothing for none."""
    return {} if cost is None else {"cost": json.dumps(asdict(cost))}


def recorded_cost(metadata: Mapping[str, str]) -> Cost | None:
    """What ``cost_metadata`` wrote; None in records of earlier versions."""
    return Cost(**json.loads(metadata["cost"])) if "cost" in metadata else None


def ordered(data: bytes) -> bytes:
    """The same file with its metadata in order: safetensors writes several entries in any."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    # As it was written, in UTF-8: escaped, a name that is not ASCII would not fit
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(length)
    return data[:8] + text + data[8 + length :]
