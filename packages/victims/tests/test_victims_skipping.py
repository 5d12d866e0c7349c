"""Real skipping gives what masking gives, and really leaves out what is not executed."""

import pytest
import torch
from torch import nn

from leadgrad.victims import (
    FGM,
    LGM,
    DynConv,
    DynConvImageNet,
    MultiExit,
    ResNet,
    Sigmoid,
    SkipNet,
    SkipNetImageNet,
    gradient_method,
    prepare_for_attack,
    record_decisions,
    record_occupancies,
)
from leadgrad.victims.networks.early_exit import EarlyExit
from leadgrad.victims.networks.gumbel_gating import GumbelGating
from leadgrad.victims.networks.mixture_of_depths import MixtureOfDepths
from leadgrad.victims.networks.mixture_of_experts import MixtureOfExperts
from leadgrad.victims.networks.skipping import Positions, conv_at, set_execution
from leadgrad.victims.networks.token_halting import TokenHalting
from leadgrad.victims.networks.token_pruning import TokenPruning
from leadgrad.victims.occupancy.gates import Gate

COUNT = 12
VIT = {"image_size": 32, "patch": 8, "width": 12, "depth": 4, "heads": 3, "num_classes": 4}


class Shifted(Gate):
    """Decides by its margin less the median of the first batch that it sees."""

    middle = None

    def forward(self, margin, reached=None):
        if self.middle is None:
            ordered = margin.detach().flatten().sort().values
            half = len(ordered) // 2
            self.middle = (ordered[half - 1] + ordered[half]) / 2
        return super().forward(margin - self.middle, reached)


