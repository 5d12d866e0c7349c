"""Whole attacks on whole victims, filled as docs/reference/images.md, "Golden numbers", says."""

import functools
import runpy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from leadgrad.attacks import FGSM, IFGSM, PixelLinf
from leadgrad.victims import (
    FGM,
    LGM,
    DynConv,
    ResNet,
    Sigmoid,
    SkipNet,
    gradient_method,
    record_occupancies,
)

# Weights by the fill rule, which the victims' own tests hold
_HELPER = Path(__file__).parents[1] / "packages" / "victims" / "tests" / "golden_fill.py"
golden_fill = runpy.run_path(str(_HELPER))

VICTIMS = {
    "static-32": functools.cache(lambda: golden_fill["fill"](ResNet(32))),
    "SkipNet-110": functools.cache(lambda: golden_fill["fill"](SkipNet(110))),
    "DynConv-32": functools.cache(lambda: golden_fill["fill"](DynConv(32))),
}
LABELS = {"static-32": [7, 7], "SkipNet-110": [2, 2], "DynConv-32": [2, 2]}
CLEAN_LOSS = {"static-32": 1.873238, "SkipNet-110": 1.241656, "DynConv-32": 1.912228}

EPS_8 = PixelLinf(8, "doubled")
FIVE_PERCENT = PixelLinf(8, "doubled", valid_ratio=0.05)


def row(name, attack, method, loss, size, total, changed=()):
    """One row of the table, named by what it does."""
    share = attack.threat.valid_ratio
    kind, slope = type(attack).__name__, getattr(method, "surrogate", Sigmoid(0)).slope
    return pytest.param(
        *(name, attack, method, loss, size, total, changed),
        id=f"{name}-{kind}-{share:.0%}-{type(method).__name__}-{slope:g}",
    )


@pytest.mark.parametrize(
    ("name", "attack", "method", "loss", "size", "total", "changed"),
    [
        row("static-32", FGSM(EPS_8), FGM(), 1.980792, 48498.06, -3565.94),
        row("static-32", IFGSM(EPS_8), FGM(), 1.991664, 41779.98, -3985.05),
        row("static-32", IFGSM(FIVE_PERCENT), FGM(), 1.879678, 2248.39, -95.61),
        row("SkipNet-110", FGSM(EPS_8), FGM(), 1.243690, 48417.51, 481.51, (5,)),
        row("SkipNet-110", FGSM(EPS_8), LGM(Sigmoid(0.2)), 1.249930, 48335.41, -544.59, (0,)),
        row("SkipNet-110", FGSM(EPS_8), LGM(Sigmoid(5)), 1.250517, 48412.57, 1116.57, (0,)),
        row("SkipNet-110", IFGSM(EPS_8), FGM(), 1.247581, 39387.67, 164.24, (5,)),
        row("SkipNet-110", IFGSM(EPS_8), LGM(Sigmoid(5)), 1.250826, 42361.39, 907.97, (0,)),
        row("DynConv-32", FGSM(EPS_8), FGM(), 1.947065, 48572.49, -1011.51, (813, 617)),
        row("DynConv-32", FGSM(EPS_8), LGM(Sigmoid(5)), 1.952580, 48593.43, 977.43, (809, 684)),
        row("DynConv-32", IFGSM(EPS_8), FGM(), 1.953835, 39551.23, -882.33, (713, 603)),
        row("DynConv-32", IFGSM(EPS_8), LGM(Sigmoid(5)), 1.958764, 40050.67, 893.46, (746, 646)),
        row(
            *("DynConv-32", IFGSM(FIVE_PERCENT), LGM(Sigmoid(5))),
            *(1.914481, 2258.77, 238.77, (158, 182)),
        ),
    ],
)
def test_golden_run(name, attack, method, loss, size, total, changed):
    victim, images = VICTIMS[name](), golden_fill["images"]()
    labels = torch.tensor(LABELS[name])

    def surrogate(x):
        with gradient_method(victim, method):
            return victim(x)

    def exact(x):
        with torch.no_grad(), record_occupancies(victim) as record:
            logits = victim(x)
        return logits, record

    clean_logits, before = exact(images)
    assert torch.equal(clean_logits.argmax(1), labels)
    assert F.cross_entropy(clean_logits, labels).item() == pytest.approx(CLEAN_LOSS[name], abs=1e-5)

    adv = attack(surrogate, images, labels, victim=victim)

    logits, after = exact(adv)
    assert F.cross_entropy(logits, labels).item() == pytest.approx(loss, abs=1e-3)
    units = (adv - images) * 255 / 2
    assert units.abs().sum().item() == pytest.approx(size, rel=5e-3)
    # The sum of signs is small beside its terms: half a per cent of those
    assert units.sum().item() == pytest.approx(total, abs=5e-3 * size)
    counted = [differing(before, after)]
    if name == "DynConv-32":
        counted.append(differing(victim.dependent_units(before), victim.dependent_units(after)))
    for got, expected in zip(counted, changed, strict=False):
        assert got == pytest.approx(expected, rel=0.02, abs=1)


def differing(before, after):
    """Units that are on in one and off in the other."""
    return sum(int((a != b).sum()) for a, b in zip(before, after, strict=True))
