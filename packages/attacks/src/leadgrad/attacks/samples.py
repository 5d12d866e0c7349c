"""Samples and their rows: an image is one row of a batch, a scene as many as it has points."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from leadgrad.attacks.notes import Notes


@dataclass(frozen=True)
class Samples:
    """Which sample each row of a batch belongs to. R rows, S samples.

    Success, the best iterate, random draws and costs go by sample; gradients and budgets by row.

    Args:
        owner: Number of each row's sample, 0 to S-1, each at least once. Shape: (R,), int64.
        ids: Id of each sample, for its random numbers. Shape: (S,), int64, on the CPU.
        notes: Takes what the attack notes of samples.
    """

    owner: Tensor
    ids: Tensor
    notes: Notes = field(default_factory=Notes, compare=False)

    @classmethod
    def of(cls, rows: Tensor, owner: Tensor | None, ids: Tensor | None) -> Samples:
        """Checks what a caller gave.

        Args:
            rows: The batch's inputs. Shape: (R, ...).
            owner: As above; None where each row is a sample of its own.
            ids: As above; None numbers the samples.

        Raises:
            TypeError: If one of them is no tensor of integers.
            ValueError: If a shape is wrong, or a sample has no row.
        """
        count = len(rows)
        if owner is None:
            owner = torch.arange(count, device=rows.device)
        else:
            _check_integers("owner", owner)
            if owner.shape != (count,):
                raise ValueError(
                    f"owner must name the sample of each row, shape ({count},), got "
                    f"{tuple(owner.shape)}"
                )
            numbers = torch.unique(owner)
            count = len(numbers)
            if not torch.equal(numbers.cpu().long(), torch.arange(count)):
                raise ValueError(
                    f"owner must number the samples from 0 on, each with a row, got "
                    f"{numbers[:8].tolist()}; number them anew"
                )
        if ids is None:
            ids = torch.arange(count)
        _check_integers("sample_ids", ids)
        if ids.shape != (count,):
            raise ValueError(
                f"sample_ids must name each sample, shape ({count},), got {tuple(ids.shape)}"
            )
        return cls(owner.to(rows.device).long().clone(), ids.clone().cpu())

    @property
    def count(self) -> int:
        """Number of samples S."""
        return len(self.ids)

    @property
    def single(self) -> bool:
        """Whether each row is a sample of its own, in order."""
        return self.count == len(self.owner) and torch.equal(
            self.owner, torch.arange(self.count, device=self.owner.device)
        )

    def rows(self, chosen: Tensor) -> Tensor:
        """Rows of the chosen samples. (S,) to (R,), bool."""
        return chosen.to(self.owner.device)[self.owner]

    def part(self, chosen: Tensor) -> Samples:
        """The chosen samples (S,), bool, numbered anew; their rows are ``rows(chosen)``."""
        chosen = chosen.to(self.owner.device)
        number = chosen.cumsum(0) - 1
        return Samples(number[self.owner[chosen[self.owner]]], self.ids[chosen.cpu()], self.notes)

    def total(self, values: Tensor) -> Tensor:
        """Sum over each sample's rows. (R,) to (S,)."""
        if self.single:
            return values
        return values.new_zeros(self.count).index_add(0, self.owner, values)

    def mean(self, values: Tensor) -> Tensor:
        """Mean over each sample's rows. (R,) to (S,)."""
        return values if self.single else self.total(values) / self.total(torch.ones_like(values))

    def all(self, flags: Tensor) -> Tensor:
        """Whether all rows of a sample have it. (R,) to (S,), bool."""
        return flags if self.single else self.total((~flags).long()) == 0


def by_row(values: Tensor, like: Tensor) -> Tensor:
    """(R,) as (R, 1, ...), to go with the rows of ``like`` (R, ...)."""
    return values.view(-1, *[1] * (like.ndim - 1))


def _check_integers(name: str, values: Tensor) -> None:
    if not isinstance(values, Tensor):
        raise TypeError(f"{name} must be a tensor, got a {type(values).__name__}")
    if values.is_floating_point() or values.dtype == torch.bool:
        raise TypeError(f"{name} must be of an integer type, got {values.dtype}")
