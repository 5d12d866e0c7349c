"""Small attacks on scenes beside a given one, for the checks C15 to C18."""

from __future__ import annotations

from leadgrad.attacks import (
    Attack,
    PointIFGSM,
    PointLinf,
    PointNoise,
    ThreatModel,
    point_cross_entropy,
)
from leadgrad.attacks.losses import Loss
from leadgrad.attacks.point_gradient import PointGradientAttack
from leadgrad.pipelines.attack.task import Bounded, Probes

UNBOUNDED_M, UNBOUNDED_STEPS = 0.5, 20
SHARES = (0.25, 0.5, 1.0, 2.0)  # of the attack's budget
STEPS = 10  # of the iterative attack that must not lose to the single step


def scene_probes(attack: Attack) -> Probes:
    """With the attack's loss."""
    loss = attack.loss if isinstance(attack, PointGradientAttack) else point_cross_entropy
    return Probes(_steps(UNBOUNDED_M, UNBOUNDED_STEPS, loss), _bounded(attack.threat, loss))


def _bounded(threat: ThreatModel, loss: Loss) -> Bounded | str:
    if not isinstance(threat, PointLinf):
        return "the threat model has no budget in metres"
    if threat.eps_m == 0:
        return "the budget is 0"
    return Bounded(
        budgets={
            f"{eps_m:g} m": _steps(eps_m, 1, loss)
            for eps_m in (share * threat.eps_m for share in SHARES)
        },
        single=_steps(threat.eps_m, 1, loss),
        many=_steps(threat.eps_m, STEPS, loss),
        noise=PointNoise(threat),
        search=None,
    )


def _steps(eps_m: float, steps: int, loss: Loss) -> Attack:
    """One step as far as the budget goes; of several each 2.5·eps / steps, as with images."""
    step_m = eps_m if steps == 1 else 2.5 * eps_m / steps
    # An iterate more than steps: the clean scene is the first one
    return PointIFGSM(PointLinf(eps_m), steps=steps + 1, step_size_m=step_m, loss=loss)
