"""``leadgrad attack`` and ``leadgrad verify`` from the command line on, for every kind of run."""

import json
import re
from pathlib import Path

import pytest
import torch
from run_config import attack, attack_config, node, threat

from leadgrad.attacks import PixelLinf
from leadgrad.pipelines.cli import main
from leadgrad.pipelines.runs.directory import RunDirectory

# (victim, method, attack): all of each, and those pairs that meet in different code
VICTIMS = {
    "SkipNet": node("leadgrad.victims.SkipNet", depth=8, num_classes=2, image_size=16),
    "DynConv": node("leadgrad.victims.DynConv", depth=8, num_classes=2, image_size=16),
    "ResNet": node("leadgrad.victims.ResNet", depth=8, num_classes=2),
    "own module": node("own_victims.OwnGated", num_classes=2),
}
METHODS = {
    "FGM": node("leadgrad.victims.FGM"),
    "LGM": node("leadgrad.victims.LGM", surrogate=node("leadgrad.victims.Sigmoid", slope=3.0)),
    "LGM hard": node(
        "leadgrad.victims.LGM",
        surrogate=node("leadgrad.victims.Sigmoid", slope=3.0),
        forward="hard",
    ),
}
ATTACKS = {
    "FGSM": node("leadgrad.attacks.FGSM", threat=threat()),
    "IFGSM": node("leadgrad.attacks.IFGSM", threat=threat(), steps=2),
    "IFGSM doubled": node(
        "leadgrad.attacks.IFGSM", threat=threat(convention="doubled", valid_ratio=0.25), steps=2
    ),
    "IFGSM targeted": node(
        "leadgrad.attacks.IFGSM",
        threat=threat(),
        steps=2,
        goal=node("leadgrad.attacks.TargetShift", shift=3),
        loss="leadgrad.attacks.margin",
        skip_misclassified=False,
    ),
    "PGD": node("leadgrad.attacks.PGD", threat=threat(), steps=2, restarts=2),
    "MIFGSM": node("leadgrad.attacks.MIFGSM", threat=threat(), steps=2),
    "RandomNoise": node("leadgrad.attacks.RandomNoise", threat=threat()),
}
TABLE = [
    *[(victim, method, "FGSM") for victim in VICTIMS for method in ("FGM", "LGM")],
    *[(victim, "LGM", attack) for victim in ("SkipNet", "DynConv") for attack in ATTACKS],
    ("SkipNet", "LGM hard", "MIFGSM"),
    ("ResNet", "FGM", "PGD"),
    ("own module", "LGM", "IFGSM"),
]
PROMISED = {
    "samples",
    "clean_accuracy",
    "adversarial_accuracy",
    "robust_accuracy",
    "attack_success_rate",
    "architecture_change",
    "victim",
    "method",
    "attack",
    "threat",
    "seed",
    "versions",
    "wall_s",
    "digest",
}


def config(victim: str, method: str, attacked: str) -> dict:
    return attack_config(
        model__network=VICTIMS[victim],
        model__method=METHODS[method],
        model__attack=ATTACKS[attacked],
        data__init_args__num_classes=2,
    )


@pytest.mark.parametrize(("victim", "method", "attacked"), dict.fromkeys(TABLE))
def test_attack_and_verify(tmp_path, capsys, victim, method, attacked):
    results = attack(config(victim, method, attacked), tmp_path / "run")
    assert results["samples"] == 12
    for name, value in {
        "victim": VICTIMS[victim],
        "method": METHODS[method],
        "attack": ATTACKS[attacked],
    }.items():
        assert results[name]["class_path"] == value["class_path"]
    assert_budget(RunDirectory(tmp_path / "run"), **ATTACKS[attacked]["init_args"])
    assert_page(tmp_path / "run" / "report.html")
    capsys.readouterr()
    assert main(["verify", str(tmp_path / "run")]) == 0
    assert "FAIL" not in capsys.readouterr().out


def assert_budget(run: RunDirectory, threat: dict, skip_misclassified=True, **_) -> None:
    allowed = PixelLinf(**threat["init_args"])
    moved = 0
    for record in run.records():
        allowed.check(record.adv_inputs, record.clean_inputs)
        moved += int((record.adv_inputs != record.clean_inputs).flatten(1).any(1).sum())
    counts = run.results()["counts"]
    assert moved == (counts["eligible"] if skip_misclassified else counts["samples"]) > 0


