"""Published containers, our own files, and everything that is refused."""

import copy
import errno
import hashlib
import os
import pickle
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from leadgrad.victims import (
    CheckpointError,
    DynConv,
    ResNet,
    SkipNet,
    load_published,
    save_weights,
)

FAMILIES = pytest.mark.parametrize("family", [ResNet, SkipNet, DynConv])


def network_of(family, seed=0):
    torch.manual_seed(seed)
    return family(8)


def same(a, b):
    left, right = a.state_dict(), b.state_dict()
    return list(left) == list(right) and all(torch.equal(left[name], right[name]) for name in left)


def old(network):
    """Its state dict as files from before ``num_batches_tracked`` have it."""
    state = network.state_dict()
    return {name: v for name, v in state.items() if not name.endswith("num_batches_tracked")}


def save_torch(content, path):
    torch.save(content, path)
    return path


@pytest.fixture
def loaded():
    """A network and a check that nothing of it has changed."""
    network = network_of(DynConv, seed=1)
    before = copy.deepcopy(network)
    yield network
    assert same(network, before), "a refused file changed the network"


@pytest.mark.parametrize(
    ("network", "without", "with_counters"),
    [
        (ResNet(32), 157, 188),
        (ResNet(110), 547, 656),
        (SkipNet(110), 681, 794),
        (DynConv(32), 227, 260),
    ],
)
def test_number_of_keys(network, without, with_counters):
    assert len(network.state_dict()) == with_counters
    assert len(old(network)) == without


def test_published_names_and_shapes_of_the_static_network():
    shapes = shapes_of(ResNet(110))
    expected = {"conv1.weight": (16, 3, 3, 3), "linear.weight": (10, 64), "linear.bias": (10,)}
    expected |= bn("bn1", 16)
    for stage, width in ((1, 16), (2, 32), (3, 64)):
        for i in range(18):
            name, inner = f"layer{stage}.{i}", width // 2 if stage > 1 and not i else width
            expected |= block(name, inner, width)
    assert shapes == expected


def test_published_names_and_shapes_of_skipnet():
    shapes = shapes_of(SkipNet(110))
    expected = {"conv1.weight": (16, 3, 3, 3), "fc.weight": (10, 64), "fc.bias": (10,)}
    expected |= bn("bn1", 16)
    for group, width in ((1, 16), (2, 32), (3, 64)):
        for i in range(18):
            opens = group > 1 and not i
            expected |= block(f"group{group}_layer{i}", width // 2 if opens else width, width)
            expected[f"group{group}_gate{i}.1.weight"] = (10, width, 1, 1)
            expected[f"group{group}_gate{i}.1.bias"] = (10,)
            if opens:
                for name in (f"group{group}_ds0", f"group{group}_layer0.downsample"):
                    expected |= projection(name, width)
    for name in ("weight_ih_l0", "weight_hh_l0"):
        expected[f"control.rnn.{name}"] = (40, 10)
    for name in ("bias_ih_l0", "bias_hh_l0"):
        expected[f"control.rnn.{name}"] = (40,)
    expected |= {"control.proj.weight": (1, 10), "control.proj.bias": (1,)}
    assert shapes == expected


def test_published_names_and_shapes_of_dynconv():
    shapes = shapes_of(DynConv(32))
    expected = {"conv1.weight": (16, 3, 3, 3), "fc.weight": (10, 64), "fc.bias": (10,)}
    expected |= bn("bn1", 16)
    for stage, width in ((1, 16), (2, 32), (3, 64)):
        for i in range(5):
            name, inner = f"layer{stage}.{i}", width // 2 if stage > 1 and not i else width
            expected |= block(name, inner, width)
            if inner != width:
                expected |= projection(f"{name}.downsample", width)
            unit = f"{name}.masker.maskconv"
            expected |= {f"{unit}.fc.weight": (1, inner), f"{unit}.fc.bias": (1,)}
            expected |= {f"{unit}.conv.weight": (1, inner, 3, 3), f"{unit}.conv.bias": (1,)}
    assert shapes == expected


def shapes_of(network):
    return {name: tuple(value.shape) for name, value in old(network).items()}


def bn(name, width):
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (width,) for part in parts}


def block(name, inner, width):
    convs = {
        f"{name}.conv1.weight": (width, inner, 3, 3),
        f"{name}.conv2.weight": (width, width, 3, 3),
    }
    return convs | bn(f"{name}.bn1", width) | bn(f"{name}.bn2", width)


