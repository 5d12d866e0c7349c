"""Weights in and out: published containers and key names, our own files, always strictly.

Containers (docs/reference/images.md, "Checkpoints"): a bare state dict, or one under
``state_dict``; names may have more or fewer wrappers than the network's (``state_names``); old
files lack ``num_batches_tracked``; a module that a network registers twice may come under either or
both names.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import TypeVar

import torch
from safetensors.torch import load as safetensors_load
from torch import Tensor, nn

from leadgrad.victims.weights.atomic import write_atomically
from leadgrad.victims.weights.half import is_halved
from leadgrad.victims.weights.state_names import AmbiguousNames, fitted
from leadgrad.victims.weights.state_tensors import (
    Identity,
    names_of_each,
    own_tensors,
    plain,
    same_bits,
    serialised,
    unexpanded,
)
from leadgrad.victims.weights.torch_files import torch_content

Network = TypeVar("Network", bound=nn.Module)


class CheckpointError(ValueError):
    """A checkpoint that cannot be trusted, written or fitted; no network and no file changed."""


def load_published(
    network: Network,
    source: Mapping[str, object] | str | os.PathLike[str],
    *,
    sha256: str | None = None,
) -> Network:
    """Loads weights strictly and returns the network.

    A network whose published weights have other shapes than its own has a method
    ``from_published`` from a state dict, theirs or its own, to its own, which raises ``ValueError``
    for what it cannot take.

    Args:
        network: What the weights are for.
        source: A state dict, a dict that holds one under ``state_dict``, or the path of a
            ``.safetensors`` file or of a torch file (read with ``weights_only=True``: no code in it
            runs).
        sha256: Digest (hex) that the file must have. Neither format notices a flipped bit by
            itself. If None, that of the card beside a published file (``card_path``), if any.

    Raises:
        CheckpointError: If the file is unreadable, unsafe or not the expected one, a key is missing
            or left over, a shape differs, or a value is not finite. The network is then unchanged.
        TypeError: If ``sha256`` is given for a state dict, which is no file.
    """
    origin = "the state dict" if isinstance(source, Mapping) else str(source)
    given = read_state(source, sha256)
    if (convert := getattr(network, "from_published", None)) is not None:
        try:
            given = convert(given)
        except ValueError as error:
            raise CheckpointError(f"{origin}: {error}") from error
    own = _own(network)
    state = _fitted(own, given, origin)
    _compare(own, state, origin)
    before = {name: plain(value) for name, value in own.items()}
    try:
        _put(network, state)
        _check_held(network, state, origin)
    except (RuntimeError, CheckpointError) as error:
        _put(network, before)
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{origin} was not taken by the network: {error}") from error
    return network


def read_state(
    source: Mapping[str, object] | str | os.PathLike[str], sha256: str | None = None
) -> dict[str, Tensor]:
    """The tensors of a container, by the names it has; fitted to no network yet.

    Args:
        source: As of ``load_published``.
        sha256: As of ``load_published``.

    Raises:
        CheckpointError: If the file is unreadable, unsafe or not the expected one.
        TypeError: If ``sha256`` is given for a state dict.
    """
    if not isinstance(source, Mapping):
        return _tensors(_read(Path(source), sha256), str(source))
    if sha256 is not None:
        raise TypeError("sha256 is the digest of a file, but source is a state dict; give its path")
    return _tensors(source, "the state dict")


def card_path(weights: Path) -> Path:
    """Where the card of a published weights file is: beside it, with the suffix ``.json``."""
    return weights.with_suffix(".json")


def save_weights(network: nn.Module, path: str | os.PathLike[str], *, half: bool = False) -> str:
    """Writes the state dict as safetensors, atomically; returns the file's SHA-256 (hex).

    Tensors with two names are written once, under the name that comes last in the state dict. What
    is written is read back and compared with the network, bit by bit, before it becomes the file.

    Args:
        network: To write. Its weights stay as they are.
        path: Of the ``.safetensors`` file.
        half: Whether tensors of two dimensions and more are written as float16, which must hold
            them exactly: ``round_to_half`` first.

    Raises:
        CheckpointError: If the state dict holds what such a file cannot: something else than a
            tensor, a tensor without values, or one of another layout or dtype; or a number that
            float16 does not hold.
    """
    own = _own(network)
    last = {names[-1] for names in names_of_each(own).values()}
    state = {
        name: value.half() if half and is_halved(value) else value
        for name, value in own.items()
        if name in last
    }
    try:
        data = serialised(state, {"class": type(network).__qualname__})
    except TypeError as error:
        raise CheckpointError(str(error)) from error
    back = _completed(own, safetensors_load(data), names_of_each(own))
    if half:
        back = {name: value.to(own[name].dtype) for name, value in back.items()}
    lost = [name for name, value in own.items() if not same_bits(value, back[name])]
    if lost and half:
        raise CheckpointError(
            f"{path} was not written: float16 does not hold the numbers of {lost[0]}; call "
            "round_to_half first"
        )
    if lost or back.keys() != own.keys():
        raise CheckpointError(
            f"{path} was not written: read back, {lost[:3] or 'its names'} differ from the "
            "network's; report this with the network's class"
        )
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, data)
    return hashlib.sha256(data).hexdigest()


def _read(path: Path, sha256: str | None) -> Mapping[str, object]:
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}; give the path of an existing weights file")
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if sha256 is None and path.suffix == ".safetensors" and card_path(path).is_file():
        sha256 = _carded_digest(card_path(path))
    if sha256 is not None and digest != sha256.lower():
        raise CheckpointError(
            f"{path} has SHA-256 {digest}, expected {sha256}; get the file again, or the digest of "
            "this one if it is meant"
        )
    try:
        if path.suffix == ".safetensors":
            return safetensors_load(data)
        content = torch_content(data)
    except UnpicklingError as error:
        raise CheckpointError(f"{path} was refused: {error}") from None
    except Exception as error:  # a damaged pickle fails in any way: KeyError, struct.error, ...
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise CheckpointError(
            f"{path} was refused ({reason}); get an intact file that holds tensors only"
        ) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a state dict")
    return content


def _carded_digest(card: Path) -> str:
    try:
        return str(json.loads(card.read_bytes())["sha256"])
    except (ValueError, LookupError, TypeError) as error:
        raise CheckpointError(
            f"{card} stands beside a weights file but gives no sha256; restore the card, or move "
            "it away"
        ) from error


def _tensors(content: Mapping[str, object], origin: str) -> dict[str, Tensor]:
    inner = content.get("state_dict", content)
    if not isinstance(inner, Mapping) or not inner:
        raise CheckpointError(
            f"{origin} holds no state dict, neither itself nor under 'state_dict'"
        )
    if not all(isinstance(name, str) for name in inner):
        raise CheckpointError(f"{origin} has keys that are no names; expected a state dict")
    strangers = [name for name, value in inner.items() if not isinstance(value, Tensor)]
    if strangers:
        raise CheckpointError(f"{origin}: {strangers[0]!r} is no tensor; expected a state dict")
    return dict(inner)


def _own(network: nn.Module) -> dict[str, Tensor]:
    try:
        return own_tensors(network)
    except TypeError as error:
        raise CheckpointError(f"{type(network).__name__}: {error}") from error


def _fitted(
    own: Mapping[str, Tensor], given: Mapping[str, Tensor], origin: str
) -> dict[str, Tensor]:
    """The file's tensors under the network's names, as far as they fit."""
    names = names_of_each(own)
    zeros = {
        name: torch.zeros_like(value)
        for name, value in own.items()
        if name.endswith("num_batches_tracked")
    }

    def place(entries: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], int]:
        state = {**_completed(own, entries, names)}
        state |= {name: value for name, value in zeros.items() if name not in state}
        shapes = (own[name].shape != state[name].shape for name in own.keys() & state.keys())
        return state, len(own.keys() ^ state.keys()) + sum(shapes)

    try:
        return fitted(own, given, place)
    except AmbiguousNames as error:
        raise CheckpointError(
            f"{origin} fits the network in more ways than one: {error} may be either of two "
            "tensors; rename them as the network has them"
        ) from error


def _completed(
    own: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    names: Mapping[Identity, list[str]],
) -> dict[str, Tensor]:
    """With the other name of every tensor that has two, of which a file may hold either."""
    state = dict(given)
    for twins in names.values():
        there = next((name for name in twins if name in given), None)
        if there is not None:
            state |= {name: given[there] for name in twins if name not in given}
    return state


def _put(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Loads tensors, those too that the network holds expanded, which PyTorch cannot write to."""
    own = network.state_dict()
    repeated = {name for name, value in own.items() if unexpanded(value).shape != value.shape}
    network.load_state_dict(
        {name: value for name, value in state.items() if name not in repeated},
        strict=not repeated,
    )
    with torch.no_grad():
        for name in repeated:
            target = unexpanded(own[name])
            target.copy_(state[name][tuple(slice(size) for size in target.shape)])


