"""What attacked scenes leave behind: all that their numbers and pictures are computed from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from leadgrad.attacks import confusion
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.pipelines.runs.noted import Noted
from leadgrad.pipelines.runs.records import (
    Cost,
    RecordError,
    cost_metadata,
    ordered,
    recorded_cost,
)


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

    Raises:
        ValueError: If it has several numbers of points.
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

    def __post_init__(self) -> None:
        points = {len(getattr(self, name)) for name in _OF_POINTS}
        if len(points) != 1:
            raise ValueError(f"it holds {sorted(points)} points, expected one number")

    @property
    def from_bytes(self) -> bool:
        """Whether the data has its features as bytes."""
        return self.features.dtype == torch.uint8

    @property
    def served(self) -> Tensor:
        """Its features as the data served them. Shape: (P, F), float32."""
        # A division, as the data's: a product with 1/255 gives other floats
        return self.features.float() / 255 if self.from_bytes else self.features

    def confusion(self, answers: Tensor) -> Tensor:
        """Labels in rows, answers in columns, ignored points left out. Shape: (K, K), int64."""
        return confusion(answers, self.label, len(self.last_counts))


_TENSORS = tuple(field.name for field in fields(SceneRecord))
_OF_POINTS = ("label", "features", "clean_inputs", "adv_inputs", "clean_answers", "adv_answers")


@dataclass(frozen=True)
class SceneBatch:
    """The scenes that were attacked together, which is one unless the data says otherwise.

    Args:
        scenes: At least one, in the order of the batch.
        cost: Of the attack; None in records of earlier versions.
        noted: What the attack noted of the scenes; None: nothing.
    """

    scenes: tuple[SceneRecord, ...]
    cost: Cost | None = None
    noted: Noted | None = None

    @property
    def index(self) -> Tensor:
        """Position of each scene in the attacked split. Shape: (B,), int64."""
        return torch.cat([scene.index for scene in self.scenes])

    @property
    def adv_inputs(self) -> Tensor:
        """Coordinates as the attack returned them. Shape: (P, 3), float32."""
        return torch.cat([scene.adv_inputs for scene in self.scenes])

    def batch(self) -> dict[str, Tensor]:
        """The clean scenes, as the data served them."""
        scenes = self.scenes
        sizes = torch.tensor([len(scene.label) for scene in scenes])
        return {
            "coords": torch.cat([scene.clean_inputs for scene in scenes]),
            "features": torch.cat([scene.served for scene in scenes]),
            "label": torch.cat([scene.label for scene in scenes]).long(),
            "scene": torch.arange(len(scenes)).repeat_interleave(sizes),
            "index": self.index,
            "from_bytes": torch.tensor([scene.from_bytes for scene in scenes]),
        }

    def to_bytes(self) -> bytes:
        """As safetensors. Of several scenes, names begin with the scene's number and a dot."""
        alone = len(self.scenes) == 1
        tensors = {
            name if alone else f"{number}.{name}": getattr(scene, name).contiguous()
            for number, scene in enumerate(self.scenes)
            for name in _TENSORS
        }
        metadata = cost_metadata(self.cost)
        if self.noted is not None:
            tensors |= self.noted.tensors()
            metadata |= self.noted.metadata()
        return ordered(save(tensors, metadata))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Reads what ``to_bytes`` wrote.

        Raises:
            RecordError: If the file is damaged or holds something else.
        """
        scenes: dict[int, dict[str, Tensor]] = {}
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            noted = Noted.taken(tensors, metadata)
            for key, values in tensors.items():
                number, _, name = key.rpartition(".")
                own = scenes.setdefault(int(number or 0), {})
                # Records of versions that knew no other features
                own["features" if name == "color" else name] = values
            if not scenes or sorted(scenes) != list(range(len(scenes))):
                raise ValueError(f"it holds scenes {sorted(scenes)}, expected 0, 1, ...")
            made = tuple(SceneRecord(**scenes[number]) for number in range(len(scenes)))
            return cls(made, recorded_cost(metadata), noted)
        except (SafetensorError, OSError, LookupError, TypeError, ValueError) as error:
            raise RecordError(
                f"{path} is no record of scenes ({error}); delete it and start the attack's "
                "command again"
            ) from error


SceneRun = RunDirectory[SceneBatch]


def scenes_of(run: SceneRun) -> Iterator[SceneRecord]:
    """All scenes of a run, in order."""
    for record in run.records():
        yield from record.scenes
