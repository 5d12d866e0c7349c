"""A network made ready to be attacked computes the same and leaves the original alone."""

import copy

import pytest
import torch
from golden_fill import fill, images
from torch import nn

from leadgrad.victims import (
    FGM,
    LGM,
    DynConv,
    ResNet,
    Sigmoid,
    SkipNet,
    gradient_method,
    prepare_for_attack,
)

NETWORKS = pytest.mark.parametrize(
    "network",
    [ResNet(14), ResNet(14, shortcut="B"), SkipNet(14), DynConv(14)],
    ids=["ResNet-A", "ResNet-B", "SkipNet", "DynConv"],
)


def logits_and_gradient(network, method):
    x = images(16).requires_grad_()
    with gradient_method(network, method):
        logits = network(x)
        (gradient,) = torch.autograd.grad(logits[:, 0].sum(), x)
    return logits.detach(), gradient


@pytest.mark.filterwarnings("ignore:ResNet decides nothing")
@NETWORKS
@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("method", [FGM(), LGM(Sigmoid(2)), LGM(Sigmoid(2), "hard")])
def test_same_logits_and_gradients(network, fold, method):
    network = fill(network)
    prepared = prepare_for_attack(network, fold=fold)
    for got, expected in zip(
        logits_and_gradient(prepared, method), logits_and_gradient(network, method), strict=True
    ):
        torch.testing.assert_close(got, expected, atol=1e-12, rtol=1e-10)


@NETWORKS
def test_every_bn_is_folded_and_every_parameter_frozen(network):
    prepared = prepare_for_attack(network.train())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in prepared.modules())
    assert not any(parameter.requires_grad for parameter in prepared.parameters())
    assert not any(module.training for module in prepared.modules())
    weights = [module.weight for module in prepared.modules() if isinstance(module, nn.Conv2d)]
    assert all(w.is_contiguous(memory_format=torch.channels_last) for w in weights)


@NETWORKS
def test_the_original_is_left_as_it_is(network):
    network = network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        for parameter in prepare_for_attack(network).parameters():
            parameter.zero_()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_a_projection_with_two_names_stays_one_module():
    prepared = prepare_for_attack(SkipNet(8))
    assert prepared.group2_ds0 is prepared.group2_layer0.downsample
    assert isinstance(prepared.group2_ds0[1], nn.Identity)


@NETWORKS
def test_preparing_twice_changes_nothing_more(network):
    once = prepare_for_attack(fill(network))
    twice = prepare_for_attack(once)
    assert torch.equal(once(images(16)), twice(images(16)))


def test_a_network_without_foldable_pairs_is_only_frozen():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    prepared = prepare_for_attack(network)
    assert isinstance(prepared[1], nn.BatchNorm2d)
    expected = copy.deepcopy(network).eval()(images().float())
    torch.testing.assert_close(prepared(images().float()), expected)


def test_foldable_must_name_a_conv_and_its_bn():
    class Wrong(nn.Module):
        foldable = (("linear", "bn"),)

        def __init__(self):
            super().__init__()
            self.linear, self.bn = nn.Linear(2, 2), nn.BatchNorm2d(2)

    with pytest.raises(TypeError, match=r"Wrong\.foldable names 'linear', 'bn', which are Linear"):
        prepare_for_attack(Wrong())
