"""What a state dict may hold besides plain tensors: views, overlaps, other things."""

import os

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from leadgrad.victims import CheckpointError, load_published, save_weights
from leadgrad.victims.weights import checkpoints


class Viewing(nn.Module):
    """A parameter, and a buffer that is made from its memory."""

    def __init__(self, view):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4))
        self.register_buffer("part", view(self.weight.detach()))


VIEWS = {
    "head": lambda w: w[:1],
    "first": lambda w: w[0, 0],
    "tail": lambda w: w[2:],
    "flat": lambda w: w.view(-1),
    "transposed": lambda w: w.t(),
    "all of it": lambda w: w,
    "every second": lambda w: w[:, ::2],
    "expanded": lambda w: w[:1].expand(3, 4),
    "overlapping": lambda w: w.as_strided((5, 2), (1, 1)),
    "other dtype": lambda w: w.view(torch.int32),
    "empty": lambda w: w[:0],
}


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("view", VIEWS)
def test_views_come_back_whole(tmp_path, view, later):
    source, target = Viewing(VIEWS[view]), Viewing(VIEWS[view])
    if later:  # the buffer's name first
        for network in (source, target):
            network._buffers["a"] = network._buffers.pop("part")
            network._parameters["z"] = network._parameters.pop("weight")
    save_weights(source, tmp_path / "w.safetensors")
    load_published(target, tmp_path / "w.safetensors")
    for (name, one), other in zip(
        source.state_dict().items(), target.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name


def test_only_the_very_same_tensor_is_written_once(tmp_path):
    save_weights(Viewing(lambda w: w), tmp_path / "same.safetensors")
    assert list(load_file(tmp_path / "same.safetensors")) == ["part"]
    save_weights(Viewing(lambda w: w.t()), tmp_path / "other.safetensors")
    assert sorted(load_file(tmp_path / "other.safetensors")) == ["part", "weight"]


class Extra(nn.Linear):
    """A layer with a state of its own kind."""

    kept: object = None

    def get_extra_state(self):
        return self.kept

    def set_extra_state(self, state):
        self.kept = state


def extra(kept):
    network = nn.Sequential(Extra(2, 2))
    network[0].kept = kept
    return network


def holding(value):
    network = nn.Linear(2, 2)
    network.register_buffer("odd", value)
    return network


def lazy():
    return nn.LazyLinear(2)


BAD = [
    (lambda: extra({"scale": 3}), r"'0\._extra_state' is a dict"),
    (lambda: extra(None), r"'0\._extra_state' is a NoneType"),
    (lambda: holding(torch.zeros(2, dtype=torch.complex128)), "'odd' is of torch.complex128"),
    (lambda: holding(torch.eye(2).to_sparse()), "'odd' is torch.sparse_coo"),
    (lambda: holding(torch.zeros(2, device="meta")), "'odd' has no values"),
    (lazy, "'weight' has no values"),
]


@pytest.mark.parametrize(("network", "message"), BAD)
def test_what_no_file_of_tensors_can_hold_is_named(tmp_path, network, message):
    path = tmp_path / "new" / "w.safetensors"
    with pytest.raises(CheckpointError, match=message):
        save_weights(network(), path)
    assert os.listdir(tmp_path) == []


def test_a_network_with_extra_state_loads_no_file(tmp_path):
    save_weights(nn.Sequential(nn.Linear(2, 2)), tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="_extra_state"):
        load_published(extra({"scale": 3}), tmp_path / "w.safetensors")


def test_extra_state_that_is_a_tensor_comes_back(tmp_path):
    save_weights(extra(torch.arange(3.0)), tmp_path / "w.safetensors")
    target = extra(torch.zeros(3))
    load_published(target, tmp_path / "w.safetensors")
    assert target[0].kept.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "value",
    [
        torch.tensor([1 + 2j, 3 - 1j]).conj(),
        torch.tensor([1 + 2j]).conj().imag,
        torch.tensor([True, False]),
        torch.tensor(3, dtype=torch.uint64),
        torch.ones(2, dtype=torch.bfloat16),
        torch.ones(2, dtype=torch.float8_e5m2),
    ],
)
def test_other_dtypes_come_back(tmp_path, value):
    save_weights(holding(value), tmp_path / "w.safetensors")
    target = holding(torch.zeros(value.shape, dtype=value.dtype))
    load_published(target, tmp_path / "w.safetensors")
    assert target.odd.dtype == value.dtype
    assert target.odd.tolist() == value.tolist()


def test_nan_is_written_as_it_is(tmp_path):
    save_weights(holding(torch.tensor([torch.nan, -0.0])), tmp_path / "w.safetensors")
    odd = load_file(tmp_path / "w.safetensors")["odd"]
    assert odd.isnan().tolist() == [True, False]
    assert odd.signbit().tolist()[1]


def test_bytes_that_do_not_read_back_become_no_file(tmp_path, monkeypatch):
    real = checkpoints.serialised

    def wrong(state, metadata):
        return real({name: value + 1 for name, value in state.items()}, metadata)

    path = tmp_path / "w.safetensors"
    save_weights(nn.Linear(2, 2), path)
    before = path.read_bytes()
    monkeypatch.setattr(checkpoints, "serialised", wrong)
    with pytest.raises(CheckpointError, match="was not written: read back"):
        save_weights(nn.Linear(2, 2), path)
    assert path.read_bytes() == before


def test_values_that_one_tensor_cannot_hold_at_once_are_refused():
    network = Viewing(lambda w: w[:1])
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = {"weight": torch.zeros(4, 4), "part": torch.ones(1, 4)}
    with pytest.raises(CheckpointError, match="shares memory with another tensor"):
        load_published(network, state)
    expanded = Viewing(lambda w: w[:1].expand(3, 4))
    with pytest.raises(CheckpointError, match="shares memory"):
        load_published(expanded, {"weight": torch.zeros(4, 4), "part": torch.randn(3, 4)})
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())


def test_a_network_that_fails_while_it_loads_is_left_as_it_was():
    class Failing(nn.Linear):
        def _load_from_state_dict(self, state, prefix, *rest):
            super()._load_from_state_dict(state, prefix, *rest)
            if state[f"{prefix}bias"][0] == 7:
                raise RuntimeError("no sevens")

    network = Failing(2, 2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(CheckpointError, match="no sevens"):
        load_published(network, {"weight": torch.ones(2, 2), "bias": torch.full((2,), 7.0)})
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())
