"""Networks that make forwards again in the backward pass: the first forward's method holds."""

import copy
import pickle
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from leadgrad.victims import (
    FGM,
    LGM,
    Constant,
    Gate,
    Sigmoid,
    gradient_method,
    record_decisions,
    record_occupancies,
)
from leadgrad.victims.occupancy.recomputation import LENGTH, RecomputationError

LEAD = LGM(Sigmoid(2.0))
KINDS = ["none", "reentrant", "not reentrant", "own", "hooks"]


class Block(nn.Module):
    """A gated layer."""

    def __init__(self):
        super().__init__()
        self.scorer, self.body, self.gate = nn.Linear(4, 4), nn.Linear(4, 4), Gate()

    def forward(self, x):
        return x + self.gate(self.scorer(x).tanh()) * self.body(x).sin()


class Again(torch.autograd.Function):
    """A user's own recomputation."""

    @staticmethod
    def forward(ctx, function, x):
        ctx.function = function
        ctx.save_for_backward(x)
        return function(x)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            out = ctx.function(x)
        torch.autograd.backward(out, gradient)
        return None, x.grad


def hooked(function, x):
    """Keeps nothing but the input: each saved tensor is made again when it is asked for."""
    count = 0

    def pack(tensor):
        nonlocal count
        count += 1
        return count

    def unpack(number):
        kept = []
        with (
            torch.enable_grad(),
            torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t),
        ):
            function(x.detach().requires_grad_())
        return kept[number - 1].detach()

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        return function(x)


def run(kind, function, x):
    if kind == "none":
        return function(x)
    if kind == "own":
        return Again.apply(function, x)
    if kind == "hooks":
        return hooked(function, x)
    return checkpoint(function, x, use_reentrant=kind == "reentrant")


class Net(nn.Module):
    """Three gated blocks, each run in one way, and all of them in another."""

    def __init__(self, kind, around="none"):
        super().__init__()
        torch.manual_seed(0)
        self.kind, self.around = kind, around
        self.blocks = nn.ModuleList(Block() for _ in range(3))

    def forward(self, x):
        return run(self.around, self.inner, 1.0 * x)

    def inner(self, x):
        for block in self.blocks:
            x = run(self.kind, block, x)
        return x


