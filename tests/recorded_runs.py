"""Small attacks whose results are committed: every attack, method, family, threat, kind of data.

A change that is not meant to move a number leaves all of them as they are, bit for bit. One that is
meant to, records them anew and says so under "Numerics" in the changelog:

    python tests/recorded_runs.py
"""

import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from own_victims import OwnGated
from run_config import attack, attack_config, changed, node, threat
from scene_config import published_voxel_network, scene_config, surrogate
from scene_config import threat as point_threat

from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.victims import SkipNet, record_decisions, save_weights

RECORDS = Path(__file__).parent / "recorded"
EPS = 2
VOLATILE = ("wall_s", "versions", "code")
"""What differs between runs, machines or states of the code."""


def lgm(slope: float, **more: object) -> dict:
    return node("leadgrad.victims.LGM", surrogate=surrogate(slope), **more)


def sign(name: str, **settings: object) -> dict:
    return node(f"leadgrad.attacks.{name}", **{"threat": threat(eps_255=EPS), **settings})


def image_run(network: dict, attack_: dict, method: dict) -> dict:
    return attack_config(model__network=network, model__attack=attack_, model__method=method)


def balanced(config: dict, folder: Path) -> Path:
    """Weights with which an image network decides both ways, and is right more often than not.

    Random ones answer with one class whatever they see, and leave every gate as it is.
    """
    torch.manual_seed(0)
    network = instantiate(config["model"]["network"]).eval()
    samples = instantiate(config["data"]).split("test")
    images = samples.images.float() / 255
    last = [module for module in network.modules() if isinstance(module, torch.nn.Linear)][-1]
    with torch.no_grad():
        for number, score in enumerate(scores(network)):
            with record_decisions(network) as record:
                network(images)
            score.bias -= record[number].margin.median()
        last.bias -= network(images).mean(0)
        right = network(images).argmax(1) == samples.labels
        if right.float().mean() < 0.5:  # of two classes
            last.weight.neg_()
            last.bias.neg_()
    path = folder / "balanced.safetensors"
    save_weights(network, path)
    return path


def scores(network: torch.nn.Module) -> list[torch.nn.Module]:
    """The layers whose biases set the margins of the first gates, in the gates' order."""
    if isinstance(network, SkipNet):
        return [network.control.proj]  # of all gates
    return [network.image_score, network.position_score] if isinstance(network, OwnGated) else []


def point_run(attack_: str, method: dict, **settings: object) -> dict:
    made = node(f"leadgrad.attacks.{attack_}", threat=point_threat(), **settings)
    return scene_config(model__attack=made, model__method=method)


SKIPNET = node("leadgrad.victims.SkipNet", depth=14, num_classes=2)
DYNCONV = node("leadgrad.victims.DynConv", depth=8, num_classes=2)
RESNET = node("leadgrad.victims.ResNet", depth=8, num_classes=2)
OWN = node("own_victims.OwnGated", num_classes=2)
FGM = node("leadgrad.victims.FGM")
DEFAULT = node("leadgrad.victims.LGM")
CONSTANT = node("leadgrad.victims.LGM", surrogate=node("leadgrad.victims.Constant", value=0.5))
PAIR = node("leadgrad.victims.BestOf", methods=[FGM, CONSTANT])
RBF = node("leadgrad.victims.VoxelLGM", surrogate=node("leadgrad.victims.RBF"))
COMPUTE = node("leadgrad.attacks.Compute")
SHIFT = node("leadgrad.attacks.TargetShift")
FEW = threat(valid_ratio=0.2)

RUNS = {
    "skipnet_fgsm_lgm": image_run(SKIPNET, sign("FGSM"), lgm(5.0)),
    "skipnet_ifgsm_default": image_run(SKIPNET, sign("IFGSM", steps=3, threat=FEW), DEFAULT),
    "skipnet_nifgsm_hard": image_run(SKIPNET, sign("NIFGSM", steps=3), lgm(5.0, forward="hard")),
    "skipnet_noise": image_run(SKIPNET, sign("RandomNoise"), FGM),
    "dynconv_pgd_lgm": image_run(DYNCONV, sign("PGD", steps=3, seed=4), lgm(2.0)),
    "dynconv_mifgsm_pair": image_run(DYNCONV, sign("MIFGSM", steps=3, goal=SHIFT), PAIR),
    "dynconv_apgd_fgm": image_run(DYNCONV, sign("APGD", steps=5), FGM),
    "dynconv_annealed_compute": image_run(
        DYNCONV, sign("AnnealedPGD", steps=4, goal=COMPUTE), node("leadgrad.victims.HingedCost")
    ),
    "resnet_cw_fgm": image_run(RESNET, sign("CarliniWagner", steps=3), FGM),
    "own_midpoint_constant": image_run(OWN, sign("Midpoint"), CONSTANT),
    "own_pgd_default": image_run(OWN, sign("PGD", steps=2, restarts=2), DEFAULT),
    "minkunet_ifgsm_lgm": point_run(
        "PointIFGSM",
        node("leadgrad.victims.VoxelLGM", surrogate=surrogate(10.0)),
        steps=3,
        step_size_m=0.05,
    ),
    "minkunet_ifgsm_rbf": point_run("PointIFGSM", RBF, steps=2, step_size_m=0.05),
    "minkunet_ifgsm_fgm": point_run(
        "PointIFGSM",
        node("leadgrad.victims.VoxelFGM", input=surrogate(10.0)),
        steps=3,
        step_size_m=0.05,
    ),
    "minkunet_noise": point_run("PointNoise", node("leadgrad.victims.VoxelFGM"), tries=2),
}


def arithmetic() -> str:
    """How this machine rounds, as a digest: results are the same bits only where it is the same."""
    random = torch.Generator().manual_seed(0)
    images = torch.randn(2, 8, 16, 16, generator=random).requires_grad_()
    kernel = torch.randn(8, 8, 3, 3, generator=random)
    matrix = torch.randn(8, 8, generator=random)
    made = torch.nn.functional.conv2d(images, kernel, padding=1).sigmoid().mean((2, 3)) @ matrix
    (gradient,) = torch.autograd.grad(made.log_softmax(1)[:, 0].sum(), images)
    sha = hashlib.sha256()
    for tensor in (made.detach(), gradient):
        sha.update(tensor.contiguous().numpy().data)
    return sha.hexdigest()


def lasting(results: dict) -> dict:
    """Of results.json, what the same attack gives again."""
    return {name: value for name, value in results.items() if name not in VOLATILE}


def results_of(name: str, folder: Path) -> dict:
    """Runs one of them in a folder of its own."""
    config = RUNS[name]
    weights = published_voxel_network(folder) if name.startswith("minkunet") else None
    path = weights or balanced(config, folder)
    return lasting(attack(changed(config, {"model__weights": str(path)}), folder / "run"))


def recorded(name: str) -> dict:
    """What it gave when it was recorded."""
    return json.loads((RECORDS / f"{name}.json").read_text())


def record() -> Iterator[str]:
    """Runs all of them and writes what they give; yields each name."""
    torch.set_num_threads(1)
    RECORDS.mkdir(exist_ok=True)
    for name in RUNS:
        with tempfile.TemporaryDirectory() as folder:
            results = results_of(name, Path(folder))
        content = {"arithmetic": arithmetic(), "results": results}
        (RECORDS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
        yield name


if __name__ == "__main__":
    for done in record():
        print(done, file=sys.stderr)
