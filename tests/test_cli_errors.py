"""Wrong command lines and configurations: exit 2 and the nearest valid name, or one line and 1."""

import subprocess
import sys

import pytest
import torch
import yaml
from run_config import arguments, attack_config, fit_config, node, threat

from leadgrad.pipelines.cli import main, usage
from leadgrad.victims import SkipNet, save_weights

NETWORK = "--model.network.init_args."
THREAT = "--model.attack.init_args.threat.init_args."

# Changed key of the YAML file, or option of the command line; the answer
UNKNOWN = [
    ({"modell": {"network": 1}}, "model.network"),
    ({"datta": node("leadgrad.data.FakeCIFAR10")}, "data"),
    (["--trainr.devices=2"], "trainer"),
    (["--network", "x"], "model.network"),
    ({"model__atack": {"threat": 1}}, "model.attack.threat"),
    ({"model__network__init_args__dept": 14}, "depth"),
    ({"model__attack__init_args__threads": 3}, "threat"),
    ({"model__attack__init_args__threat__init_args__eps_25": 8}, "eps_255"),
    ({"model__attack__init_args__eps_255": 8}, "threat.eps_255"),
    ({"model__method__init_args__surrogate__init_args__slop": 3}, "slope"),
    ({"data__init_args__batchsize": 3}, "batch_size"),
    ({"trainer__acelerator": "cpu"}, "trainer.accelerator"),
    ({"run_dirr": "x"}, "run_dir"),
    ({"model__network__class_path": "leadgrad.victims.SkipNett"}, "leadgrad.victims.SkipNet"),
    ({"model__attack__class_path": "leadgrad.attacks.IFSGM"}, "leadgrad.attacks.IFGSM"),
    ({"data__class_path": "leadgrad.data.CIFAR100"}, "leadgrad.data.CIFAR10"),
    (["--modell.network", "x"], "model.network"),
    (["--model.atack", "x"], "model.attack"),
    ([f"{NETWORK}dept=14"], "depth"),
    (["--model.network.dept=14"], "depth"),
    ([f"{THREAT}eps_25=8"], "eps_255"),
    (["--model.attack.threat.eps_25=8"], "eps_255"),
    (["--model.attack.eps_255=8"], "threat.eps_255"),
    (["--model.method.surrogate.slop=3"], "slope"),
    (["--data.batchsize=3"], "batch_size"),
    (["--data.init_args.batchsize", "3"], "batch_size"),
    (["--trainer.device=2"], "trainer.devices"),  # no abbreviations
    (["--trainer.max_epoch", "3"], "trainer.max_epochs"),
    (["--run-dir=x"], "run_dir"),
]