def inputs(seed=1):
    return torch.randn(5, 4, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def gradient(network, method, *, inside=False, seed=1):
    x = inputs(seed)
    with gradient_method(network, method):
        out = network(x).square().sum()
        if inside:
            out.backward()
    if not inside:
        out.backward()
    return x.grad


@pytest.fixture
def expected():
    return {method: gradient(Net("none"), method) for method in (LEAD, FGM())}


@pytest.mark.parametrize("where", ["inside", "outside", "another"])
@pytest.mark.parametrize("method", [LEAD, LGM(Sigmoid(2.0), "hard"), FGM()])
@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_that_without_recomputation(kind, method, where):
    expected = gradient(Net("none"), method)
    network = Net(kind)
    if where != "another":
        got = gradient(network, method, inside=where == "inside")
    else:
        x = inputs()
        with gradient_method(network, method):
            out = network(x).square().sum()
        with gradient_method(network, LGM(Constant(0.3))):
            out.backward()
        got = x.grad
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:None of the inputs")  # of the inner one's, the first time
@pytest.mark.parametrize("around", ["reentrant", "not reentrant", "own"])
@pytest.mark.parametrize("kind", ["reentrant", "not reentrant", "own"])
@pytest.mark.parametrize("within", [nullcontext, lambda n: gradient_method(n, FGM())])
def test_recomputation_within_recomputation(expected, kind, around, within):
    network = Net(kind, around)
    x = inputs()
    with gradient_method(network, LEAD):
        out = network(x).square().sum()
    with within(network):
        out.backward()
    torch.testing.assert_close(x.grad, expected[LEAD], rtol=0, atol=1e-6)


@pytest.mark.parametrize("order", [(0, 1), (1, 0), None])
@pytest.mark.parametrize("kind", KINDS)
def test_each_forward_keeps_its_own_method(expected, kind, order):
    network, leaves, losses = Net(kind), [], []
    for method in (LEAD, FGM()):
        leaves.append(inputs())
        with gradient_method(network, method):
            losses.append(network(leaves[-1]).square().sum())
    network(inputs())
    if order is None:
        sum(losses).backward()
    else:
        for index in order:
            losses[index].backward()
    torch.testing.assert_close(leaves[0].grad, expected[LEAD], rtol=0, atol=1e-6)
    torch.testing.assert_close(leaves[1].grad, expected[FGM()], rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_feature_from_the_middle_of_the_network(kind):
    def of(kind):
        network, x, kept = Net(kind), inputs(), []
        network.blocks[1].register_forward_hook(lambda module, args, out: kept.append(out))
        with gradient_method(network, LEAD):
            feature = run(kind, network.blocks[0], 1.0 * x)
            feature = run(kind, network.blocks[1], feature)
        feature.square().sum().backward()
        return x.grad

    torch.testing.assert_close(of(kind), of("none"), rtol=0, atol=1e-6)


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_sequence_in_segments(reentrant):
    def of(segments):
        torch.manual_seed(0)
        network, x = nn.Sequential(*(Block() for _ in range(4))), inputs()
        with gradient_method(network, LEAD):
            out = (
                checkpoint_sequential(network, 2, 1.0 * x, use_reentrant=reentrant)
                if segments
                else network(1.0 * x)
            )
        out.square().sum().backward()
        return x.grad

    torch.testing.assert_close(of(True), of(False), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_method_that_was_set_by_hand_holds_too(expected, kind):
    network = Net(kind)
    with gradient_method(network, FGM()):
        network(inputs())
    for block in network.blocks:
        block.gate.method = LEAD
    x = inputs()
    network(x).square().sum().backward()
    torch.testing.assert_close(x.grad, expected[LEAD], rtol=0, atol=1e-6)
    x = inputs()
    out = network(x).square().sum()
    with gradient_method(network, FGM()):
        out.backward()
    torch.testing.assert_close(x.grad, expected[LEAD], rtol=0, atol=1e-6)


@pytest.mark.parametrize("record", [record_decisions, record_occupancies])
@pytest.mark.parametrize("kind", KINDS)
def test_a_decision_is_recorded_once(kind, record):
    network = Net(kind)
    with record(network) as record:
        with gradient_method(network, LEAD):
            out = network(inputs())
        assert len(record) == 3
        out.square().sum().backward()
    assert len(record) == 3


def test_a_forward_in_a_hook_has_the_method_and_the_record_of_the_hook():
    network, seen = Net("not reentrant"), []
    x = inputs()

    def hook(gradient):
        with gradient_method(network, FGM()), record_occupancies(network) as record:
            seen.append((network(x).detach(), len(record)))

    with gradient_method(network, LEAD):
        inner = network(x)
        inner.register_hook(hook)
        out = inner.square().sum()
    out.backward()
    ((logits, recorded),) = seen
    assert recorded == 3
    assert torch.equal(logits, network(x))


@pytest.mark.filterwarnings("ignore:None of the inputs")
@pytest.mark.parametrize("kind", KINDS)
def test_a_forward_in_a_hook_that_says_nothing_is_refused_where_it_matters(kind):
    network, x = Net(kind), inputs()
    for method in (FGM(), LEAD):
        with gradient_method(network, method):
            inner = network(x)
        inner.register_hook(lambda gradient: network(x) * 0)
        if method == FGM():
            inner.square().sum().backward()
        else:
            with pytest.raises(RecomputationError, match="enter gradient_method in the hook"):
                inner.square().sum().backward()


def test_an_attack_inside_of_a_backward_pass(expected):
    network, inner = Net("reentrant"), Net("reentrant")

    class Inner(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient_):
            with torch.enable_grad():
                seen.append(gradient(inner, LEAD))
            return gradient_

    seen = []
    with gradient_method(network, FGM()), gradient_method(inner, FGM()):
        x = inputs()
        out = Inner.apply(network(x)).square().sum()
    out.backward()
    torch.testing.assert_close(seen[0], expected[LEAD], rtol=0, atol=1e-6)
    torch.testing.assert_close(x.grad, expected[FGM()], rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_backward_pass_that_fails_changes_nothing(expected, kind):
    network, x = Net(kind), inputs()

    def fail(gradient):
        raise ArithmeticError("in the middle")

    y = 1.0 * x
    y.register_hook(fail)
    with gradient_method(network, LEAD):
        out = network(y).square().sum()
    with pytest.raises(ArithmeticError):
        out.backward()
    x = inputs()
    network(x).square().sum().backward()
    torch.testing.assert_close(x.grad, expected[FGM()], rtol=0, atol=1e-6)


def test_a_forward_of_too_long_ago_is_refused():
    network, x = Net("reentrant"), inputs()
    with gradient_method(network, LEAD):
        out = network(x).square().sum()
    for _ in range(LENGTH):
        with gradient_method(network, FGM()):
            pass
    with pytest.raises(RecomputationError, match="run its backward pass earlier"):
        out.backward()


def test_a_copy_has_no_history():
    network = Net("reentrant")
    gradient(network, LEAD)
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert not other.blocks[0].gate._history.pieces
    with gradient_method(network, LEAD):
        assert copy.deepcopy(network).blocks[0].gate.method == LEAD
