"""Every check of ``leadgrad verify`` passes on what an attack wrote, and fails on tampered runs."""

import json
import shutil

import pytest
import torch
from own_victims import OwnGated
from run_config import attack, attack_config, changed, class_path, node, threat
from tampering import TAMPERED, UNIT, edit, edit_json

from leadgrad.attacks import PixelLinf, RandomNoise
from leadgrad.pipelines.api.verifying import verify
from leadgrad.pipelines.cli import main
from leadgrad.pipelines.runs.directory import RunDirectory, flatten


def config() -> dict:
    return attack_config(
        model__attack=node("leadgrad.attacks.FGSM", threat=threat(valid_ratio=0.5)),
    )


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("original") / "run"
    attack(config(), run_dir)
    return run_dir


@pytest.fixture
def run(original, tmp_path):
    shutil.copytree(original, tmp_path / "run")
    return RunDirectory(tmp_path / "run")


@pytest.mark.parametrize(
    ("tamper", "check", "words"), TAMPERED, ids=[case[0].__name__ for case in TAMPERED]
)
def test_tampering_is_found(run, capsys, tamper, check, words):
    tamper(run)
    assert main(["verify", str(run.path)]) == 1
    shown = capsys.readouterr().out
    assert [line for line in shown.splitlines() if line.startswith(f"{check}: ") and words in line]
    assert "FAIL" in shown


def test_what_was_written_passes(run, capsys):
    assert main(["verify", str(run.path)]) == 0
    shown = capsys.readouterr().out
    assert "FAIL" not in shown
    assert {finding.check for finding in verify(run)} == {"C23", "C24", "C25", "C28"}
    assert all(name in shown for name in ("C23", "C24", "C25", "C28"))


@pytest.mark.parametrize(("size", "words"), [(12, "1 batch"), (6, "2 batches")])
def test_batches_are_counted_in_english(size, words, tmp_path):
    attack(changed(config(), {"data__init_args__batch_size": size}), tmp_path / "run")
    assert verify(tmp_path / "run")[0].value == f"{words} and weights"


def test_every_check_can_fail(run, original, tmp_path):
    """No line of the table is one that could only pass."""
    names, failed = {finding.name for finding in verify(run)}, set()
    for number, (tamper, *_) in enumerate(TAMPERED):
        shutil.copytree(original, tmp_path / str(number))
        copy = RunDirectory(tmp_path / str(number))
        tamper(copy)
        failed |= {finding.name for finding in verify(copy) if finding.problems}
    assert failed == names


def test_every_number_is_recomputed(run):
    """Each one of results.json, edited alone or with all others, is named."""
    edited = []

    def change(tree, prefix=""):
        for name, value in tree.items():
            if isinstance(value, dict):
                change(value, f"{prefix}{name}.")
            elif isinstance(value, int | float) and not isinstance(value, bool):
                tree[name] = value + 1
                edited.append(f"{prefix}{name}")

    edit_json(run, "results.json", change)
    problems = [problem for finding in verify(run) for problem in finding.problems]
    assert len(edited) > 50
    for name in edited:
        assert any(problem.startswith(f"{name}: reported") for problem in problems), name


def test_every_measured_key_is_needed(run):
    results = run.results()
    edit_json(run, "results.json", lambda content: content.pop("architecture_change"))
    problems = [problem for finding in verify(run) for problem in finding.problems]
    wanted = [name for name in flatten(results) if name.startswith("architecture_change.")]
    assert len([line for line in problems if "reported 'nothing'" in line]) == len(wanted)


class LaxLinf(PixelLinf):
    """A user's own threat model whose check lets everything pass."""

    def region(self, origin):
        return PixelLinf(self.eps_255 + 3).region(origin)

    def check(self, x, origin):
        pass


class FarNoise(RandomNoise):
    """Moves by more than the budget, which the threat model above does not mind."""

    def run(self, surrogate, inputs, labels, **_):
        return inputs + 11 * UNIT * (inputs < 0.5) - 11 * UNIT * (inputs >= 0.5)


def test_the_budget_holds_for_the_images_as_bytes(tmp_path, capsys):
    """Apart from the threat model's own check, of what would be saved as PNG."""
    lax = node(class_path(LaxLinf, "own_threats"), eps_255=8)
    noise = node("leadgrad.attacks.RandomNoise", threat=lax, skip_misclassified=False)
    settings = attack_config(model__attack=noise)
    attack(settings, tmp_path / "kept")
    assert main(["verify", str(tmp_path / "kept")]) == 0
    settings["model"]["attack"]["class_path"] = class_path(FarNoise, "own_threats")
    attack(settings, tmp_path / "passed")
    assert main(["verify", str(tmp_path / "passed")]) == 1
    assert "C24: batch 0: 11 levels after rounding to bytes, allowed 8" in capsys.readouterr().out


def test_many_problems_are_counted(run, capsys):
    for batch in range(3):
        edit(run, batch, "adv_units", lambda bits: bits ^ 255)
        edit(run, batch, "clean_units", lambda bits: bits ^ 255)
    assert main(["verify", str(run.path)]) == 1
    assert "C25: and 1 more" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("run.json", b"", "run.json is damaged"),
        ("run.json", b"[]", "run.json is damaged: it holds no JSON object"),
        ("run.json", b"{}", "run.json is damaged: it has no fingerprint"),
        ("run.json", b'{"fingerprint": 3}', "run.json is damaged: it has no fingerprint"),
        ("run.json", b"\xff\xfe\x00", "run.json is damaged"),
        ("results.json", b'{"samples": 12,', "results.json is damaged"),
        ("results.json", None, "has no results.json; give the --run_dir of a finished"),
        ("run.json", None, "has no run.json"),
    ],
)
def test_a_directory_that_cannot_be_verified(run, capsys, name, content, words):
    (run.path / name).unlink()
    if content is not None:
        (run.path / name).write_bytes(content)
    assert main(["verify", str(run.path)]) == 1
    message = capsys.readouterr().err
    assert words in message
    assert len(message.splitlines()) == 2


class Drawing(OwnGated):
    """Computes with a tensor that it draws and keeps outside of its state dict."""

    def __init__(self, width: int = 4, num_classes: int = 10) -> None:
        super().__init__(width, num_classes)
        self.projection = torch.randn(num_classes, num_classes)

    def forward(self, images):
        return super().forward(images) @ self.projection


def test_a_victim_that_draws_when_built_is_verified_with_the_attacks_seed(tmp_path):
    network = node(class_path(Drawing, "drawing_victims"), num_classes=2)
    attack(attack_config(model__network=network, seed_everything=5), tmp_path / "run")
    assert not any(finding.problems for finding in verify(RunDirectory(tmp_path / "run")))
    header = json.loads((tmp_path / "run" / "run.json").read_text())
    for part in (header["config"], header["fingerprint"]):
        part["seed_everything"] = 6
    (tmp_path / "run" / "run.json").write_text(json.dumps(header))
    problems = [line for found in verify(RunDirectory(tmp_path / "run")) for line in found.problems]
    assert any("seed and state dict do not determine" in line for line in problems)
