"""Gradient methods on whole victims: what they keep, what they change, what they tend to."""

import gc
import weakref

import pytest
import torch
import torch.nn.functional as F
from golden_fill import fill
from torch import nn

from leadgrad.victims import (
    FGM,
    LGM,
    Constant,
    DynConv,
    Sigmoid,
    SkipNet,
    gradient_method,
    record_decisions,
    record_occupancies,
)
from leadgrad.victims.networks.dynconv import MaskUnit

FAMILIES = pytest.mark.parametrize("family", [SkipNet, DynConv])
ALL_METHODS = [FGM(), LGM(Sigmoid(3)), LGM(Sigmoid(3), "hard"), LGM(Constant())]


def some_images(count=3, size=8):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, size, size, generator=generator, dtype=torch.double)


def logits_and_gradient(network, x, method):
    x = x.clone().requires_grad_()
    with gradient_method(network, method):
        logits = network(x)
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, torch.arange(len(x))), x)
    return logits.detach(), gradient


def decision_parameters(network):
    names = ("control.", "_gate", "masker.")
    return {
        name: value
        for name, value in network.named_parameters()
        if any(part in name for part in names)
    }


@FAMILIES
def test_hard_forward_keeps_the_logits_and_changes_the_gradient(family):
    network, x = fill(family(14)), some_images()
    exact, frozen = logits_and_gradient(network, x, FGM())
    logits, leading = logits_and_gradient(network, x, LGM(Sigmoid(2), "hard"))
    assert torch.equal(logits, exact)
    assert (leading - frozen).norm() > 1e-3 * frozen.norm()


@FAMILIES
def test_hard_forward_keeps_the_logits_in_float32(family):
    network, x = fill(family(14)).float(), some_images().float()
    exact, _ = logits_and_gradient(network, x, FGM())
    logits, _ = logits_and_gradient(network, x, LGM(Sigmoid(0.3), "hard"))
    assert torch.equal(logits, exact)


@FAMILIES
def test_soft_tends_to_exact_as_the_slope_grows(family):
    network, x = fill(family(14)), some_images()
    exact, frozen = logits_and_gradient(network, x, FGM())
    errors = []
    for slope in (1e2, 1e4, 1e6):
        logits, gradient = logits_and_gradient(network, x, LGM(Sigmoid(slope)))
        errors.append((logits - exact).abs().max().item())
    assert errors[0] > errors[1] >= errors[2]
    assert errors[2] < 1e-12
    torch.testing.assert_close(gradient, frozen, atol=1e-12, rtol=1e-9)


@FAMILIES
def test_constant_one_executes_everything_and_zero_nothing(family):
    network, x = fill(family(8)), some_images()
    for value in (0.0, 1.0):
        logits, _ = logits_and_gradient(network, x, LGM(Constant(value)))
        forced = fill(family(8))
        for name, parameter in forced.named_parameters():
            if name.endswith(("control.proj.bias", "masker.maskconv.fc.bias")):
                nn.init.constant_(parameter, 1e3 if value else -1e3)
        torch.testing.assert_close(logits, forced(x), atol=1e-13, rtol=1e-12)


@FAMILIES
def test_who_gets_a_gradient(family):
    network, x = fill(family(8)), some_images()
    unused = {f"group3_gate0.1.{part}" for part in ("weight", "bias")}
    for method, expected in [
        (FGM(), "none"),
        (LGM(Constant()), "none"),
        (LGM(Sigmoid(0)), "zero"),
        (LGM(Sigmoid(2)), "some"),
        (LGM(Sigmoid(2), "hard"), "some"),
    ]:
        with gradient_method(network, method):
            loss = F.cross_entropy(network(x), torch.arange(len(x)))
        parameters = decision_parameters(network)
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        for name, gradient in zip(parameters, gradients, strict=True):
            if expected == "none" or name in unused:
                assert gradient is None, name
            elif expected == "zero":
                assert not gradient.any(), name
            else:
                assert gradient.any(), name


@FAMILIES
def test_slope_zero_is_the_constant_half(family):
    network, x = fill(family(8)), some_images()
    logits, gradient = logits_and_gradient(network, x, LGM(Sigmoid(0)))
    expected, smoothed = logits_and_gradient(network, x, LGM(Constant(0.5)))
    assert torch.equal(logits, expected)
    torch.testing.assert_close(gradient, smoothed, atol=1e-15, rtol=1e-12)


@FAMILIES
def test_gradcheck_of_the_soft_forward(family):
    network, x = fill(family(8, 3)), some_images(1).requires_grad_()
    with gradient_method(network, LGM(Sigmoid(1.5))):
        assert torch.autograd.gradcheck(network, (x,), atol=1e-6)


@FAMILIES
def test_finite_differences_of_the_exact_forward_are_the_fgm_gradient(family):
    network, x = fill(family(8, 3)), some_images(1).requires_grad_()
    assert torch.autograd.gradcheck(network, (x,), atol=1e-6)  # no decision flips within 1e-6


@FAMILIES
def test_a_method_changes_neither_keys_nor_weights_nor_buffers(family):
    network, x = fill(family(8)), some_images()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for method in ALL_METHODS:
        with gradient_method(network, method):
            assert list(network.state_dict()) == list(before)
            network(x)
    after = network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(parameter.grad is None for parameter in network.parameters())


