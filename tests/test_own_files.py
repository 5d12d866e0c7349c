"""Classes in a user's own files: found, not found, and broken, by every command."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from run_config import arguments, attack, attack_config, node

from leadgrad.pipelines.cli import main
from leadgrad.pipelines.config.instantiate import ClassPathError, instantiate
from leadgrad.pipelines.config.own_files import configuration_files, own_files_importable
from leadgrad.pipelines.runs.zoo import Card
from leadgrad.victims import save_weights

README = (Path(__file__).parents[1] / "README.md").read_text()
COMMAND = Path(sys.executable).with_name("leadgrad")
OWN = """
import torch
from torch import nn
from leadgrad.victims import Gate


class Gated(nn.Module):
    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.score, self.gate, self.head = nn.Linear(3, 1), Gate(), nn.Linear(3, num_classes)

    def forward(self, x):
        means = x.mean((2, 3))
        return self.head(means * (1 + self.gate(self.score(means))))


def build(num_classes: int = 2, **kwargs) -> nn.Module:
    network = Gated(num_classes)
    network.made_with = kwargs
    return network
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes a file of one's own into ``own/``, for one test, and goes to ``elsewhere/``."""
    before = set(sys.modules)
    (tmp_path / "own").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    def write(name: str, text: str = OWN) -> Path:
        (tmp_path / "own" / f"{name}.py").write_text(text)
        return tmp_path / "own"

    yield write
    for name in set(sys.modules) - before:
        if (tmp_path / "own" / f"{name}.py").exists():
            del sys.modules[name]


def own_config(class_path: str, **init_args: object) -> dict:
    return attack_config(model__network=node(class_path, **init_args))


def ended(args) -> int | str | None:
    """Status of a command, whichever way it ends."""
    try:
        return main(args)
    except SystemExit as stop:
        return stop.code


def failure(args, capsys, status: int = 1) -> str:
    """The one line of a command that must fail."""
    assert ended(args) == status
    line, _hint = capsys.readouterr().err.splitlines()[-2:]
    assert line.startswith("error: ")
    return line