def assert_page(path: Path) -> None:
    """Nothing on the page comes from elsewhere."""
    page = path.read_text()
    assert not re.findall(r"https?://", page)
    for source in re.findall(r"""(?:src|href)=["']?([^"'\s>]*)""", page):
        assert source.startswith(("data:", "#"))
    assert not re.findall(r"@import|url\((?!data:)|<link|<script src", page)
    assert page.count("<img") == page.count("data:image/png;base64,") > 0


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("lgm") / "run"
    attack(config("SkipNet", "LGM", "FGSM"), run_dir)
    return RunDirectory(run_dir)


def test_results_have_all_keys_that_were_promised(run):
    results = run.results()
    assert set(results) >= PROMISED
    assert set(results["architecture_change"]["countings"]) == {
        "decisions/all",
        "decisions/attacked",
        "decisions+dependents/all",
        "decisions+dependents/attacked",
    }
    assert set(results["versions"]) >= {"leadgrad", "torch", "lightning", "numpy", "python"}
    assert results["seed"] == {"attack": 0, "everything": 0}
    assert results["threat"]["init_args"]["convention"] == "pixel"
    assert results["wall_s"] > 0
    assert re.fullmatch(r"[0-9a-f]{64}", results["digest"])


def test_defaults_are_written_out(run):
    """Whoever reads run.json need not know which defaults this version has."""
    attack = run.results()["attack"]["init_args"]
    assert attack["skip_misclassified"] is True
    assert attack["loss"] == "leadgrad.attacks.cross_entropy"
    assert attack["threat"]["init_args"]["mask_seed"] == 1


def test_shares_are_of_their_denominators(run):
    results, counts = run.results(), run.results()["counts"]
    for name, hit, of in (
        ("clean_accuracy", "clean", "samples"),
        ("adversarial_accuracy", "both", "samples"),
        ("robust_accuracy", "robust", "samples"),
        ("attack_success_rate", "won", "eligible"),
    ):
        share = 100 * counts[hit] / counts[of] if counts[of] else 0
        assert results[name] == pytest.approx(share)
        low, high = results["intervals"][name]
        assert low <= share + 1e-9
        assert share - 1e-9 <= high


def test_the_run_directory_holds_what_it_says(run):
    names = {path.name for path in run.path.iterdir()}
    expected = {"run.json", "victim.safetensors", "batches", "results.json", "report.html"}
    assert names == expected | {"tensorboard"}
    assert len(list((run.path / "batches").iterdir())) == 6
    header = run.run()
    assert header["command"].startswith("leadgrad attack --config ")
    assert header["classes"] == ["pattern 0", "pattern 1"]


def test_weights_come_from_the_file(run, tmp_path):
    """Attacking the kept weights under another seed of the initialisation is the same attack."""
    settings = config("SkipNet", "LGM", "FGSM")
    settings["model"]["weights"] = str(run.weights)
    settings["seed_everything"] = 7
    results = attack(settings, tmp_path / "run")
    assert results["digest"] == run.results()["digest"]
    other = attack({**config("SkipNet", "LGM", "FGSM"), "seed_everything": 7}, tmp_path / "other")
    assert other["digest"] != run.results()["digest"]


def test_unfolded_victim_agrees_up_to_rounding(run, tmp_path):
    settings = config("SkipNet", "LGM", "FGSM")
    settings["model"]["prepare"] = False
    attack(settings, tmp_path / "run")
    for record, other in zip(run.records(), RunDirectory(tmp_path / "run").records(), strict=True):
        torch.testing.assert_close(record.clean_logits, other.clean_logits, rtol=1e-4, atol=1e-4)


def test_the_terminal_shows_the_results(run, capsys):
    args = json.loads((run.path / "run.json").read_text())["command"].split()[1:]
    assert main(args) == 0
    shown = capsys.readouterr().out
    for word in ("FGSM on SkipNet under LGM", "clean accuracy", "architecture change"):
        assert word in shown


def test_tensorboard_shows_accuracy(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    counts = run.results()["counts"]
    for tag, name in (("accuracy/clean", "clean"), ("accuracy/both", "both")):
        last = events.Scalars(tag)[-1]
        assert last.step == 12
        assert last.value == pytest.approx(100 * counts[name] / counts["samples"])
