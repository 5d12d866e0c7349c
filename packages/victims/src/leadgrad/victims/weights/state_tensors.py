"""The tensors of a state dict: which of them are one, which can be written, and their bits."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from safetensors.torch import save as safetensors_save
from torch import Tensor, nn

Identity = tuple[object, ...]


def identity(value: Tensor) -> Identity:
    """Equal for two names of one tensor; a view of a part, or of another shape, is another."""
    return (
        value.untyped_storage().data_ptr(),
        value.storage_offset(),
        value.shape,
        value.stride(),
        value.dtype,
        value.device,
        value.is_conj(),
        value.is_neg(),
    )


def names_of_each(own: Mapping[str, Tensor]) -> dict[Identity, list[str]]:
    """The names that each tensor of a state dict has, in its order; one name if it is empty."""
    names: dict[Identity, list[str]] = {}
    for name, value in own.items():
        key = identity(value) if value.numel() else (name,)
        names.setdefault(key, []).append(name)
    return names


def own_tensors(network: nn.Module) -> dict[str, Tensor]:
    """A network's state dict, if it holds nothing but tensors with values.

    Raises:
        TypeError: If it does not, naming the first such entry.
    """
    own = network.state_dict()
    for name, value in own.items():
        if not isinstance(value, Tensor):
            raise TypeError(
                f"{name!r} is a {type(value).__name__}, which no file of tensors can hold; return "
                "tensors from get_extra_state, or keep it out of the state dict"
            )
        if nn.parameter.is_lazy(value) or value.is_meta:
            raise TypeError(f"{name!r} has no values yet; run the network once, or initialise it")
        if value.layout != torch.strided:
            raise TypeError(f"{name!r} is {value.layout}; weights files hold dense tensors only")
    return own


def plain(value: Tensor) -> Tensor:
    """A copy of the values, on the processor and in order."""
    return torch.empty(value.shape, dtype=value.dtype).copy_(value.detach())


def serialised(state: Mapping[str, Tensor], metadata: dict[str, str]) -> bytes:
    """A safetensors file of some tensors.

    Raises:
        TypeError: If one has a dtype that the format does not know, naming it.
    """
    for dtype, name in {value.dtype: name for name, value in state.items()}.items():
        try:
            safetensors_save({name: torch.empty(0, dtype=dtype)})
        except Exception as error:  # of a kind that differs between versions
            raise TypeError(
                f"{name!r} is of {dtype}, which safetensors files cannot hold; convert it"
            ) from error
    return safetensors_save({name: plain(value) for name, value in state.items()}, metadata)


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same dtype, shape and bits; NaN equals the same NaN."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    bits = (plain(value).reshape(-1).view(torch.uint8) for value in (one, other))
    return torch.equal(*bits)


def unexpanded(value: Tensor) -> Tensor:
    """A tensor without the repetitions of ``expand``, so that it can be written to."""
    for axis, (size, stride) in enumerate(zip(value.shape, value.stride(), strict=True)):
        if stride == 0 and size > 1:
            value = value.narrow(axis, 0, 1)
    return value
