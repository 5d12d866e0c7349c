"""The architecture's change: how many decisions an input's change changed, of how many.

What is counted depends on what decides. Of a gate, units that execute only before or only after,
over all its units. Of a choice of k units, those that entered, over k: a unit that takes the place
of another is one change, not two. Of places, those that are there only before or only after, over
those that are there at all (the union), at each stride.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from leadgrad.victims.occupancy.deciding import Deciding, observed
from leadgrad.victims.occupancy.gates import Decision
from leadgrad.victims.occupancy.places import Places
from leadgrad.victims.sparse.coordinates import find_keys, pack

Recorded = Decision | Places
"""What a module has decided in one forward."""


@contextmanager
def record_architecture(network: nn.Module) -> Iterator[list[Recorded]]:
    """Yields a list that grows by what each module decides, in order of execution.

    Like ``record_decisions``, with the places of voxelizers.
    """
    record: list[Recorded] = []
    deciding = [module for module in network.modules() if isinstance(module, Deciding)]
    with observed(network, deciding, record.append):
        yield record


@dataclass(frozen=True)
class Change:
    """Changed decisions by sample. Shapes: (B,), int64.

    Args:
        entered: What executes, or is there, only after.
        left: Only before.
        replaced: Chosen units that another one replaced; counted as neither of the two above.
        total: What could have changed.
    """

    entered: Tensor
    left: Tensor
    replaced: Tensor
    total: Tensor

    @classmethod
    def none(cls, samples: int) -> Change:
        """Of a network that decides nothing."""
        return cls(*torch.zeros(4, samples, dtype=torch.int64))

    @property
    def changed(self) -> Tensor:
        """All that changed. Shape: (B,), int64."""
        return self.entered + self.left + self.replaced

    def __add__(self, other: Change) -> Change:
        """Of both, by sample."""
        return Change(
            *(one + more for one, more in zip(self._counts(), other._counts(), strict=True))
        )

    def __getitem__(self, rows: Tensor) -> Change:
        """Of some samples; ``rows`` is a mask (B,) or positions."""
        return Change(*(count[rows] for count in self._counts()))

    def _counts(self) -> tuple[Tensor, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))


def architecture_change(before: Sequence[Recorded], after: Sequence[Recorded]) -> Change:
    """Of all that two forwards of the same samples recorded; places at every stride.

    Raises:
        ValueError: If the two are not of the same modules, or nothing was recorded.
    """
    if len(before) != len(after) or not before:
        raise ValueError(
            f"{len(before)} decisions were recorded before and {len(after)} after, expected one or "
            "more, and as many; record one forward of the same network for each"
        )
    found: list[Change] = []
    for one, other in zip(before, after, strict=True):
        match one, other:
            case Decision(), Decision():
                found.append(unit_change(one.hard, other.hard, one.choices))
            case Places(), Places():
                found.extend(place_changes(one, other))
            case _:
                raise ValueError(
                    f"a {type(one).__name__} before is a {type(other).__name__} after; record one "
                    "forward of the same network for each"
                )
    return sum(found[1:], found[0])


def unit_change(before: Tensor, after: Tensor, k: int | None = None) -> Change:
    """Of the units of a gate, or of a choice.

    Args:
        before: What executes, bool. Shape: (B, ...).
        after: Likewise.
        k: Of a choice on the last axis; None for units that are decided each for itself.

    Raises:
        ValueError: If the shapes differ.
    """
    if before.shape != after.shape:
        raise ValueError(
            f"units before are {tuple(before.shape)} and after {tuple(after.shape)}; record the "
            "same samples in forwards of the same network"
        )
    size, units = len(before), before[:1].numel()
    # By choice, of which a gate's unit is one by itself
    last = before.shape[-1] if k is not None else 1
    before, after = before.reshape(size, -1, last), after.reshape(size, -1, last)
    entered, left = (after & ~before).sum(2), (before & ~after).sum(2)
    replaced = torch.minimum(entered, left)
    total = units if k is None else k * before.shape[1]
    return Change(
        (entered - replaced).sum(1),
        (left - replaced).sum(1),
        replaced.sum(1),
        torch.full((size,), total, dtype=torch.int64, device=before.device),
    )


def place_changes(before: Places, after: Places) -> tuple[Change, ...]:
    """Of places, at each stride, by scene.

    Raises:
        ValueError: If the two have other numbers of strides or of scenes.
    """
    if (len(before.levels), before.scenes) != (len(after.levels), after.scenes):
        raise ValueError(
            f"places before are of {before.scenes} scenes at {len(before.levels)} strides, after "
            f"of {after.scenes} at {len(after.levels)}; record the same scenes"
        )
    return tuple(
        _level_change(one, other, before.scenes)
        for one, other in zip(before.levels, after.levels, strict=True)
    )


def _level_change(before: Tensor, after: Tensor, scenes: int) -> Change:
    keys, later = pack(before), pack(after)

    def count(places: Tensor) -> Tensor:
        return torch.bincount(places[:, 0], minlength=scenes)

    entered = count(after[find_keys(keys, later) < 0])
    left = count(before[find_keys(later, keys) < 0])
    return Change(entered, left, torch.zeros_like(entered), count(before) + entered)


def voxel_changes(clean: Tensor, adv: Tensor, levels: int) -> Tensor:
    """Voxels that an attack made and emptied, at strides 1, 2, 4, ..., in all scenes together.

    Args:
        clean: Occupied voxels before, distinct: scene, x, y, z. Shape: (M, 4), int64.
        adv: Likewise after.
        levels: Number of strides S.

    Returns:
        Born, died, and their union with those that stayed. Shape: (S, 3), int64.
    """
    scenes = 1 + max((int(side[:, 0].max()) for side in (clean, adv) if len(side)), default=0)
    before, after = (Places.of(side, levels, scenes) for side in (clean, adv))
    return torch.stack(
        [
            torch.stack([change.entered.sum(), change.left.sum(), change.total.sum()])
            for change in place_changes(before, after)
        ]
    )
