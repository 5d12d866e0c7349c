"""Randomness per sample: draws depend on the sample's id alone, not on its batch or device."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from leadgrad.attacks.samples import Samples


def sample_generator(seed: int, sample_id: int, stream: str) -> torch.Generator:
    """A CPU generator for one sample and one use (``stream``), the same on every machine."""
    digest = hashlib.blake2b(f"{seed}/{sample_id}/{stream}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little"))


def uniform_like(
    inputs: Tensor, *, seed: int, sample_ids: Tensor, stream: str, owner: Tensor | None = None
) -> Tensor:
    """Uniform values in [-1, 1) in the shape, dtype and device of ``inputs`` (R, ...).

    Args:
        inputs: Rows of the samples.
        seed: Of the attack.
        sample_ids: Id of each sample. Shape: (S,), integers.
        stream: What the values are for; other uses draw other values.
        owner: Number of each row's sample. Shape: (R,); None where each row is one.
    """
    samples, values = Samples.of(inputs, owner, sample_ids), torch.zeros(inputs.shape)
    for number, sample_id in enumerate(samples.ids.tolist()):
        rows = samples.owner.cpu() == number if owner is not None else slice(number, number + 1)
        generator = sample_generator(seed, sample_id, stream)
        values[rows] = torch.rand(values[rows].shape, generator=generator)
    return (values.to(inputs) * 2) - 1
