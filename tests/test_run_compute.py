"""``leadgrad attack`` with a goal about compute: what a led gradient can raise, and FGM cannot."""

import pytest
import torch
from recorded_runs import DYNCONV, FGM, SKIPNET, balanced, lgm, sign
from run_config import arguments, attack, attack_config, changed, node, threat

from leadgrad.attacks import Compute
from leadgrad.pipelines.api.verifying import verify
from leadgrad.pipelines.cli import main
from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.pipelines.tasks.images.slowdown import slowdown, slowdown_rows
from leadgrad.pipelines.tasks.images.words import result_rows
from leadgrad.victims import MultiExit, save_weights
from leadgrad.victims.networks.exits import entropy

UP = node("leadgrad.attacks.Compute", direction="up")
DOWN = node("leadgrad.attacks.Compute", direction="down")
BOTH = node("leadgrad.attacks.AllOf", goals=[node("leadgrad.attacks.Untargeted"), UP])


def configured(network, goal, method, folder):
    made = sign("IFGSM", steps=8, goal=goal, threat=threat(eps_255=16))
    config = attack_config(model__network=network, model__attack=made, model__method=method)
    return changed(config, {"model__weights": str(balanced(config, folder))})


@pytest.mark.parametrize(("network", "slope"), [(SKIPNET, 20.0), (DYNCONV, 1.0)])
@pytest.mark.parametrize(("goal", "sense"), [(UP, 1), (DOWN, -1)])
def test_led_decisions_move_the_compute(network, slope, goal, sense, tmp_path):
    results = attack(configured(network, goal, lgm(slope), tmp_path), tmp_path / "run")
    for name in ("executed_share", "executed_units", "conditional_macs"):
        spent = results["compute"][name]
        assert sense * (spent["adversarial"] - spent["clean"]) > 0
    assert results["counts"]["eligible"] == results["samples"], "also those that are wrong before"
    failed = [finding for finding in verify(RunDirectory(tmp_path / "run")) if finding.problems]
    assert failed == []


LITERATURE = [(SKIPNET, "HingedCost"), (DYNCONV, "PoweredCost"), ("exits", "UniformCost")]


@pytest.mark.parametrize(("network", "method"), LITERATURE)
def test_losses_of_the_literature_move_the_compute(network, method, tmp_path):
    method = node(f"leadgrad.victims.{method}")
    if network == "exits":
        config = of_exits(method, tmp_path)
    else:
        config = configured(network, UP, method, tmp_path)
    results = attack(config, tmp_path / "run", "--checks=fast", "--allow_failed_checks=true")
    spent = results["compute"]["executed_share"]
    assert spent["adversarial"] > spent["clean"]
    assert {check["id"] for check in results["checks"] if check["verdict"] == "FAIL"} == set()


def of_exits(method, folder):
    """More compute from a random network, half of whose first exit's answers are sure."""
    torch.manual_seed(0)
    exits = MultiExit(14, num_classes=2, threshold=0.5).eval()
    config = configured(SKIPNET, UP, method, folder)
    images = instantiate(config["data"]).split("test").images.float() / 255
    with torch.no_grad():
        threshold = float(entropy(exits.exit_logits(images)[0]).median())
    save_weights(exits, folder / "exits.safetensors")
    network = node("leadgrad.victims.MultiExit", depth=14, num_classes=2, threshold=threshold)
    weights = str(folder / "exits.safetensors")
    return changed(config, {"model__network": network, "model__weights": weights})


@pytest.mark.parametrize("goal", [UP, BOTH])
def test_frozen_decisions_say_that_they_cannot(goal, tmp_path, capsys):
    config = configured(SKIPNET, goal, FGM, tmp_path)
    assert main(arguments("attack", config, tmp_path / "run")) == 1
    assert "method that leads" in capsys.readouterr().err
    assert not (tmp_path / "run").exists(), "refused before anything was written"


@pytest.mark.parametrize("method", [lgm(4.0), node("leadgrad.victims.HingedCost"), FGM])
def test_what_always_executes_as_much_is_said(method, tmp_path, capsys):
    config = attack_config(
        model__network=node("leadgrad.victims.networks.fbs.FBS", depth=8, num_classes=2),
        model__attack=sign("IFGSM", steps=2, goal=UP, threat=threat(eps_255=4)),
        model__method=method,
    )
    assert main(arguments("attack", config, tmp_path / "run")) == 1
    assert "all that FBS decides are choices of k" in capsys.readouterr().err


