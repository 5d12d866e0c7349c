import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from leadgrad.data.scene_augment import SceneAugmentation
from leadgrad.data.scene_batch import check_scene_batch
from leadgrad.data.scene_loaders import Scene, SceneReader, SceneSource
from leadgrad.data.scenes import SceneDataModule

SIZES = {"train": (30, 7, 1, 12, 25, 9, 40), "validation": (5, 6), "test": (3, 90, 1, 17, 40)}


class Blobs(SceneSource):
    """Scenes whose colours, labels and places tell which they are."""

    def __init__(self, split):
        self.sizes = SIZES[split]
        super().__init__([f"{split}/{k}" for k in range(len(self.sizes))])

    def size(self, index):
        return self.sizes[index]

    def read(self, index):
        size = self.sizes[index]
        grid = np.arange(3 * size, dtype=np.float32).reshape(size, 3)
        color = np.full((size, 3), 10 * index, dtype=np.uint8)
        return Scene(grid / 50 + 100 * index, color, np.full(size, index, dtype=np.uint8))


class Toy(SceneDataModule):
    """The least a subclass has to write."""

    num_classes = 8
    class_names = tuple("abcdefgh")
    palette = ((0, 0, 0),) * 8
    loads = 0

    def load_split(self, name):
        self.loads += 1
        return Blobs(name)


class AugmentedToy(Toy):
    def augmentation(self):
        return SceneAugmentation(elastic=((0.2, 0.1),), drop_chance=0.5, seed=self.seed)


def scenes_of(batches):
    """Points of each scene by its index, whatever batch it came in."""
    found = {}
    for batch in batches:
        for place, index in enumerate(batch["index"].tolist()):
            mask = batch["scene"] == place
            assert index not in found
            found[index] = {key: batch[key][mask] for key in ("coords", "features", "label")}
    return found


def same(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(first[index][key], second[index][key])
        for index in first
        for key in first[index]
    )


def train_epoch(datamodule, epoch):
    loader = datamodule.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return list(loader)


def test_the_base_class_cannot_be_used_alone():
    with pytest.raises(TypeError, match="load_split"):
        SceneDataModule()


