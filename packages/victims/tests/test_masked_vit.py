"""The masked transformer: its attention, its static twin, what it refuses, what a token costs."""

import pytest
import torch
import vit_reference
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from vit_reference import randomised

from leadgrad.victims.networks.masked_vit import attend, masked_block, masked_softmax
from leadgrad.victims.networks.mixture_of_depths import MixtureOfDepths
from leadgrad.victims.networks.token_halting import TokenHalting
from leadgrad.victims.networks.token_pruning import TokenPruning
from leadgrad.victims.weights.backbone import load_backbone

SIZES = {"image_size": 8, "patch": 2, "width": 16, "depth": 3, "heads": 2, "num_classes": 4}


def scores(seed=0):
    torch.manual_seed(seed)
    return 2 * torch.randn(2, 3, 6, 6, dtype=torch.float64)


def keys():
    return torch.tensor([[1, 0, 1, 1, 0, 1], [1, 1, 1, 0, 0, 1]], dtype=torch.float64)


def test_a_key_of_occupancy_0_has_no_weight_but_for_itself():
    weights, own = masked_softmax(scores(), keys()), torch.eye(6, dtype=torch.bool)
    away = (keys() == 0)[:, None, None] & ~own
    assert bool((weights[away.expand_as(weights)] == 0).all())
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 6).double())
    for sample, present in enumerate(keys().bool()):
        alone = scores()[sample][:, present][:, :, present].softmax(-1)
        torch.testing.assert_close(weights[sample][:, present][:, :, present], alone)
        for token in (~present).nonzero().flatten():
            row = scores()[sample][:, token].clone()
            seen = present.clone()
            seen[token] = True
            row[:, ~seen] = -torch.inf
            torch.testing.assert_close(weights[sample][:, token], row.softmax(-1))


def test_keys_of_occupancy_1_are_a_softmax():
    torch.testing.assert_close(
        masked_softmax(scores(), torch.ones(2, 6).double()), scores().softmax(-1)
    )


def test_a_key_between_counts_by_its_occupancy():
    present = torch.rand(2, 6, dtype=torch.float64)
    share = present[:, None, None].expand(2, 3, 6, 6).clone()
    share.diagonal(dim1=2, dim2=3).fill_(1)
    torch.testing.assert_close(
        masked_softmax(scores(), present), (scores() + share.log()).softmax(-1)
    )


def test_the_gradient_at_0_is_the_slope_of_the_relaxed_weight():
    torch.manual_seed(1)
    direction, at = torch.randn(2, 3, 6, 6, dtype=torch.float64), keys().requires_grad_()
    (gradient,) = torch.autograd.grad((masked_softmax(scores(), at) * direction).sum(), at)
    step, slopes = 1e-5, torch.zeros_like(gradient)
    for place in torch.cartesian_prod(torch.arange(2), torch.arange(6)).tolist():
        values = []
        for count in range(3):  # towards 1 from 0, and towards 0 from 1
            moved = keys()
            towards = 1 if moved[tuple(place)] == 0 else -1
            moved[tuple(place)] += count * towards * step
            values.append(float((masked_softmax(scores(), moved) * direction).sum()))
        slopes[tuple(place)] = towards * (4 * values[1] - 3 * values[0] - values[2]) / (2 * step)
    torch.testing.assert_close(gradient, slopes, atol=1e-7, rtol=1e-6)
    assert bool((gradient[keys() == 0] != 0).all())


@pytest.mark.parametrize("size", [50.0, 1e3, 1e30])
def test_scores_far_apart_give_finite_weights_and_gradients(size):
    far = torch.zeros(1, 1, 3, 3)
    far[..., 1], far[..., 2] = size, -size  # what is not there lies above, one that is below
    far.requires_grad_()
    present = torch.tensor([[1.0, 0.0, 1.0]], requires_grad=True)
    weights = masked_softmax(far, present)
    assert weights[0, 0, 0].tolist() == pytest.approx([1, 0, 0], abs=1e-20)
    assert weights[0, 0, 1].tolist() == pytest.approx([0, 1, 0], abs=1e-20)
    for gradient in torch.autograd.grad(weights[..., 0].sum(), (far, present)):
        assert bool(gradient.isfinite().all())


