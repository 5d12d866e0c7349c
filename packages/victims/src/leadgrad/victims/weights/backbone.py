"""Starting an adaptive network from the trained weights of its static twin."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from torch import Tensor

from leadgrad.victims.networks.network import GatedNetwork
from leadgrad.victims.weights.checkpoints import CheckpointError, load_published, read_state
from leadgrad.victims.weights.state_names import fitted
from leadgrad.victims.weights.state_tensors import names_of_each


def load_backbone(
    network: GatedNetwork,
    source: Mapping[str, object] | str | os.PathLike[str],
    *,
    sha256: str | None = None,
) -> None:
    """Copies a static option-B network into ``network``; its gates keep what they have.

    Strict on both sides: every tensor of the static network finds its place or places, and what it
    leaves open is a gate's. The family says how its names differ (``GatedNetwork.backbone_names``),
    and which tensors it has several of (``GatedNetwork.backbone_places``).

    Args:
        network: Of a family with a static twin.
        source: The twin's weights, in any container that ``load_published`` takes.
        sha256: Digest (hex) that the file must have.

    Raises:
        CheckpointError: If the twin's weights do not fit; the network is then unchanged.
        TypeError: If the network's family names no twin.
    """
    if network.backbone_names is None:
        raise TypeError(
            f"{type(network).__name__} has no static twin; train it from scratch, or set "
            "backbone_names in its class"
        )
    own = network.state_dict()
    gates = {name: value for name, value in own.items() if re.search(network.gate_names, name)}
    backbone_names = network.backbone_names

    def place(entries: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], int]:
        given = {}
        for name, value in entries.items():
            for pattern, replacement in backbone_names:
                name = re.sub(pattern, replacement, name)
            given.update(dict.fromkeys(network.backbone_places(name), value))
        return given, len((given.keys() | gates.keys()) ^ own.keys())

    given = fitted((), read_state(source, sha256), place)
    missing = [
        name
        for name in own
        if name not in given and name not in gates and not name.endswith("num_batches_tracked")
    ]
    if missing:
        raise CheckpointError(
            f"the static network has no {', '.join(missing[:3])}; "
            "it must be the twin of the same depth with shortcut B"
        )
    for names in names_of_each(own).values():
        if any(name in given for name in names):  # a gate's name of one of the twin's tensors
            gates = {name: value for name, value in gates.items() if name not in names}
    load_published(network, {**gates, **given})
