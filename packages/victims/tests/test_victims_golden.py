"""Counts and golden numbers, explained in docs/reference/images.md, "Golden numbers"."""

import functools

import pytest
import torch
from golden_fill import fill, images, measure
from torch import nn

from leadgrad.victims import (
    FGM,
    LGM,
    DynConv,
    ResNet,
    Sigmoid,
    SkipNet,
    gradient_method,
    record_decisions,
    record_occupancies,
)
from leadgrad.victims.networks.dynconv import MaskConv

FILLED = {
    "static-32": functools.cache(lambda: fill(ResNet(32))),
    "static-110": functools.cache(lambda: fill(ResNet(110))),
    "SkipNet-110": functools.cache(lambda: fill(SkipNet(110))),
    "DynConv-32": functools.cache(lambda: fill(DynConv(32))),
}

SKIPNET_HARD = (
    "-0.469591 -0.392753 1.242948 -0.699145 -0.330086 "
    "0.362053 -0.289319 0.620233 0.153280 -0.447413"
)
DYNCONV_HARD = (
    "-0.290038 0.094418 0.354681 -0.205287 -0.165001 "
    "-0.089502 -0.239019 -0.019502 0.033259 -0.012609"
)

GOLDEN = [
    (
        "static-32",
        FGM(),
        "0.007293 0.075254 0.305482 -0.208464 -0.507035 "
        "-0.189176 -0.030131 0.563718 0.474084 0.265121",
        (2.259329, 2.161883, -0.133996),
    ),
    (
        "static-110",
        FGM(),
        "-0.624848 0.637532 0.335233 -1.008723 -1.294709 "
        "-0.529450 -0.723320 0.073161 0.795131 0.718356",
        (2.856019, 1.977339, -0.109845),
    ),
    ("SkipNet-110", FGM(), SKIPNET_HARD, (2.519191, 0.322991, -0.002295)),
    (
        "SkipNet-110",
        LGM(Sigmoid(0.2)),
        "-0.309636 -0.395238 0.722158 -0.509715 -0.111331 "
        "0.087904 -0.411702 0.242470 -0.025459 -0.254656",
        (2.408350, 0.250102, 0.013393),
    ),
    (
        "SkipNet-110",
        LGM(Sigmoid(5)),
        "-0.368350 -0.436603 0.800485 -0.534078 -0.137613 "
        "0.104318 -0.456505 0.238981 0.030149 -0.273412",
        (2.430934, 0.288318, 0.011234),
    ),
    ("SkipNet-110", LGM(Sigmoid(0.2), "hard"), SKIPNET_HARD, (2.519191, 0.322523, -0.002230)),
    ("SkipNet-110", LGM(Sigmoid(5), "hard"), SKIPNET_HARD, (2.519191, 0.324526, -0.000683)),
    ("DynConv-32", FGM(), DYNCONV_HARD, (2.383922, 0.569064, 0.042366)),
    (
        "DynConv-32",
        LGM(Sigmoid(0.1)),
        "-0.140782 0.146269 0.341295 -0.157108 -0.135537 "
        "-0.175508 -0.258297 -0.153965 -0.103082 0.021589",
        (2.414553, 0.372774, 0.033208),
    ),
    (
        "DynConv-32",
        LGM(Sigmoid(10)),
        "-0.292019 0.097227 0.349114 -0.193019 -0.161231 "
        "-0.091098 -0.217544 -0.040799 0.026765 -0.016143",
        (2.385637, 0.777127, 0.035671),
    ),
    ("DynConv-32", LGM(Sigmoid(10), "hard"), DYNCONV_HARD, (2.383922, 0.760611, 0.030587)),
]


@pytest.mark.parametrize(("name", "method", "logits", "sums"), GOLDEN)
def test_forward_and_gradient(name, method, logits, sums):
    got, loss, gradient = measure(FILLED[name](), method)
    expected = torch.tensor([float(value) for value in logits.split()], dtype=torch.double)
    torch.testing.assert_close(got[0], expected, atol=1e-5, rtol=0)
    measured = (loss, gradient.abs().sum().item(), gradient.sum().item())
    assert measured == pytest.approx(sums, abs=1e-5)


def test_skipnet_decisions():
    network = FILLED["SkipNet-110"]()
    with torch.no_grad(), record_decisions(network) as record:
        network(images())
    rows = ["".join(str(int(decision.hard[i])) for decision in record) for i in (0, 1)]
    assert rows == [
        "00111110010000000001111110011010001001110101110111010",
        "00111110010000000001111110011110001011110101110111101",
    ]
    ends = record[0].margin[0].item(), record[-1].margin[0].item()
    assert ends == pytest.approx((-0.025317, -0.021693), abs=1e-6)
    with (
        torch.no_grad(),
        gradient_method(network, LGM(Sigmoid(5))),
        record_decisions(network) as record,
    ):
        network(images())
    ends = record[0].occupancy[0].item(), record[-1].occupancy[0].item()
    assert ends == pytest.approx((0.468396, 0.598937), abs=1e-6)


