import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DistributedSampler, RandomSampler, SequentialSampler

from leadgrad.data import Digits, FakeCIFAR10, StripedBatchSampler
from leadgrad.data.loaders import BatchReader, EpochSampler

WORKER = Path(__file__).parent / "striping_worker.py"


def sampler_of(size, batch_size, *, rank=0, world=1, done=()):
    return StripedBatchSampler(
        SequentialSampler(range(size)), batch_size, False, rank=rank, world=world, done=done
    )


@pytest.mark.parametrize("world", [1, 2, 3, 4, 20])
@pytest.mark.parametrize(("size", "batch_size"), [(44, 4), (45, 4), (3, 4), (7, 1)])
def test_whole_batches_are_dealt_in_turn(size, batch_size, world):
    single = list(sampler_of(size, batch_size))
    assert [i for batch in single for i in batch] == list(range(size))
    for rank in range(world):
        mine = sampler_of(size, batch_size, rank=rank, world=world)
        assert list(mine) == single[rank::world]
        assert len(mine) == len(single[rank::world])


def test_finished_batches_are_left_out_and_nobody_changes_hands():
    done = {0, 3, 4, 10}
    single = list(sampler_of(44, 4))
    for rank in range(2):
        expected = [single[k] for k in range(rank, 11, 2) if k not in done]
        assert list(sampler_of(44, 4, rank=rank, world=2, done=done)) == expected
    assert list(sampler_of(44, 4, done=range(11))) == []


def test_the_share_that_lightning_injects_is_undone():
    injected = DistributedSampler(range(45), num_replicas=3, rank=2)
    sampler = StripedBatchSampler(injected, 4, False, rank=2, world=3, done=())
    assert list(sampler) == list(sampler_of(45, 4, rank=2, world=3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"drop_last": True}, "leave samples out"),
        ({"rank": 2}, r"rank must be in 0..world-1, got rank 2 and world 2"),
        ({"rank": -1}, "got rank -1"),
        ({"done": {3, 11}}, "finished batch 11 does not exist, this run has 11 batches of 4"),
        ({"done": {-1}}, "finished batch -1"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_bad_arguments_are_refused(changes, message):
    arguments = {"batch_size": 4, "drop_last": False, "rank": 0, "world": 2, "done": ()}
    arguments |= changes
    sampler = SequentialSampler(range(44))
    with pytest.raises(ValueError, match=message):
        StripedBatchSampler(
            sampler, arguments.pop("batch_size"), arguments.pop("drop_last"), **arguments
        )


def test_a_shuffling_sampler_is_refused():
    with pytest.raises(TypeError, match="in order and need a SequentialSampler, got RandomSampler"):
        StripedBatchSampler(RandomSampler(range(8)), 4, False, rank=0, world=1, done=())


class Echo(LightningModule):
    def predict_step(self, batch, batch_idx):
        return batch


def predict(datamodule):
    trainer = Trainer(
        accelerator="cpu",
        inference_mode=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    return trainer.predict(Echo(), datamodule=datamodule)


lightning_warnings = [
    # Lightning advises workers; for sets held in memory they only cost time.
    pytest.mark.filterwarnings("ignore:The 'predict_dataloader' does not have many workers"),
    # Lightning asks torch's pytree in a way torch has deprecated.
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.. is deprecated"),
    pytest.mark.filterwarnings("ignore:Total length of .* across ranks is zero"),
]


class TestThroughTheTrainer:
    pytestmark = lightning_warnings

    @pytest.mark.parametrize("num_workers", [0, 2])
    def test_predict_serves_the_loader_s_own_batches(self, num_workers):
        expected = list(Digits(batch_size=16, limit=50).predict_dataloader())
        served = predict(Digits(batch_size=16, limit=50, num_workers=num_workers))
        assert len(served) == len(expected) == 4
        for mine, theirs in zip(served, expected, strict=True):
            assert all(torch.equal(mine[key], theirs[key]) for key in theirs)

    def test_predict_leaves_finished_batches_out(self):
        datamodule = Digits(batch_size=16, limit=50)
        datamodule.finished_batches = {0, 2}
        served = predict(datamodule)
        assert [batch["index"][0].item() // 16 for batch in served] == [1, 3]
        assert datamodule.num_attack_batches() == 4

    def test_a_finished_run_has_nothing_left(self):
        datamodule = Digits(batch_size=16, limit=50)
        datamodule.finished_batches = set(range(4))
        assert not predict(datamodule)

    def test_finished_batches_of_another_batch_size_are_refused(self):
        datamodule = Digits(batch_size=32, limit=50)
        datamodule.finished_batches = {3}
        with pytest.raises(ValueError, match="resume with the batch size and limit"):
            predict(datamodule)


@pytest.fixture(scope="module")
def two_processes():
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
            [sys.executable, str(WORKER)],
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
    return results


@pytest.mark.ddp
@pytest.mark.slow
class TestTwoProcesses:
    """Every case runs in one start of two processes, which takes far longer than the cases."""

    @pytest.mark.parametrize("case", ["plain", "our sampler only"])
    def test_batches_are_those_of_one_device(self, two_processes, case):
        single = list(sampler_of(44, 4))
        assert [result[case] for result in two_processes] == [single[0::2], single[1::2]]

    def test_workers_change_nothing(self, two_processes):
        single = list(sampler_of(10, 4))
        assert [r["with workers"] for r in two_processes] == [single[0::2], single[1::2]]

    def test_finished_batches_are_left_out(self, two_processes):
        single = list(sampler_of(44, 4))
        assert [result["resumed"] for result in two_processes] == [
            [single[k] for k in (2, 6, 8, 10)],
            [single[k] for k in (1, 5, 7, 9)],
        ]

    def test_a_rank_may_have_nothing_to_do(self, two_processes):
        assert [result["fewer batches than ranks"] for result in two_processes] == [
            [[0, 1, 2]],
            [],
        ]

    @pytest.mark.parametrize("flag", [True, False])
    def test_training_is_sharded_whether_or_not_lightning_would(self, two_processes, flag):
        reader = BatchReader(FakeCIFAR10(train_size=21).split("train"))
        for rank, result in enumerate(two_processes):
            expected = list(EpochSampler(reader, seed=0, rank=rank, world=2))
            assert [i for batch in result[f"training, {flag}"] for i in batch] == expected
            assert [len(batch) for batch in result[f"training, {flag}"]] == [4, 4, 3]

    def test_fewer_samples_than_ranks_is_a_clear_error_on_each(self, two_processes):
        for result in two_processes:
            assert "1 attacked samples cannot be dealt to 2 devices" in result["too few samples"]
