"""Attacks on callables from inputs to logits; they know nothing of gates, networks or data sets."""

from leadgrad.attacks.annealed_pgd import AnnealedPGD
from leadgrad.attacks.apgd import APGD
from leadgrad.attacks.base import Attack, Standing
from leadgrad.attacks.carlini_wagner import CarliniWagner
from leadgrad.attacks.compute_goals import AllOf, Compute, Kept
from leadgrad.attacks.goals import ClassGoal, Goal, TargetClass, TargetShift, Untargeted
from leadgrad.attacks.gradients import input_gradient, led_gradient
from leadgrad.attacks.iterative import (
    FGSM,
    IFGSM,
    MIFGSM,
    NIFGSM,
    PGD,
    RandomRestarts,
    SignGradientAttack,
)
from leadgrad.attacks.losses import cross_entropy, dlr, margin, saturated, targeted_dlr
from leadgrad.attacks.lovasz import point_lovasz
from leadgrad.attacks.midpoint import Midpoint
from leadgrad.attacks.models import Apart, LooksAhead, Model, Several
from leadgrad.attacks.nearest import Nearest
from leadgrad.attacks.notes import Notes
from leadgrad.attacks.output import Answer, Output, cost_of, detached, logits_of
from leadgrad.attacks.point_gradient import PointIFGSM, PointPGD
from leadgrad.attacks.point_noise import PointNoise
from leadgrad.attacks.point_standard import PointStandard
from leadgrad.attacks.points import PointAttack, PointLinf
from leadgrad.attacks.random_noise import RandomNoise
from leadgrad.attacks.samples import Samples
from leadgrad.attacks.seeding import sample_generator, uniform_like
from leadgrad.attacks.segmentation import (
    IGNORE,
    confusion,
    mean_iou,
    mean_ious,
    point_cross_entropy,
)
from leadgrad.attacks.square import Square
from leadgrad.attacks.standard import Standard, Worst
from leadgrad.attacks.strongest import strongest
from leadgrad.attacks.threat import BudgetError, PixelLinf, Region, ThreatModel
from leadgrad.attacks.two_tries import TwoTries

__all__ = [
    "APGD",
    "FGSM",
    "IFGSM",
    "IGNORE",
    "MIFGSM",
    "NIFGSM",
    "PGD",
    "AllOf",
    "AnnealedPGD",
    "Answer",
    "Apart",
    "Attack",
    "BudgetError",
    "CarliniWagner",
    "ClassGoal",
    "Compute",
    "Goal",
    "Kept",
    "LooksAhead",
    "Midpoint",
    "Model",
    "Nearest",
    "Notes",
    "Output",
    "PixelLinf",
    "PointAttack",
    "PointIFGSM",
    "PointLinf",
    "PointNoise",
    "PointPGD",
    "PointStandard",
    "RandomNoise",
    "RandomRestarts",
    "Region",
    "Samples",
    "Several",
    "SignGradientAttack",
    "Square",
    "Standard",
    "Standing",
    "TargetClass",
    "TargetShift",
    "ThreatModel",
    "TwoTries",
    "Untargeted",
    "Worst",
    "confusion",
    "cost_of",
    "cross_entropy",
    "detached",
    "dlr",
    "input_gradient",
    "led_gradient",
    "logits_of",
    "margin",
    "mean_iou",
    "mean_ious",
    "point_cross_entropy",
    "point_lovasz",
    "sample_generator",
    "saturated",
    "strongest",
    "targeted_dlr",
    "uniform_like",
]
