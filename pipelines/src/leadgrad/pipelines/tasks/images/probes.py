"""Small attacks on images beside a given one, for the checks C15 to C18."""

from __future__ import annotations

from dataclasses import replace

from leadgrad.attacks import (
    FGSM,
    IFGSM,
    Attack,
    Goal,
    PixelLinf,
    RandomNoise,
    SignGradientAttack,
    Square,
    ThreatModel,
    cross_entropy,
)
from leadgrad.attacks.losses import Loss
from leadgrad.pipelines.attack.task import Bounded, Probes

UNBOUNDED_STEPS = 50
BUDGETS_255 = (1.0, 5.0, 10.0, 20.0)
STEPS = 10  # of the iterative attack that must not lose to the single step
QUERIES = 500


def image_probes(attack: Attack) -> Probes:
    """With the attack's goal, loss and valid pixels."""
    loss = attack.loss if isinstance(attack, SignGradientAttack) else cross_entropy
    unbounded = _many(PixelLinf(255.0), UNBOUNDED_STEPS, attack.goal, loss)
    return Probes(unbounded, _bounded(attack.threat, attack.goal, loss))


def _bounded(threat: ThreatModel, goal: Goal, loss: Loss) -> Bounded | str:
    if not isinstance(threat, PixelLinf):
        return "the threat model has no budget in units of a pixel level"
    if threat.eps_255 == 0:
        return "the budget is 0"
    return Bounded(
        budgets={
            f"{eps:g}": FGSM(replace(threat, eps_255=eps), goal=goal, loss=loss)
            for eps in BUDGETS_255
        },
        single=FGSM(threat, goal=goal, loss=loss),
        many=_many(threat, STEPS, goal, loss),
        noise=RandomNoise(threat, goal=goal),
        search=Square(threat, QUERIES, goal=goal),
    )


def _many(threat: PixelLinf, steps: int, goal: Goal, loss: Loss) -> Attack:
    # Steps of 2.5·eps / steps, with which Madry et al. 2018 reach any corner and turn back
    step_255 = 2.5 * threat.eps_255 / steps
    return IFGSM(threat, steps=steps, step_size_255=step_255, goal=goal, loss=loss)
