"""A small attack on two made-up rooms, and a voxel network of random weights to be attacked."""

import hashlib
import json
from pathlib import Path

import torch
from run_config import QUIET, changed, node
from safetensors.torch import save

from leadgrad.data import SyntheticRooms
from leadgrad.victims import MinkUNet

NETWORK = node(
    "leadgrad.victims.MinkUNet",
    num_classes=20,
    voxel_m=0.3,
    encoder=[4, 4, 4, 4],
    decoder=[4, 4, 4, 4],
    blocks=[1] * 8,
    stem=4,
    stem_kernel=3,
)


def surrogate(slope):
    return node("leadgrad.victims.Sigmoid", slope=slope)


LGM = node("leadgrad.victims.VoxelLGM", surrogate=surrogate(10.0))
FGM = node("leadgrad.victims.VoxelFGM", input=surrogate(10.0))


def threat(eps_m=0.1):
    return node("leadgrad.attacks.PointLinf", eps_m=eps_m)


def scene_config(**changes):
    attack = node("leadgrad.attacks.PointIFGSM", threat=threat(), steps=4, step_size_m=0.05)
    config = {
        "model": {"network": NETWORK, "attack": attack, "method": LGM},
        "data": node("leadgrad.data.SyntheticRooms", points=1500, test_rooms=3, limit=2),
        "trainer": dict(QUIET),
    }
    return changed(config, changes)


def random_voxel_network():
    """``NETWORK`` with random weights that answer differently from point to point."""
    torch.manual_seed(3)
    network = MinkUNet(**NETWORK["init_args"])
    data = SyntheticRooms(points=1500)
    network.train()
    for batch in data.test_dataloader():
        network(batch["coords"], batch["features"])  # batch norms that fit the rooms
    network.eval()
    with torch.no_grad():
        network.final.kernel.mul_(5)
        batch = next(iter(data.test_dataloader()))
        network.final.bias.sub_(network(batch["coords"], batch["features"]).mean(0))
    return network


def published_voxel_network(folder: Path) -> Path:
    """Weights and card of ``random_voxel_network``."""
    weights = folder / "small.safetensors"
    data = save(random_voxel_network().state_dict())
    weights.write_bytes(data)
    content = {
        "network": NETWORK,
        "sha256": hashlib.sha256(data).hexdigest(),
        "accuracy": {"test": {"miou": 1.0}},
    }
    weights.with_suffix(".json").write_text(json.dumps(content))
    return weights
