import subprocess
import sys

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from leadgrad.data import Digits, FakeCIFAR10, ImageDataModule
from leadgrad.data.base import ImageSplit, check_batch
from leadgrad.data.loaders import BatchReader, EpochSampler


class Counted(ImageDataModule):
    """The least a subclass has to write; each image's first pixel is its label."""

    num_classes = 10
    class_names = tuple("abcdefghij")
    image_size = 2

    loads = 0

    def load_split(self, name):
        self.loads += 1
        size = {"train": 50, "validation": 7, "test": 23}[name]
        labels = torch.arange(size) % 10
        images = torch.zeros(size, 3, 2, 2, dtype=torch.uint8)
        images[:, 0, 0, 0] = labels.to(torch.uint8)
        return ImageSplit(images, labels)


def joined(loader):
    batches = list(loader)
    return {key: torch.cat([batch[key] for batch in batches]) for key in batches[0]}


def train_epoch(datamodule, epoch):
    loader = datamodule.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return joined(loader)


def by_index(samples):
    order = samples["index"].argsort()
    return {key: value[order] for key, value in samples.items()}


def test_the_base_class_cannot_be_used_alone():
    with pytest.raises(TypeError, match="load_split"):
        ImageDataModule()


def test_one_method_makes_a_data_set():
    datamodule = Counted(batch_size=8)
    for loader, size in [
        (datamodule.train_dataloader(), 50),
        (datamodule.val_dataloader(), 7),
        (datamodule.test_dataloader(), 23),
        (datamodule.predict_dataloader(), 23),
    ]:
        for batch in loader:
            check_batch(batch)
            assert torch.equal((batch["image"][:, 0, 0, 0] * 255).round().long(), batch["label"])
        assert sorted(joined(loader)["index"].tolist()) == list(range(size))
    assert datamodule.loads == 3  # each split is read once


@pytest.mark.parametrize("name", ["val_dataloader", "test_dataloader", "predict_dataloader"])
def test_evaluation_is_served_in_order(name):
    indices = joined(getattr(Counted(batch_size=4), name)())["index"]
    assert indices.tolist() == list(range(len(indices)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"num_workers": -1}, "num_workers must not be negative, got -1"),
        ({"limit": 0}, "limit must be at least 1"),
        ({"attack_split": "heldout"}, "Counted has no split 'heldout'.*'validation'"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Counted(**arguments)


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="no split 'tset'"):
        Counted().split("tset")


def test_the_training_order_follows_from_seed_and_epoch():
    orders = {
        (seed, epoch): train_epoch(Counted(seed=seed), epoch)["index"].tolist()
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len({tuple(order) for order in orders.values()}) == 4
    assert all(sorted(order) == list(range(50)) for order in orders.values())
    torch.manual_seed(99)  # the global generator plays no part
    assert train_epoch(Counted(batch_size=3, seed=1), 1)["index"].tolist() == orders[1, 1]


@pytest.mark.parametrize(("batch_size", "num_workers"), [(1, 0), (7, 0), (64, 2)])
def test_training_samples_do_not_depend_on_batch_size_or_workers(batch_size, num_workers):
    reference = train_epoch(FakeCIFAR10(batch_size=32, train_size=50), 3)
    other = train_epoch(
        FakeCIFAR10(batch_size=batch_size, num_workers=num_workers, train_size=50), 3
    )
    assert all(torch.equal(reference[key], other[key]) for key in reference)


def test_persistent_workers_see_the_new_epoch():
    datamodule = FakeCIFAR10(num_workers=1, train_size=20)
    loader = datamodule.train_dataloader()
    for epoch in (0, 1):
        loader.sampler.set_epoch(epoch)
        expected = train_epoch(FakeCIFAR10(train_size=20), epoch)
        assert torch.equal(joined(loader)["image"], expected["image"])


def test_augmentation_changes_with_seed_and_epoch_and_leaves_evaluation_alone():
    images = [
        by_index(train_epoch(FakeCIFAR10(seed=seed), epoch))["image"]
        for seed, epoch in [(0, 0), (0, 1), (1, 0)]
    ]
    assert not torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])
    plain = FakeCIFAR10(attack_split="train")
    served = joined(plain.predict_dataloader())["image"]
    assert torch.equal(served, plain.split("train").images.float() / 255)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_training_shards_are_equally_long_and_cover_the_set(world):
    reader = BatchReader(Counted().split("train"))
    shards = [list(EpochSampler(reader, seed=0, rank=r, world=world)) for r in range(world)]
    assert len({len(shard) for shard in shards}) == 1
    # Dealt in turn, the shards are the single-device order; the start fills the last round up.
    dealt = [key for turn in zip(*shards, strict=True) for key in turn]
    single = list(EpochSampler(reader, seed=0, rank=0, world=1))
    assert dealt[:50] == single
    assert dealt[50:] == single[: len(dealt) - 50]


