"""What the commands do, for programs: ``attack``, ``fit``, ``sweep`` and ``verify``.

from leadgrad.pipelines.api import attack
results = attack(
"zoo/dynconv32.safetensors",
{"class_path": "leadgrad.data.CIFAR10", "init_args": {"root": "data", "limit": 100}},
FGSM(PixelLinf(4)),
LGM(),
run_dir="runs/mine",
)
results["robust_accuracy"]
"""

from leadgrad.pipelines.api.attacking import AttackJob, Results, attack
from leadgrad.pipelines.api.fitting import FitJob, fit
from leadgrad.pipelines.api.nodes import Node, node_of
from leadgrad.pipelines.api.sweeping import Sweep, sweep
from leadgrad.pipelines.api.verifying import Finding, verify

__all__ = [
    "AttackJob",
    "Finding",
    "FitJob",
    "Node",
    "Results",
    "Sweep",
    "attack",
    "fit",
    "node_of",
    "sweep",
    "verify",
]
