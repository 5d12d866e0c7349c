"""The ImageNet networks: counts and golden numbers (docs/reference/images.md, "Golden numbers")."""

import functools

import pytest
import torch
from golden_fill import fill, images, measure
from torch import nn

from leadgrad.victims import (
    FGM,
    LGM,
    DynConvImageNet,
    Sigmoid,
    SkipNetImageNet,
    gradient_method,
    prepare_for_attack,
    record_decisions,
    record_occupancies,
)
from leadgrad.victims.networks.dynconv import MaskConv

FAMILIES = {"SkipNet": SkipNetImageNet, "DynConv": DynConvImageNet}
# One at a time: each takes 350 MB in float64
FILLED = functools.lru_cache(maxsize=1)(lambda name: fill(FAMILIES[name]()))


def tiny(name, **settings):
    return fill(FAMILIES[name]((1, 2, 2, 1), 10, width=4, **settings))


SKIPNET_GATES = "01101010100000110111111110010111"
DYNCONV_ACTIVE = [
    *(0, 6272, 6272, 17, 813, 1125, 1567),
    *(392, 0, 392, 392, 176, 0, 91, 53, 199, 374, 229, 51, 0, 0, 0, 3, 0, 195, 68, 0, 347, 392),
    *(392, 0, 0, 98),
]


@pytest.mark.parametrize(
    ("name", "method", "expected"),
    [
        ("SkipNet", FGM(), "-0.275117 0.139218 0.484061 0.016063 -0.043361 0.290136"),
        ("SkipNet", LGM(Sigmoid(5)), "-0.088199 0.110209 0.442680 -0.045445 0.027653 0.178509"),
        ("DynConv", FGM(), "0.183795 0.440309 0.384230 -0.036356 0.009735 -0.228077"),
        ("DynConv", LGM(Sigmoid(5)), "0.068959 0.377207 0.324415 -0.042797 -0.045423 -0.223754"),
    ],
)
def test_golden_logits(name, method, expected):
    network = FILLED(name)
    with record_occupancies(network) as record:
        logits, _, gradient = measure(network, method, 224)
    assert logits.shape == (2, 1000)
    wanted = torch.tensor([float(value) for value in expected.split()], dtype=torch.double)
    torch.testing.assert_close(logits[0, :6], wanted, atol=1e-5, rtol=0)
    assert gradient.isfinite().all()
    assert gradient.any()
    if method != FGM():
        return  # the record is that of the soft network's margins
    if name == "SkipNet":
        rows = ["".join(str(int(hard[i])) for hard in record) for i in (0, 1)]
        assert rows == [SKIPNET_GATES] * 2
        spent = network.conditional_macs(record)
        costs = [218_365_952] * 2 + [269_746_176] + [218_365_952] * 3 + [269_746_176]
        costs += [218_365_952] * 22 + [269_746_176] + [218_365_952] * 2
        by_hand = sum(c for c, gate in zip(costs, SKIPNET_GATES, strict=True) if gate == "1")
        assert spent.tolist() == [by_hand] * 2
        assert network.unit_costs() == tuple(costs)
    else:
        assert [int(mask.sum()) for mask in record] == DYNCONV_ACTIVE
        dilated = network.dependent_units(record)
        assert sum(mask[0].numel() for mask in record) == 17_199
        assert sum(mask[0].numel() for mask in dilated) == 20_286
        per_position = [(53_248, 4_096)] + [(53_248, 16_384)] * 2
        per_position += [(212_992, 32_768)] + [(212_992, 65_536)] * 3
        per_position += [(851_968, 131_072)] + [(851_968, 262_144)] * 22
        per_position += [(3_407_872, 524_288)] + [(3_407_872, 1_048_576)] * 2
        assert [block.macs_per_position() for block in network.blocks()] == per_position
        by_hand = sum(
            per_mask * int(mask.sum()) + per_dilated * int(near.sum())
            for (per_mask, per_dilated), mask, near in zip(
                per_position, record, dilated, strict=True
            )
        )
        assert int(network.conditional_macs(record).sum()) == by_hand


@pytest.mark.parametrize("name", list(FAMILIES))
@pytest.mark.parametrize("size", [64, 72])  # with 72 the maps are 18, 9, 5 and 3 wide
def test_a_batch_of_one_image_and_other_sizes(name, size):
    """D15 in docs/reference/differences.md."""
    network = tiny(name, image_size=size)
    x = torch.rand(3, 3, size, size, dtype=torch.double)
    with torch.no_grad(), record_occupancies(network) as record:
        logits = network(x)
    with torch.no_grad():
        alone = torch.cat([network(image[None]) for image in x])
    torch.testing.assert_close(logits, alone, atol=1e-12, rtol=0)
    everything = [torch.ones_like(mask[:1]) for mask in record]
    assert int(network.conditional_macs(everything)) == network.conditional_macs_total()
    costs = network.unit_costs()
    units = [mask[0].numel() for mask in record]
    if size == 64:  # where halving does not round
        assert sum(c * n for c, n in zip(costs, units, strict=True)) == sum(
            network.conditional_macs(everything).tolist()
        )


