"""Adaptive victims: networks whose decisions a gradient can lead, and the gates that decide.

The modules that train them need Lightning and are imported by their own names:
``leadgrad.victims.classifier``, ``.skipnet_training``, ``.dynconv_training`` and ``.recipe``.
"""

from leadgrad.victims.best_of import BestOf
from leadgrad.victims.checkpoints import CheckpointError, load_published, save_weights
from leadgrad.victims.choice import Choice
from leadgrad.victims.dynconv import DynConv
from leadgrad.victims.gates import (
    Decision,
    Gate,
    gradient_method,
    record_decisions,
    record_occupancies,
)
from leadgrad.victims.lookahead import Lookahead, deciding_as
from leadgrad.victims.margin_error import MarginError
from leadgrad.victims.methods import FGM, LGM, GradientMethod
from leadgrad.victims.minkunet import MinkUNet
from leadgrad.victims.network import GatedNetwork, executed_share, unit_costs
from leadgrad.victims.prepare import prepare_for_attack
from leadgrad.victims.reach import Reach
from leadgrad.victims.relations import RBF, BilinearInterpolation
from leadgrad.victims.resnet import ResNet
from leadgrad.victims.skipnet import SkipNet
from leadgrad.victims.surrogates import Constant, RelativeSigmoid, Sigmoid, Surrogate
from leadgrad.victims.voxel_methods import VoxelFGM, VoxelLGM

__all__ = [
    "FGM",
    "LGM",
    "RBF",
    "BestOf",
    "BilinearInterpolation",
    "CheckpointError",
    "Choice",
    "Constant",
    "Decision",
    "DynConv",
    "Gate",
    "GatedNetwork",
    "GradientMethod",
    "Lookahead",
    "MarginError",
    "MinkUNet",
    "Reach",
    "RelativeSigmoid",
    "ResNet",
    "Sigmoid",
    "SkipNet",
    "Surrogate",
    "VoxelFGM",
    "VoxelLGM",
    "deciding_as",
    "executed_share",
    "gradient_method",
    "load_published",
    "prepare_for_attack",
    "record_decisions",
    "record_occupancies",
    "save_weights",
    "unit_costs",
]
