"""One process of a two-process run; started by test_data_striping.py, which sets the environment.

Prints one JSON line: for each case the first index and size of every batch this rank was given.
"""

import json
import logging
import sys
import warnings

import torch
from lightning.pytorch import LightningModule, Trainer

from leadgrad.data import Digits, FakeCIFAR10

CASES = {
    "plain": ({"limit": 44}, [], True),
    "resumed": ({"limit": 44}, [0, 3, 4], True),
    "fewer batches than ranks": ({"limit": 3}, [], True),
    "our sampler only": ({"limit": 44}, [], False),
    "with workers": ({"limit": 10, "num_workers": 2}, [], True),
    "too few samples": ({"limit": 1}, [], True),
}


class Watcher(LightningModule):
    def __init__(self):
        super().__init__()
        self.seen = []

        self.layer = torch.nn.Linear(3 * 32 * 32, 10)

    def predict_step(self, batch, batch_idx):
        self.seen.append(batch["index"].tolist())

    def training_step(self, batch, batch_idx):
        self.seen.append(batch["index"].tolist())
        logits = self.layer(batch["image"].flatten(1))
        return torch.nn.functional.cross_entropy(logits, batch["label"])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def make_trainer(use_distributed_sampler):
    return Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        use_distributed_sampler=use_distributed_sampler,
        max_epochs=1,
        limit_val_batches=0,
        inference_mode=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def run(arguments, finished, use_distributed_sampler):
    datamodule = Digits(batch_size=4, **arguments)
    datamodule.finished_batches = set(finished)
    model = Watcher()
    try:
        make_trainer(use_distributed_sampler).predict(
            model, datamodule=datamodule, return_predictions=False
        )
    except ValueError as error:
        return str(error)
    return model.seen


def train(use_distributed_sampler):
    model = Watcher()
    datamodule = FakeCIFAR10(batch_size=4, train_size=21)
    make_trainer(use_distributed_sampler).fit(model, datamodule=datamodule)
    return model.seen


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # Lightning's advice on workers and uneven ranks
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    results = {name: run(*case) for name, case in CASES.items()}
    results |= {f"training, {flag}": train(flag) for flag in (True, False)}
    sys.stdout.write("RESULT " + json.dumps(results) + "\n")
