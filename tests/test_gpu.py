"""What only a CUDA device can show; ``nox -s gpu`` fails where there is none."""

import os

import pytest
import torch

from leadgrad.attacks import FGSM, IFGSM, PixelLinf
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

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available() and "LEADGRAD_REQUIRE_GPU" not in os.environ,
        reason="there is no CUDA device",
    ),
]
FAMILIES = pytest.mark.parametrize("family", [ResNet, SkipNet, DynConv])


def inputs():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(4, 3, 32, 32, generator=generator), torch.tensor([1, 2, 3, 4])


@FAMILIES
@pytest.mark.parametrize("method", [FGM(), LGM(Sigmoid(5.0))])
def test_logits_and_gradients_agree_with_the_cpu(family, method):
    """In evaluation mode, where cuDNN refuses the RNN backward that LGM of SkipNet needs."""
    torch.manual_seed(0)
    network, (images, _) = prepare_for_attack(family(14).double()), inputs()
    found = {}
    for device in ("cpu", "cuda"):
        x = images.double().to(device).requires_grad_()
        with gradient_method(network.to(device), method):
            logits = network(x)
        (gradient,) = torch.autograd.grad(logits.square().sum(), x)
        found[device] = logits.detach().cpu(), gradient.cpu()
    torch.testing.assert_close(found["cuda"], found["cpu"], rtol=1e-8, atol=1e-9)


@FAMILIES
def test_decisions_agree_with_the_cpu(family):
    torch.manual_seed(0)
    network, (images, _) = family(14).eval().double(), inputs()
    records = []
    for device in ("cpu", "cuda"):
        with torch.no_grad(), record_occupancies(network.to(device)) as record:
            network(images.double().to(device))
        records.append([unit.cpu() for unit in record])
    assert all(torch.equal(a, b) for a, b in zip(*records, strict=True))


@FAMILIES
def test_attacks_repeat_bit_for_bit_under_deterministic_algorithms(family):
    torch.manual_seed(0)
    network, (images, labels) = prepare_for_attack(family(14)).cuda(), inputs()
    images, labels = images.cuda(), labels.cuda()

    def surrogate(x):
        with gradient_method(network, LGM(Sigmoid(5.0))):
            return network(x)

    torch.use_deterministic_algorithms(True)
    try:
        for attack in (FGSM(PixelLinf(8)), IFGSM(PixelLinf(8), steps=3)):
            first, again = (attack(surrogate, images, labels, victim=network) for _ in range(2))
            assert torch.equal(first, again)
    finally:
        torch.use_deterministic_algorithms(False)