def balanced(network):
    """Half of what each gate decides executes, between two margins, so that rounding flips none."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if type(child) is Gate:
                setattr(module, name, Shifted(inclusive=child.inclusive))
    network(images())
    return network


def exits(network):
    """About a third of the samples leave at each of the first two exits."""
    with torch.no_grad():
        for number, share in enumerate((1 / 3, 2 / 3)):
            head = network.stages()[number][1] if isinstance(network, EarlyExit) else None
            head = head or network.get_submodule(f"branch_layer{number + 1}")
            last = [m for m in head.modules() if isinstance(m, nn.Linear)][-1]
            while network.margin(network.exit_logits(images())[number]).quantile(share) > 0:
                last.weight.mul_(1.2)
    return network


BUILT = {
    "SkipNet": lambda: balanced(SkipNet(14, 4).double().eval()),
    "SkipNetImageNet": lambda: balanced(
        SkipNetImageNet((1, 2), 4, width=8, image_size=32).double().eval()
    ),
    "GumbelGating": lambda: balanced(GumbelGating(14, 4).double().eval()),
    "DynConv": lambda: balanced(DynConv(14, 4).double().eval()),
    "DynConvImageNet": lambda: balanced(DynConvImageNet((1, 2), 4, width=8).double().eval()),
    "MixtureOfExperts": lambda: MixtureOfExperts(14, 4).double().eval(),
    "top 2 of 4": lambda: MixtureOfExperts(8, 4, top=2).double().eval(),
    "TokenHalting": lambda: balanced(TokenHalting(**VIT).double().eval()),
    "TokenPruning": lambda: TokenPruning(**VIT, stages=(1, 2)).double().eval(),
    "MixtureOfDepths": lambda: MixtureOfDepths(**VIT).double().eval(),
    "EarlyExit": lambda: exits(EarlyExit(14, 4, exits=(1, 3), threshold=0.6).double().eval()),
    "MultiExit": lambda: exits(MultiExit(14, 4, image_size=32).double().eval()),
    "least entropy": lambda: exits(MultiExit(14, 4, rest="least_entropy").double().eval()),
}
EACH = pytest.mark.parametrize("family", BUILT)


def images(count=COUNT):
    generator = torch.Generator().manual_seed(1)
    scale = torch.linspace(0.2, 1, count, dtype=torch.float64).view(-1, 1, 1, 1)
    return scale * torch.rand(count, 3, 32, 32, generator=generator, dtype=torch.float64)


def built(family):
    torch.manual_seed(0)
    return BUILT[family]()


def ran(network, x):
    """Logits and decisions."""
    with record_occupancies(network) as record:
        return network(x), record


@EACH
@pytest.mark.parametrize("count", [1, COUNT])
def test_skipping_gives_what_masking_gives(family, count):
    network, x = built(family), images()[COUNT - count :]
    masked, before = ran(network, x)
    set_execution(network, "skip")
    skipped, after = ran(network, x)
    torch.testing.assert_close(skipped, masked)
    assert len(before) == len(after)
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one, other)
    units = torch.cat([each.flatten() for each in before])
    assert count == 1 or 0 < int(units.sum()) < len(units)


@EACH
def test_gradients_under_fgm_are_the_same(family):
    network, x = built(family), images().requires_grad_()
    (masked,) = torch.autograd.grad(network(x).sin().sum(), x)
    set_execution(network, "skip")
    (skipped,) = torch.autograd.grad(network(x).sin().sum(), x)
    torch.testing.assert_close(skipped, masked)


@EACH
def test_led_networks_mask_whatever_is_set(family):
    network, x = built(family), images(3)
    with gradient_method(network, LGM(Sigmoid(2.0))):
        masked = network(x)
    set_execution(network, "skip")
    with gradient_method(network, LGM(Sigmoid(2.0))):
        assert torch.equal(network(x), masked)


@EACH
def test_it_is_kept_by_preparing_and_can_be_undone(family):
    network, x = built(family), images()
    expected = network(x)
    set_execution(network, "skip")
    torch.testing.assert_close(prepare_for_attack(network)(x), expected)
    set_execution(network, "masked")
    assert torch.equal(network(x), expected)


@pytest.mark.parametrize("family", ["SkipNet", "GumbelGating", "EarlyExit", "MultiExit"])
def test_convs_see_no_more_samples_than_execute_them(family):
    network, x = built(family), images()
    set_execution(network, "skip")
    seen = []
    for module in network.modules():
        if type(module).__name__ == "BasicBlock":
            module.conv1.register_forward_hook(lambda _, args, __: seen.append(len(args[0])))
    with record_decisions(network) as decisions:
        network(x)
    gone_on = [int(decision.hard.sum()) for decision in decisions]
    assert min(gone_on) < COUNT
    if family == "EarlyExit":  # one block, two, and three
        expected = [COUNT, gone_on[0], gone_on[0], *[gone_on[1]] * 3]
        assert seen == [count for count in expected if count]
    elif family == "MultiExit":  # one block for each gate; those of heads are no gate's
        assert seen.count(COUNT) < len(seen)
        assert sum(seen) < COUNT * len(seen)
    else:
        first = [COUNT] if family == "SkipNet" else []
        assert seen == [count for count in [*first, *gone_on] if count]


def test_dynconv_computes_at_its_positions_alone():
    network, x = built("DynConv"), images()
    set_execution(network, "skip")
    whole = []
    for block in network.blocks():
        for conv in (block.conv1, block.conv2):
            conv.register_forward_hook(lambda *_: whole.append(1))
    network(x)
    assert not whole, "no conv runs over a whole map"


@pytest.mark.parametrize("family", ["TokenHalting", "TokenPruning", "MixtureOfDepths"])
def test_blocks_see_no_more_tokens_than_take_part(family):
    """The class token, and as many as of the image with most of them."""
    network, x = built(family), images()
    set_execution(network, "skip")
    seen = []
    for block in network.blocks:
        block.norm1.register_forward_hook(lambda _, args, __: seen.append(args[0].shape[1]))
    with record_decisions(network) as decisions:
        network(x)
    most = [1 + int(decision.hard.sum(1).max()) for decision in decisions]
    assert min(most) < 17
    expected = {
        "TokenHalting": [17, *most],
        "TokenPruning": [17, most[0], most[-1], most[-1]],
        "MixtureOfDepths": [17, most[0], 17, most[-1]],
    }
    assert seen == expected[family]


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (1, 2)])
def test_a_conv_at_positions_is_the_conv_there(kernel, stride):
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 5, kernel, stride, kernel // 2).double()
    norm = nn.BatchNorm2d(5).double().eval()
    norm.running_mean.normal_()
    x = torch.randn(2, 3, 9, 8).double()
    whole = norm(conv(x))
    mask = torch.rand(2, 1, *whole.shape[2:]) < 0.4
    there = Positions(mask)
    found = there.scattered(conv_at(conv, norm, x, there))
    torch.testing.assert_close(found, whole * mask)
    nowhere = Positions(torch.zeros_like(mask))
    assert not nowhere.scattered(conv_at(conv, norm, x, nowhere)).any()


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match='"masked" or "skip", got \'fast\''):
        set_execution(SkipNet(8), "fast")
    with pytest.raises(ValueError, match="ResNet has no path"):
        set_execution(ResNet(8), "skip")
    set_execution(ResNet(8), "masked")
    assert SkipNet(8).execution == "masked"
    assert type(SkipNet(8).gates[0].method) is FGM
