"""What an attack has noted of its samples, as records and results keep it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from leadgrad.attacks import Notes

_PREFIX = "note."


@dataclass(frozen=True)
class Noted:
    """Notes of B samples.

    Args:
        words: By name, all that may be noted.
        values: By name, the number of each sample's word, -1 where none was noted. Shape: (B,),
            int64.
    """

    words: dict[str, tuple[str, ...]]
    values: dict[str, Tensor]

    @classmethod
    def of(cls, notes: Notes, ids: Tensor) -> Noted | None:
        """Of these samples; None where nothing was noted.

        Args:
            notes: Of an attack.
            ids: Of the samples. Shape: (B,).
        """
        if not notes.words:
            return None
        return cls(notes.words, {name: notes.of(name, ids) for name in notes.words})

    def tensors(self) -> dict[str, Tensor]:
        """The values as a record's tensors, int16."""
        return {_PREFIX + name: values.short() for name, values in self.values.items()}

    def metadata(self) -> dict[str, str]:
        """The words as a record's metadata."""
        return {"notes": json.dumps(self.words)}

    @classmethod
    def taken(cls, tensors: dict[str, Tensor], metadata: Mapping[str, str]) -> Noted | None:
        """What ``tensors`` and ``metadata`` wrote, taken out of a record's; None if nothing."""
        if "notes" not in metadata:
            return None
        words = {name: tuple(given) for name, given in json.loads(metadata["notes"]).items()}
        return cls(words, {name: tensors.pop(_PREFIX + name).long() for name in words})


def counted(records: Iterable[Noted | None]) -> dict[str, dict[str, dict[str, int]]]:
    """The entry of results.json: under "noted", of each name its words and how often each came.

    Words that came for no sample are left out; of an attack that notes nothing there is no entry.
    """
    found: dict[str, Counter[str]] = {}
    for record in records:
        if record is None:
            continue
        for name, words in record.words.items():
            own, values = found.setdefault(name, Counter()), record.values[name]
            hits = torch.bincount(values[values >= 0], minlength=len(words)).tolist()
            for word, count in zip(words, hits, strict=True):
                own[word] += count
    if not found:
        return {}
    return {"noted": {name: dict(+own) for name, own in found.items()}}
