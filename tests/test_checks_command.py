"""``leadgrad attack --checks``: exit status, files, report, resumption; the run stays the same."""

import json
import re
import sys

import pytest
import torch
from own_victims import OwnGated
from run_config import LGM, arguments, attack_config, class_path, node, threat

from leadgrad.pipelines.checks import Check, Checked, Verdict, stored
from leadgrad.pipelines.checks.comparison import Reported, against_card
from leadgrad.pipelines.cli import main
from leadgrad.pipelines.report.words import print_run
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.pipelines.tasks.images.task import ImageClassification

# An untrained network of two classes may answer with one of them whatever it sees, which fails C15
ALLOWED = "--allow_failed_checks=true"
DISCONNECTED = "1 of 2 gates are disconnected"


class CutOff(OwnGated):
    """One gate's margin is detached."""

    def forward(self, images):
        x = torch.relu(self.stem(images - 0.5))
        run = self.image_gate(self.image_score(x.mean((2, 3))).squeeze(1).detach())
        x = x + run.view(-1, 1, 1, 1) * self.first(x)
        x = x + self.position_gate(self.position_score(x)) * self.second(x)
        return self.head(x.mean((2, 3)))


def config(network=None, **changes):
    sound = node("own_victims.OwnGated", num_classes=2)
    return attack_config(model__network=network or sound, **changes)


def faulty():
    return node(class_path(CutOff, "own_networks"), num_classes=2)


def run(run_dir, settings, *options, status=0):
    args = arguments("attack", settings, run_dir, *options)
    if "--checks=off" not in options and "--checks=off" in args:
        args.remove("--checks=off")  # the other tests' default
    assert main(args) == status
    return RunDirectory(run_dir).results()


def page(run_dir):
    return (run_dir / "report.html").read_text()


def numbers(results):
    return {check["id"] for check in results["checks"]}


FAST = {f"C{number}" for number in (*range(1, 15), 21)}


def test_the_default_is_fast(tmp_path, capsys):
    results = run(tmp_path / "run", config())
    assert results["checks_level"] == "fast"
    assert numbers(results) == FAST
    content = json.loads((tmp_path / "run" / "checks.json").read_bytes())
    assert content["checks"] == results["checks"]
    shown, printed = page(tmp_path / "run"), capsys.readouterr().out
    assert all(f"C{number}" in shown for number in range(1, 15))
    assert "trustworthy" not in shown + printed


def checked(*verdicts):
    """Checks with these verdicts, as results.json has them."""
    name = "what fools the surrogate fools the victim, LGM(surrogate=[RelativeSigmoid(slope=5.0)])"
    return [
        Check(f"C{number}", name, "43.8 %", "≤ 5 %", verdict, remedy, 64).as_json()
        for number, verdict in enumerate(verdicts, 1)
        for remedy in ["" if verdict in ("PASS", "SKIP") else "a nearer surrogate"]
    ]


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        (("PASS", "PASS"), "2 of 2 pass; "),
        (("PASS", "SKIP", "PASS"), "2 of 2 pass, 1 not made; "),
        (("WARN", "PASS", "SKIP", "FAIL"), "1 of 3 pass, 1 not made; "),
    ],
)
def test_only_what_does_not_pass_is_printed_before_the_numbers(verdicts, words, tmp_path, capsys):
    results = run(tmp_path / "run", config())
    results["checks"] = checked(*map(Verdict, verdicts))
    capsys.readouterr()
    print_run(results, ImageClassification(), tmp_path / "report.html", sys.stdout)
    lines = capsys.readouterr().out.splitlines()
    doubts = [each for each in results["checks"] if each["remedy"]]
    for check in doubts:
        head = f"{check['verdict']} {check['id']} {check['name']}: 43.8 %; passes: ≤ 5 %"
        assert lines[:2] == [head, "  remedy: a nearer surrogate"]
        lines = lines[2:]
    assert lines[0] == f"fast checks: {words}{tmp_path / 'report.html'} has all"
    assert lines[2][0] == "┌", "the table of the numbers, below its title"
    assert any("adversarial accuracy" in line for line in lines[-15:])
    assert lines[-1].startswith("Not trustworthy: C4" if "FAIL" in verdicts else "└")
    assert "…" not in "".join(lines)


def test_off(tmp_path, capsys):
    results = run(tmp_path / "run", config(), "--checks=off")
    assert (results["checks_level"], results["checks"]) == ("off", [])
    assert "checks were off" in page(tmp_path / "run")
    assert "checks were off" in capsys.readouterr().out


