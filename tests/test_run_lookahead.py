"""``leadgrad attack`` under a method that looks ahead: what it costs, and by hand what it does."""

import pytest
import torch
from recorded_runs import DYNCONV, OWN, SKIPNET, balanced, image_run, sign
from run_config import arguments, attack, changed, class_path, node, threat

from leadgrad.attacks import FGSM, Attack, PixelLinf, cross_entropy, input_gradient
from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.cli import main
from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.pipelines.tasks import ImageClassification
from leadgrad.victims import GradientMethod, Lookahead, deciding_as, load_published

LOOKAHEAD = node("leadgrad.victims.Lookahead")
COSTS = {
    # gradients, answers: the attack's own, and the victim's decisions at each proposed point
    "FGSM": ({}, 2.0, 2.0),
    "IFGSM": ({"steps": 3}, 6.0, 4.0),
    "MIFGSM": ({"steps": 3}, 6.0, 4.0),
    "NIFGSM": ({"steps": 3}, 6.0, 4.0),
    "CarliniWagner": ({"steps": 3}, 6.0, 4.0),
    "Midpoint": ({}, 3.0, 2.0),
}


@pytest.mark.parametrize("name", COSTS)
def test_a_step_costs_two_gradients_and_an_answer(name, tmp_path):
    settings, gradients, answers = COSTS[name]
    config = image_run(DYNCONV, sign(name, skip_misclassified=False, **settings), LOOKAHEAD)
    config = changed(config, {"model__weights": str(balanced(config, tmp_path))})
    cost = attack(config, tmp_path / "run")["cost"]
    unasked = 1.0  # nobody asks for the clean answer when all samples are attacked
    assert cost == {"gradients_per_sample": gradients, "answers_per_sample": answers - unasked}


@pytest.mark.parametrize("network", [OWN, DYNCONV])
def test_fgsm_is_the_sign_of_the_gradient_under_the_decisions_at_fgms_own_step(network, tmp_path):
    made = sign("FGSM", threat=threat(eps_255=8), skip_misclassified=False)
    config = image_run(network, made, LOOKAHEAD)
    weights = balanced(config, tmp_path)
    attack(changed(config, {"model__weights": str(weights)}), tmp_path / "run")
    victim = instantiate(network).eval()
    load_published(victim, weights)
    module = AttackModule(victim, FGSM(PixelLinf(8)), Lookahead())
    (record, *_) = RunDirectory(tmp_path / "run").records()
    x, labels = record.clean_inputs, record.label
    region = PixelLinf(8).region(x)

    def step(gradient):
        return region.project(x + 8 / 255 * gradient.sign())

    there = step(input_gradient(module.victim, cross_entropy, x, labels))
    with deciding_as(module.victim, lambda: module.victim(there)):
        led = step(input_gradient(module.victim, cross_entropy, x, labels))
    assert torch.equal(record.adv_inputs, led)
    assert not torch.equal(led, there)


@pytest.mark.parametrize(("smoothing", "taken"), [(0.5, 0.0), (0.0, 0.5), (0.5, 1.0)])
def test_smoothing_and_where_the_gradient_is_taken(smoothing, taken, tmp_path):
    made = sign("FGSM", threat=threat(eps_255=8), skip_misclassified=False)
    method = node("leadgrad.victims.Lookahead", smoothing=smoothing, taken=taken)
    config = image_run(DYNCONV, made, method)
    weights = balanced(config, tmp_path)
    results = attack(changed(config, {"model__weights": str(weights)}), tmp_path / "run")
    assert results["cost"]["gradients_per_sample"] == 2
    victim = instantiate(DYNCONV).eval()
    load_published(victim, weights)
    module = AttackModule(victim, FGSM(PixelLinf(8)), Lookahead())
    (record, *_) = RunDirectory(tmp_path / "run").records()
    x, labels = record.clean_inputs, record.label
    region = PixelLinf(8).region(x)

    def step(gradient):
        return region.project(x + 8 / 255 * gradient.sign())

    there = step(input_gradient(module.victim, cross_entropy, x, labels))
    at = x if taken == 0 else x + taken * (there - x)
    with deciding_as(module.victim, lambda: module.victim(there), smoothing=smoothing):
        led = step(input_gradient(module.victim, cross_entropy, at, labels))
    assert torch.equal(record.adv_inputs, led)
    assert not torch.equal(led, there)


class Foresight(GradientMethod):
    """Looks ahead in a way of its own."""

    looks_ahead = True

    def occupancy(self, margin, hard):
        return hard.to(margin.dtype)


def test_what_looks_ahead_is_a_lookahead():
    module = AttackModule(instantiate(SKIPNET).eval(), FGSM(PixelLinf(8)), Foresight())
    module.task = ImageClassification()
    images = torch.rand(2, 3, 32, 32)
    batch = {"image": images, "label": torch.zeros(2, dtype=torch.long), "index": torch.arange(2)}
    with pytest.raises(TypeError, match="derive it from that"):
        module.attempt(batch).run()


class Unproposing(Attack):
    """Takes its gradient without telling where it leads."""

    def run(self, surrogate, inputs, labels, **_):
        gradient = input_gradient(surrogate, self.objective, inputs, labels)
        return inputs + 8 / 255 * gradient.sign()


def test_an_attack_that_proposes_nothing_is_not_silently_fgm(tmp_path, capsys):
    own = node(class_path(Unproposing, "own_attacks"), threat=threat())
    assert main(arguments("attack", image_run(SKIPNET, own, LOOKAHEAD), tmp_path / "run")) == 1
    assert "proposes no step" in capsys.readouterr().err