@FAMILIES
@pytest.mark.parametrize("method", ALL_METHODS)
def test_a_forward_leaves_nothing_behind(family, method):
    network = fill(family(8))

    def once():
        x = some_images(1).requires_grad_()
        with gradient_method(network, method), record_decisions(network) as record:
            logits = network(x)
            torch.autograd.grad(logits.sum(), x)
        return [weakref.ref(kept) for kept in (x, logits, record[0].margin)]

    references = [reference for _ in range(3) for reference in once()]
    gc.collect()
    held = sum(reference() is not None for reference in references)
    before = count_tensors()
    for _ in range(20):
        once()
    gc.collect()
    assert held == 0
    assert count_tensors() <= before


def count_tensors():
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


@pytest.mark.parametrize("gradient", [False, True])
def test_skipnet_really_skips_what_no_image_executes(gradient):
    network, x = fill(SkipNet(14)), some_images(2)
    with record_occupancies(network) as record:
        everyone = network(x)
    ran = count_calls([block.conv1 for block in network.blocks()[1:]])
    x.requires_grad_(gradient)
    assert torch.equal(network(x), everyone)
    executed = [bool(hard.any()) for hard in record]
    assert [bool(calls) for calls in ran] == executed
    assert not all(executed), "the test needs an idle block"
    assert any(executed)
    with gradient_method(network, LGM(Sigmoid(2), "hard")):
        assert torch.equal(network(x.requires_grad_()), everyone)
    assert all(ran), "a leading gradient needs the skipped branches too"


def test_dynconv_really_skips_what_no_position_executes():
    network, x = fill(DynConv(14)), some_images(2)
    blocks = network.blocks()
    with torch.no_grad():
        blocks[1].masker.maskconv.fc.bias.fill_(-1e3)
    with record_occupancies(network) as record:
        everyone = network(x)
    ran = count_calls([block.conv1 for block in blocks])
    assert torch.equal(network(x), everyone)
    executed = [bool(hard.any()) for hard in record]
    assert [bool(calls) for calls in ran] == executed
    assert executed[:3] == [True, False, True]


def count_calls(modules):
    calls = [0] * len(modules)

    def hook(number):
        def count(*_):
            calls[number] += 1

        return count

    for number, module in enumerate(modules):
        module.register_forward_hook(hook(number))
    return calls


@FAMILIES
def test_a_compiled_network_follows_the_method(family):
    torch._dynamo.reset()
    network, x = fill(family(8)), some_images()
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    for method in (FGM(), LGM(Sigmoid(5)), FGM(), LGM(Sigmoid(5), "hard")):
        logits, gradient = logits_and_gradient(network, x, method)
        with gradient_method(network, method):
            again = x.clone().requires_grad_()
            compiled_logits = compiled(again)
            loss = F.cross_entropy(compiled_logits, torch.arange(len(x)))
            (compiled_gradient,) = torch.autograd.grad(loss, again)
        torch.testing.assert_close(compiled_logits, logits, atol=1e-13, rtol=1e-12)
        torch.testing.assert_close(compiled_gradient, gradient, atol=1e-13, rtol=1e-10)
    torch._dynamo.reset()


def test_a_margin_of_exactly_zero():
    skipnet, dynconv = SkipNet(8).double().eval(), DynConv(8).double().eval()
    for network, executed in ((skipnet, False), (dynconv, True)):
        for parameter in decision_parameters(network).values():
            nn.init.zeros_(parameter)
        with record_decisions(network) as record:
            network(some_images())
        assert all((decision.margin == 0).all() for decision in record)
        assert all((decision.hard == executed).all() for decision in record)


@FAMILIES
def test_one_image_keeps_its_batch_axis(family):
    network = fill(family(8))
    with record_occupancies(network) as record:
        assert network(some_images(1)).shape == (1, 10)
    assert all(len(hard) == 1 for hard in record)


def test_gumbel_noise_only_in_training_and_only_where_asked():
    torch.manual_seed(0)
    unit = MaskUnit(4, 1)
    x = torch.randn(2, 4, 8, 8)
    with record_decisions(unit) as record:
        unit.train()(x), unit(x)
        unit.noise = False
        unit(x), unit(x)
        unit.noise = True
        unit.eval()(x), unit(x)
    first, second, *silent = [decision.margin for decision in record]
    assert not torch.equal(first, second)
    assert all(torch.equal(margin, silent[0]) for margin in silent)
    noise = torch.stack([unit.train()(torch.zeros(1, 4, 64, 64)) for _ in range(2)])
    assert noise.isfinite().all()


def test_gumbel_noise_is_a_logistic_variable():
    torch.manual_seed(0)
    unit = MaskUnit(1, 1)
    for parameter in unit.parameters():
        nn.init.zeros_(parameter)
    with record_decisions(unit) as record:
        unit(torch.zeros(4, 1, 128, 128))
    noise = record[0].margin.double().flatten()
    levels = torch.tensor([-2.0, 0.0, 1.0], dtype=torch.double)
    shares = (noise[:, None] < levels).double().mean(0)
    torch.testing.assert_close(shares, torch.sigmoid(levels), atol=6e-3, rtol=0)
