"""Weights of half the bytes: what is rounded, and what is refused."""

import pytest
import torch
from torch import nn

from leadgrad.victims import load_published, save_weights
from leadgrad.victims.weights.checkpoints import CheckpointError
from leadgrad.victims.weights.half import round_to_half


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


def test_a_rounded_network_is_read_back_bit_by_bit(tmp_path):
    net = network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    round_to_half(net)
    for name, value in net.state_dict().items():
        if value.dim() >= 2:
            assert torch.equal(value, before[name].half().float()), name
        else:
            assert torch.equal(value, before[name]), name
    save_weights(net, tmp_path / "half.safetensors", half=True)
    save_weights(net, tmp_path / "whole.safetensors")
    again = load_published(network(1), tmp_path / "half.safetensors").state_dict()
    assert all(torch.equal(value, again[name]) for name, value in net.state_dict().items())
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "whole")]
    assert sizes[0] < sizes[1]


def test_unrounded_weights_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"0\.weight; call\s+round_to_half"):
        save_weights(network(), tmp_path / "half.safetensors", half=True)
    assert not list(tmp_path.iterdir())


def test_what_float16_cannot_hold_is_refused_and_nothing_changes():
    net = network()
    with torch.no_grad():
        net[3].weight[0, 0] = 1e5
    before = net[0].weight.clone()
    with pytest.raises(ValueError, match=r"3\.weight holds 1e\+05.*without --half"):
        round_to_half(net)
    assert torch.equal(net[0].weight, before)


def test_an_infinite_mask_stays(tmp_path):
    net = network()
    net.register_buffer("mask", torch.full((2, 2), -torch.inf))
    round_to_half(net)
    assert bool((net.mask == -torch.inf).all())
    save_weights(net, tmp_path / "half.safetensors", half=True)
