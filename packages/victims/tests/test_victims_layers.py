"""Layers and geometry: small behaviours of the published networks, and what is refused."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from leadgrad.victims import DynConv, GatedNetwork, ResNet, SkipNet, record_occupancies
from leadgrad.victims.networks.dynconv import MaskConv, OneChannelConv3x3, dilate
from leadgrad.victims.networks.layers import Normalize, PadShortcut, stage_geometry


def single(size, r, c):
    mask = torch.zeros(1, 1, size, size, dtype=torch.bool)
    mask[0, 0, r, c] = True
    return mask


@pytest.mark.parametrize(
    ("r", "c", "rows", "columns"),
    [(3, 4, (2, 5), (3, 6)), (0, 0, (0, 2), (0, 2)), (7, 3, (6, 8), (2, 5))],
)
def test_dilation_is_the_3x3_neighbourhood(r, c, rows, columns):
    expected = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    expected[..., slice(*rows), slice(*columns)] = True
    assert torch.equal(dilate(single(8, r, c)), expected)
    assert int(dilate(single(8, 0, 0)).sum()) == 4


def test_dilation_with_a_stride_spreads_first():
    expected = torch.zeros(1, 1, 14, 14, dtype=torch.bool)
    expected[..., 5:8, 3:6] = True
    assert torch.equal(dilate(single(7, 3, 2), stride=2), expected)
    everything = dilate(torch.ones(1, 1, 7, 7, dtype=torch.bool), stride=2)
    assert everything.shape == (1, 1, 14, 14)
    assert everything.all()


def test_dilation_of_nothing_is_nothing():
    assert not dilate(torch.zeros(2, 1, 8, 8, dtype=torch.bool)).any()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_one_channel_conv_is_a_conv(layout):
    torch.manual_seed(0)
    x = torch.randn(2, 5, 6, 7, dtype=torch.double).to(memory_format=layout).requires_grad_()
    weight = torch.randn(1, 5, 3, 3, dtype=torch.double, requires_grad=True)
    probe = torch.randn(2, 1, 6, 7, dtype=torch.double)
    got, expected = OneChannelConv3x3.apply(x, weight), F.conv2d(x, weight, padding=1)
    torch.testing.assert_close(got, expected, atol=1e-13, rtol=1e-12)
    for a, b in zip(
        torch.autograd.grad((got * probe).sum(), (x, weight)),
        torch.autograd.grad((expected * probe).sum(), (x, weight)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, atol=1e-13, rtol=1e-12)


@pytest.mark.parametrize("onednn", [True, False])
def test_a_one_channel_conv_has_gradients_under_autocast(monkeypatch, onednn):
    """Also where oneDNN, which mixes dtypes, does not compute: on processors without bfloat16."""
    torch.manual_seed(0)
    x = torch.randn(2, 5, 6, 7).bfloat16().float().requires_grad_()
    weight = torch.randn(1, 5, 3, 3).bfloat16().float().requires_grad_()
    probe = torch.randn(2, 1, 6, 7)
    expected = torch.autograd.grad((F.conv2d(x, weight, padding=1) * probe).sum(), (x, weight))
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", onednn)
    with torch.autocast("cpu", torch.bfloat16):
        got = OneChannelConv3x3.apply(x.bfloat16(), weight).float()
        gradients = torch.autograd.grad((got * probe).sum(), (x, weight))
    for a, b in zip(gradients, expected, strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b, atol=0.1, rtol=0.02)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_mask_score_is_a_conv_plus_a_score_of_the_average(stride):
    torch.manual_seed(0)
    unit, x = MaskConv(5, stride).double(), torch.randn(2, 5, 6, 8, dtype=torch.double)
    expected = F.conv2d(x, unit.conv.weight, unit.conv.bias, stride, 1)
    expected = expected + (x.mean((2, 3)) @ unit.fc.weight.t() + unit.fc.bias)[..., None, None]
    torch.testing.assert_close(unit(x), expected, atol=1e-13, rtol=1e-12)


def test_option_a_shortcut_pads_channels_on_both_sides():
    x = torch.randn(2, 16, 8, 8)
    y = PadShortcut(16, 32)(x)
    assert torch.equal(y[:, 8:24], x[:, :, ::2, ::2])
    assert not y[:, :8].any()
    assert not y[:, 24:].any()


def test_normalisation_is_per_channel_and_in_no_checkpoint():
    normalize = Normalize((0.5, 0.25, 0.0), (0.5, 0.25, 1.0))
    y = normalize(torch.full((1, 3, 2, 2), 0.75))
    assert y[0, :, 0, 0].tolist() == [0.5, 2.0, 0.75]
    assert list(normalize.state_dict()) == []


@pytest.mark.parametrize(("mean", "std"), [((0.5,), (0.5, 0.5)), ((0.5, 0.5), (0.5, 0.0))])
def test_normalisation_constants_are_checked(mean, std):
    with pytest.raises(ValueError, match="one value per channel and std above 0"):
        Normalize(mean, std)


@pytest.mark.parametrize("family", [ResNet, SkipNet, DynConv])
@pytest.mark.parametrize("depth", [2, 9, 30, 111])
def test_depth_must_be_6n_plus_2(family, depth):
    with pytest.raises(ValueError, match=f"depth must be 6n \\+ 2 .*, got {depth}"):
        family(depth)


def test_shortcut_must_be_a_or_b():
    with pytest.raises(ValueError, match="got 'C'"):
        ResNet(8, shortcut="C")


@pytest.mark.parametrize(("depth", "blocks"), [(8, 3), (32, 15), (110, 54)])
def test_geometry_of_the_skeleton(depth, blocks):
    plan = stage_geometry(depth)
    assert len(plan) == blocks
    assert [row[4] for row in plan].count(2) == 2
    for (_, _, _, out, _), (stage, _, channels, _, _) in itertools.pairwise(plan):
        assert channels == out
        assert stage in (1, 2, 3)


@pytest.mark.parametrize("family", [ResNet, SkipNet, DynConv])
@pytest.mark.parametrize("size", [32, 16, 24])
def test_any_image_size_and_number_of_classes(family, size):
    logits = family(8, 7).eval()(torch.rand(2, 3, size, size))
    assert logits.shape == (2, 7)


@pytest.mark.parametrize("family", [ResNet, SkipNet, DynConv])
def test_a_network_does_not_change_its_images(family):
    images = torch.rand(2, 3, 16, 16)
    before = images.clone()
    family(8).train()(images)
    assert torch.equal(images, before)


@pytest.mark.parametrize("family", [SkipNet, DynConv])
def test_conv_weights_start_with_the_releases_variance(family):
    torch.manual_seed(0)
    network = family(32)
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 5000:
            fan_out = module.weight[:, 0].numel()
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)


def test_the_lstm_step_is_one_step_of_torchs_lstm():
    torch.manual_seed(0)
    step, lstm = SkipNet(8).control.rnn, nn.LSTM(10, 10)
    lstm.load_state_dict(step.state_dict())
    x, state = torch.randn(4, 10), (torch.randn(4, 10), torch.randn(4, 10))
    output, expected = lstm(x[None], (state[0][None], state[1][None]))
    hidden, cell = step(x, state)
    torch.testing.assert_close(hidden, output[0])
    torch.testing.assert_close(cell, expected[1][0])


def test_a_network_may_know_nothing_of_its_units():
    class Plain(GatedNetwork):
        pass

    plain = Plain()
    assert plain.dependent_units([]) == []
    assert plain.conditional_macs([]) is None
    assert plain.conditional_macs_total() is None
    assert plain.paper_counting == "decisions/attacked"
    assert SkipNet.paper_counting == "decisions/attacked"
    assert DynConv.paper_counting == "decisions+dependents/all"


def test_dilated_masks_have_the_masks_shapes():
    network = DynConv(8).eval()
    with torch.no_grad(), record_occupancies(network) as record:
        network(torch.rand(2, 3, 32, 32))
    shapes = [(2, 1, 32, 32), (2, 1, 16, 16), (2, 1, 8, 8)]
    assert [tuple(mask.shape) for mask in record] == shapes
    assert [tuple(mask.shape) for mask in network.dependent_units(record)] == shapes


def test_images_of_other_channels_are_refused():
    """One channel would be broadcast to three without a word."""
    with pytest.raises(ValueError, match=r"must have 3 channels, got the shape \(2, 1, 8, 8\)"):
        Normalize((0.5,) * 3, (0.5,) * 3)(torch.rand(2, 1, 8, 8))
