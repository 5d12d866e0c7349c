"""What the README shows runs as printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PATIENCE = 1800  # seconds; against hanging, far above what a slow machine needs


def block(language, start):
    """The one code block of a language that begins so."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)
    (found,) = [text for text in blocks if text.startswith(start)]
    return found


@pytest.fixture
def folder(tmp_path):
    """A user's folder with the README's two files."""
    (tmp_path / "my_file.py").write_text(block("python", "# my_file.py"))
    (tmp_path / "my.yaml").write_text(block("yaml", "# my.yaml"))
    return tmp_path


def test_the_example_of_an_own_network_runs(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names = {}
    exec(compile(block("python", "import torch\n"), "README.md", "exec"), names)
    sys.modules.pop("my_file")
    moved = (names["adv"] - names["x"]).abs()
    assert 0 < float(moved.max()) <= 8 / 255 + 1e-7
    assert torch.equal(names["adv"], names["adv"].clamp(0, 1))


def test_an_own_network_is_trained_published_attacked_and_verified(folder):
    """By the installed script, whose path holds no working directory of its own."""
    script = Path(sys.executable).with_name("leadgrad")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    commands = block("bash", "leadgrad fit --model").replace("leadgrad fit", f"{script} fit")
    for command in ("publish", "attack", "verify"):
        commands = commands.replace(f"\nleadgrad {command}", f"\n{script} {command}")
    ran = subprocess.run(
        ["bash", "-e", "-c", commands],
        cwd=folder,
        env={**environment, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Not trustworthy" not in ran.stdout
    assert (folder / "mine.json").exists()


def test_an_attack_from_python_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zoo").symlink_to(ROOT / "zoo")
    code = block("python", "from leadgrad.attacks import FGSM")
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[-1].endswith("[[], [], [], [], [], [], []]")


def test_every_configuration_it_names_exists():
    named = set(re.findall(r"configs/\w+/\w+\.yaml", README))
    assert named
    assert all((ROOT / path).is_file() for path in named)