@pytest.mark.ddp
def test_the_network_of_the_readme_under_the_installed_command(tmp_path):
    """By two processes, from a folder that is not the file's; then verified in the file's."""
    (code,) = re.findall(r"```python\n(# my_file.py\n.*?)```", README, flags=re.DOTALL)
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    (home / "my_file.py").write_text(code)
    (home / "torch.py").write_text("raise SystemExit('shadowed')")
    config = own_config("my_file.Gated")
    config["data"]["init_args"]["num_classes"] = 10
    (home / "my.yaml").write_text(json.dumps(config))
    two = ["--trainer.strategy=ddp", "--trainer.devices=2", "--checks=off"]

    def run(folder: Path, *args: object) -> str:
        done = subprocess.run(
            [COMMAND, *map(str, args)], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run_dir = tmp_path / "run"
    run(elsewhere, "attack", "--config", home / "my.yaml", "--run_dir", run_dir, *two)
    assert "FAIL" not in run(home, "verify", run_dir)


def test_a_file_in_the_working_directory_is_found(own, tmp_path, monkeypatch):
    monkeypatch.chdir(own("own_here"))
    attack(own_config("own_here.Gated"), tmp_path / "runs" / "here")
    assert str(tmp_path / "own") not in sys.path  # left as it was
    assert main(["verify", str(tmp_path / "runs" / "here")]) == 0


def test_own_folders_are_searched_last_and_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    for name in ("a.yaml", "sub/b.json", "sub/data.yml"):
        (tmp_path / name).write_text("{}")
    args = ["--config=a.yaml", "-c", "sub/b.json", "--data", "sub/data.yml", "--run_dir", "sub/x"]
    assert list(map(str, configuration_files(args))) == ["a.yaml", "sub/b.json", "sub/data.yml"]
    before = list(sys.path)
    with own_files_importable(args):
        assert sys.path == [*before, str(tmp_path), str(tmp_path / "sub")]
    assert sys.path == before


def test_a_file_that_is_not_found(own, tmp_path, monkeypatch, capsys):
    """Named with the remedy, by the attack and by the verification in another folder."""
    args = arguments("attack", own_config("own_lost.Gated"), tmp_path / "runs" / "lost")
    line = failure(args, capsys, status=2)
    wanted = "model.network: own_lost.Gated cannot be imported: there is no module 'own_lost'; "
    remedy = "start the command in the folder where own_lost.py lies, or set PYTHONPATH"
    assert wanted + remedy in line
    folder = own("own_lost")
    with monkeypatch.context() as there:
        there.chdir(folder)
        assert main(args) == 0
    del sys.modules["own_lost"]
    line = failure(["verify", str(tmp_path / "runs" / "lost")], capsys)
    assert wanted + remedy in line


BROKEN = {
    "own_syntax": ("import torch\ndef f(:\n", "own_syntax.py, line 2: SyntaxError: "),
    "own_import": ("\nimport torhc\n", "own_import.py, line 2: ModuleNotFoundError: No module"),
    "own_name": ("from leadgrad.victims import Gatee\n", "own_name.py, line 1: ImportError: "),
    "own_key": ("x = {}\n\ny = x['a']\n", "own_key.py, line 3: KeyError: 'a'"),
    "own_call": ("raise RuntimeError('not\\nnow')", "own_call.py, line 1: RuntimeError: not now"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_broken(own, monkeypatch, tmp_path, capsys, name):
    text, words = BROKEN[name]
    monkeypatch.chdir(own(name, text))
    args = arguments("attack", own_config(f"{name}.Gated"), tmp_path / "run")
    assert ended(args) in (1, 2)
    line = capsys.readouterr().err.splitlines()[-2]
    assert line.startswith("error: ")
    assert words in line
    with own_files_importable([]), pytest.raises(ClassPathError) as card:
        instantiate(node(f"{name}.Gated"))
    assert f"{name}.Gated cannot be imported: " in str(card.value)
    assert words in str(card.value)


def test_a_run_or_a_card_whose_arguments_no_longer_fit(own, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(own("own_changed"))
    config = own_config("own_changed.Gated", num_classes=2)
    attack(config, tmp_path / "runs" / "run")
    own("own_changed", OWN.replace("num_classes", "classes"))
    del sys.modules["own_changed"]
    line = failure(["verify", str(tmp_path / "runs" / "run")], capsys)
    assert "own_changed.Gated" in line
    assert "num_classes" in line
    assert "have they changed?" in line
    weights = tmp_path / "w.safetensors"
    with own_files_importable([]):
        network = instantiate(node("own_changed.Gated"))
        card = {
            "network": node("own_changed.Gated", num_classes=2),
            "sha256": save_weights(network, weights),
            "accuracy": {},
        }
        weights.with_suffix(".json").write_text(json.dumps(card))
        wanted = r"own_changed\.Gated does not take the arguments num_classes: .*has it changed"
        with pytest.raises(ClassPathError, match=wanted):
            Card.read(weights).load()
    with pytest.raises(ClassPathError, match=r"no class 'leadgrad\.victims\.Gte'.*victims\.Gate'"):
        instantiate(node("leadgrad.victims.Gte"))
    with pytest.raises(ClassPathError, match="'Gated' is no class path"):
        instantiate(node("Gated"))


def test_further_arguments_of_a_function(own, monkeypatch, tmp_path, capsys):
    """What goes into ``**kwargs`` is ``dict_kwargs``; the refusal of anything else says so."""
    monkeypatch.chdir(own("own_kwargs"))
    args = arguments("attack", own_config("own_kwargs.build", colour=3), tmp_path / "run")
    with pytest.raises(SystemExit):
        main(args)
    message = capsys.readouterr().err
    assert (
        "build takes further arguments as dict_kwargs: {colour: ...}, beside init_args" in message
    )
    assert "nearest" not in message
    with own_files_importable([]):
        made = instantiate({"class_path": "own_kwargs.build", "dict_kwargs": {"colour": 3}})
    assert made.made_with == {"colour": 3}


def test_a_function_that_does_not_say_what_it_returns(own, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(own("own_silent", OWN.replace(") -> nn.Module:", "):")))
    args = arguments("attack", own_config("own_silent.build"), tmp_path / "run")
    with pytest.raises(SystemExit):
        main(args)
    message = capsys.readouterr().err
    assert "own_silent.build is a function that does not say what it returns" in message
    assert "write def build(...) -> nn.Module:" in message
    assert "nearest" not in message


def test_data_of_a_function_that_does_not_say_what_it_returns(own, monkeypatch, tmp_path, capsys):
    """Its class path may be a file's name too, of which jsonargparse speaks first."""
    source = (
        "from leadgrad.data import ImageDataModule\n\n\ndef mine(limit=None):\n    return None\n"
    )
    monkeypatch.chdir(own("own_quiet", source))
    config = attack_config()
    del config["data"]
    args = arguments("attack", config, tmp_path / "run", "--data=own_quiet.mine")
    with pytest.raises(SystemExit):
        main(args)
    message = capsys.readouterr().err
    assert "own_quiet.mine is a function that does not say what it returns" in message
    assert "write def mine(...) -> LightningDataModule:" in message


def test_a_class_without_arguments(own, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(
        own(
            "own_none",
            OWN.replace(", num_classes: int = 2) -> None", ")").replace("3, num_classes", "3, 2"),
        )
    )
    args = arguments("attack", own_config("own_none.Gated", depth=3), tmp_path / "run")
    with pytest.raises(SystemExit):
        main(args)
    message = capsys.readouterr().err
    assert "Gated takes no arguments" in message
    assert "nearest" not in message


def test_nodes_in_lists_are_made_too():
    made = instantiate(node("torch.nn.Sequential")).__class__
    fgm, constant = node("leadgrad.victims.FGM"), node("leadgrad.victims.Constant")
    lgm = node("leadgrad.victims.LGM", surrogate=constant)
    both = instantiate(node("leadgrad.victims.BestOf", methods=[fgm, lgm]))
    assert made.__name__ == "Sequential"
    assert [type(method).__name__ for method in both.methods] == ["FGM", "LGM"]