@pytest.mark.parametrize("network", [SKIPNET, DYNCONV])
def test_the_executed_share_is_that_of_the_costs_that_the_network_states(network, tmp_path):
    results = attack(configured(network, UP, lgm(1.0), tmp_path), tmp_path / "run")
    victim = instantiate(network)
    costs = victim.unit_costs()
    for side in ("clean", "adv"):
        spent = whole = 0.0
        for record in RunDirectory(tmp_path / "run").records():
            decisions = record.decisions(getattr(record, f"{side}_units"))
            for cost, units in zip(costs, decisions, strict=True):
                spent += cost * int(units.sum())
                whole += cost * units.numel()
        reported = results["compute"]["executed_share"][
            "clean" if side == "clean" else "adversarial"
        ]
        assert reported == pytest.approx(100 * spent / whole)
    if network is SKIPNET:  # whose costs are its MACs
        macs = results["compute"]["conditional_macs"]
        assert reported == pytest.approx(100 * macs["adversarial"] / macs["all_executed"])


def test_the_checks_know_the_goal(tmp_path):
    config = configured(DYNCONV, UP, lgm(1.0), tmp_path)
    results = attack(config, tmp_path / "run", "--checks=fast", "--allow_failed_checks=true")
    verdicts = {check["id"]: check["verdict"] for check in results["checks"]}
    assert verdicts["C8"] != "FAIL"
    assert verdicts["C10"] == "PASS"


@pytest.mark.parametrize(("beyond", "verdict"), [(None, "SKIP"), (0.0, "PASS")])
def test_what_can_never_be_won_is_not_called_masked(beyond, verdict, tmp_path):
    goal = node("leadgrad.attacks.Compute", beyond=beyond)
    config = configured(DYNCONV, goal, lgm(1.0), tmp_path)
    results = attack(config, tmp_path / "run", "--checks=full", "--allow_failed_checks=true")
    assert [one["verdict"] for one in results["checks"] if one["id"] == "C15"] == [verdict]


def test_measures_of_the_literature_stand_side_by_side(tmp_path, capsys):
    results = attack(configured(SKIPNET, UP, lgm(20.0), tmp_path), tmp_path / "run")
    share, found = results["compute"]["executed_share"], results["compute"]["slowdown"]
    clean, adv = share["clean"], share["adversarial"]
    assert found["recovery"] == pytest.approx(100 * (adv - clean) / (100 - clean))
    assert found["success"] == adv
    assert "efficacy" not in found, "of exits alone"
    printed = capsys.readouterr().out
    assert "recovery of saved compute" in printed
    assert "attack success on compute" not in printed, "it is the executed share after the attack"
    other = attack(
        configured(SKIPNET, node("leadgrad.attacks.Untargeted"), lgm(20.0), tmp_path),
        tmp_path / "other",
    )
    assert "slowdown" not in other["compute"]


@pytest.mark.parametrize(
    ("goal", "rate"),
    [
        (UP, "–"),
        (BOTH, "–"),
        (node("leadgrad.attacks.Compute", beyond=0.0), "100.00 % [75.75, 100.00]"),
        (node("leadgrad.attacks.Compute", direction="down", beyond=0.0), "0.00 % [0.00, 24.25]"),
    ],
)
def test_what_can_never_be_won_has_no_success_rate(goal, rate, tmp_path):
    results = attack(configured(SKIPNET, goal, lgm(0.01), tmp_path), tmp_path / "run")
    assert dict(result_rows(results))["attack success rate"] == rate
    before = {name: value for name, value in results.items() if name != "winnable"}
    nothing = {**before, "counts": {**results["counts"], "eligible": 0}}
    assert dict(result_rows(nothing))["attack success rate"] == "–", "of no samples"


def test_efficacy_is_the_area_under_the_curve_of_answered_samples():
    """Three samples leave at costs 0, 0.25 and 1 of a network of exits."""
    network = MultiExit(14)
    costs = [0.0, 0.25, 1.0]
    area = sum((1 - cost) for cost in costs) / 3  # each adds a step of a third at its cost
    mean = 100 * sum(costs) / 3
    found = slowdown(Compute(), network, {"clean": mean, "adversarial": 100.0})["slowdown"]
    assert found["efficacy"]["clean"] == pytest.approx(100 * area)
    assert found["efficacy"]["adversarial"] == 0
    whole = slowdown(Compute(), network, {"clean": 100.0, "adversarial": 100.0})["slowdown"]
    assert whole["recovery"] is None
    assert slowdown(Compute(), network, None) == {}
    assert slowdown_rows({"slowdown": whole})[0][1] == "–"
