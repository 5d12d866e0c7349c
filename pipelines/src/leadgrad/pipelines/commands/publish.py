"""``leadgrad publish``: a finished fit becomes a weights file with a card that can be checked."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from rich.console import Console
from rich.table import Table
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from leadgrad.pipelines.attack.results import versions
from leadgrad.pipelines.attack.task import Task, named_task, task_of
from leadgrad.pipelines.commands.arguments import publish_parser
from leadgrad.pipelines.config.instantiate import ClassPathError, instantiate
from leadgrad.pipelines.runs.directory import RunDirectory, RunError
from leadgrad.pipelines.runs.portable import portable
from leadgrad.pipelines.runs.sources import own_modules
from leadgrad.pipelines.runs.zoo import Card
from leadgrad.pipelines.training.adversarial import network_node
from leadgrad.victims import load_published, prepare_for_attack, save_weights
from leadgrad.victims.networks.exit_threshold import calibrated_threshold
from leadgrad.victims.networks.exits import ExitNetwork
from leadgrad.victims.weights.atomic import write_atomically
from leadgrad.victims.weights.checkpoints import card_path
from leadgrad.victims.weights.half import round_to_half

TRAINED_ON = ("train",)
CALIBRATED_BY = 250  # images a batch
COMPARED = 4  # samples, when weights are read back


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


def best_epoch(run: RunDirectory[Any], network: nn.Module) -> dict[str, Any]:
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
    compute_share: float | None = None,
    half: bool = False,
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
        compute_share: Of a network of exits, the share of its conditional compute that it is to
            execute on the images set aside for choices; its threshold is chosen there. None: as it
            was trained.
        half: Whether tensors of two dimensions and more are rounded to float16 and written so:
            half the bytes. The card is the rounded victim's.

    Returns:
        The card.

    Raises:
        RunError: If the fit has not finished, has not kept its best epoch, or what was written does
            not make the same victim again.
    """
    run: RunDirectory[Any] = RunDirectory(run_dir)
    goal = Path(target)
    if goal.suffix != ".safetensors":
        raise ValueError(f"the target must end in .safetensors, got {target}")
    if not run.path.is_dir():
        raise RunError(f"there is no folder {run.path}; give the --run_dir of a leadgrad fit")
    if not (run.path / "training.json").exists():
        raise RunError(f"{run.path} holds no finished fit; start its command again")
    training = json.loads((run.path / "training.json").read_bytes())
    trained = training.pop("weights_sha256")
    fit = run.run()
    node = network_node(fit["fingerprint"]["model"])
    network = instantiate(node)
    if checkpoint == "best":
        training = {
            **{key: value for key, value in training.items() if not key.startswith("val_")},
            **best_epoch(run, network),
        }
    else:
        load_published(network, run.path / "weights.safetensors", sha256=trained)
    try:
        data = instantiate(fit["fingerprint"]["data"], **({} if root is None else {"root": root}))
    except ClassPathError as error:
        if root is None and "'root'" in str(error):
            raise ValueError(
                f"{run.path} was trained on {fit['fingerprint']['data']['class_path']}, whose "
                "folder a fit does not keep; give it as --root"
            ) from error
        raise
    if half:
        round_to_half(network)
    if compute_share is not None:
        node = _calibrated(network.eval(), node, data, compute_share)
    victim = prepare_for_attack(network.eval())
    task = task_of(data)
    accuracy, manifests, costs = {}, {}, {}
    data.limit = None  # of attacks; a card is about all samples
    for split in data.split_names:
        data.attack_split = split
        manifests[split] = data.manifest()
        clean = task.clean(victim, data, split)
        accuracy[split] = {**clean.accuracy, "trained_on": split in TRAINED_ON}
        costs[split] = clean.cost
    with TemporaryDirectory() as folder:  # a run on it will keep them whole
        whole = save_weights(network, Path(folder) / goal.name)
    digest = save_weights(network, goal, half=half)
    card = {
        "name": goal.stem,
        "task": data.task,
        "network": node,
        "sha256": digest,
        "whole_sha256": whole,
        "bytes": goal.stat().st_size,
        "accuracy": accuracy,
        "published_accuracy": published,
        "cost": costs.get("heldout", costs.get("test")),
        "data": manifests,
        "recipe": _recipe(fit["fingerprint"]),
        "command": portable(shlex.split(fit["command"])),
        "training": {
            **training,
            "wall_s": training_seconds(run.path / "tensorboard"),
            "device": device,
        },
        "published_with": versions(),
    }
    write_atomically(card_path(goal), json.dumps(card, indent=2).encode() + b"\n")
    check_published(goal, victim, task, data)
    return card


def _calibrated(network: nn.Module, node: Any, data: Any, share: float) -> dict[str, Any]:
    """Sets the threshold of a network of exits; its class and arguments with that threshold.

    Raises:
        ValueError: If the network has none, or no threshold gives the share.
    """
    if not isinstance(network, ExitNetwork):
        raise ValueError(
            f"{type(network).__name__} has no exits whose threshold could be chosen; leave out "
            "--compute_share"
        )
    batches = (batch["image"] for batch in data.batches(data.tuning_split, CALIBRATED_BY))
    threshold = calibrated_threshold(network, batches, share)
    network.threshold = round(threshold, 4)
    return {**node, "init_args": {**node["init_args"], "threshold": network.threshold}}


def check_published(weights: Path, victim: nn.Module, task: Task[Any], data: Any) -> None:
    """Reads a published victim back by its card and compares some logits with ``victim``'s.

    Raises:
        RunError: If the card does not make the same victim again.
    """
    batch = task.first(data, data.split_names[0], COMPARED)
    try:
        again = Card.read(weights).load()
        with torch.no_grad():
            same = torch.equal(task.logits(again, batch), task.logits(victim, batch))
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
        compute_share=options.compute_share,
        half=options.half,
    )
    console, task = Console(), named_task(card["task"])
    for split, measured in card["accuracy"].items():
        console.print(task.clean_line(split, measured))
    if card["cost"] is not None:
        table = Table(title="cost", show_header=False)
        for row in task.cost_rows(card["cost"]):
            table.add_row(*row)
        console.print(table)
    return 0
