"""What an attack notes of the samples themselves, beside its adversarial inputs.

Which part of an ensemble has felled a sample, or the least budget that was enough: a word for each
sample, out of a fixed list. Runs keep them, and count them in their results.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Notes:
    """Notes by name and by the id of the sample."""

    def __init__(self) -> None:
        self._words: dict[str, tuple[str, ...]] = {}
        self._found: dict[str, dict[int, int]] = {}

    def add(self, name: str, words: Sequence[str], ids: Tensor, values: Tensor) -> None:
        """Takes a note of some samples; a later one of the same name replaces an earlier one.

        Args:
            name: What is noted, as reports name it: "fallen to".
            words: All that may be noted, the same in each call.
            ids: Of the samples. Shape: (S,), int64.
            values: Number of each sample's word; below 0: none. Shape: (S,), int64.

        Raises:
            ValueError: If the words are others than before, or too few.
        """
        given = tuple(words)
        if self._words.setdefault(name, given) != given:
            raise ValueError(
                f"{name!r} was noted with the words {self._words[name]}, now with {given}; note "
                "all samples with the same list"
            )
        if len(values) and int(values.max()) >= len(given):
            raise ValueError(f"{name!r} has {len(given)} words, got number {int(values.max())}")
        self._found.setdefault(name, {}).update(zip(ids.tolist(), values.tolist(), strict=True))

    @property
    def words(self) -> dict[str, tuple[str, ...]]:
        """The words of each name."""
        return dict(self._words)

    def of(self, name: str, ids: Tensor) -> Tensor:
        """Number of each sample's word, -1 where none was noted. Shape: (S,), int64."""
        found = self._found.get(name, {})
        return torch.tensor([max(-1, found.get(one, -1)) for one in ids.tolist()])