def test_the_run_is_the_same_with_and_without(tmp_path):
    settings = config(model__attack=node("leadgrad.attacks.PGD", threat=threat(), steps=2))
    runs = [
        run(tmp_path / level, settings, f"--checks={level}", ALLOWED)
        for level in ("off", "fast", "full")
    ]
    for name in ("digest", "counts", "architecture_change", "compute"):
        assert runs[0][name] == runs[1][name] == runs[2][name]
    headers = [RunDirectory(tmp_path / level).run() for level in ("off", "fast", "full")]
    assert headers[0]["fingerprint"] == headers[1]["fingerprint"] == headers[2]["fingerprint"]
    assert numbers(runs[2]) == {f"C{number}" for number in range(1, 22)}
    assert main(["verify", str(tmp_path / "full")]) == 0


def test_a_failed_check_is_the_exit_status(tmp_path, capsys):
    results = run(tmp_path / "run", config(faulty()), status=3)
    failed = {c["id"]: c["value"] for c in results["checks"] if c["verdict"] == "FAIL"}
    assert set(failed) == {"C8", "C10"}  # by the differences of its soft network, and by its graph
    assert failed["C10"] == DISCONNECTED
    assert "Not trustworthy: C8, C10 failed." in capsys.readouterr().out
    assert re.search(r'class="untrusted">Not trustworthy: C8, C10 failed', page(tmp_path / "run"))
    assert DISCONNECTED in page(tmp_path / "run")
    allowed = run(tmp_path / "run", config(faulty()), ALLOWED)
    assert allowed == results
    assert "Not trustworthy: C8, C10" in page(tmp_path / "run")
    run(tmp_path / "run", config(faulty()), status=3)  # being finished is no excuse


def test_a_warning_is_not(tmp_path):
    surrogate = node("leadgrad.victims.Constant", value=0.5)
    tuning = tmp_path / "tuning.json"
    tuning.write_text(json.dumps({"split": "test", "sha256": "0", "tries": {"LGM": 3}}))
    settings = config(model__method=node("leadgrad.victims.LGM", surrogate=surrogate))
    results = run(tmp_path / "run", settings, f"--tuning={tuning}")
    (check,) = [check for check in results["checks"] if check["id"] == "C21"]
    assert check["verdict"] == "WARN"


@pytest.fixture
def computations(monkeypatch):
    made = []
    compute = Checked.write

    def spy(checked, run):
        made.append(checked.level)
        compute(checked, run)

    monkeypatch.setattr(Checked, "write", spy)
    return made


def test_checks_are_made_once(tmp_path, computations):
    first = run(tmp_path / "run", config())
    assert run(tmp_path / "run", config()) == first
    assert run(tmp_path / "run", config(), "--checks=off") == first  # a higher level will do
    assert computations == ["fast"]
    full = run(tmp_path / "run", config(), "--checks=full", ALLOWED)
    assert full["digest"] == first["digest"]
    assert computations == ["fast", "full"]
    assert run(tmp_path / "run", config(), ALLOWED)["checks_level"] == "full"
    assert computations == ["fast", "full"]


def test_a_new_tuning_record_is_looked_at(tmp_path, computations):
    run(tmp_path / "run", config())
    tuning = tmp_path / "tuning.json"
    tuning.write_text(json.dumps({"split": "validation", "sha256": "0", "tries": {"LGM": 3}}))
    for _ in range(2):
        results = run(tmp_path / "run", config(), f"--tuning={tuning}")
        assert [c["verdict"] for c in results["checks"] if c["id"] == "C21"] == ["PASS"]
    assert run(tmp_path / "run", config()) == results
    assert computations == ["fast", "fast"]


def test_checks_are_the_same_twice(tmp_path, computations):
    first = run(tmp_path / "run", config(model__method=LGM))
    for damage in (lambda path: path.unlink(), lambda path: path.write_text('{"level": "fast"')):
        damage(tmp_path / "run" / "checks.json")
        again = run(tmp_path / "run", config(model__method=LGM))
        assert again["checks"] == first["checks"]
    assert computations == ["fast"] * 3


def test_results_without_checks_get_them(tmp_path, computations):
    """As those of a run that was killed between the two files, or made by an earlier version."""
    first = run(tmp_path / "run", config())
    path = tmp_path / "run" / "results.json"
    path.write_text(json.dumps({k: v for k, v in first.items() if not k.startswith("checks")}))
    assert run(tmp_path / "run", config())["checks"] == first["checks"]
    assert computations == ["fast"]


@pytest.mark.parametrize(
    "content", ["[]", '{"level": "slow", "checks": [], "tuning": null}', '{"level": "fast"}']
)
def test_damaged_checks_do_not_count(tmp_path, content):
    (tmp_path / "checks.json").write_text(content)
    assert stored(RunDirectory(tmp_path), "fast", None) is None