def projection(name, width):
    return {f"{name}.0.weight": (width, width // 2, 1, 1)} | bn(f"{name}.1", width)


@FAMILIES
@pytest.mark.parametrize("prefix", ["", "module.", "network."])
@pytest.mark.parametrize("counters", [True, False])
@pytest.mark.parametrize("container", ["bare", "state_dict"])
def test_every_published_container_loads(tmp_path, family, prefix, counters, container):
    source, target = network_of(family), network_of(family, seed=1)
    state = source.state_dict() if counters else old(source)
    state = OrderedDict((prefix + name, value) for name, value in state.items())
    content = state if container == "bare" else {"state_dict": state, "best_prec1": 93.3, "iter": 7}
    assert not same(source, target)
    assert load_published(target, save_torch(content, tmp_path / "w.pth.tar")) is target
    assert same(source, target)
    assert same(source, load_published(network_of(family, seed=2), content))


@pytest.mark.parametrize("dropped", ["_ds0.", "_layer0.downsample."])
def test_a_projection_loads_under_either_of_its_names(dropped):
    source, target = network_of(SkipNet), network_of(SkipNet, seed=1)
    state = {name: value for name, value in old(source).items() if dropped not in name}
    assert len(state) < len(old(source))
    assert same(source, load_published(target, {"state_dict": state}))
    assert target.group2_ds0 is target.group2_layer0.downsample


def test_counters_that_a_file_leaves_out_start_at_zero():
    source, target = network_of(ResNet), network_of(ResNet, seed=1)
    target.train()(torch.rand(2, 3, 8, 8))
    load_published(target, old(source))
    assert target.bn1.num_batches_tracked == 0


@FAMILIES
def test_saved_weights_come_back(tmp_path, family):
    source, target = network_of(family), network_of(family, seed=1)
    path = tmp_path / "new" / "weights.safetensors"
    digest = save_weights(source, path)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert same(source, load_published(target, str(path), sha256=digest.upper()))
    assert [p.name for p in path.parent.iterdir()] == ["weights.safetensors"]
    pointers = {value.data_ptr() for value in source.state_dict().values()}
    assert len(load_file(path)) == len(pointers), "a tensor with two names is written once"


def test_saving_the_same_weights_twice_gives_the_same_bytes(tmp_path):
    network = network_of(SkipNet)
    first = save_weights(network, tmp_path / "a.safetensors")
    laid_out_otherwise = copy.deepcopy(network).to(memory_format=torch.channels_last)
    assert save_weights(laid_out_otherwise, tmp_path / "b.safetensors") == first


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "w.safetensors"
    save_weights(network_of(ResNet), path)
    before = path.read_bytes()
    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        save_weights(network_of(ResNet, seed=1), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["w.safetensors"]


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
@pytest.mark.parametrize("where", ["0", "10", "half", "size-1"])
def test_a_truncated_file_is_refused(tmp_path, loaded, kind, where):
    path = written(tmp_path, kind)
    size = path.stat().st_size
    keep = {"0": 0, "10": 10, "half": size // 2, "size-1": size - 1}[where]
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"was refused.* get (an intact|a) file") as caught:
        load_published(loaded, path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def written(folder, kind):
    network = network_of(DynConv)
    if kind == "safetensors":
        path = folder / "w.safetensors"
        save_weights(network, path)
        return path
    path = folder / "w.pth"
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=kind == "zip")
    return path


@pytest.mark.parametrize(
    "junk", [b"\x80\x02.", b"\x80\x02hc.", b"not a file of weights", b"\x00" * 99]
)
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_junk_is_refused(tmp_path, loaded, junk, suffix):
    path = tmp_path / f"w.{suffix}"
    path.write_bytes(junk)
    with pytest.raises(CheckpointError, match="was refused") as caught:
        load_published(loaded, path)
    assert "option" not in str(caught.value)
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("kind", ["safetensors", "zip"])
def test_a_flipped_bit_is_seen_by_the_digest_only(tmp_path, kind):
    path, network = written(tmp_path, kind), network_of(DynConv, seed=1)
    data = bytearray(path.read_bytes())
    digest = hashlib.sha256(data).hexdigest()
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    before = copy.deepcopy(network)
    with pytest.raises(CheckpointError) as caught:
        load_published(network, path, sha256=digest)
    assert same(network, before)
    assert digest in str(caught.value)
    assert hashlib.sha256(data).hexdigest() in str(caught.value)
    load_published(network, path)
    assert not same(network, network_of(DynConv)), "the readers noticed nothing"


def test_a_digest_is_of_a_file():
    network = network_of(ResNet)
    with pytest.raises(TypeError, match="sha256 is the digest of a file"):
        load_published(network, network.state_dict(), sha256="0" * 64)


class Payload:
    """Touches a file when unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("wrapped", ["pickle", "torch", "legacy"])
def test_code_in_a_file_never_runs(tmp_path, loaded, wrapped):
    mark, path = tmp_path / "executed", tmp_path / "w.pth"
    content = {"state_dict": {"conv1.weight": Payload(mark)}}
    if wrapped == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=wrapped == "torch")
    kind = "is no weights file of torch, but a pickle"
    if wrapped != "pickle":
        kind = r"holds [\w.]*mkdir, which is no tensor and might run code"
    with pytest.raises(CheckpointError, match=f"was refused: it {kind}") as caught:
        load_published(loaded, path)
    assert "weights_only" not in str(caught.value), "nobody is told to let it in"
    assert not mark.exists()
    pickle.loads(pickle.dumps(content))
    assert mark.exists(), "the payload works where it is let in"


def changed(**changes):
    state = dict(network_of(DynConv).state_dict())
    for name, value in changes.items():
        key = name.replace("__", ".")
        if value is None:
            del state[key]
        else:
            state[key] = value
    return state


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (changed(fc__bias=None), "1 keys missing: fc.bias"),
        (changed(extra__weight=torch.ones(1)), "1 keys unexpected: extra.weight"),
        (
            changed(fc__bias=torch.zeros(3)),
            r"1 keys of another shape: fc.bias \[3\] \(expected \[10\]\)",
        ),
        (changed(fc__bias=torch.full((10,), torch.nan)), "1 keys not finite: fc.bias"),
        (changed(fc__bias=torch.full((10,), torch.inf)), "1 keys not finite: fc.bias"),
        (changed(fc__bias=[0.0] * 10), "'fc.bias' is no tensor"),
        (dict(network_of(ResNet).state_dict()), "keys missing: .* and [0-9]+ more"),
        (dict(DynConv(14).state_dict()), "keys unexpected: layer1.1.conv1.weight"),
        (dict(DynConv(8, 100).state_dict()), "2 keys of another shape: fc.weight"),
        ({}, "holds no state dict"),
        ({"state_dict": {}}, "holds no state dict"),
        ({"state_dict": torch.ones(1)}, "holds no state dict"),
        ({0: torch.ones(1)}, "keys that are no names"),
        ({"module.fc.bias": torch.ones(10), "fc.weight": torch.ones(1)}, "missing"),
    ],
)
def test_what_does_not_fit_is_refused_whole(tmp_path, loaded, state, message):
    with pytest.raises(CheckpointError, match=message):
        load_published(loaded, state)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_published(loaded, save_torch(state, tmp_path / "w.pth"))
    assert "\n" not in str(caught.value)


def test_a_file_that_holds_something_else_is_refused(tmp_path, loaded):
    with pytest.raises(CheckpointError, match="holds a list, expected a state dict"):
        load_published(loaded, save_torch([torch.ones(1)], tmp_path / "w.pth"))


@pytest.mark.parametrize(
    "source", ["https://example.org/w.pth", "http://example.org/w.safetensors"]
)
def test_nothing_is_downloaded(monkeypatch, loaded, source):
    def connect(*_, **__):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr("socket.socket.connect", connect)
    with pytest.raises(CheckpointError, match="no checkpoint at http"):
        load_published(loaded, source)


def test_a_folder_or_a_missing_file_is_refused(tmp_path, loaded):
    for path in (tmp_path, tmp_path / "missing.pth"):
        with pytest.raises(CheckpointError, match="no checkpoint at"):
            load_published(loaded, path)


class Causal(nn.Module):
    """As an attention with a mask that hides what comes after."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.register_buffer("mask", torch.triu(torch.full((3, 3), -torch.inf), 1))


def test_infinities_that_a_network_is_built_with_are_read_back(tmp_path):
    network, path = Causal(), tmp_path / "causal.safetensors"
    save_weights(network, path)
    assert torch.equal(load_published(Causal(), path).mask, network.mask)
    for mask in (network.mask.T, network.mask.nan_to_num(neginf=torch.nan)):
        with pytest.raises(CheckpointError, match="1 keys not finite: mask"):
            load_published(Causal(), {"weight": network.weight, "mask": mask})
