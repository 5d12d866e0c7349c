"""C11 to C20 on attacks that do well, and on planted ones that fail in the ways they look for."""

from dataclasses import dataclass, replace

import pytest
import torch
from checks_subjects import changed, network, of_images, subject, verdicts
from own_victims import OwnGated
from torch import nn

from leadgrad.attacks import (
    FGSM,
    IFGSM,
    PGD,
    Attack,
    PixelLinf,
    RandomNoise,
    Square,
    Standard,
    ThreatModel,
)
from leadgrad.pipelines.checks import after, during
from leadgrad.pipelines.checks.during import Trace
from leadgrad.pipelines.tasks.images import probes
from leadgrad.victims import FGM, LGM, Constant, Gate

EPS_8 = PixelLinf(8)


class Linear(nn.Module):
    """Two classes told apart by the mean of the image, from 0.5 on: every attack's best is known.

    Args:
        masked: Whether the gradient is changed into its opposite, or lost, on the way.
        threshold: Mean at which both classes are as likely.
    """

    def __init__(self, masked: float = 1.0, threshold: float = 0.5):
        super().__init__()
        self.masked, self.threshold = masked, threshold
        self.scale = nn.Parameter(torch.tensor(10.0))

    def forward(self, images):
        images = images.clone()
        if images.requires_grad:
            images.register_hook(lambda gradient: gradient * self.masked)
        lead = self.scale * (images.mean((1, 2, 3)) - self.threshold)
        return torch.stack([-lead, lead], 1)


def images_of(means):
    return torch.tensor(means).view(-1, 1, 1, 1).expand(-1, 3, 8, 8).contiguous()


def linear(means, attack, masked=1.0):
    """Images of one colour each, all right."""
    checked = subject(Linear(masked), attack, FGM())
    return of_images(checked.module, images_of(means))


NEAR = [level / 255 for level in (129, 131, 133, 135, 140, 142, 144, 158)]
"""Half of them are within eps 8 of the threshold, which is level 127.5."""


def trace(attack, masked=1.0, means=NEAR):
    return Trace.of(linear(means, attack, masked))


@pytest.mark.parametrize(("budget", "traced"), [(100, 64), (200, 32), (1000, 8)])
def test_a_trace_of_the_standard_costs_no_more_than_one_of_other_attacks(
    budget, traced, monkeypatch
):
    monkeypatch.setattr(Standard, "run", lambda self, surrogate, inputs, labels, **_: inputs)
    made = trace(Standard(EPS_8, budget=budget), means=NEAR * 9)
    assert len(made.subject) == traced


def test_a_trace_is_the_attack():
    made = trace(IFGSM(EPS_8, steps=8))
    assert made.losses.shape == made.on_the_way.shape == (8, 8)
    assert made.taken.tolist() == [1] * 4 + [0] * 4
    # The clean images first, then after each step: the victim falls when the mean has passed 0.5
    assert made.on_the_way.sum(0).tolist() == [6, 4, 2, 0, 0, 0, 0, 0]
    assert torch.equal(made.adv, made.subject.attacked())


def test_a_trace_of_restarts_holds_the_calls_on_the_whole_batch():
    made = trace(PGD(EPS_8, steps=3, restarts=2))
    assert len(made.losses) == 3


@pytest.mark.parametrize(
    ("attack", "verdict"),
    [
        (IFGSM(EPS_8, steps=25), "PASS"),
        (IFGSM(EPS_8, steps=25, step_size_255=0.2), "WARN"),
        (FGSM(EPS_8), "SKIP"),
    ],
)
def test_c11_optimisation_that_has_not_finished(attack, verdict):
    check = during.finished(trace(attack))
    assert check.verdict == verdict, check.value


@dataclass(frozen=True)
class GivesBack(IFGSM):
    """Loses what it had: returns the clean images of every second sample."""

    def run(self, surrogate, inputs, labels, **more):
        found = super().run(surrogate, inputs, labels, **more)
        found[::2] = inputs[::2]
        return found


