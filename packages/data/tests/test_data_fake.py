import pytest
import torch

from leadgrad.data import CIFAR10, FakeCIFAR10, check_batch


def test_it_has_the_real_one_s_keys_shapes_and_splits():
    fake = FakeCIFAR10()
    assert fake.split_names == CIFAR10.split_names
    assert (fake.num_classes, fake.image_size) == (CIFAR10.num_classes, CIFAR10.image_size)
    for name in fake.split_names:
        split = fake.split(name)
        assert split.images.shape == (320 if name == "train" else 80, 3, 32, 32)
        assert torch.bincount(split.labels).unique().numel() == 1
    for batch in fake.predict_dataloader():
        check_batch(batch)


def test_splits_differ_and_repeat():
    first, second = FakeCIFAR10(), FakeCIFAR10()
    assert torch.equal(first.split("test").images, second.split("test").images)
    assert not torch.equal(first.split("test").images, first.split("heldout").images)
    other = FakeCIFAR10(data_seed=1)
    assert not torch.equal(first.split("test").images, other.split("test").images)


@pytest.mark.parametrize("image_size", [8, 32])
def test_a_small_network_learns_it(image_size):
    datamodule = FakeCIFAR10(image_size=image_size, batch_size=32)
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.AvgPool2d(image_size // 4), torch.nn.Flatten(), torch.nn.Linear(48, 10)
    )
    optimiser = torch.optim.Adam(network.parameters(), lr=0.03)
    for epoch in range(10):
        loader = datamodule.train_dataloader()
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            loss = torch.nn.functional.cross_entropy(network(batch["image"]), batch["label"])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    (batch,) = FakeCIFAR10(image_size=image_size, batch_size=80).test_dataloader()
    accuracy = (network(batch["image"]).argmax(1) == batch["label"]).float().mean()
    assert accuracy > 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": 30}, "multiple of 4, got 30"),
        ({"image_size": 0}, "multiple of 4, got 0"),
        ({"noise_255": 128}, "noise_255 must be in 0..127, got 128"),
        ({"num_classes": 0}, "num_classes must be at least 1"),
        ({"train_size": 0}, "train_size must be at least 1"),
        ({"eval_size": -3}, "eval_size must be at least 1, got -3"),
    ],
)
def test_bad_sizes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        FakeCIFAR10(**arguments)