def test_a_check_comes_back_as_it_was(tmp_path):
    made = Checked("fast", [Check("C1", "n", "v", "t", Verdict.WARN, "r", 3)])
    made.write(RunDirectory(tmp_path))
    assert stored(RunDirectory(tmp_path), "fast", None) == made
    assert stored(RunDirectory(tmp_path), "full", None) is None


def test_a_weights_file_whose_card_says_otherwise(tmp_path):
    run(tmp_path / "first", config(), "--checks=off")
    results = RunDirectory(tmp_path / "first").results()
    right, sha = results["counts"]["clean"], RunDirectory(tmp_path / "first").run()["fingerprint"]
    weights = tmp_path / "net.safetensors"
    weights.write_bytes(RunDirectory(tmp_path / "first").weights.read_bytes())
    for promised, status in ((right, 0), (right + 1, 3)):
        card = {"sha256": sha["weights_sha256"]}
        card["accuracy"] = {"test": {"right": promised, "count": 12, "percent": 0}}
        weights.with_suffix(".json").write_text(json.dumps(card))
        settings = config(model__weights=str(weights))
        again = run(tmp_path / str(promised), settings, status=status)
        found = {check["name"]: check for check in again["checks"] if check["id"] == "C5"}
        check = found["clean accuracy as on the weights' card"]
        assert check["verdict"] == ("FAIL" if status else "PASS")


@pytest.mark.parametrize(("off", "verdict"), [(-0.9, "PASS"), (1.1, "WARN")])
def test_c5_knows_the_published_figure(tmp_path, off, verdict):
    weights = tmp_path / "net.safetensors"
    counted = {"right": 46, "count": 50}
    card = {"accuracy": {"test": counted}, "published_accuracy": 92 + off}
    weights.with_suffix(".json").write_text(json.dumps(card))
    manifest = {"count": 50, "split": "test"}
    check = against_card(Reported(46, manifest, weights))
    assert (check.verdict, f"{-off:+.2f} points" in check.value) == (verdict, True)
    assert against_card(Reported(45, manifest, weights)).verdict == "FAIL"


def test_c5_names_what_differs_from_the_card(tmp_path):
    weights = tmp_path / "net.safetensors"
    there = {"class_path": "mine.Net", "init_args": {"threshold": 0.5, "depth": 8}}
    data = {"test": {"sha256": "ab"}}
    card = {"accuracy": {"test": {"right": 46, "count": 50}}, "network": there, "data": data}
    weights.with_suffix(".json").write_text(json.dumps(card))
    manifest = {"count": 50, "split": "test", "sha256": "ab"}

    def remedy(sha256="ab", **arguments):
        here = {**there, "init_args": {**there["init_args"], **arguments}}
        given = Reported(40, {**manifest, "sha256": sha256}, weights, network=here)
        return against_card(given).remedy

    assert "init_args.threshold is 0.7 here, 0.5 on the card" in remedy(threshold=0.7)
    assert "depth" not in remedy(threshold=0.7)
    assert "samples have another digest" in remedy(sha256="cd")
    assert "class, arguments, weights and samples are the card's" in remedy()
    assert "wrong weights" not in remedy()


def test_c19_is_made_of_the_twin_that_is_given(tmp_path, computations):
    settings = config()
    run(tmp_path / "run", settings, "--checks=full", ALLOWED)
    first = RunDirectory(tmp_path / "run")
    weights = tmp_path / "twin.safetensors"
    weights.write_bytes(first.weights.read_bytes())
    card = {
        "network": settings["model"]["network"],
        "sha256": first.run()["fingerprint"]["weights_sha256"],
        "accuracy": {},
    }
    weights.with_suffix(".json").write_text(json.dumps(card))
    for _ in range(2):
        twin = f"--twin={weights}"
        results = run(tmp_path / "run", settings, "--checks=full", twin, ALLOWED)
        (check,) = [check for check in results["checks"] if check["id"] == "C19"]
        assert check["verdict"] in ("PASS", "WARN")
    assert computations == ["full", "full"]
    card["sha256"] = "0" * 64
    weights.with_suffix(".json").write_text(json.dumps(card))
    args = arguments("attack", settings, tmp_path / "other", f"--twin={weights}", "--checks=full")
    assert main([arg for arg in args if arg != "--checks=off"]) == 1
    assert not (tmp_path / "other").exists()


def test_options_that_are_none(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments("attack", config(), tmp_path / "run", "--checks=slow"))
    assert stop.value.code == 2
    missing = str(tmp_path / "none.json")
    args = arguments("attack", config(), tmp_path / "run", f"--tuning={missing}")
    assert main(args) == 1
    assert "no tuning record" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