def test_masked_tokens_are_the_sequence_without_them():
    torch.manual_seed(0)
    made = randomised(TokenHalting(**SIZES))
    block, x = made.blocks[0], torch.randn(1, 5, 16, dtype=torch.float64)
    present = torch.tensor([[1, 1, 0, 1, 0]], dtype=torch.float64)
    left = present[0].bool()
    out = attend(block.attn, x, present)
    torch.testing.assert_close(out[:, left], attend(block.attn, x[:, left], None))
    torch.testing.assert_close(attend(block.attn, x, None), block.attn(x))
    torch.testing.assert_close(masked_block(block, x, None), block(x))
    expected = vit_reference.block(made.state_dict(), 0, x[0, left], 2)
    torch.testing.assert_close(masked_block(block, x, present)[0, left], expected)


def test_what_is_left_out_keeps_its_value():
    made = randomised(TokenHalting(**SIZES))
    x, present = torch.randn(2, 17, 16, dtype=torch.float64), torch.zeros(2, 16).double()
    present[:, ::3] = 1
    out = made.through(1, x, present)
    assert torch.equal(out[:, 1:][present == 0], x[:, 1:][present == 0])
    assert bool((out[:, 1:][present == 1] != x[:, 1:][present == 1]).all())
    assert bool((out[:, 0] != x[:, 0]).all()), "the class token passes"
    torch.testing.assert_close(
        made.through(1, x, present, present / 4)[:, 1:], x[:, 1:] + (out - x)[:, 1:] / 4
    )


def twin(seed=0):
    torch.manual_seed(seed)
    return VisionTransformer(8, 2, embed_dim=16, depth=3, num_heads=2, num_classes=4).double()


def test_with_all_tokens_it_is_timms():
    static, made = twin().eval(), TokenHalting(**SIZES, beta=1e3).double().eval()
    load_backbone(made, static.state_dict())
    x = torch.rand(2, 3, 8, 8).double()
    torch.testing.assert_close(made(x), static(made.normalize(x)))


@pytest.mark.parametrize("family", [TokenPruning, MixtureOfDepths])
def test_all_but_what_decides_starts_from_timms(family):
    settings = {"stages": (1,)} if family is TokenPruning else {}
    made, given = family(**SIZES, **settings).double(), twin().state_dict()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    load_backbone(made, {f"network.{name}": value for name, value in given.items()})
    for name, value in made.state_dict().items():
        assert torch.equal(value, given.get(name, before[name]))


@pytest.mark.parametrize("family", [TokenHalting, TokenPruning, MixtureOfDepths])
def test_a_stem_of_convs_makes_a_token_of_each_patch(family):
    settings = {"stages": (1,)} if family is TokenPruning else {}
    made = family(**{**SIZES, "patch": 4, "stem": "conv"}, **settings).double().eval()
    x = torch.rand(1, 3, 8, 8).double()
    tokens = made.embed(x)
    assert tokens.shape == (1, 1 + made.tokens, 16)
    assert made.tokens == 4
    changed = x.clone()
    changed[..., 7, 7] = 1 - changed[..., 7, 7]  # seen by the last token alone: row by row
    moved = (made.embed(changed) - tokens).abs().sum(2)[0] > 0
    assert moved.tolist() == [False, False, False, False, True]
    assert made(x).shape == (1, made.head.out_features)


def test_a_token_costs_its_linear_layers_and_its_row_of_the_attention():
    made = TokenHalting(**SIZES)
    linear = [module for module in made.blocks[1].modules() if isinstance(module, nn.Linear)]
    assert len(linear) == 4
    assert made.token_macs() == sum(module.weight.numel() for module in linear) + 2 * 17 * 16


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 9}, "image_size must be a multiple of patch = 2, got 9; choose"),
        ({"width": 15}, "width must be a multiple of heads = 2, got 15"),
        ({"depth": 0}, "depth must be a whole number of at least 1, got 0"),
        ({"heads": 2.0}, "heads must be a whole number of at least 1, got 2.0"),
        ({"stem": "mlp"}, "stem must be one of patch, conv, got 'mlp'"),
        ({"stem": "conv", "patch": 1}, "a power of 2 of at least 2 for a stem of convs, got 1"),
        ({"stem": "conv", "width": 5, "heads": 1}, "width must be even for a stem of convs, got 5"),
        ({"num_classes": 0}, "num_classes must be a whole number"),
        ({"std": (1.0, 0.0, 1.0)}, "std above 0"),
    ],
)
def test_sizes_out_of_range_are_refused(settings, message):
    for family in (TokenHalting, TokenPruning, MixtureOfDepths):
        with pytest.raises(ValueError, match=message):
            family(**{**SIZES, **settings})


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"8 x 8 pixels, got the shape \(1, 3, 16, 16\); resize"):
        TokenHalting(**SIZES)(torch.rand(1, 3, 16, 16))
