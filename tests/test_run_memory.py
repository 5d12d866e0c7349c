"""An attack's memory does not grow with the number of batches."""

import gc
import resource

import pytest
import torch
from run_config import attack, attack_config, node, threat

from leadgrad.pipelines.runs.directory import RunDirectory


@pytest.fixture
def live(monkeypatch):
    """Number and elements of live tensors after every twentieth batch, the eleventh first."""
    counts, add = [], RunDirectory.add

    def spy(run, batch, *args):
        add(run, batch, *args)
        if batch % 20 != 10:
            return
        # By type: isinstance would ask objects that warn when they are asked
        tensors = [thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)]
        counts.append((len(tensors), sum(tensor.numel() for tensor in tensors)))

    monkeypatch.setattr(RunDirectory, "add", spy)
    return counts


@pytest.mark.parametrize("kind", ["FGSM", "PGD"])
def test_no_tensor_outlives_its_batch(tmp_path, live, kind):
    settings = attack_config(
        model__attack=node(f"leadgrad.attacks.{kind}", threat=threat()),
        data__init_args__batch_size=1,
        data__init_args__eval_size=60,
    )
    attack(settings, tmp_path / "run")
    assert len(live) == 3
    assert live[0] == live[1] == live[2]


def resident_mebibytes() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def test_200_batches_take_no_more_than_50(tmp_path, monkeypatch):
    """If each batch stayed, this would be 300 MiB."""
    sizes, add = [], RunDirectory.add

    def spy(run, *args):
        add(run, *args)
        sizes.append(resident_mebibytes())

    monkeypatch.setattr(RunDirectory, "add", spy)
    settings = attack_config(
        model__network=node("leadgrad.victims.ResNet", depth=8, num_classes=2),
        model__attack=node("leadgrad.attacks.RandomNoise", threat=threat()),
        data__init_args={
            "batch_size": 32,
            "eval_size": 6400,
            "num_classes": 2,
            "image_size": 32,
        },
    )
    attack(settings, tmp_path / "run")
    assert len(sizes) == 200
    assert sizes[-1] - sizes[49] < 40


@pytest.mark.slow
def test_10000_images_on_dynconv(tmp_path, live):
    """The whole test set of CIFAR-10's size, 10,000 FGSM samples under LGM."""
    settings = attack_config(
        model__network=node("leadgrad.victims.DynConv", depth=8, num_classes=2),
        data__init_args={
            "batch_size": 50,
            "eval_size": 10_000,
            "num_classes": 2,
            "image_size": 32,
        },
    )
    before = resident_mebibytes()
    results = attack(settings, tmp_path / "run")
    assert results["samples"] == 10_000
    assert live[-1] == live[0]
    assert resident_mebibytes() - before < 400
