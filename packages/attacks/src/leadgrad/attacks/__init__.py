"""Attacks on callables from inputs to logits; they know nothing of gates, networks or data sets."""

from leadgrad.attacks.base import Attack, Model, input_gradient
from leadgrad.attacks.goals import Goal, TargetClass, TargetShift, Untargeted
from leadgrad.attacks.iterative import FGSM, IFGSM, MIFGSM, PGD, SignGradientAttack
from leadgrad.attacks.losses import cross_entropy, margin
from leadgrad.attacks.random_noise import RandomNoise
from leadgrad.attacks.seeding import sample_generator, uniform_like
from leadgrad.attacks.threat import BudgetError, PixelLinf, Region, ThreatModel

__all__ = [
    "FGSM",
    "IFGSM",
    "MIFGSM",
    "PGD",
    "Attack",
    "BudgetError",
    "Goal",
    "Model",
    "PixelLinf",
    "RandomNoise",
    "Region",
    "SignGradientAttack",
    "TargetClass",
    "TargetShift",
    "ThreatModel",
    "Untargeted",
    "cross_entropy",
    "input_gradient",
    "margin",
    "sample_generator",
    "uniform_like",
]
