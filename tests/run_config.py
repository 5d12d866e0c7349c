"""Small attacks and fits for the tests of the pipelines, and how to run them in this process."""

import copy
import json
import sys
import types
from pathlib import Path

from leadgrad.pipelines.cli import main
from leadgrad.pipelines.runs.directory import RunDirectory


def node(class_path: str, **init_args: object) -> dict:
    return {"class_path": class_path, "init_args": init_args}


def threat(**init_args: object) -> dict:
    return node("leadgrad.attacks.PixelLinf", **{"eps_255": 8, **init_args})


LGM = node("leadgrad.victims.LGM", surrogate=node("leadgrad.victims.Sigmoid", slope=5.0))
SMALL = {"image_size": 16, "num_classes": 2}  # of two classes untrained victims get some right
QUIET = {"accelerator": "cpu", "enable_progress_bar": False}


def attack_config(**changes: object) -> dict:
    """A SkipNet of random weights under FGSM, 12 samples in 3 batches; dotted as ``a__b=value``."""
    config = {
        "model": {
            "network": node("leadgrad.victims.SkipNet", depth=8, num_classes=2),
            "attack": node("leadgrad.attacks.FGSM", threat=threat()),
            "method": LGM,
        },
        "data": node("leadgrad.data.FakeCIFAR10", batch_size=4, eval_size=12, **SMALL),
        "trainer": dict(QUIET),
    }
    return changed(config, changes)


def fit_config(**changes: object) -> dict:
    """A SkipNet on 32 images: four epochs of four steps."""
    config = {
        "model": node(
            "leadgrad.victims.training.skipnet.SkipNetClassifier",
            network=node("leadgrad.victims.SkipNet", depth=8, num_classes=2),
            recipe=node("leadgrad.victims.training.recipe.SGDOneCycle"),
        ),
        "data": node(
            "leadgrad.data.FakeCIFAR10", batch_size=8, train_size=32, eval_size=12, **SMALL
        ),
        "trainer": {**QUIET, "max_epochs": 4, "log_every_n_steps": 1},
    }
    return changed(config, changes)


def changed(config: dict, changes: dict) -> dict:
    config = copy.deepcopy(config)
    for name, value in changes.items():
        *parents, last = name.split("__")
        inner = config
        for parent in parents:
            inner = inner.setdefault(parent, {})
        if value is None:
            inner.pop(last)
        else:
            inner[last] = value
    return config


def arguments(command: str, config: dict, run_dir: Path, *options: str) -> list[str]:
    """The command line of a run whose configuration lies beside its directory.

    An attack's sanity checks are off unless asked for: they have tests of their own.
    """
    run_dir.parent.mkdir(parents=True, exist_ok=True)
    file = run_dir.with_name(f"{run_dir.name}.{command}.json")
    file.write_text(json.dumps(config))
    asked = any(option.startswith("--checks") for option in options)
    off = ["--checks=off"] if command == "attack" and not asked else []
    return [command, "--config", str(file), "--run_dir", str(run_dir), *off, *options]


def attack(config: dict, run_dir: Path, *options: str) -> dict:
    """Runs ``leadgrad attack`` in this process, which must succeed; its results.json."""
    assert main(arguments("attack", config, run_dir, *options)) == 0
    return RunDirectory(run_dir).results()


def class_path(cls: type, module: str) -> str:
    """Makes a class of a test file importable by name, as one of a user's own file would be."""
    home = sys.modules.setdefault(module, types.ModuleType(module))
    setattr(home, cls.__name__, cls)
    return f"{module}.{cls.__name__}"
