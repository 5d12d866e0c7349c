"""Attacks on callables from inputs to logits; they know nothing of gates, networks or data sets."""

from leadgrad.attacks.apgd import APGD
from leadgrad.attacks.base import Attack, Model, input_gradient
from leadgrad.attacks.carlini_wagner import CarliniWagner
from leadgrad.attacks.goals import Goal, TargetClass, TargetShift, Untargeted
from leadgrad.attacks.iterative import (
    FGSM,
    IFGSM,
    MIFGSM,
    NIFGSM,
    PGD,
    RandomRestarts,
    SignGradientAttack,
)
from leadgrad.attacks.losses import cross_entropy, dlr, margin, targeted_dlr
from leadgrad.attacks.random_noise import RandomNoise
from leadgrad.attacks.seeding import sample_generator, uniform_like
from leadgrad.attacks.strongest import strongest
from leadgrad.attacks.threat import BudgetError, PixelLinf, Region, ThreatModel

__all__ = [
    "APGD",
    "FGSM",
    "IFGSM",
    "MIFGSM",
    "NIFGSM",
    "PGD",
    "Attack",
    "BudgetError",
    "CarliniWagner",
    "Goal",
    "Model",
    "PixelLinf",
    "RandomNoise",
    "RandomRestarts",
    "Region",
    "SignGradientAttack",
    "TargetClass",
    "TargetShift",
    "ThreatModel",
    "Untargeted",
    "cross_entropy",
    "dlr",
    "input_gradient",
    "margin",
    "sample_generator",
    "strongest",
    "targeted_dlr",
    "uniform_like",
]
