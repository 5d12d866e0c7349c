"""Every victim against a second forward that takes one sample at a time and really skips."""

import pytest
import reference_forward
import torch
import torch.nn.functional as F
from golden_fill import fill, images

from leadgrad.victims import (
    FGM,
    LGM,
    DynConv,
    ResNet,
    Sigmoid,
    SkipNet,
    gradient_method,
    prepare_for_attack,
    record_occupancies,
)

DEPTH, BLOCKS, SIZE = 14, 2, 16
REFERENCES = {SkipNet: reference_forward.skipnet, DynConv: reference_forward.dynconv}
FAMILIES = pytest.mark.parametrize("family", [SkipNet, DynConv])


def tiny(family):
    """A small instance whose decisions differ from unit to unit and from image to image."""
    return fill(family(DEPTH, 10, image_size=SIZE))


def some_images(count=5):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, 3, SIZE, SIZE, generator=generator, dtype=torch.double)


def reference_logits(family, network, x):
    weights = network.state_dict()
    pairs = [REFERENCES[family](weights, image, BLOCKS) for image in x]
    logits, decisions = zip(*pairs, strict=True)
    return torch.stack(logits), decisions


@FAMILIES
def test_fgm_logits_and_input_gradient_equal_the_reference(family):
    network, x = tiny(family), some_images().requires_grad_()
    labels = torch.arange(len(x))
    with record_occupancies(network) as record:
        logits = network(x)
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits, labels, reduction="sum"), x)
    expected, decisions = reference_logits(family, network, x)
    (reference,) = torch.autograd.grad(F.cross_entropy(expected, labels, reduction="sum"), x)
    torch.testing.assert_close(logits, expected, atol=1e-12, rtol=1e-10)
    torch.testing.assert_close(gradient, reference, atol=1e-12, rtol=1e-9)
    for i, own in enumerate(decisions):
        got = [mask[i].squeeze(0) for mask in record]
        assert all(torch.equal(a, torch.as_tensor(b)) for a, b in zip(got, own, strict=True))
    share = torch.cat([mask.flatten().double() for mask in record]).mean()
    assert 0.1 < share < 0.9, "the test needs units of both kinds"


@FAMILIES
def test_a_float32_forward_agrees_too(family):
    network, x = tiny(family), some_images()
    expected, _ = reference_logits(family, network, x)
    prepared = prepare_for_attack(network.float())
    torch.testing.assert_close(prepared(x.float()).double(), expected, atol=1e-4, rtol=1e-4)


@FAMILIES
@pytest.mark.parametrize("method", [FGM(), LGM(Sigmoid(2)), LGM(Sigmoid(2), "hard")])
def test_a_sample_does_not_depend_on_its_batch(family, method):
    network, x = tiny(family), some_images().requires_grad_()
    with gradient_method(network, method):
        logits = network(x)
        alone = torch.cat([network(image[None]) for image in x])
        (gradient,) = torch.autograd.grad(logits[:, 0].sum(), x, retain_graph=True)
        (lone_gradient,) = torch.autograd.grad(alone[:, 0].sum(), x)
    torch.testing.assert_close(logits, alone, atol=1e-13, rtol=1e-12)
    torch.testing.assert_close(gradient, lone_gradient, atol=1e-13, rtol=1e-10)


@FAMILIES
def test_dilated_masks_and_cost_are_those_of_the_reference(family):
    network, x = tiny(family), some_images()
    with record_occupancies(network) as record:
        network(x)
    for mask, near in zip(record, network.dependent_units(record), strict=False):
        for i in range(len(x)):
            assert torch.equal(near[i, 0], reference_forward.neighbours(mask[i, 0]))
    spent, total = network.conditional_macs(record), network.conditional_macs_total()
    assert spent.dtype == torch.int64
    assert spent.shape == (len(x),)
    assert 0 < int(spent.min()) <= int(spent.max()) < total
    everything = [torch.ones_like(mask[:1]) for mask in record]
    assert int(network.conditional_macs(everything)) == total


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_static_network_equals_the_reference(shortcut):
    network, x = fill(ResNet(DEPTH, shortcut=shortcut)), images(SIZE)
    weights = network.state_dict()
    expected = []
    for image in x:
        y = reference_forward.stem(weights, image)
        for stage in (1, 2, 3):
            for index in range(BLOCKS):
                y = reference_forward.residual_block(weights, f"layer{stage}.{index}", y)
        expected.append(weights["linear.weight"] @ y.mean((0, 2, 3)) + weights["linear.bias"])
    torch.testing.assert_close(network(x), torch.stack(expected), atol=1e-12, rtol=1e-10)
