"""Victims whose strongest perturbation is known in closed form, and the attacks under test."""

import torch
from torch import nn

from leadgrad.attacks import (
    APGD,
    FGSM,
    IFGSM,
    MIFGSM,
    NIFGSM,
    PGD,
    AnnealedPGD,
    CarliniWagner,
    Midpoint,
    PixelLinf,
    RandomNoise,
)

CLASSES, SHAPE = 3, (3, 6, 6)


class LinearOracle(nn.Module):
    """Logits W·x + b, where the rows of W beyond the first two are copies of the second.

    The gradient of any loss of the margin then has the direction of (w1 - w0) for label 0, and of
    (w0 - w1) for every other label, wherever x is.
    """

    def __init__(self, seed=0, shape=SHAPE, dtype=torch.double):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randn(2, *shape, generator=generator, dtype=torch.double).to(dtype)
        rows = torch.stack([rows[0], *[rows[1]] * (CLASSES - 1)])
        self.weight = nn.Parameter(rows)
        self.bias = nn.Parameter(torch.zeros(CLASSES, dtype=dtype))
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        # A product and a sum, not a matrix product: its rounding does not depend on the batch
        return (x[:, None] * self.weight).flatten(2).sum(2) + self.bias

    def away(self, label):
        """Sign of the steepest ascent of the loss at ``label``. Shape: that of one sample."""
        direction = (self.weight[1] - self.weight[0]).sign().detach()
        return direction if label == 0 else -direction

    def worst_case(self, x, labels, threat):
        """Closed form: each valid pixel at the end of its budget or at the box, by sign."""
        low, high = threat.box
        radius = threat.eps_255 * threat.unit
        moved = [
            (image + radius * self.away(int(label))).clamp(low, high)
            for image, label in zip(x, labels, strict=True)
        ]
        return torch.where(threat.mask(x), torch.stack(moved), x)


def some_images(count=4, shape=SHAPE, seed=3, dtype=torch.double):
    """Images in [0, 1] with some values at the ends of the box."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, *shape, generator=generator, dtype=torch.double)
    images[:, 0, 0, :2] = torch.tensor([0.0, 1.0], dtype=torch.double)
    return images.to(dtype)


def attacks(threat, **settings):
    """Every attack with the same threat model, by name."""
    return {
        "FGSM": FGSM(threat, **settings),
        "IFGSM": IFGSM(threat, **settings),
        "MIFGSM": MIFGSM(threat, **settings),
        "NIFGSM": NIFGSM(threat, **settings),
        "Midpoint": Midpoint(threat, **settings),
        "PGD": PGD(threat, steps=12, step_size_255=2.0, restarts=2, **settings),
        "CarliniWagner": CarliniWagner(threat, steps=12, step_size_255=2.0, **settings),
        "APGD": APGD(threat, steps=12, restarts=2, **settings),
        "AnnealedPGD": AnnealedPGD(threat, steps=12, **settings),
        "RandomNoise": RandomNoise(threat, **settings),
        "UniformNoise": RandomNoise(threat, corners=False, **settings),
    }


NAMES = list(attacks(PixelLinf(8)))
GRADIENT_NAMES = NAMES[:9]
SIGN_NAMES = NAMES[:6]  # those whose last iterate counts and that take a loss
EVERY_SAMPLE = {"skip_misclassified": False}
