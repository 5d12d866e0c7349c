"""Starting a deep static ResNet from a trained shallow one that it is to compute at first."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch
from torch import nn

from leadgrad.victims.checkpoints import CheckpointError, load_published, read_state
from leadgrad.victims.resnet import ResNet
from leadgrad.victims.state_names import fitted

SILENCED = ("bn2.weight", "bn2.bias")
"""Of an added block: with both at 0 it adds nothing to its input."""


def load_shallower(
    network: ResNet,
    source: Mapping[str, object] | str | os.PathLike[str],
    *,
    sha256: str | None = None,
) -> None:
    """Copies a shallower ResNet into ``network``; each stage's added blocks start as identities.

    An added block's last normalisation has scale and shift 0, so that it adds nothing to its input,
    which the ReLU after it then leaves as it is: before training, the logits are the shallow
    network's.

    Args:
        network: Of the same shortcut kind as the source, and at least as deep.
        source: The shallow network's weights, in any container that ``load_published`` takes.
        sha256: Digest (hex) that the file must have.

    Raises:
        CheckpointError: If the weights are no shallower ResNet's of that kind; the network is then
            unchanged.
    """
    own = network.state_dict()

    def place(entries: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], int]:
        return dict(entries), len(entries.keys() - own.keys())

    given = fitted((), read_state(source, sha256), place)
    added: dict[str, torch.Tensor] = {}
    for stage in ("layer1", "layer2", "layer3"):
        depth = len({name.split(".")[1] for name in given if name.startswith(f"{stage}.")})
        blocks = network.get_submodule(stage)
        assert isinstance(blocks, nn.Sequential)
        if not 0 < depth <= len(blocks):
            raise CheckpointError(
                f"the weights have {depth} blocks in {stage}, the network {len(blocks)}; they "
                "must be those of a ResNet that is no deeper, in the names of leadgrad's"
            )
        added |= {
            f"{stage}.{index}.{name}": torch.zeros_like(value) if name in SILENCED else value
            for index in range(depth, len(blocks))
            for name, value in blocks[index].state_dict().items()
        }
    load_published(network, {**given, **added})
