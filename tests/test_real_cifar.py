"""The reader, an attack and its verification on the real CIFAR-10 archive, where there is one."""

import os
from pathlib import Path

import pytest

from leadgrad.data import CIFAR10, check_batch
from leadgrad.pipelines.cli import main

DATA = os.environ.get("LEADGRAD_DATA") or None
pytestmark = pytest.mark.skipif(DATA is None, reason="LEADGRAD_DATA names no folder of real data")


@pytest.fixture(scope="module")
def root():
    return Path(DATA) / "cifar10"


def test_the_archive_is_whole(root, capsys):
    assert main(["verify-data", str(root)]) == 0
    assert "0 problems" in capsys.readouterr().out


def test_every_split_yields_batches(root):
    data = CIFAR10(root, attack_split="heldout", limit=10, batch_size=4)
    batches = list(data.predict_dataloader())
    assert [len(batch["image"]) for batch in batches] == [4, 4, 2]
    for batch in (
        *batches,
        next(iter(data.train_dataloader())),
        next(iter(data.test_dataloader())),
    ):
        check_batch(batch)


def test_an_attack_on_real_images_verifies(root, tmp_path):
    options = [
        "--model.network=leadgrad.victims.DynConv",
        "--model.network.depth=8",
        "--model.attack=leadgrad.attacks.IFGSM",
        "--model.attack.skip_misclassified=false",
        "--model.attack.threat.eps_255=8",
        "--model.method=leadgrad.victims.LGM",
        "--model.method.surrogate=leadgrad.victims.Sigmoid",
        "--model.method.surrogate.slope=5",
        "--data=leadgrad.data.CIFAR10",
        f"--data.root={root}",
        "--data.limit=24",
        "--data.batch_size=16",
        "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
        f"--run_dir={tmp_path / 'run'}",
    ]
    assert main(["attack", *options]) == 0
    assert main(["verify", str(tmp_path / "run")]) == 0
