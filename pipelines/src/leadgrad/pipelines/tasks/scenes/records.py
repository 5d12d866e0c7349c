"""What one attacked scene leaves behind: all that its numbers and pictures are computed from."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from leadgrad.attacks import confusion
from leadgrad.pipelines.runs.records import Cost, RecordError, cost_metadata, recorded_cost


@dataclass(frozen=True)
class SceneRecord:
    """One scene, clean and adversarial. P points, K classes, T evaluations, S levels of voxels.

    Args:
        index: Position of the scene in the attacked split. Shape: (1,), int64.
        label: Class of each point, or 255. Shape: (P,), uint8.
        features: As the data has them. Shape: (P, F), uint8 or float32.
        clean_inputs: Coordinates in metres. Shape: (P, 3), float32.
        adv_inputs: Likewise, exactly as the attack returned them.
        clean_answers: The exact victim's class for each point. Shape: (P,), uint8.
        adv_answers: Likewise, after the attack.
        last_counts: Confusion of the last iterate: labels in rows, answers in columns. (K, K).
        iterate_miou: Of every scene that the attack showed the victim, in percent. Shape: (T,).
        voxels: Born, died and united voxels at each stride. Shape: (S, 3), int64.
        candidates: Candidates M' and occupied voxels M, summed over the attack's gradients. (2,).
        cost: Of the attack; None in records of earlier versions.
    """

    index: Tensor
    label: Tensor
    features: Tensor
    clean_inputs: Tensor
    adv_inputs: Tensor
    clean_answers: Tensor
    adv_answers: Tensor
    last_counts: Tensor
    iterate_miou: Tensor
    voxels: Tensor
    candidates: Tensor
    cost: Cost | None = None

    def batch(self) -> dict[str, Tensor]:
        """The clean scene, as the data served it."""
        from_bytes = self.features.dtype == torch.uint8
        return {
            "coords": self.clean_inputs,
            # A division, as the data's: a product with 1/255 gives other floats
            "features": self.features.float() / 255 if from_bytes else self.features,
            "label": self.label.long(),
            "scene": torch.zeros_like(self.label, dtype=torch.int64),
            "index": self.index,
            "from_bytes": torch.tensor([from_bytes]),
        }

    def to_bytes(self) -> bytes:
        """As safetensors."""
        tensors = {name: getattr(self, name).contiguous() for name in _TENSORS}
        return save(tensors, cost_metadata(self.cost))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Reads what ``to_bytes`` wrote.

        Raises:
            RecordError: If the file is damaged or holds something else.
        """
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if "color" in tensors:  # records of versions that knew no other features
                tensors["features"] = tensors.pop("color")
            record = cls(**tensors, cost=recorded_cost(metadata))
        except (SafetensorError, OSError, TypeError, ValueError) as error:
            raise RecordError(
                f"{path} is no record of a scene ({error}); delete it and start the attack's "
                "command again"
            ) from error
        points = {
            len(getattr(record, name))
            for name in (
                "label",
                "features",
                "clean_inputs",
                "adv_inputs",
                "clean_answers",
                "adv_answers",
            )
        }
        if len(points) != 1:
            raise RecordError(f"{path} holds {sorted(points)} points, expected one number")
        return record

    def confusion(self, answers: Tensor) -> Tensor:
        """Labels in rows, answers in columns, ignored points left out. Shape: (K, K), int64."""
        return confusion(answers, self.label, len(self.last_counts))


_TENSORS = tuple(field.name for field in fields(SceneRecord) if field.name != "cost")