@pytest.mark.parametrize("batch_size", [1, 2, 10])
def test_scenes_arrive_whole_in_order_and_where_they_were(batch_size):
    datamodule = Toy(batch_size)
    for name, loader in [
        ("validation", datamodule.val_dataloader()),
        ("test", datamodule.test_dataloader()),
        ("test", datamodule.predict_dataloader()),
    ]:
        batches = list(loader)
        assert [len(batch["index"]) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
        for batch in batches:
            check_scene_batch(batch, 8)
        found = scenes_of(batches)
        assert list(found) == list(range(len(SIZES[name])))
        for index, scene in found.items():
            expected = Blobs(name).read(index)
            assert np.array_equal(scene["coords"].numpy(), expected.coords)
            assert torch.equal(
                (scene["features"] * 255).round().to(torch.uint8)[0, 0].long(),
                torch.tensor(10 * index),
            )
            assert scene["label"].tolist() == [index] * SIZES[name][index]
    assert datamodule.loads == 2  # each split is found once


def test_colours_are_the_nearest_floats_to_k_by_255():
    source = Blobs("test")
    values = torch.arange(256, dtype=torch.float32) / 255
    source.read = lambda index: Scene(
        np.zeros((256, 3), np.float32),
        np.arange(256, dtype=np.uint8)[:, None].repeat(3, 1),
        np.zeros(256, np.uint8),
    )
    color = SceneReader(source)[0]["features"]
    assert color.dtype == torch.float32
    assert torch.equal(color[:, 1], values)


def test_training_visits_every_scene_in_a_new_order_each_epoch():
    orders = []
    for epoch in range(3):
        batches = train_epoch(Toy(2), epoch)
        orders.append([i for batch in batches for i in batch["index"].tolist()])
        assert sorted(orders[-1]) == list(range(7))
    assert orders[0] != orders[1] != orders[2]
    again = [i for batch in train_epoch(Toy(3), 1) for i in batch["index"].tolist()]
    assert again == orders[1]
    other = [i for batch in train_epoch(Toy(3, seed=1), 1) for i in batch["index"].tolist()]
    assert other != orders[1]


@pytest.mark.parametrize(("batch_size", "num_workers"), [(3, 0), (7, 0), (2, 2)])
def test_augmentation_depends_on_seed_epoch_and_scene_alone(batch_size, num_workers):
    expected = scenes_of(train_epoch(AugmentedToy(1), 4))
    datamodule = AugmentedToy(batch_size, num_workers=num_workers)
    assert same(scenes_of(train_epoch(datamodule, 4)), expected)
    assert not same(scenes_of(train_epoch(datamodule, 5)), expected)
    assert not same(scenes_of(train_epoch(AugmentedToy(1, seed=3), 4)), expected)
    assert not same(scenes_of(train_epoch(Toy(1), 4)), expected)


def test_max_points_drops_trailing_scenes_but_never_the_first():
    source = Blobs("train")  # 30, 7, 1, 12, ...
    for bound, kept in [(None, 4), (50, 4), (49, 3), (37, 2), (36, 1), (5, 1)]:
        batch = SceneReader(source, max_points=bound).__getitems__([0, 1, 2, 3])
        assert batch["index"].tolist() == list(range(kept))
        check_scene_batch(batch, 8)
    # Attacks and evaluations leave nothing out.
    assert sum(len(b["index"]) for b in Toy(5, max_points=5).predict_dataloader()) == 5


def test_limit_and_finished_batches():
    datamodule = Toy(2, limit=3)
    assert datamodule.num_attack_batches() == 2
    assert list(scenes_of(datamodule.predict_dataloader())) == [0, 1, 2]
    datamodule.finished_batches = {0}
    assert list(scenes_of(datamodule.predict_dataloader())) == [2]
    datamodule.finished_batches = {2}
    with pytest.raises(ValueError, match="finished batch 2 does not exist"):
        datamodule.predict_dataloader()
    assert Toy(1, limit=100).num_attack_batches() == 5


def test_names_and_sizes():
    datamodule = Toy(attack_split="validation")
    assert datamodule.scene_name(1) == "validation/1"
    assert datamodule.scene_sizes("train") == SIZES["train"]


def test_the_manifest_tells_scenes_apart(monkeypatch):
    manifest = Toy().manifest()
    assert {key: manifest[key] for key in ("dataset", "split", "count")} == {
        "dataset": "Toy",
        "split": "test",
        "count": 5,
    }
    assert manifest == Toy(3, seed=5).manifest()
    digests = {manifest["sha256"], Toy(limit=4).manifest()["sha256"]}
    read = Blobs.read
    for change in ("coords", "features", "label"):

        def changed(self, index, change=change):
            scene = read(self, index)
            if index == 4:
                getattr(scene, change)[-1] += 1
            return scene

        monkeypatch.setattr(Blobs, "read", changed)
        digests.add(Toy().manifest()["sha256"])
    assert len(digests) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1 scene, got 0"),
        ({"num_workers": -1}, "num_workers must not be negative, got -1"),
        ({"limit": 0}, "limit must be at least 1"),
        ({"max_points": 0}, "max_points must be at least 1"),
        ({"attack_split": "heldout"}, "Toy has no split 'heldout'"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Toy(**arguments)


def test_an_empty_split_is_refused(monkeypatch):
    monkeypatch.setitem(SIZES, "test", ())
    with pytest.raises(ValueError, match="split 'test' of Toy holds no scene"):
        Toy().predict_dataloader()


class Net(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 8)
        self.seen = []

    def predict_step(self, batch, batch_idx):
        return batch

    def training_step(self, batch, batch_idx):
        self.seen.extend(batch["index"].tolist())
        return torch.nn.functional.cross_entropy(self.layer(batch["features"]), batch["label"])

    def validation_step(self, batch, batch_idx):
        check_scene_batch(batch, 8)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_trainer_serves_the_loader_s_own_batches(num_workers):
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        inference_mode=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    datamodule = Toy(2, num_workers=num_workers)
    datamodule.finished_batches = {1}
    served = trainer.predict(Net(), datamodule=datamodule)
    expected = list(Toy(2).predict_dataloader())
    assert len(served) == 2
    for mine, theirs in zip(served, (expected[0], expected[2]), strict=True):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[key], theirs[key]) for key in theirs)
    net = Net()
    trainer.fit(net, datamodule=datamodule)
    assert sorted(net.seen) == list(range(7))
