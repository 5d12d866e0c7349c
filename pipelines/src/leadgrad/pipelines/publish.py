"""``leadgrad publish``: a finished fit becomes a weights file with a card that can be checked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from leadgrad.data import ImageDataModule, SceneDataModule
from leadgrad.data.scene_loaders import SceneReader
from leadgrad.pipelines.arguments import publish_parser
from leadgrad.pipelines.gate_curves import varying_gates
from leadgrad.pipelines.instantiate import instantiate
from leadgrad.pipelines.results import versions, wilson
from leadgrad.pipelines.rundir import RunDirectory, RunError
from leadgrad.pipelines.scene_publish import scene_accuracy, summary_line
from leadgrad.pipelines.sources import own_modules
from leadgrad.pipelines.zoo import Card
from leadgrad.victims import (
    GatedNetwork,
    load_published,
    prepare_for_attack,
    record_occupancies,
    save_weights,
)
from leadgrad.victims.atomic import write_atomically
from leadgrad.victims.checkpoints import card_path

TRAINED_ON = ("train",)
BATCH = 250


@dataclass(frozen=True)
class Measured:
    """What the exact victim does on a split's clean images, in float32.

    Args:
        split: Its name.
        right: Number of right answers.
        count: Number of images.
        executed: Each gate's executed share in percent. Shape: (gates,); None without gates.
        macs: The images' conditional MACs. Shape: (N,); None where not known.
    """

    split: str
    right: int
    count: int
    executed: Tensor | None
    macs: Tensor | None


def measure(network: nn.Module, data: ImageDataModule, split: str) -> Measured:
    """Runs a network, prepared for attack as ``leadgrad attack`` prepares it, on a split."""
    samples = data.split(split)
    right, shares, macs = 0, [], []
    for start in range(0, len(samples), BATCH):
        images = samples.images[start : start + BATCH]
        labels = samples.labels[start : start + BATCH]
        with torch.no_grad(), record_occupancies(network) as record:
            logits = network(images.float() / 255)
        if not bool(logits.isfinite().all()):
            raise RunError(f"the victim's logits on {split} are not finite; publish another epoch")
        right += int((logits.argmax(1) == labels).sum())
        if record:
            executed = [100 * unit.float().mean() * len(images) for unit in record]
            shares.append(torch.stack(executed))
        if isinstance(network, GatedNetwork):
            spent = network.conditional_macs(record)
            if spent is not None:
                macs.append(spent)
    return Measured(
        split,
        right,
        len(samples),
        torch.stack(shares).sum(0) / len(samples) if shares else None,
        torch.cat(macs) if macs else None,
    )


def cost(network: nn.Module, measured: Measured) -> dict[str, Any] | None:
    """What the victim computes on clean images; None for a network without gates."""
    percent, macs = measured.executed, measured.macs
    if percent is None:
        return None
    total = network.conditional_macs_total() if isinstance(network, GatedNetwork) else None
    return {
        "split": measured.split,
        "gates": len(percent),
        "varying_gates": varying_gates(percent),
        "executed_percent_by_gate": [round(value, 2) for value in percent.tolist()],
        # SkipNet's published measure: its first block counts too, and is always executed
        "computation_percent": round(float((percent.sum() + 100) / (len(percent) + 1)), 3),
        "conditional_cost": None
        if macs is None or total is None
        else round(float(macs.double().mean()) / total, 4),
    }


def image_accuracy(
    network: nn.Module, data: ImageDataModule
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any] | None]:
    """The card's accuracy and data manifests, by split, and its cost, of images not trained on."""
    accuracy, manifests, costs = {}, {}, {}
    for split in data.split_names:
        data.attack_split = split
        manifests[split] = data.manifest()
        measured = measure(network, data, split)
        costs[split] = cost(network, measured)
        low, high = wilson(measured.right, measured.count)
        accuracy[split] = {
            "right": measured.right,
            "count": measured.count,
            "percent": round(100 * measured.right / measured.count, 3),
            "wilson_95": [round(low, 3), round(high, 3)],
        }
    return accuracy, manifests, costs["heldout" if "heldout" in costs else "test"]


def training_seconds(tensorboard: Path) -> float:
    """Seconds between the first and the last curve point of each session, summed."""
    seconds = 0.0
    for path in sorted(tensorboard.glob("events.out.tfevents.*")):
        events = EventAccumulator(str(path))
        events.Reload()
        times = [
            event.wall_time for tag in events.Tags()["scalars"] for event in events.Scalars(tag)
        ]
        if times:
            seconds += max(times) - min(times)
    return round(seconds, 1)


def best_epoch(run: RunDirectory, network: nn.Module) -> dict[str, Any]:
    """Loads the weights of the epoch that did best on validation; its number and measure.

    Raises:
        RunError: If the fit has kept none.
    """
    found = list((run.path / "checkpoints").glob("best-*.ckpt"))
    if not found:
        raise RunError(f"{run.path}/checkpoints holds no best-*.ckpt; publish --checkpoint last")
    best = max(found, key=lambda path: path.stat().st_mtime)  # a kill may have left the one before
    load_published(network, best)
    content = torch.load(best, map_location="cpu", weights_only=True)
    kept = next(state for state in content["callbacks"].values() if state.get("monitor"))
    measured = {kept["monitor"]: float(kept["best_model_score"])}
    return {"published_epoch": content["epoch"] + 1, "chosen_by": kept["monitor"], **measured}


