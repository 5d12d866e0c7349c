"""What one attacked batch leaves behind: all that the report's numbers are computed from."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from math import prod
from typing import Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from leadgrad.pipelines.runs.noted import Noted
from leadgrad.pipelines.runs.records import (
    Cost,
    RecordError,
    cost_metadata,
    ordered,
    recorded_cost,
)


@dataclass(frozen=True)
class BatchRecord:
    """One batch, clean and adversarial. B samples, K classes, U gate decisions in network order.

    Args:
        index: Position of each sample in the attacked split. Shape: (B,), int64.
        label: Right classes. Shape: (B,), int64.
        clean_inputs: Shape: (B, ...), float.
        adv_inputs: Likewise, exactly as the attack returned them.
        clean_logits: The exact victim's. Shape: (B, K), float32.
        adv_logits: Likewise.
        clean_units: The exact victim's decisions, flattened. Shape: (B, U), bool.
        adv_units: Likewise.
        unit_shapes: Shape of one sample's decisions at each gate.
        half_logits: The clean ones under the surrogate's precision, where that is not the victim's.
            Shape: (B, K), float32.
        cost: Of the attack; None in records of earlier versions.
        unit_choices: For each gate how many are chosen along its last axis, 0 where each unit is
            for itself; None where all are.
        noted: What the attack noted of the samples; None: nothing.
    """

    index: Tensor
    label: Tensor
    clean_inputs: Tensor
    adv_inputs: Tensor
    clean_logits: Tensor
    adv_logits: Tensor
    clean_units: Tensor
    adv_units: Tensor
    unit_shapes: list[list[int]]
    half_logits: Tensor | None = None
    cost: Cost | None = None
    unit_choices: list[int] | None = None
    noted: Noted | None = None

    @classmethod
    def of(
        cls,
        batch: dict[str, Tensor],
        adv_inputs: Tensor,
        logits: tuple[Tensor, Tensor],
        decisions: tuple[list[Tensor], list[Tensor]],
        half_logits: Tensor | None = None,
        unit_choices: list[int] | None = None,
        cost: Cost | None = None,
        noted: Noted | None = None,
    ) -> Self:
        """From a batch, its attack, and the victim's clean and adversarial logits and decisions."""
        size = len(adv_inputs)
        clean, adv = (
            torch.cat([unit.reshape(size, -1) for unit in units], 1).cpu()
            if units
            else torch.zeros(size, 0, dtype=torch.bool)
            for units in decisions
        )
        return cls(
            index=batch["index"].cpu(),
            label=batch["label"].cpu(),
            clean_inputs=batch["image"].cpu(),
            adv_inputs=adv_inputs.cpu(),
            clean_logits=logits[0].float().cpu(),
            adv_logits=logits[1].float().cpu(),
            clean_units=clean,
            adv_units=adv,
            unit_shapes=[list(unit.shape[1:]) for unit in decisions[0]],
            half_logits=None if half_logits is None else half_logits.float().cpu(),
            cost=cost,
            unit_choices=unit_choices,
            noted=noted,
        )

    def batch(self) -> dict[str, Tensor]:
        """The clean batch, as the data served it."""
        return {"image": self.clean_inputs, "label": self.label, "index": self.index}

    def choices(self) -> list[int]:
        """How many each gate chooses along its last axis; 0: each unit is for itself."""
        return [0] * len(self.unit_shapes) if self.unit_choices is None else self.unit_choices

    def decisions(self, units: Tensor) -> list[Tensor]:
        """Flat units (B, U) as ``record_occupancies`` gives them: bool (B, ...) per gate."""
        sizes = [prod(shape) for shape in self.unit_shapes]
        parts = torch.split(units, sizes, dim=1) if sizes else ()
        return [
            part.reshape(len(units), *shape)
            for part, shape in zip(parts, self.unit_shapes, strict=True)
        ]

    def to_bytes(self) -> bytes:
        """As safetensors: decisions as bits, and clean images as bytes where that is lossless."""
        tensors = {
            "index": self.index,
            "label": self.label,
            "adv_inputs": self.adv_inputs.contiguous(),
            "clean_inputs": _as_bytes_if_lossless(self.clean_inputs).contiguous(),
            "clean_logits": self.clean_logits.contiguous(),
            "adv_logits": self.adv_logits.contiguous(),
            "clean_units": _pack(self.clean_units),
            "adv_units": _pack(self.adv_units),
        }
        if self.half_logits is not None:
            tensors["half_logits"] = self.half_logits.contiguous()
        metadata = {"unit_shapes": json.dumps(self.unit_shapes)}
        if any(self.choices()):
            metadata["unit_choices"] = json.dumps(self.unit_choices)
        metadata |= cost_metadata(self.cost)
        if self.noted is not None:
            tensors |= self.noted.tensors()
            metadata |= self.noted.metadata()
        return ordered(save(tensors, metadata=metadata))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Reads what ``to_bytes`` wrote.

        Raises:
            RecordError: If the file is damaged or holds something else.
        """
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                metadata = file.metadata()
            shapes: list[list[int]] = json.loads(metadata["unit_shapes"])
            cost = recorded_cost(metadata)
            choices = json.loads(metadata.get("unit_choices", "null"))
            noted = Noted.taken(tensors, metadata)
            count = sum(prod(shape) for shape in shapes)
            clean = tensors.pop("clean_inputs")
            if clean.dtype == torch.uint8:
                clean = clean.to(tensors["adv_inputs"].dtype) / 255
            for name in ("clean_units", "adv_units"):
                tensors[name] = _unpack(tensors[name], count)
            record = cls(
                clean_inputs=clean,
                unit_shapes=shapes,
                cost=cost,
                unit_choices=choices,
                noted=noted,
                **tensors,
            )
        except (SafetensorError, LookupError, TypeError, ValueError) as error:
            raise RecordError(
                f"{path} is no record of a batch ({error}); delete it and start the attack's "
                "command again"
            ) from error
        notes = () if noted is None else noted.values.values()
        sizes = {len(value) for value in (*tensors.values(), clean, *notes)}
        if len(sizes) != 1:
            raise RecordError(
                f"{path} holds tensors of {sorted(sizes)} samples, expected one number"
            )
        return record


def _as_bytes_if_lossless(images: Tensor) -> Tensor:
    levels = (images * 255).round()
    if not bool(((levels >= 0) & (levels <= 255)).all()):
        return images
    packed = levels.to(torch.uint8)
    return packed if torch.equal(packed.to(images.dtype) / 255, images) else images


def _pack(units: Tensor) -> Tensor:
    return torch.from_numpy(np.packbits(units.numpy(), axis=1))


def _unpack(packed: Tensor, count: int) -> Tensor:
    if packed.shape[1] != -(-count // 8):
        raise ValueError(f"{packed.shape[1]} bytes of decisions, expected {count} bits")
    return torch.from_numpy(np.unpackbits(packed.numpy(), axis=1, count=count).astype(bool))