def test_dynconv_active_positions():
    network = FILLED["DynConv-32"]()
    with torch.no_grad(), record_occupancies(network) as record:
        network(images())
    assert [int(mask.sum()) for mask in record] == [
        *(39, 1620, 725, 483, 1631),
        *(371, 99, 9, 31, 1),
        *(128, 0, 101, 128, 0),
    ]
    dilated = network.dependent_units(record)
    assert [int(mask.sum()) for mask in dilated] == [
        *(320, 2048, 2006, 1847, 2046),
        *(512, 386, 44, 194, 9),
        *(128, 0, 128, 128, 0),
    ]
    assert sum(mask[0].numel() for mask in record) == 6720
    assert sum(mask[0].numel() for mask in dilated) == 6720


def test_conditional_macs_by_hand():
    dynconv = FILLED["DynConv-32"]()
    with torch.no_grad(), record_occupancies(dynconv) as record:
        dynconv(images())
    # MACs per position of mask (conv2) and dilated mask (conv1):
    # docs/reference/images.md, "Golden numbers"
    per_position = [(2304, 2304)] * 5 + [(9216, 4608)] + [(9216, 9216)] * 4
    per_position += [(36864, 18432)] + [(36864, 36864)] * 4
    expected = sum(
        per_mask * int(mask.sum()) + per_dilated * int(near.sum())
        for (per_mask, per_dilated), mask, near in zip(
            per_position, record, dynconv.dependent_units(record), strict=True
        )
    )
    assert int(dynconv.conditional_macs(record).sum()) == expected
    assert dynconv.conditional_macs_total() == 68_419_584

    skipnet = FILLED["SkipNet-110"]()
    with torch.no_grad(), record_occupancies(skipnet) as record:
        skipnet(images())
    per_gate = [4_718_592] * 17 + [3_538_944] + [4_718_592] * 17 + [3_538_944] + [4_718_592] * 17
    for i in (0, 1):
        spent = sum(macs for macs, hard in zip(per_gate, record, strict=True) if hard[i])
        assert skipnet.conditional_macs(record)[i] == spent
    assert skipnet.conditional_macs_total() == sum(per_gate)


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        (ResNet(32), 464_154),
        (ResNet(110), 1_727_962),
        (ResNet(110, shortcut="B"), 1_730_714),
        (ResNet(32, shortcut="B"), 466_906),
        (SkipNet(110), 1_752_305),
        (DynConv(32), 472_056),
    ],
)
def test_parameter_counts(network, parameters):
    assert sum(value.numel() for value in network.parameters()) == parameters


def test_parts_of_the_parameter_counts():
    skipnet, dynconv = SkipNet(110), DynConv(32)
    assert len(skipnet.gates) == 53
    assert len(skipnet.embeddings()) == 54
    assert _size(*skipnet.embeddings()) == 20_700
    assert _size(skipnet.control) == 891
    assert len(dynconv.blocks()) == 15
    assert _size(*(block.masker for block in dynconv.blocks())) == 5150


@pytest.mark.parametrize(
    ("network", "macs"),
    [
        (ResNet(32), 68_861_952),
        (ResNet(110), 252_887_040),
        (ResNet(32, shortcut="B"), 69_124_096),
    ],
)
def test_conv_macs_of_static_networks(network, macs):
    assert _conv_macs(network.eval()) == macs


def test_conv_macs_with_every_unit_executed():
    dynconv = DynConv(32).eval()
    for block in dynconv.blocks():
        nn.init.constant_(block.masker.maskconv.fc.bias, 1e3)
    assert _conv_macs(dynconv) == 70_359_040
    skipnet = SkipNet(110).eval()
    nn.init.constant_(skipnet.control.proj.bias, 1e3)
    assert _conv_macs(skipnet) == 253_149_184 + 19_520


def test_conv_macs_with_no_unit_executed():
    dynconv = DynConv(32).eval()
    for block in dynconv.blocks():
        nn.init.constant_(block.masker.maskconv.fc.bias, -1e3)
    assert _conv_macs(dynconv) == 70_359_040 - 68_419_584
    skipnet = SkipNet(110).eval()
    nn.init.constant_(skipnet.control.proj.bias, -1e3)
    assert _conv_macs(skipnet) == 253_149_184 + 19_520 - skipnet.conditional_macs_total()


def _size(*modules):
    return sum(value.numel() for module in modules for value in module.parameters())


def _conv_macs(network):
    """Multiply-accumulates of the convs that one forward of one image really runs."""
    total = 0

    def count(module, _, output):
        nonlocal total
        conv = module.conv if isinstance(module, MaskConv) else module
        total += output[0, 0].numel() * conv.weight.numel()

    # A mask conv need not run as the module that holds its weights
    inside = {module.conv for module in network.modules() if isinstance(module, MaskConv)}
    for module in network.modules():
        if isinstance(module, nn.Conv2d | MaskConv) and module not in inside:
            module.register_forward_hook(count)
    with torch.no_grad():
        network(torch.rand(1, 3, 32, 32))
    return total
