"""What stands between scenes and a batch: where a scene comes from, the reader, the dealing.

P points of a batch, B scenes of a batch, N scenes of a split.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from leadgrad.data.contract import DataSetError
from leadgrad.data.features import COLOURS, as_served, colour_columns
from leadgrad.data.loaders import Batch, Reader
from leadgrad.data.scene_augment import Augmentation, Points
from leadgrad.data.scene_check import Scene, check_scene
from leadgrad.data.striping import StripedBatchSampler


class SceneSource(ABC):
    """The scenes of one split, in an order that never changes; read one at a time.

    Args:
        names: Name of each scene.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)

    def __len__(self) -> int:
        """Return the number of scenes."""
        return len(self.names)

    @abstractmethod
    def size(self, index: int) -> int:
        """Return the number of points of a scene, without reading them if that can be."""

    @abstractmethod
    def read(self, index: int) -> Scene:
        """Return a scene.

        Args:
            index: Its position, 0..N-1.
        """


class SceneReader(Reader):
    """Reads the scenes of a batch and puts their points one behind the other.

    Args:
        source: The scenes.
        count: Serve only the first `count` scenes. None serves all.
        augmentation: Applied to each scene, seeded by its key. None serves scenes as they are.
        max_points: Once a batch's scenes together exceed this, those that follow are left out,
            and so is the one that exceeds it unless it is the first. None sets no bound.
        num_classes: Check what each scene holds, with this number of classes; see `check_scene`.
            None checks nothing.
        feature_names: Name of each feature column; the augmentation has to know the colours.

    Raises:
        DataSetError: The augmentation changes colours, and there are none.
    """

    def __init__(
        self,
        source: SceneSource,
        *,
        count: int | None = None,
        augmentation: Augmentation | None = None,
        max_points: int | None = None,
        num_classes: int | None = None,
        feature_names: Sequence[str] = COLOURS,
    ) -> None:
        if (
            augmentation is not None
            and augmentation.recolours
            and not colour_columns(feature_names)
        ):
            raise DataSetError(
                "the augmentation changes colours, but of feature_names "
                f"{tuple(feature_names)} none are red, green and blue; return "
                "SceneAugmentation(contrast_chance=0, color_chance=0)"
            )
        self.source = source
        self.count = len(source) if count is None else min(count, len(source))
        self.augmentation = augmentation
        self.max_points = max_points
        self.num_classes = num_classes
        self.feature_names = tuple(feature_names)

    def __len__(self) -> int:
        """Return the number of scenes."""
        return self.count

    def scene(self, index: int) -> Scene:
        """Return one scene as its source has it.

        Raises:
            SceneError: It holds what a scene must not hold.
        """
        scene = self.source.read(index)
        if self.num_classes is not None:
            where = f"scene {index} ({self.source.names[index]})"
            check_scene(scene, where, self.num_classes, self.feature_names)
        return scene

    def __getitem__(self, key: int) -> Batch:
        """Return the batch of one scene."""
        return self.__getitems__([key])

    def __getitems__(self, keys: Sequence[int]) -> Batch:
        """Return the batch of these scenes; the data loader calls it once per batch."""
        collected: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
        indices: list[int] = []
        from_bytes: list[bool] = []
        points = 0
        for key in keys:
            index = key % self.count
            scene = self.scene(index)
            parts: Points = (scene.coords, as_served(scene.features), scene.label.astype(np.int64))
            if self.augmentation is not None:
                parts = self.augmentation(
                    *parts, key=key, colours=colour_columns(self.feature_names)
                )
            points += len(parts[0])
            if indices and self.max_points is not None and points > self.max_points:
                break
            for column, part in zip(collected, parts, strict=True):
                column.append(torch.from_numpy(np.require(part, requirements=["C", "W"])))
            indices.append(index)
            from_bytes.append(scene.features.dtype == np.uint8)
        coords, features, labels = (torch.cat(column) for column in collected)
        sizes = torch.tensor([len(part) for part in collected[0]])
        return {
            "coords": coords,
            "features": features,
            "label": labels,
            "scene": torch.repeat_interleave(torch.arange(len(sizes)), sizes),
            "index": torch.tensor(indices),
            "from_bytes": torch.tensor(from_bytes),
        }


class SizedBatchSampler(StripedBatchSampler):
    """The batches of one device, dealt out so that the devices have about equally many points.

    Batch k holds the scenes k * batch_size, k * batch_size + 1, ... whatever the number of
    devices, and each device serves its batches in ascending order. A device with far more points
    than the others would keep them waiting, beyond the time-out of a collective at worst.

    Args:
        sampler: The scenes in order; see `StripedBatchSampler`.
        batch_size: Scenes per batch.
        drop_last: Must be False.
        rank: Number of this process, 0..world-1.
        world: Number of processes.
        done: Numbers of the finished batches, which are left out (resume).
        sizes: Number of points of each scene. Shape: (N,).

    Raises:
        TypeError: `sampler` does not serve the scenes in order.
        ValueError: An argument is out of its range, or a finished batch does not exist.
    """

    def __init__(
        self,
        sampler: Sampler[int],
        batch_size: int,
        drop_last: bool,
        *,
        rank: int,
        world: int,
        done: Collection[int],
        sizes: Sequence[int],
    ) -> None:
        super().__init__(sampler, batch_size, drop_last, rank=rank, world=world, done=done)
        if len(sizes) != self.num_samples:
            raise ValueError(f"got {len(sizes)} sizes for {self.num_samples} scenes")
        loads = [
            sum(sizes[start : start + batch_size])
            for start in range(0, self.num_samples, batch_size)
        ]
        # Dealt before finished batches are left out: processes that saw different sets of finished
        # batches, one having started early, must not leave a batch to each other.
        self.batches = [k for k in deal_by_size(loads, world)[rank] if k not in done]


def deal_by_size(loads: Sequence[int], world: int) -> list[list[int]]:
    """Deal out items, the largest first, each to the least loaded taker.

    No taker gets more than 4/3 of what the best possible deal would give the fullest (R. Graham,
    "Bounds on multiprocessing timing anomalies", 1969). Ties go to the lower number.

    Args:
        loads: Size of each item.
        world: Number of takers.

    Returns:
        The items of each taker, in ascending order.
    """
    shares: list[list[int]] = [[] for _ in range(world)]
    totals = [0] * world
    for item in sorted(range(len(loads)), key=lambda item: (-loads[item], item)):
        taker = min(range(world), key=lambda rank: (totals[rank], len(shares[rank]), rank))
        shares[taker].append(item)
        totals[taker] += loads[item]
    return [sorted(share) for share in shares]