def test_c12_successes_that_are_lost():
    check = during.silent_success(trace(GivesBack(EPS_8, steps=10)))
    assert check.verdict == "WARN"
    assert check.value == "2 lost; resisting: 75.0 % at the result, 50.0 % at the best iterate"
    assert during.silent_success(trace(IFGSM(EPS_8, steps=10))).verdict == "PASS"


class Shielded(Linear):
    """A gate that opens on all these images adds what keeps them right."""

    def __init__(self, masked=1.0):
        super().__init__(masked)
        self.gate = Gate()

    def forward(self, images):
        return super().forward(images) + self.gate(images.mean((1, 2, 3)) - 0.3)[:, None] * (
            torch.tensor([0.0, 5.0])
        )


@pytest.mark.parametrize(
    ("method", "value", "verdict"),
    [(LGM(Constant(0.0)), "50.0 %", "WARN"), (FGM(), "0.0 %", "PASS")],
)
def test_c13_a_surrogate_without_the_shield(method, value, verdict):
    checked = linear(NEAR, FGSM(EPS_8))
    shielded = replace(checked, module=subject(Shielded(), FGSM(EPS_8), method).module)
    check = during.surrogate_gap(Trace.of(shielded))
    assert (check.value, check.verdict) == (value, verdict)


def test_c14_a_loss_that_falls():
    check = during.loss_rose(trace(FGSM(EPS_8), masked=-1.0))
    assert check.verdict == "WARN"
    assert check.value == "not on 8 of 8"
    assert during.loss_rose(trace(FGSM(EPS_8))).verdict == "PASS"


def test_nothing_to_attack_and_no_gradient():
    wrong = linear(NEAR, FGSM(EPS_8))
    wrong = changed(wrong, label=1 - wrong.labels)
    assert Trace.of(wrong) is None
    for _, check in (*during.DURING, *after.AFTER):
        assert check(None).verdict == "SKIP"
    noise = trace(RandomNoise(EPS_8))
    for check in (during.finished, during.silent_success, during.loss_rose):
        assert check(noise).verdict == "SKIP"


SOUND = {"C15": "PASS", "C16": "PASS", "C17": "PASS", "C18": "PASS", "C19": "SKIP", "C20": "PASS"}


def full(attack, masked=1.0):
    made = trace(attack, masked)
    checks = [check(made) for _, check in after.AFTER]
    assert [check.id for check in checks] == [id_ for id_, _ in after.AFTER]
    return {check.id: check for check in checks}, checks


def test_a_sound_attack_passes_all():
    """The linear victim falls to the least gradient, and to nothing else."""
    worst = verdicts(linear(NEAR, IFGSM(EPS_8, steps=10)), "full")
    assert {number: worst[number] for number in SOUND} == SOUND
    assert [number for number, verdict in worst.items() if verdict in ("WARN", "FAIL")] == []


@pytest.mark.parametrize("masked", [0.0, -1.0])
def test_masked_gradients(masked):
    """No gradient, or one that leads away: what asks for none finds most of the four samples."""
    checks, all_of_them = full(IFGSM(EPS_8, steps=10), masked)
    assert checks["C15"].verdict == "FAIL"
    assert checks["C18"].verdict == "WARN"
    assert checks["C18"].value == "3 more of 8 left, 37.5 points"
    assert [check.verdict for check in all_of_them if check.id == "C17"] == ["PASS", "PASS"]


def test_c16_more_budget_wins_less():
    made = trace(FGSM(EPS_8))

    class Falling:
        """Wins ever fewer of many samples, whatever the attack does."""

        def __init__(self):
            self.calls = 0

        def __call__(self, _):
            self.calls += 1
            return torch.arange(64) >= 15 * self.calls

    falling = Falling()
    faulty = replace(made, subject=Faked(made.subject, falling))
    check = after.falls_with_budget(faulty)
    assert check.verdict == "WARN"
    assert check.value == "76.6 → 53.1 → 29.7 → 6.2 % won with 1, 5, 10, 20"
    assert after.falls_with_budget(made).verdict == "PASS"


