"""What the README and the pages on Python show runs as printed; links lead somewhere."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from leadgrad.pipelines.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PYTHON = (ROOT / "docs" / "comparisons.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PATIENCE = 1800  # seconds; against hanging, far above what a slow machine needs


def block(language, start, page=README):
    """The one code block of a language that begins so."""
    blocks = re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)
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
    exec(compile(block("python", "import torch\n", PYTHON), "comparisons.md", "exec"), names)
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
    code = block("python", "from leadgrad.attacks import FGSM", PYTHON)
    exec(compile(code, "comparisons.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[-1].endswith("[[], [], [], [], [], [], []]")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_configurations_of_a_page_exist(page):
    text = page.read_text()
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    local = [link for link in links if "://" not in link]
    missing = [link for link in local if not (page.parent / link).exists()]
    named = set(re.findall(r"configs/\w+/\w+\.yaml", text))
    missing += [path for path in named if not (ROOT / path).is_file()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_configurations_of_a_page_are_accepted(page, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "zoo").symlink_to(ROOT / "zoo")
    for number, text in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)):
        Path(f"{number}.yaml").write_text(text)
        with pytest.raises(SystemExit) as stop:
            main(["attack", "--config", f"{number}.yaml", "--run_dir=x", "--print_config"])
        assert stop.value.code == 0, capsys.readouterr().err


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 120


def committed(table):
    """Robust accuracy by victim and attack."""
    with (ROOT / "docs" / "results" / f"{table}.csv").open() as file:
        return {
            (row["victim"], row["attack"]): float(row["robust %"]) for row in csv.DictReader(file)
        }


def test_the_readmes_strongest_result_is_the_committed_one():
    rows = committed("table-defences")
    named = (
        "FGM, APGD",
        "each exit in turn, APGD",
        "LGM's values unled, APGD",
        "LGM, APGD",
        "Standard, decisions frozen",
        "Standard",
    )
    measured = [rows["RDI-Net, 0.8 nats", name] for name in named]
    (line,) = (line for line in README.splitlines() if line.startswith("| right answers, %"))
    shown = [float(each) for each in re.findall(r"[\d.]+", line)[1:]]
    assert shown == pytest.approx(measured, abs=0.051)


def test_the_readmes_six_victims_are_the_committed_ones():
    rows = committed("table-robust")
    own = "Standard, decisions frozen"
    frozen = [rows[name, own] for name in ("dynconv14_robust", "multi_exit14_robust")]
    names = (
        "dynconv14_robust",
        "multi_exit14_robust",
        "dynconv14_lgm_robust",
        "multi_exit14_lgm_robust",
    )
    worst = [rows[name, "Standard"] for name in names]
    start = README.index("It is so with victims that we trained")
    shown = [float(each) for each in re.findall(r"\d+\.\d+", README[start:])[:6]]
    assert shown == pytest.approx([*frozen, *worst], abs=0.051)
