"""Randomness per sample: draws depend on the sample's id alone, not on its batch or device."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def sample_generator(seed: int, sample_id: int, stream: str) -> torch.Generator:
    """A CPU generator for one sample and one use (``stream``), the same on every machine."""
    digest = hashlib.blake2b(f"{seed}/{sample_id}/{stream}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little"))


def uniform_like(inputs: Tensor, *, seed: int, sample_ids: Tensor, stream: str) -> Tensor:
    """Uniform values in [-1, 1) in the shape, dtype and device of ``inputs`` (N, ...).

    Args:
        inputs: One sample per row.
        seed: Of the attack.
        sample_ids: Id of each row. Shape: (N,), integers.
        stream: What the values are for; other uses draw other values.
    """
    rows = [
        torch.rand(inputs.shape[1:], generator=sample_generator(seed, sample_id, stream))
        for sample_id in sample_ids.tolist()
    ]
    if not rows:
        return torch.zeros_like(inputs)
    return (torch.stack(rows).to(inputs) * 2) - 1