def _check_held(network: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    for name, value in network.state_dict().items():
        if not torch.equal(plain(value), plain(state[name].to(value.dtype))):
            raise CheckpointError(
                f"{origin} was not taken by the network: {name} shares memory with another tensor "
                "of it for which the file has other values, or its module changes what it loads"
            )


def _compare(own: Mapping[str, Tensor], state: Mapping[str, Tensor], origin: str) -> None:
    problems = [
        *_named("missing", (name for name in own if name not in state)),
        *_named("unexpected", (name for name in state if name not in own)),
        *_named(
            "of another shape",
            (
                f"{name} {list(state[name].shape)} (expected {list(own[name].shape)})"
                for name in own
                if name in state and state[name].shape != own[name].shape
            ),
        ),
        *_named("not finite", (name for name in state if _broken(state[name], own.get(name)))),
    ]
    if problems:
        raise CheckpointError(
            f"{origin} does not fit the network: {'; '.join(problems)}. "
            "Check the class and its depth and classes against the file's"
        )


def _broken(value: Tensor, own: Tensor | None) -> bool:
    """Whether values are not finite, other than infinities that the network itself is built with.

    Such as a causal mask's.
    """
    strange = ~value.isfinite()
    if not bool(strange.any()):
        return False
    if own is None or own.shape != value.shape:
        return True
    return not torch.equal(plain(value)[strange], plain(own.to(value.dtype))[strange])


def _named(kind: str, names: Iterable[str]) -> list[str]:
    found = list(names)
    if not found:
        return []
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return [f"{len(found)} keys {kind}: {', '.join(found[:3])}{more}"]
