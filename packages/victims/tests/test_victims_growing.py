"""Starting deep ResNets from shallow ones."""

import pytest
import torch
from test_victims_backbone import twin

from leadgrad.victims import LGM, Constant, ResNet, SkipNet, gradient_method
from leadgrad.victims.weights.checkpoints import CheckpointError
from leadgrad.victims.weights.growing import load_shallower, starts_deeper


def grown(depth: int = 26) -> ResNet:
    torch.manual_seed(2)
    network = ResNet(depth, shortcut="B")
    load_shallower(network, twin(14).state_dict())
    return network


def test_before_training_the_deep_network_is_the_shallow_one():
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(grown().eval()(images), twin(14)(images))


def test_a_skipnet_grows_with_gates_that_read_as_the_last_of_their_stage():
    torch.manual_seed(3)
    shallow, deep = SkipNet(20).eval(), SkipNet(38)
    load_shallower(deep, shallow.state_dict())
    names = deep.state_dict()
    assert torch.equal(names["group1_gate5.1.weight"], names["group1_gate2.1.weight"])
    # The shallow network's last embedding feeds no gate, so the one before it is copied
    assert torch.equal(names["group3_gate5.1.weight"], names["group3_gate1.1.weight"])
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    every = LGM(Constant(1.0))
    with torch.no_grad(), gradient_method(deep.eval(), every), gradient_method(shallow, every):
        torch.testing.assert_close(deep(images), shallow(images))


def test_the_names_tell_a_shallower_network_from_the_static_twin(tmp_path):
    for network, deeper in ((SkipNet(14), True), (ResNet(14, shortcut="B"), False)):
        torch.save(network.state_dict(), tmp_path / "weights.pt")
        assert starts_deeper(SkipNet(38), tmp_path / "weights.pt") is deeper


def test_every_added_block_learns():
    network = grown().train()
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for _ in range(2):  # the first step wakes the last normalisation, the second what is before it
        optimizer.zero_grad()
        network(images).square().sum().backward()
        optimizer.step()
    for stage in (network.layer1, network.layer2, network.layer3):
        for block in list(stage)[2:]:
            assert all(parameter.grad.abs().sum() > 0 for parameter in block.parameters())


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (lambda: ResNet(14, shortcut="A"), "missing"),
        (lambda: ResNet(32, shortcut="B"), "no deeper"),
        (lambda: torch.nn.Linear(2, 2), "0 blocks"),
    ],
)
def test_another_network_is_refused_and_changes_nothing(source, says):
    network = ResNet(26, shortcut="B")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(CheckpointError, match=says):
        load_shallower(network, source().state_dict())
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())


def test_a_shallow_network_in_wrappers_is_as_good():
    torch.manual_seed(2)
    network = ResNet(26, shortcut="B")
    state = {f"module._orig_mod.{n}": v for n, v in twin(14).state_dict().items()}
    load_shallower(network, state)
    left, right = network.state_dict(), grown().state_dict()
    assert all(torch.equal(left[name], right[name]) for name in left if "layer" not in name)
    assert torch.equal(left["layer1.1.conv1.weight"], right["layer1.1.conv1.weight"])
