"""Names with wrappers in them: of a network's own children, and around file or network."""

import copy

import pytest
import torch
from torch import nn

from leadgrad.victims import CheckpointError, load_published, save_weights


class Normalised(nn.Module):
    """A wrapper whose child has the name of a wrapper."""

    def __init__(self, network, *, own=False):
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.randn(3), persistent=own)


class Two(nn.Module):
    """Children called as wrappers are, side by side."""

    def __init__(self):
        super().__init__()
        self.network = nn.Linear(3, 3)
        self.module = nn.Linear(3, 3)


class Tied(nn.Module):
    """One module, two names, the last of which is a wrapper's."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 2)
        self.network = self.head


def conv():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def compiled(network):
    return torch.compile(network, backend="eager")


def inner_compiled(network):
    network[0] = compiled(network[0])
    return network


NETWORKS = {
    "plain": conv,
    "network": lambda: Normalised(conv()),
    "network and a buffer": lambda: Normalised(conv(), own=True),
    "twice": lambda: Normalised(Normalised(conv())),
    "data parallel": lambda: nn.DataParallel(conv()),
    "compiled": lambda: compiled(conv()),
    "compiled inside": lambda: inner_compiled(conv()),
    "all of it": lambda: nn.DataParallel(compiled(Normalised(inner_compiled(conv())))),
    "two children": Two,
    "two children inside": lambda: nn.Sequential(Two(), nn.DataParallel(Two())),
    "tied": Tied,
    "tied, wrapped": lambda: nn.DataParallel(Tied()),
}


def made(name, seed):
    torch.manual_seed(seed)
    return NETWORKS[name]()


def values(network):
    return [value for _, value in sorted(network.state_dict().items())]


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_written_is_read_back(tmp_path, name):
    source, target = made(name, 0), made(name, 1)
    save_weights(source, tmp_path / "w.safetensors")
    load_published(target, tmp_path / "w.safetensors")
    left, right = source.state_dict(), target.state_dict()
    assert list(left) == list(right)
    assert all(torch.equal(left[key], right[key]) for key in left)


ALIKE = ["plain", "network", "twice", "data parallel", "compiled", "compiled inside", "all of it"]


@pytest.mark.parametrize("file", ALIKE)
@pytest.mark.parametrize("network", ALIKE)
def test_wrappers_on_either_side_play_no_part(tmp_path, file, network):
    source, target = made(file, 0), made(network, 1)
    save_weights(source, tmp_path / "w.safetensors")
    load_published(target, tmp_path / "w.safetensors")
    by_end = {name.rsplit(".", 2)[-1]: value for name, value in target.state_dict().items()}
    for name, value in source.state_dict().items():
        if name.endswith(("running_mean", "num_batches_tracked")):
            assert torch.equal(by_end[name.rsplit(".", 2)[-1]], value)
    shapes = {tuple(v.shape): v for v in target.state_dict().values()}
    assert torch.equal(shapes[4, 3, 3, 3], {tuple(v.shape): v for v in values(source)}[4, 3, 3, 3])


@pytest.mark.parametrize("prefix", ["module.", "network.", "_orig_mod.", "module.network."])
@pytest.mark.parametrize("name", ["two children", "two children inside", "network and a buffer"])
def test_a_wrapper_around_children_called_like_one(name, prefix):
    source, target = made(name, 0), made(name, 1)
    load_published(target, {prefix + key: v for key, v in source.state_dict().items()})
    assert all(
        torch.equal(value, target.state_dict()[key]) for key, value in source.state_dict().items()
    )
    load_published(target, {"state_dict": made(name, 2).state_dict()})
    around = nn.ModuleDict({"module": made(name, 3)})
    load_published(around, target.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(values(around), values(target), strict=True))


def test_a_wrapper_inside_that_only_the_file_has():
    source, target = Two(), nn.Sequential(Two())
    inside = {f"0.module.{key}": value for key, value in source.state_dict().items()}
    load_published(target, inside)
    assert all(torch.equal(a, b) for a, b in zip(values(source), values(target), strict=True))


def test_names_that_fit_in_two_ways_are_refused():
    network = nn.Linear(3, 3, bias=False)
    network.module = nn.Module()
    network.module.network = nn.Linear(3, 3, bias=False)
    before = copy.deepcopy(network.state_dict())
    state = {"module.weight": torch.randn(3, 3), "network.weight": torch.randn(3, 3)}
    with pytest.raises(CheckpointError, match="more ways than one"):
        load_published(network, state)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_two_entries_that_would_be_one_are_refused():
    state = nn.Linear(3, 3).state_dict()
    both = {**state, **{f"module.{name}": value for name, value in state.items()}}
    with pytest.raises(CheckpointError, match="2 keys unexpected: module"):
        load_published(nn.Linear(3, 3), both)


def test_a_misfit_is_told_in_the_networks_names():
    state = {f"module.{name}": value for name, value in conv().state_dict().items()}
    del state["module.0.bias"]
    with pytest.raises(CheckpointError, match=r"network: 1 keys missing: 0\.bias\."):
        load_published(conv(), state)
