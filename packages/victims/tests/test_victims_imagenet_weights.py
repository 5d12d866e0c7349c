"""Published containers and names of the ImageNet networks (docs/reference/images.md, Checkpoints).

The names are written a second time here, from the published tables.
"""

from collections import OrderedDict

import pytest
import torch

from leadgrad.victims import (
    CheckpointError,
    DynConvImageNet,
    SkipNetImageNet,
    load_published,
    save_weights,
)

STAGES = (3, 4, 23, 3)
TINY = ((1, 2, 1, 1), 10)


def bn(name, width):
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (width,) for part in parts}


def bottleneck(name, inner, outer, given):
    convs = {
        f"{name}.conv1.weight": (inner, given, 1, 1),
        f"{name}.conv2.weight": (inner, inner, 3, 3),
        f"{name}.conv3.weight": (outer, inner, 1, 1),
    }
    norms = bn(f"{name}.bn1", inner) | bn(f"{name}.bn2", inner) | bn(f"{name}.bn3", outer)
    return convs | norms


def skeleton():
    """Stem, head, and (stage, index, inner, outer, input) of each block."""
    shapes = {"conv1.weight": (64, 3, 7, 7), "fc.weight": (1000, 2048), "fc.bias": (1000,)}
    blocks = []
    given = 64
    for stage, count in enumerate(STAGES, 1):
        inner = 32 * 2**stage
        for index in range(count):
            blocks.append((stage, index, inner, 4 * inner, given))
            given = 4 * inner
    return shapes | bn("bn1", 64), blocks


def shapes_of(network):
    state = network.state_dict()
    return {n: tuple(v.shape) for n, v in state.items() if not n.endswith("num_batches_tracked")}


def test_published_names_and_shapes_of_skipnet():
    with torch.device("meta"):
        network = SkipNetImageNet()
    expected, blocks = skeleton()
    for group, index, inner, outer, given in blocks:
        expected |= bottleneck(f"group{group}_layer{index}", inner, outer, given)
        expected[f"group{group}_gate{index}.1.weight"] = (10, outer, 1, 1)
        expected[f"group{group}_gate{index}.1.bias"] = (10,)
        if not index:
            for name in (f"group{group}_ds0", f"group{group}_layer0.downsample"):
                expected |= {f"{name}.0.weight": (outer, given, 1, 1)} | bn(f"{name}.1", outer)
    for name in ("weight_ih_l0", "weight_hh_l0"):
        expected[f"control.rnn.{name}"] = (40, 10)
    for name in ("bias_ih_l0", "bias_hh_l0"):
        expected[f"control.rnn.{name}"] = (40,)
    expected |= {"control.proj.weight": (1, 10, 1, 1), "control.proj.bias": (1,)}
    assert shapes_of(network) == expected
    assert (len(expected), len(network.state_dict())) == (614, 722)


def test_published_names_and_shapes_of_dynconv():
    with torch.device("meta"):
        network = DynConvImageNet()
    expected, blocks = skeleton()
    for stage, index, inner, outer, given in blocks:
        name = f"layer{stage}.{index}"
        expected |= bottleneck(name, inner, outer, given)
        if not index:
            shape = {f"{name}.downsample.0.weight": (outer, given, 1, 1)}
            expected |= shape | bn(f"{name}.downsample.1", outer)
        unit = f"{name}.masker.maskconv"
        expected |= {f"{unit}.fc.weight": (1, given), f"{unit}.fc.bias": (1,)}
        expected |= {f"{unit}.conv.weight": (1, given, 3, 3), f"{unit}.conv.bias": (1,)}
    assert shapes_of(network) == expected
    assert (len(expected), len(network.state_dict())) == (654, 758)


FAMILIES = pytest.mark.parametrize("family", [SkipNetImageNet, DynConvImageNet])


def tiny(family, seed=0):
    torch.manual_seed(seed)
    return family(*TINY, width=4)


def same(a, b):
    left, right = a.state_dict(), b.state_dict()
    return list(left) == list(right) and all(torch.equal(left[name], right[name]) for name in left)


@FAMILIES
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("counters", [True, False])
@pytest.mark.parametrize("container", ["bare", "state_dict"])
def test_every_published_container_loads(tmp_path, family, prefix, counters, container):
    source, target = tiny(family), tiny(family, seed=1)
    state = OrderedDict(
        (prefix + name, value)
        for name, value in source.state_dict().items()
        if counters or not name.endswith("num_batches_tracked")
    )
    content = {"state_dict": state, "arch": "x", "epoch": 3, "best_prec1": 77.0, "optimizer": {}}
    path = tmp_path / "checkpoint.pth.tar"
    torch.save(state if container == "bare" else content, path)
    assert load_published(target, path) is target
    assert same(source, target)


@FAMILIES
def test_our_own_file_round_trips(tmp_path, family):
    source, path = tiny(family), tmp_path / "own.safetensors"
    digest = save_weights(source, path)
    assert same(load_published(tiny(family, seed=1), path, sha256=digest), source)


def test_a_projection_may_come_under_either_name():
    source = tiny(SkipNetImageNet)
    for dropped in ("_ds0.", ".downsample."):
        state = {n: v for n, v in source.state_dict().items() if dropped not in n}
        assert len(state) == len(source.state_dict()) - 4 * 6
        assert same(load_published(tiny(SkipNetImageNet, seed=1), state), source)


@FAMILIES
def test_wrong_files_are_named_and_change_nothing(family):
    other = {SkipNetImageNet: DynConvImageNet, DynConvImageNet: SkipNetImageNet}[family]
    network, before = tiny(family), tiny(family)
    state = network.state_dict()
    wrong = {
        "keys missing": tiny(other).state_dict(),
        "unexpected: layer9.weight": {**state, "layer9.weight": torch.zeros(2)},
        r"fc.bias \[11\] \(expected \[10\]\)": {**state, "fc.bias": torch.zeros(11)},
        "not finite: fc.bias": {**state, "fc.bias": torch.full((10,), torch.nan)},
    }
    for message, content in wrong.items():
        with pytest.raises(CheckpointError, match=message):
            load_published(network, content)
        assert same(network, before)


def test_a_cifar_projection_of_the_scores_is_refused():
    state = tiny(SkipNetImageNet).state_dict()
    state["control.proj.weight"] = state["control.proj.weight"].flatten(1)
    with pytest.raises(
        CheckpointError, match=r"control.proj.weight \[1, 10\] \(expected \[1, 10, 1"
    ):
        load_published(tiny(SkipNetImageNet), state)