def test_more_devices_than_training_samples():
    reader = BatchReader(Counted().split("validation"))
    shards = [list(EpochSampler(reader, seed=0, rank=r, world=20)) for r in range(20)]
    assert [len(shard) for shard in shards] == [1] * 20
    assert {key for shard in shards for key in shard} == set(range(7))


def test_a_single_sample_has_no_batch_dimension():
    sample = BatchReader(Counted().split("test"))[13]
    assert {key: tuple(value.shape) for key, value in sample.items()} == {
        "image": (3, 2, 2),
        "label": (),
        "index": (),
    }
    assert sample["index"] == 13


def test_limit_takes_the_first_samples_of_the_attacked_split_alone():
    datamodule = Counted(batch_size=4, limit=10)
    assert joined(datamodule.predict_dataloader())["index"].tolist() == list(range(10))
    assert datamodule.num_attack_batches() == 3
    assert len(joined(datamodule.test_dataloader())["index"]) == 23
    assert Counted(batch_size=4, limit=1000).manifest()["count"] == 23


def test_the_manifest_identifies_the_attacked_samples():
    manifest = Counted().manifest()
    assert (manifest["dataset"], manifest["split"], manifest["count"]) == ("Counted", "test", 23)
    assert Counted(batch_size=3, num_workers=2, seed=9).manifest() == manifest
    others = [
        Counted(limit=22).manifest(),
        Counted(attack_split="validation").manifest(),
    ]
    changed = Counted()
    changed.split("test").images[22, 2, 1, 1] ^= 1
    relabelled = Counted()
    relabelled.split("test").labels[0] = 5
    digests = {m["sha256"] for m in (manifest, *others, changed.manifest(), relabelled.manifest())}
    assert len(digests) == 5


def test_the_manifest_of_a_split_in_any_memory_layout_is_the_same():
    datamodule = Counted()
    expected = datamodule.manifest()
    split = datamodule.split("test")
    datamodule._splits["test"] = ImageSplit(
        split.images.contiguous(memory_format=torch.channels_last), split.labels
    )
    assert datamodule.manifest() == expected


class Recorder(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3 * 32 * 32, 10)
        self.epochs = []

    def training_step(self, batch, batch_idx):
        check_batch(batch)
        while len(self.epochs) <= self.current_epoch:
            self.epochs.append([])
        self.epochs[self.current_epoch] += batch["index"].tolist()
        logits = self.layer(batch["image"].flatten(1))
        return torch.nn.functional.cross_entropy(logits, batch["label"])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
@pytest.mark.filterwarnings(
    "ignore:.*isinstance.treespec, LeafSpec.. is deprecated"
)  # in Lightning
def test_a_real_fit_sees_our_order_in_each_epoch():
    model = Recorder()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    datamodule = FakeCIFAR10(batch_size=16, train_size=40, seed=3)
    trainer.fit(model, train_dataloaders=datamodule.train_dataloader())
    expected = [
        train_epoch(FakeCIFAR10(train_size=40, seed=3), epoch)["index"].tolist() for epoch in (0, 1)
    ]
    assert model.epochs == expected


@pytest.mark.slow
def test_importing_the_package_leaves_scikit_learn_alone():
    code = "import sys, leadgrad.data; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=1800).returncode == 0


def test_class_attributes_agree_with_the_data():
    for datamodule in (Digits(), FakeCIFAR10(num_classes=4, image_size=8), Counted()):
        split = datamodule.split("validation")
        assert len(datamodule.class_names) == datamodule.num_classes
        assert int(split.labels.max()) < datamodule.num_classes
        assert split.images.shape[1:] == (3, datamodule.image_size, datamodule.image_size)
