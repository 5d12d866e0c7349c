"""How scenes are dealt out to devices. Run as a program, this file is one of two processes."""

import json
import logging
import os
import random
import socket
import subprocess
import sys
import warnings
from itertools import product

import pytest
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DistributedSampler, SequentialSampler

from leadgrad.data.rooms import SyntheticRooms
from leadgrad.data.scene_loaders import SizedBatchSampler, deal_by_size

SIZES = [5, 1, 200, 3, 90, 90, 40, 2, 7, 61, 33]


def sampler_of(batch_size, *, rank=0, world=1, done=(), sizes=SIZES):
    return SizedBatchSampler(
        SequentialSampler(range(len(SIZES))),
        batch_size,
        False,
        rank=rank,
        world=world,
        done=done,
        sizes=sizes,
    )


@pytest.mark.parametrize("world", [1, 2, 3, 4, 20])
@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_each_scene_is_served_once_in_the_batches_of_one_device(world, batch_size):
    single = list(sampler_of(batch_size))
    assert [i for batch in single for i in batch] == list(range(len(SIZES)))
    dealt = [list(sampler_of(batch_size, rank=rank, world=world)) for rank in range(world)]
    assert sorted(batch for share in dealt for batch in share) == single
    assert all(share == sorted(share) for share in dealt)


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_no_device_is_loaded_beyond_graham_s_bound(world):
    generator = random.Random(0)
    for _ in range(50):
        loads = [generator.choice((1, 10, 100)) * generator.randint(1, 99) for _ in range(30)]
        shares = deal_by_size(loads, world)
        assert sorted(item for share in shares for item in share) == list(range(30))
        fullest = max(sum(loads[item] for item in share) for share in shares)
        # The best deal is at least this full, so 4/3 of it is more than Graham allows.
        assert fullest <= 4 / 3 * max(sum(loads) / world, max(loads)) + max(loads) / 3


def test_the_deal_is_near_the_best_one():
    loads = SIZES[:8]
    for world in (2, 3):
        best = min(
            max(
                sum(load for load, who in zip(loads, owners, strict=True) if who == rank)
                for rank in range(world)
            )
            for owners in product(range(world), repeat=len(loads))
        )
        fullest = max(sum(loads[i] for i in share) for share in deal_by_size(loads, world))
        assert fullest <= 4 / 3 * best


def test_a_known_deal():
    assert deal_by_size([2, 9, 4, 4, 3], 2) == [[0, 1], [2, 3, 4]]
    assert deal_by_size([1, 1, 1, 1], 3) == [[0, 3], [1], [2]]
    assert deal_by_size([0, 0, 0], 2) == [[0, 2], [1]]


def test_finished_batches_change_nobody_s_share():
    done = {0, 3, 10}
    for rank in range(3):
        mine = list(sampler_of(1, rank=rank, world=3))
        assert list(sampler_of(1, rank=rank, world=3, done=done)) == [
            batch for batch in mine if batch[0] not in done
        ]


def test_the_share_that_lightning_injects_is_undone():
    injected = DistributedSampler(range(len(SIZES)), num_replicas=3, rank=2)
    sampler = SizedBatchSampler(injected, 2, False, rank=2, world=3, done=(), sizes=SIZES)
    assert list(sampler) == list(sampler_of(2, rank=2, world=3))


def test_sizes_of_another_split_are_refused():
    with pytest.raises(ValueError, match="got 3 sizes for 11 scenes"):
        sampler_of(1, sizes=[1, 2, 3])


class Watcher(LightningModule):
    def __init__(self):
        super().__init__()
        self.seen = []

    def predict_step(self, batch, batch_idx):
        self.seen.append([batch["index"].tolist(), len(batch["coords"])])
        return batch["index"]


def predict(devices, finished):
    datamodule = SyntheticRooms(points=1000, test_rooms=7, batch_size=2)
    datamodule.finished_batches = set(finished)
    watcher = Watcher()
    Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        inference_mode=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).predict(watcher, datamodule=datamodule, return_predictions=False)
    return watcher.seen


@pytest.mark.ddp
@pytest.mark.slow
def test_two_processes_serve_the_batches_of_one():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = os.environ | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "NODE_RANK": "0",
        "OMP_NUM_THREADS": "1",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, __file__],
            env=shared | {"LOCAL_RANK": str(rank), "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    results = []
    try:
        for process in processes:
            out, err = process.communicate(timeout=1800)
            assert process.returncode == 0, err
            (line,) = [row for row in out.splitlines() if row.startswith("RESULT ")]
            results.append(json.loads(line.removeprefix("RESULT ")))
    finally:
        for process in processes:
            process.kill()
    single = predict(1, [])
    shares = deal_by_size([points for _, points in single], 2)
    for rank, share in enumerate(shares):
        assert results[rank]["all"] == [single[k] for k in share]
        assert results[rank]["resumed"] == [single[k] for k in share if k not in (1, 2)]


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # Lightning's advice on workers and uneven ranks
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    answer = {"all": predict(2, []), "resumed": predict(2, [1, 2])}
    sys.stdout.write("RESULT " + json.dumps(answer) + "\n")
