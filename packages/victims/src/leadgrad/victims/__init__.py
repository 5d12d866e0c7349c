"""Adaptive victims: networks whose decisions a gradient can lead, and the gates that decide.

``occupancy`` has the gates and the methods (the paper), ``networks`` the families, ``weights`` what
reads and writes them. ``training`` needs Lightning and is imported by its own name.
"""

from leadgrad.victims.networks.cylinder3d import Cylinder3D
from leadgrad.victims.networks.dynconv import DynConv
from leadgrad.victims.networks.dynconv_imagenet import DynConvImageNet
from leadgrad.victims.networks.from_timm import FromTimm
from leadgrad.victims.networks.minkunet import MinkUNet
from leadgrad.victims.networks.multi_exit import MultiExit
from leadgrad.victims.networks.network import GatedNetwork, executed_share, unit_costs
from leadgrad.victims.networks.resnet import ResNet
from leadgrad.victims.networks.skipnet import SkipNet
from leadgrad.victims.networks.skipnet_imagenet import SkipNetImageNet
from leadgrad.victims.occupancy.best_of import SCENE_STANDARD, STANDARD, BestOf
from leadgrad.victims.occupancy.change import Change, architecture_change, record_architecture
from leadgrad.victims.occupancy.choice import Choice
from leadgrad.victims.occupancy.deciding import gradient_method
from leadgrad.victims.occupancy.fixed_exits import FixedExits
from leadgrad.victims.occupancy.gates import Decision, Gate, record_decisions, record_occupancies
from leadgrad.victims.occupancy.lookahead import Lookahead, deciding_as
from leadgrad.victims.occupancy.margin_error import MarginError
from leadgrad.victims.occupancy.methods import FGM, LGM, GradientMethod
from leadgrad.victims.occupancy.places import Places
from leadgrad.victims.occupancy.reach import Reach
from leadgrad.victims.occupancy.relations import RBF, BilinearInterpolation
from leadgrad.victims.occupancy.smoothed import Smoothed
from leadgrad.victims.occupancy.spending import HingedCost, PoweredCost, UniformCost
from leadgrad.victims.occupancy.surrogates import Constant, RelativeSigmoid, Sigmoid, Surrogate
from leadgrad.victims.occupancy.unled import Unled
from leadgrad.victims.occupancy.voxel_methods import VoxelFGM, VoxelLGM
from leadgrad.victims.weights.checkpoints import CheckpointError, load_published, save_weights
from leadgrad.victims.weights.prepare import prepare_for_attack

__all__ = [
    "FGM",
    "LGM",
    "RBF",
    "SCENE_STANDARD",
    "STANDARD",
    "BestOf",
    "BilinearInterpolation",
    "Change",
    "CheckpointError",
    "Choice",
    "Constant",
    "Cylinder3D",
    "Decision",
    "DynConv",
    "DynConvImageNet",
    "FixedExits",
    "FromTimm",
    "Gate",
    "GatedNetwork",
    "GradientMethod",
    "HingedCost",
    "Lookahead",
    "MarginError",
    "MinkUNet",
    "MultiExit",
    "Places",
    "PoweredCost",
    "Reach",
    "RelativeSigmoid",
    "ResNet",
    "Sigmoid",
    "SkipNet",
    "SkipNetImageNet",
    "Smoothed",
    "Surrogate",
    "UniformCost",
    "Unled",
    "VoxelFGM",
    "VoxelLGM",
    "architecture_change",
    "deciding_as",
    "executed_share",
    "gradient_method",
    "load_published",
    "prepare_for_attack",
    "record_architecture",
    "record_decisions",
    "record_occupancies",
    "save_weights",
    "unit_costs",
]
