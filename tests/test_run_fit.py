"""``leadgrad fit`` and ``validate``: resumable like an attack, to the same weights bit by bit."""

import hashlib
import json
import random
import shlex
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from run_config import arguments, attack, attack_config, fit_config, node
from run_processes import Command
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from leadgrad.pipelines.cli import main
from leadgrad.pipelines.runs.directory import RunDirectory

# Lightning says so of every resumed fit, and of every moved one
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*exists and is not empty:UserWarning"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed:UserWarning"),
]
EPOCHS = 30  # so that a signal, sent after the first, comes before the last


def config(epochs=EPOCHS, **changes):
    return fit_config(trainer__max_epochs=epochs, **changes)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    run = RunDirectory(tmp_path_factory.mktemp("unbroken") / "run")
    assert main(arguments("fit", config(), run.path)) == 0
    return run


def card(run: RunDirectory) -> dict:
    return json.loads((run.path / "training.json").read_bytes())


def assert_unbroken(run: RunDirectory, unbroken: RunDirectory) -> None:
    assert card(run) == card(unbroken)
    weights = (run.path / "weights.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == card(unbroken)["weights_sha256"]


def test_what_a_fit_leaves(unbroken):
    assert card(unbroken)["epochs"] == EPOCHS
    assert {"val_loss", "val_accuracy", "val_computation_percent", "versions"} <= set(
        card(unbroken)
    )
    assert card(unbroken)["val_accuracy"] > 80, "learns something"
    names = {path.name for path in unbroken.path.iterdir()}
    files = {"run.json", "weights.safetensors", "training.json"}
    assert names == files | {"checkpoints", "tensorboard"}
    best_and_last = {path.name for path in (unbroken.path / "checkpoints").iterdir()}
    assert "last.ckpt" in best_and_last
    assert len(best_and_last) == 2
    assert not list((unbroken.path / "tensorboard").rglob("*.ckpt"))


def test_the_curves_tell_what_the_gates_do(unbroken):
    events = EventAccumulator(str(unbroken.path / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert "gates/executed_percent" in tags["histograms"]
    assert {"train/cross_entropy", "train/computation_percent"} <= set(tags["scalars"])
    varying = [event.value for event in events.Scalars("gates/varying")]
    assert len(varying) == EPOCHS
    assert all(0 <= value <= 2 for value in varying), "depth 8 has two gates"


@pytest.mark.parametrize(("interval", "steps"), [(50, [3, 7]), (3, [2, 5])])
def test_an_epoch_of_few_batches_has_its_points(interval, steps, tmp_path):
    """Of four batches, without Lightning's warning, which would fail here."""
    settings = fit_config(trainer__max_epochs=2, trainer__log_every_n_steps=interval)
    run = RunDirectory(tmp_path / "fit")
    assert main(arguments("fit", settings, run.path)) == 0
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == steps


def test_a_finished_fit_is_left_alone(unbroken, capsys):
    before = {path: path.stat().st_mtime_ns for path in unbroken.path.rglob("*")}
    assert main(arguments("fit", config(), unbroken.path)) == 0
    assert str(unbroken.path / "weights.safetensors") in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in unbroken.path.rglob("*")}


def test_an_attack_takes_the_weights(unbroken, tmp_path):
    weights = str(unbroken.path / "weights.safetensors")
    results = attack(attack_config(model__weights=weights), tmp_path / "run")
    attacked = load_file(tmp_path / "run" / "victim.safetensors")
    trained = load_file(weights)
    assert attacked.keys() == trained.keys()
    assert all(attacked[name].equal(trained[name]) for name in trained)
    assert results["clean_accuracy"] > 80


def test_validate_reports_what_the_fit_measured(unbroken, tmp_path, capsys):
    for options in ([], ["--weights", str(unbroken.path / "weights.safetensors")]):
        run_dir = tmp_path / "none" if options else unbroken.path
        args = arguments("validate", config(), tmp_path / "run", *options)
        args[args.index("--run_dir") + 1] = str(run_dir)
        assert main(args) == 0
        assert f"{card(unbroken)['val_accuracy']}"[:8] in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


def test_every_epoch_is_kept_although_the_accuracy_rises_no_more(tmp_path, monkeypatch):
    saved, save = [], Trainer.save_checkpoint

    def spy(trainer, path, *args, **kwargs):
        saved.append((Path(path).name, trainer.current_epoch))
        save(trainer, path, *args, **kwargs)

    monkeypatch.setattr(Trainer, "save_checkpoint", spy)
    assert main(arguments("fit", config(), tmp_path / "run")) == 0
    assert [epoch for name, epoch in saved if name == "last.ckpt"] == list(range(EPOCHS))
    assert len(saved) < 2 * EPOCHS, "the accuracy rose in every epoch, so this shows nothing"


def epochs_done(run: RunDirectory) -> int:
    """Changes whenever a checkpoint is written."""
    last = run.path / "checkpoints" / "last.ckpt"
    return last.stat().st_mtime_ns if last.exists() else 0


@pytest.mark.parametrize(
    ("kills", "epochs"), [(4, EPOCHS), pytest.param(20, 250, marks=pytest.mark.slow)]
)
def test_killed_at_random_moments(tmp_path, kills, epochs):
    """SIGKILL in the start, in an epoch and in a checkpoint's writing."""
    run, moment, log = RunDirectory(tmp_path / "run"), random.Random(kills), tmp_path / "log"
    args = arguments("fit", config(epochs), run.path)
    statuses = []
    while len(statuses) < kills and 0 not in statuses:  # 0: it ended before it was killed
        before = epochs_done(run)
        command = Command.start(args, log)
        if statuses:  # the first one dies in the start
            command.until(lambda before=before: epochs_done(run) != before)
        time.sleep(moment.uniform(0, 0.06))
        command.signal(signal.SIGKILL)
        statuses.append(command.wait())
    assert statuses.count(-signal.SIGKILL) >= kills // 2
    command = Command.start(args, log)
    assert command.wait() == 0, command.output()
    unbroken = RunDirectory(tmp_path / "unbroken")
    assert main(arguments("fit", config(epochs), unbroken.path)) == 0
    assert_unbroken(run, unbroken)
    assert not list(run.path.rglob("*-v1.ckpt"))


def interrupted(unbroken: RunDirectory, run: RunDirectory) -> None:
    """A fit as a kill between the last epoch and the export leaves it."""
    shutil.copytree(unbroken.path, run.path)
    for name in ("training.json", "weights.safetensors"):
        (run.path / name).unlink()


def test_killed_before_the_export(unbroken, tmp_path):
    """Nothing is left to train, and the card still has all its numbers."""
    run = RunDirectory(tmp_path / "run")
    interrupted(unbroken, run)
    assert main(arguments("fit", config(), run.path)) == 0
    assert_unbroken(run, unbroken)


def test_averaged_weights(unbroken, tmp_path, capsys):
    """A fit with a callback is another fit, and killed before the export has its numbers too."""
    settings = config(
        trainer__callbacks=[node("leadgrad.victims.training.averaging.TailAverage", start=0.5)]
    )
    assert main(arguments("fit", settings, unbroken.path)) == 1
    assert "trainer.callbacks" in capsys.readouterr().err
    whole = RunDirectory(tmp_path / "whole")
    assert main(arguments("fit", settings, whole.path)) == 0
    name = "conv1.weight"
    plain = load_file(unbroken.path / "weights.safetensors")
    assert not torch.equal(load_file(whole.path / "weights.safetensors")[name], plain[name])
    run = RunDirectory(tmp_path / "run")
    interrupted(whole, run)
    assert main(arguments("fit", settings, run.path)) == 0
    assert_unbroken(run, whole)


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped bit"])
def test_a_damaged_checkpoint_is_named_and_not_used(unbroken, tmp_path, capsys, damage):
    run = RunDirectory(tmp_path / "run")
    interrupted(unbroken, run)
    last = run.path / "checkpoints" / "last.ckpt"
    data = bytearray(last.read_bytes())
    if damage == "flipped bit":
        data[len(data) // 2] ^= 1
    last.write_bytes(
        data if damage == "flipped bit" else data[: len(data) // 2 * (damage == "cut")]
    )
    assert main(arguments("fit", config(), run.path)) == 0
    assert f"{last} is damaged" in capsys.readouterr().err
    assert_unbroken(run, unbroken)


def test_a_moved_fit_goes_on_with_its_last_checkpoint(unbroken, tmp_path):
    """Checkpoints know their old directory; a second one beside last.ckpt would never be read."""
    run, log = RunDirectory(tmp_path / "run"), tmp_path / "log"
    args = arguments("fit", config(), run.path)
    command = Command.start(args, log)
    command.until(lambda: epochs_done(run) > 0)
    command.signal(signal.SIGKILL)
    command.wait()
    moved = RunDirectory(tmp_path / "moved")
    run.path.rename(moved.path)
    before = epochs_done(moved)
    command = Command.start(arguments("fit", config(), moved.path), log)
    command.until(lambda: epochs_done(moved) != before)
    assert command.wait() == 0, command.output()
    assert_unbroken(moved, unbroken)
    assert not list(moved.path.rglob("*-v1.ckpt"))


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "Ctrl-C"]
)
def test_stopped(unbroken, tmp_path, number, status):
    run, log = RunDirectory(tmp_path / "run"), tmp_path / "log"
    args = arguments("fit", config(), run.path)
    command = Command.start(args, log)
    command.until(lambda: epochs_done(run) > 0)
    command.signal(number)
    assert command.wait() == status
    assert not (run.path / "training.json").exists()
    assert (
        f"The same command goes on from there:\n  leadgrad {shlex.join(args)}\n" in command.output()
    )
    assert str(run.path / "checkpoints") in command.output()
    assert "Traceback" not in command.output()
    assert Command.start(args, log).wait() == 0
    assert_unbroken(run, unbroken)


def test_a_changed_fit_is_refused_and_the_keys_are_named(unbroken, capsys):
    for changes, key in (
        (
            {"model__init_args__recipe__init_args__max_lr": 0.3},
            "recipe.init_args.max_lr: 0.2 there, 0.3 now",
        ),
        ({"data__init_args__batch_size": 16}, "data.init_args.batch_size: 8 there, 16 now"),
        ({"seed_everything": 3}, "seed_everything: 0 there, 3 now"),
    ):
        assert main(arguments("fit", config(**changes), unbroken.path)) == 1
        message = capsys.readouterr().err
        assert key in message
        assert message.count(" there, ") == 1


def test_start_weights(unbroken, tmp_path):
    """A fit from given weights, of no epochs' worth of rate, stays near them."""
    weights = unbroken.path / "weights.safetensors"
    recipe = node("leadgrad.victims.training.recipe.SGDOneCycle", max_lr=1e-12)
    settings = fit_config(model__init_args__recipe=recipe, trainer__max_epochs=1)
    assert main(arguments("fit", settings, tmp_path / "run", "--weights", str(weights))) == 0
    started, ended = load_file(weights), load_file(tmp_path / "run" / "weights.safetensors")
    name = "conv1.weight"
    assert (started[name] - ended[name]).abs().max() < 1e-6


def test_two_start_weights_are_two_fits(unbroken, tmp_path, capsys):
    settings = fit_config(trainer__max_epochs=1)
    assert main(arguments("fit", settings, tmp_path / "run")) == 0
    weights = str(unbroken.path / "weights.safetensors")
    assert main(arguments("fit", settings, tmp_path / "run", "--weights", weights)) == 1
    assert "weights: None there" in capsys.readouterr().err


def test_validate_without_weights_says_what_to_give(tmp_path, capsys):
    assert main(arguments("validate", config(), tmp_path / "run")) == 1
    assert "no checkpoint at" in capsys.readouterr().err
