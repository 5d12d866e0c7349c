"""Options of Lightning's trainer: what changes numbers is refused, or part of the run."""

import pytest
from lightning.pytorch import Callback
from run_config import arguments, attack, attack_config, class_path, fit_config

from leadgrad.pipelines.attack.trainer_options import deciding_options
from leadgrad.pipelines.cli import main


class Meddling(Callback):
    """Changes every image."""

    def on_predict_batch_start(self, trainer, pl_module, batch, *_):
        batch["image"].mul_(0.5)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_an_attack_in_another_precision_is_refused_before_anything_is_written(
    precision, tmp_path, capsys
):
    args = arguments(
        "attack", attack_config(), tmp_path / "run", f"--trainer.precision={precision}"
    )
    assert main(args) == 1
    message = capsys.readouterr().err
    assert "trainer's precision is" in message
    assert "--model.surrogate_precision=bfloat16" in message
    assert not (tmp_path / "run").exists()


def test_so_is_one_that_a_plugin_brings(tmp_path, capsys):
    plugin = {
        "class_path": "lightning.pytorch.plugins.MixedPrecision",
        "init_args": {"precision": "bf16-mixed", "device": "cpu"},
    }
    config = attack_config(trainer__plugins=[plugin])
    assert main(arguments("attack", config, tmp_path / "run")) == 1
    assert "MixedPrecision" in capsys.readouterr().err


@pytest.mark.parametrize("precision", ["32-true"])
def test_float32_may_be_named(precision, tmp_path):
    attack(attack_config(), tmp_path / "run", f"--trainer.precision={precision}")


def test_a_callback_is_part_of_the_run(tmp_path, capsys):
    name = class_path(Meddling, "own_callbacks")
    config = attack_config(trainer__callbacks=[{"class_path": name}])
    results = attack(config, tmp_path / "run")
    plain = attack(attack_config(), tmp_path / "plain")
    assert results["digest"] != plain["digest"]
    assert main(arguments("attack", attack_config(), tmp_path / "run")) == 1
    assert "trainer.callbacks" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option",
    [
        "gradient_clip_val=0.5",
        "accumulate_grad_batches=2",
        "limit_train_batches=2",
        "precision=64-true",
        "max_epochs=1",
    ],
)
def test_what_changes_a_fit_is_part_of_it(option, tmp_path, capsys):
    config = fit_config(trainer__max_epochs=2)
    assert main(arguments("fit", config, tmp_path / "fit")) == 0
    assert main(arguments("fit", config, tmp_path / "fit", f"--trainer.{option}")) == 1
    assert f"trainer.{option.split('=')[0]}: " in capsys.readouterr().err


def test_what_is_shown_or_where_is_not(tmp_path):
    config = fit_config(trainer__max_epochs=2)
    assert main(arguments("fit", config, tmp_path / "fit")) == 0
    options = ["--trainer.log_every_n_steps=3", "--trainer.profiler=simple", "--trainer.devices=1"]
    assert main(arguments("fit", config, tmp_path / "fit", *options)) == 0


def test_options_nobody_has_looked_at_count():
    assert deciding_options({"new": 1, "devices": 4, "benchmark": None}, {}) == {"new": 1}
    assert deciding_options({"benchmark": False}, {"benchmark": False}) == {}
    assert deciding_options({"precision": None}, {}, always=("precision",)) == {"precision": None}