class Faked:
    """A subject whose successes are made up."""

    def __init__(self, real, reached):
        self.module, self.task, self.attacked = real.module, real.task, real.attacked
        self.taken_at = lambda x: reached(x).double()

    def by(self, attack):
        return self

    def __len__(self):
        return 64


@pytest.mark.parametrize(("fewer", "verdict"), [(0, "PASS"), (3, "WARN"), (40, "FAIL")])
def test_c17_ten_steps_win_less_than_one(fewer, verdict):
    made = trace(FGSM(EPS_8))
    answers = iter([torch.ones(64, dtype=torch.bool), torch.arange(64) >= fewer])
    faulty = replace(made, subject=Faked(made.subject, lambda _: next(answers)))
    assert after.iterative_beats_single(faulty).verdict == verdict


@dataclass(frozen=True)
class Idle(Attack):
    """Returns what it got."""

    def run(self, surrogate, inputs, labels, **more):
        return inputs


def test_c17_worse_than_noise():
    """Far corners that random signs reach: the mean moves by eps times the mean of the signs."""
    means = [0.5 + 1e-4] * 16
    worse = Trace.of(linear(means, Idle(PixelLinf(60))))
    check = after.beats_noise(worse)
    assert check.verdict == "FAIL"
    assert check.value.startswith("0.0 % won, against ")
    assert after.beats_noise(Trace.of(linear(means, FGSM(PixelLinf(60))))).verdict == "PASS"


@pytest.mark.parametrize(("masked", "verdict"), [(1.0, "PASS"), (-1.0, "WARN")])
def test_c19_a_twin_whose_gradient_is_not_masked(masked, verdict):
    attack = IFGSM(EPS_8, steps=10)
    checked = replace(linear(NEAR, attack, masked), twin=Linear())
    check = after.transfer(Trace.of(checked))
    assert check.verdict == verdict
    # Half of the images are within reach of the twin's examples, which move the mean the right way
    assert check.value.startswith("50.0 % won by transfer")
    assert verdicts(checked, "full")["C19"] == verdict


def test_c20_too_few_steps():
    check = after.converged(trace(IFGSM(EPS_8, steps=4)))
    assert check.verdict == "WARN"
    assert check.value == "+25.0 points won"
    assert after.converged(trace(FGSM(EPS_8))).verdict == "SKIP"
    assert after.converged(trace(IFGSM(EPS_8))).verdict == "PASS"  # of the paper's number of steps


@dataclass(frozen=True)
class Anywhere(ThreatModel):
    def region(self, origin):
        return PixelLinf(255).region(origin)

    def check(self, x, origin):
        pass


def test_threat_models_without_a_budget_in_levels():
    made = trace(Idle(Anywhere()))
    for check in (after.falls_with_budget, after.iterative_beats_single, after.beats_noise):
        assert check(made).verdict == "SKIP"
    assert after.unbounded(made).verdict == "PASS"


def test_square_search_belongs_to_samples_and_keeps_the_budget():
    subject_ = linear(NEAR, FGSM(EPS_8))
    threat = PixelLinf(8, valid_ratio=0.5)
    search = Square(threat, 40)
    whole = subject_.by(search).attacked()
    threat.check(whole, subject_.inputs)
    parts = [subject_.rows(slice(start, start + 3)) for start in (0, 3, 6)]
    assert torch.equal(torch.cat([part.by(search).attacked() for part in parts]), whole)
    assert not torch.equal(whole, subject_.inputs)


def test_square_search_finds_more_with_more_queries():
    subject_ = linear(NEAR, FGSM(EPS_8))
    wins = [
        int(subject_.taken_at(subject_.by(Square(EPS_8, q)).attacked()).sum()) for q in (1, 300)
    ]
    assert wins[0] < wins[1] <= 4


def test_all_of_a_gated_network(monkeypatch):
    """Untrained, so that any verdict may come: all of them do, and twice the same."""
    monkeypatch.setattr(probes, "QUERIES", 50)
    own = subject(network(OwnGated), IFGSM(PixelLinf(60), steps=4, step_size_255=20))
    first, again = (verdicts(own, "full") for _ in range(2))
    assert first == again
    assert list(first) == [f"C{number}" for number in range(1, 22)]
