"""Starting adaptive networks from their static twins."""

import pytest
import torch
from torch import nn

from leadgrad.victims import LGM, Constant, DynConv, ResNet, SkipNet, gradient_method
from leadgrad.victims.weights.backbone import load_backbone
from leadgrad.victims.weights.checkpoints import CheckpointError


def twin(depth: int = 14) -> ResNet:
    torch.manual_seed(1)
    network = ResNet(depth, shortcut="B")
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize("family", [SkipNet, DynConv])
def test_with_every_unit_executed_the_network_is_its_twin(family):
    static, network = twin(), family(14).eval()
    load_backbone(network, static.state_dict())
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), gradient_method(network, LGM(Constant(1.0))):
        torch.testing.assert_close(network(images), static(images))


@pytest.mark.parametrize("family", [SkipNet, DynConv])
def test_gates_keep_what_they_had(family):
    network = family(14)
    gates = {
        name: value.clone()
        for name, value in network.state_dict().items()
        if "gate" in name or "control" in name or "masker" in name
    }
    load_backbone(network, twin().state_dict())
    assert gates
    assert all(torch.equal(network.state_dict()[name], value) for name, value in gates.items())


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (lambda: ResNet(14, shortcut="A"), "shortcut B"),
        (lambda: ResNet(20, shortcut="B"), "unexpected"),
        (lambda: ResNet(8, shortcut="B"), "shortcut B"),
    ],
)
@pytest.mark.parametrize("family", [SkipNet, DynConv])
def test_another_network_is_refused_and_changes_nothing(family, source, says):
    network = family(14)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(CheckpointError, match=says):
        load_backbone(network, source().state_dict())
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())


@pytest.mark.parametrize("prefix", ["module.", "network.", "_orig_mod.module."])
@pytest.mark.parametrize("family", [SkipNet, DynConv])
def test_a_twin_in_wrappers_and_without_counters_is_as_good(family, prefix):
    plain, wrapped = family(14), family(14)
    wrapped.load_state_dict(plain.state_dict())
    load_backbone(plain, twin().state_dict())
    old = {
        f"{prefix}{name}": value
        for name, value in twin().state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    load_backbone(wrapped, {"state_dict": old})
    left, right = plain.state_dict(), wrapped.state_dict()
    assert all(torch.equal(left[name], right[name]) for name in left)
