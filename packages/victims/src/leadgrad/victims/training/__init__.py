"""LightningModules that train the networks, and their recipes.

Importing this room needs Lightning, and makes all of them known by their bare names.
"""

from leadgrad.victims.training.averaging import TailAverage
from leadgrad.victims.training.base import VictimTraining
from leadgrad.victims.training.classifier import Classifier
from leadgrad.victims.training.cylinder3d import CylinderSegmenter
from leadgrad.victims.training.dynconv import DynConvClassifier
from leadgrad.victims.training.segmentation import SceneSegmenter
from leadgrad.victims.training.skipnet import SkipNetClassifier
from leadgrad.victims.training.skipnet_rl import HybridRLClassifier

__all__ = [
    "Classifier",
    "CylinderSegmenter",
    "DynConvClassifier",
    "HybridRLClassifier",
    "SceneSegmenter",
    "SkipNetClassifier",
    "TailAverage",
    "VictimTraining",
]
