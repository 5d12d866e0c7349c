"""Starting a deep network from a trained shallow one of its kind: a ResNet or a SkipNet."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from leadgrad.victims.networks.network import GatedNetwork
from leadgrad.victims.networks.resnet import ResNet
from leadgrad.victims.networks.skipnet import SkipNet
from leadgrad.victims.weights.backbone import load_backbone
from leadgrad.victims.weights.checkpoints import CheckpointError, load_published, read_state
from leadgrad.victims.weights.state_names import fitted

SILENCED = ("bn2.weight", "bn2.bias")
"""Of an added block: with both at 0 it adds nothing to its input."""


def load_shallower(
    network: ResNet | SkipNet,
    source: Mapping[str, object] | str | os.PathLike[str],
    *,
    sha256: str | None = None,
) -> None:
    """Copies a shallower network into ``network``; each stage's added blocks start as identities.

    An added block's last normalisation has scale and shift 0, so that it adds nothing to its input,
    which the ReLU after it then leaves as it is: before training, a ResNet's logits are the shallow
    network's. A SkipNet's added gates read their blocks as the last gate of the stage did. The
    controller takes a time step for each of them, so its later decisions start near the shallow
    network's, not at them.

    Args:
        network: Of the same kind as the source, and at least as deep.
        source: The shallow network's weights, in any container that ``load_published`` takes.
        sha256: Digest (hex) that the file must have.

    Raises:
        CheckpointError: If the weights are no shallower network's of that kind; the network is then
            unchanged.
    """
    own = network.state_dict()

    def place(entries: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], int]:
        return dict(entries), len(entries.keys() - own.keys())

    given = fitted((), read_state(source, sha256), place)
    block = "group{}_layer{}." if isinstance(network, SkipNet) else "layer{}.{}."
    added: dict[str, Tensor] = {}
    for stage in (1, 2, 3):
        blocks = _count(block, stage, own)
        depth = _count(block, stage, given)
        if not 0 < depth <= blocks:
            raise CheckpointError(
                f"the weights have {depth} blocks in stage {stage}, the network {blocks}; they "
                f"must be those of a {type(network).__name__} that is no deeper, in the names of "
                "leadgrad's"
            )
        for index in range(depth, blocks):
            prefix = block.format(stage, index)
            for name in (name for name in own if name.startswith(prefix)):
                silent = name.removeprefix(prefix) in SILENCED
                added[name] = torch.zeros_like(own[name]) if silent else own[name]
        if isinstance(network, SkipNet):
            added |= _embeddings(given, stage, depth, blocks)
    load_published(network, {**given, **added})


def starts_deeper(network: nn.Module, source: str | os.PathLike[str]) -> bool:
    """Whether these weights are of the network's own kind (``load_shallower``), not its twin's."""
    if isinstance(network, ResNet):
        return True
    return isinstance(network, SkipNet) and any(
        ".control." in f".{name}" for name in read_state(source)
    )


def _count(block: str, stage: int, names: Mapping[str, Tensor]) -> int:
    pattern = re.escape(block.format(stage, "#")).replace(r"\#", "#").replace("#", r"(\d+)")
    found = (re.match(pattern, name) for name in names)
    return len({match[1] for match in found if match})


def _embeddings(
    given: Mapping[str, Tensor], stage: int, depth: int, blocks: int
) -> dict[str, Tensor]:
    """What the added gates of a stage read their blocks with: the last trained embedding's."""
    # The very last one of the shallow network feeds no gate and was never trained
    last = depth - 1 if stage < 3 else depth - 2
    if last < 0:
        return {}
    source = f"group{stage}_gate{last}."
    return {
        f"group{stage}_gate{index}.{name.removeprefix(source)}": value
        for index in range(last + 1, blocks)
        for name, value in given.items()
        if name.startswith(source)
    }


def start_from(network: nn.Module, backbone: str | os.PathLike[str]) -> None:
    """Starts a network from static weights: its shallower kind's, or its static twin's.

    Args:
        network: One that can be grown, or an adaptive one with a static twin.
        backbone: Path of the weights.

    Raises:
        CheckpointError: If the weights do not fit.
        TypeError: If the network can start from neither.
    """
    if isinstance(network, ResNet | SkipNet) and starts_deeper(network, backbone):
        load_shallower(network, backbone)
    elif isinstance(network, GatedNetwork):
        load_backbone(network, backbone)
    else:
        raise TypeError(
            f"a backbone starts an adaptive network or a ResNet, got {type(network).__name__}; "
            "give all of its weights instead (--weights)"
        )