@pytest.mark.parametrize(("change", "nearest"), UNKNOWN, ids=[str(case[0]) for case in UNKNOWN])
def test_an_unknown_key(tmp_path, capsys, change, nearest):
    changes, options = (change, []) if isinstance(change, dict) else ({}, change)
    args = arguments("attack", attack_config(**changes), tmp_path / "run", *options)
    with pytest.raises(SystemExit) as stop:
        main(args)
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert f"the nearest valid one is '{nearest}'\n" in message
    assert message.count("the nearest valid one is") == 1
    assert "Traceback" not in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "nearest"),
    [
        ({"model__init_args__network__init_args__dept": 8}, "depth"),
        ({"model__init_args__recipe__init_args__maxlr": 1}, "max_lr"),
        ({"model__init_args__label_smoothin": 1}, "label_smoothing"),
        ({"weight": "x"}, "weights"),
    ],
)
def test_an_unknown_key_of_a_fit(tmp_path, capsys, change, nearest):
    with pytest.raises(SystemExit) as stop:
        main(arguments("fit", fit_config(**change), tmp_path / "run"))
    assert stop.value.code == 2
    assert f"the nearest valid one is '{nearest}'\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model__network__init_args__depth": "eight"}, ("depth", "eight")),
        ({"model__network": 3}, ("model.network",)),
        ({"model__attack__init_args__threat__init_args__eps_255": "x"}, ("eps_255", "x")),
        ({"model__attack__init_args__threat": threat(convention="half")}, ("convention", "half")),
        ({"model__attack__init_args__skip_misclassified": "perhaps"}, ("perhaps",)),
        ({"model__surrogate_precision": "float16"}, ("surrogate_precision", "float16")),
        ({"data__init_args__batch_size": 2.5}, ("batch_size", "2.5")),
        ({"data__init_args__attack_split": "tset"}, ("attack_split", "tset")),
        ({"model__network": node("leadgrad.victims.LGM")}, ("model.network", "LGM")),
        ({"model__attack": node("leadgrad.victims.SkipNet", depth=8)}, ("model.attack", "SkipNet")),
        ({"model__network": node("no_such_module.Net")}, ("no_such_module",)),
        ({"model__attack": None}, ("model.attack",)),
        ({"data": None}, ("required: data",)),
        ({"model": None}, ("required: model.network, model.attack",)),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_type_or_a_missing_part(tmp_path, capsys, changes, words):
    with pytest.raises(SystemExit) as stop:
        main(arguments("attack", attack_config(**changes), tmp_path / "run"))
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"model__attack__init_args__threat": threat(eps_255=0.0314)},
            "eps_255=0.0314 looks like a fraction of the range; it is counted in units of 1/255: "
            "did you mean eps_255=8.007?",
        ),
        ({"model__attack__init_args__threat": threat(eps_255=300)}, "eps_255 must lie in [0, 255]"),
        ({"model__network__init_args__depth": 9}, "depth must be 6n + 2"),
        ({"model__method__init_args__surrogate__init_args__slope": -1}, "slope must be finite and"),
        ({"data__init_args__batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"data__init_args__limit": 0}, "limit must be at least 1"),
        ({"data__init_args__image_size": 30}, "image_size must be a multiple of 4, got 30"),
        (
            {"data": node("leadgrad.data.CIFAR10", root="/no/such/place")},
            "CIFAR-10 is incomplete: /no/such/place",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_value_is_one_line(tmp_path, capsys, changes, words):
    assert main(arguments("attack", attack_config(**changes), tmp_path / "run")) == 1
    message = capsys.readouterr().err.splitlines()[-2:]
    assert message[0].startswith("error: ")
    assert words in message[0]
    assert message[1] == "(LEADGRAD_TRACEBACK=1 shows where)"
    assert not (tmp_path / "run" / "batches").exists()


def test_the_traceback_can_be_had(tmp_path, monkeypatch):
    monkeypatch.setenv("LEADGRAD_TRACEBACK", "1")
    settings = attack_config(data__init_args__batch_size=0)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        main(arguments("attack", settings, tmp_path / "run"))


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path):
    path.write_bytes(b"")


def of_another_depth(path):
    save_weights(SkipNet(14, num_classes=2), path)


def of_another_kind(path):
    path.write_text(yaml.safe_dump({"weights": [1, 2]}))


def not_finite(path):
    network = SkipNet(8, num_classes=2)
    with torch.no_grad():
        network.fc.bias[0] = torch.nan
    save_weights(network, path)


def gone(path):
    path.unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (truncated, "was refused"),
        (emptied, "was refused"),
        (of_another_depth, "keys unexpected"),
        (of_another_kind, "was refused"),
        (not_finite, "1 keys not finite: fc.bias"),
        (gone, "no checkpoint at"),
    ],
)
@pytest.mark.parametrize("command", ["attack", "fit", "validate"])
def test_bad_weights_are_refused_before_any_batch(tmp_path, capsys, damage, words, command):
    weights = tmp_path / "weights.safetensors"
    save_weights(SkipNet(8, num_classes=2), weights)
    damage(weights)
    if command == "attack":
        args = arguments("attack", attack_config(model__weights=str(weights)), tmp_path / "run")
    else:
        args = arguments(command, fit_config(), tmp_path / "run", "--weights", str(weights))
    assert main(args) == 1
    message = capsys.readouterr().err.splitlines()[-2:]
    assert message[0].startswith("error: ")
    assert words in message[0]
    assert str(weights) in message[0]
    assert not (tmp_path / "run").exists()


def test_no_run_directory(tmp_path, capsys):
    args = arguments("attack", attack_config(), tmp_path / "run")
    with pytest.raises(SystemExit) as stop:
        main(args[:3])
    assert stop.value.code == 2
    assert "required: run_dir" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["model: [", "{'a': }", "\t- x", "3", "just words"])
def test_a_file_that_is_no_configuration(tmp_path, capsys, text):
    args = arguments("attack", attack_config(), tmp_path / "run")
    (tmp_path / "run.attack.json").write_text(text)
    with pytest.raises(SystemExit) as stop:
        main(args)
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_no_such_configuration_file(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["attack", "--config", str(tmp_path / "none.yaml"), "--run_dir", "x"])
    assert stop.value.code == 2
    assert "none.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "nearest"), [("atack", "attack"), ("verfy", "verify"), ("validat", "validate")]
)
def test_an_unknown_command(capsys, wrong, nearest):
    assert main([wrong]) == 2
    message = capsys.readouterr().err
    assert f"the nearest valid one is '{nearest}'" in message
    assert message.count("\n") == 2, "the error, and where to look"


@pytest.mark.parametrize(("args", "status"), [([], 2), (["--help"], 0), (["-h"], 0)])
def test_usage(capsys, args, status):
    assert main(args) == status
    assert capsys.readouterr().out == usage() + "\n"


def test_usage_imports_nothing_heavy():
    """The list of commands appears at once, not after torch's seconds of imports."""
    script = (
        "import sys; from leadgrad.pipelines.cli import main; main(['--help']);"
        "sys.exit(any(name in sys.modules for name in ('torch', 'lightning', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("command", ["attack", "fit", "validate", "verify"])
def test_help_of_each_command(capsys, command):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert "run_dir" in capsys.readouterr().out


def test_the_printed_configuration_is_a_configuration(tmp_path, capsys):
    """What --print_config prints runs again, with all defaults written out."""
    args = arguments("attack", attack_config(), tmp_path / "run")
    with pytest.raises(SystemExit):
        main([*args, "--print_config"])
    printed = capsys.readouterr().out
    assert "mask_seed: 1" in printed
    (tmp_path / "printed.yaml").write_text(printed)
    assert main(["attack", "--config", str(tmp_path / "printed.yaml")]) == 0
    assert main(args) == 0  # the same run