def test_the_slope_reaches_skipnet():
    """D2 in docs/reference/differences.md: in the released program it was always 10."""
    network = tiny("SkipNet")
    soft = {}
    for slope in (0.0025, 0.3, 10.0):
        with gradient_method(network, LGM(Sigmoid(slope))), record_decisions(network) as decisions:
            network(images(64))
        for each in decisions:
            torch.testing.assert_close(each.occupancy, torch.sigmoid(slope * each.margin))
        soft[slope] = measure(network, LGM(Sigmoid(slope)), 64)[2]
    assert not torch.allclose(soft[0.0025], soft[10.0], rtol=0.01, atol=0)
    assert not torch.allclose(soft[0.3], soft[10.0], rtol=0.01, atol=0)


@pytest.mark.parametrize("name", list(FAMILIES))
def test_a_folded_copy_gives_the_same_logits_and_decisions(name):
    network, x = tiny(name), images(64)
    prepared = prepare_for_attack(network)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in prepared.modules())
    with torch.no_grad(), record_occupancies(network) as record:
        expected = network(x)
    with torch.no_grad(), record_occupancies(prepared) as again:
        torch.testing.assert_close(prepared(x), expected, atol=1e-10, rtol=0)
    assert all(torch.equal(a, b) for a, b in zip(record, again, strict=True))


def test_nothing_of_a_forward_stays_in_the_network():
    """D16 in docs/reference/differences.md."""
    for name in FAMILIES:
        network = tiny(name)
        before = kept(network)
        network(images(64)).sum().backward()
        assert kept(network) == before


def kept(network):
    """Attributes of all modules, and the lengths of those that can grow."""
    return [
        {key: len(value) if isinstance(value, list | dict) else None for key, value in parts}
        for parts in (vars(module).items() for module in network.modules())
    ]


@pytest.mark.parametrize("stages", [(), 3, "34", (3.0, 4), (1,) * 10, (True, 1)])
@pytest.mark.parametrize("family", FAMILIES.values())
def test_stages_that_are_none_are_refused_by_name(family, stages):
    with pytest.raises(ValueError, match="stages must list the blocks of 1 to 9 stages"):
        family(stages)
    for name in ("num_classes", "image_size"):
        with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1, got 0"):
            family((1,), width=4, **{name: 0})


def test_stages_are_checked():
    with pytest.raises(ValueError, match=r"stages=\(3, 0\).*ResNet-101 has"):
        SkipNetImageNet((3, 0))


def test_parameter_counts_and_multiply_accumulates_of_skipnet():
    network = SkipNetImageNet().eval()
    assert _size(network) == 44_875_501
    assert _size(*network.embeddings()) == 325_450
    assert _size(network.control) == 891
    assert (len(network.gates), len(network.embeddings())) == (32, 33)
    assert 44_875_501 - 325_450 - 891 == 44_549_160
    nn.init.constant_(network.control.proj.bias, 1e3)
    assert _conv_macs(network) == 7_799_357_440 + 304_640
    first, projections, stem = 179_830_784, 51_380_224 + 3 * 102_760_448, 64 * 3 * 49 * 112**2
    assert network.conditional_macs_total() == 7_799_357_440 - first - projections - stem


def test_parameter_counts_and_multiply_accumulates_of_dynconv():
    network = DynConvImageNet().eval()
    assert _size(network) == 44_854_506
    assert _size(*(block.masker for block in network.blocks())) == 305_346
    assert 44_854_506 - 305_346 == 44_549_160
    for block in network.blocks():
        for parameter in block.masker.parameters():
            nn.init.zeros_(parameter)  # a margin of 0 executes
    assert _conv_macs(network) == 7_871_159_296
    assert network.conditional_macs_total() == 7_321_681_920
    sizes = [56] * 3 + [28] * 4 + [14] * 23 + [7] * 3
    weights = [block.masker.maskconv.conv.weight.numel() for block in network.blocks()]
    assert sum(w * n * n for w, n in zip(weights, sizes, strict=True)) == 71_801_856


def _size(*modules):
    return sum(value.numel() for module in modules for value in module.parameters())


def _conv_macs(network):
    total = 0

    def count(module, _, output):
        nonlocal total
        conv = module.conv if isinstance(module, MaskConv) else module
        total += output[0, 0].numel() * conv.weight.numel()

    inside = {module.conv for module in network.modules() if isinstance(module, MaskConv)}
    for module in network.modules():
        if isinstance(module, nn.Conv2d | MaskConv) and module not in inside:
            module.register_forward_hook(count)
    with torch.no_grad():
        network(torch.rand(1, 3, 224, 224))
    return total