def publish(
    run_dir: str,
    target: str,
    *,
    root: str | None,
    device: str,
    published: float | None = None,
    checkpoint: Literal["last", "best"] = "last",
) -> dict[str, Any]:
    """Writes a finished fit's weights to ``target``, and the card beside them.

    Args:
        run_dir: Of ``leadgrad fit``.
        target: Path of the new ``.safetensors`` file.
        root: Of the data set, where it has one.
        device: What the fit ran on, in words.
        published: Accuracy (of scenes: mIoU) that others published for this kind of victim, in
            percent, for C5.
        checkpoint: Whether the weights are those after the last epoch, or after the epoch that did
            best on validation (early stopping).

    Returns:
        The card.

    Raises:
        RunError: If the fit has not finished, has not kept its best epoch, or what was written does
            not make the same victim again.
    """
    run, goal = RunDirectory(run_dir), Path(target)
    if goal.suffix != ".safetensors":
        raise ValueError(f"the target must end in .safetensors, got {target}")
    if not (run.path / "training.json").exists():
        raise RunError(f"{run.path} holds no finished fit; start its command again")
    training = json.loads((run.path / "training.json").read_bytes())
    trained = training.pop("weights_sha256")
    fit = run.run()
    node = fit["fingerprint"]["model"]["init_args"]["network"]
    network = instantiate(node)
    if checkpoint == "best":
        training = {
            **{key: value for key, value in training.items() if not key.startswith("val_")},
            **best_epoch(run, network),
        }
    else:
        load_published(network, run.path / "weights.safetensors", sha256=trained)
    victim = prepare_for_attack(network.eval())
    data: ImageDataModule | SceneDataModule = instantiate(
        fit["fingerprint"]["data"], **({} if root is None else {"root": root})
    )
    spent = None
    if isinstance(data, SceneDataModule):
        accuracy, manifests = scene_accuracy(victim, data)
    else:
        accuracy, manifests, spent = image_accuracy(victim, data)
    for split, measured in accuracy.items():
        measured["trained_on"] = split in TRAINED_ON
    digest = save_weights(network, goal)
    card = {
        "name": goal.stem,
        "network": node,
        "sha256": digest,
        "bytes": goal.stat().st_size,
        "accuracy": accuracy,
        "published_accuracy": published,
        "cost": spent,
        "data": manifests,
        "recipe": _recipe(fit["fingerprint"]),
        "command": fit["command"],
        "training": {
            **training,
            "wall_s": training_seconds(run.path / "tensorboard"),
            "device": device,
        },
        "published_with": versions(),
    }
    write_atomically(card_path(goal), json.dumps(card, indent=2).encode() + b"\n")
    check_published(goal, victim, data)
    return card


def check_published(
    weights: Path, victim: nn.Module, data: ImageDataModule | SceneDataModule
) -> None:
    """Reads a published victim back by its card and compares some logits with ``victim``'s.

    Raises:
        RunError: If the card does not make the same victim again.
    """
    inputs: tuple[Tensor, ...]
    if isinstance(data, SceneDataModule):
        scene = SceneReader(data.split(data.split_names[0]))[0]
        inputs = scene["coords"], scene["color"]
    else:
        inputs = (data.split(data.split_names[0]).images[:BATCH].float() / 255,)
    try:
        again = Card.read(weights).load()
        with torch.no_grad():
            same = torch.equal(again(*inputs), victim(*inputs))
    except Exception as error:  # of any kind: the network is the user's
        raise RunError(
            f"{card_path(weights)} does not make the network again ({type(error).__name__}: "
            f"{error}); name a class or function whose arguments the configuration holds"
        ) from error
    if not same:
        raise RunError(
            f"{weights}, read back by its card, gives other logits than the network that was "
            "trained; keep all that it computes with in its arguments and its state dict"
        )


def _recipe(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """What made the weights; of the code, what is not leadgrad's, whose version the card names."""
    recipe = {name: value for name, value in fingerprint.items() if name != "code"}
    own = own_modules(fingerprint.get("code", {}))
    return {**recipe, "code": own} if own else recipe


def main(args: Sequence[str]) -> int:
    """Runs the command."""
    options = publish_parser().parse_args(list(args))
    card = publish(
        options.run_dir,
        options.target,
        root=options.root,
        device=options.device,
        published=options.published,
        checkpoint=options.checkpoint,
    )
    console = Console()
    for split, measured in card["accuracy"].items():
        if "miou" in measured:
            console.print(summary_line(split, measured))
        else:
            right, count = measured["right"], measured["count"]
            console.print(f"{split:<12} {right} / {count} = {measured['percent']} %")
    console.print(f"cost: {card['cost']}")
    return 0
