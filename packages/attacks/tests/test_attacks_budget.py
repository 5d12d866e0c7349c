"""The budget, the mask and the box hold exactly, for every attack, also after saving as float32."""

import itertools

import pytest
import torch
from oracles import EVERY_SAMPLE, NAMES, LinearOracle, attacks, some_images

from leadgrad.attacks import (
    FGSM,
    Attack,
    BudgetError,
    Goal,
    PixelLinf,
    PointAttack,
    Region,
    SignGradientAttack,
    ThreatModel,
)

EACH = pytest.mark.parametrize("name", NAMES)
THREATS = [
    PixelLinf(8),
    PixelLinf(0.7),
    PixelLinf(8, "doubled"),
    PixelLinf(100, valid_ratio=0.3),
    PixelLinf(16, "doubled", valid_ratio=0.1, mask_seed=5),
]


def attacked(name, threat, dtype=torch.float32, count=5):
    oracle, x = LinearOracle(dtype=dtype), some_images(count, dtype=dtype)
    labels = torch.arange(count) % 3
    adv = attacks(threat, **EVERY_SAMPLE)[name](oracle, x, labels, victim=oracle)
    return x, adv


@EACH
@pytest.mark.parametrize("threat", THREATS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_budget_mask_and_box_hold_exactly(name, threat, dtype):
    x, adv = attacked(name, threat, dtype)
    assert adv.dtype == dtype
    assert adv.shape == x.shape
    assert not adv.requires_grad
    radius = threat.eps_255 * threat.unit
    moved = (adv.double() - x.double()).abs()
    # Not one bit more in float32; in float64 the bound itself is rounded
    assert moved.max() <= (radius if dtype == torch.float32 else radius + 1e-16)
    assert moved.max() > 0.8 * radius * (threat.valid_ratio == 1 or radius < 0.3)
    assert adv.max() <= 1
    assert adv.min() >= threat.box[0]
    off = ~threat.mask(x).expand_as(x)
    assert torch.equal(adv[off], x[off])


@EACH
@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_what_is_saved_holds_the_budget_too(name, threat, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    x, adv = attacked(name, threat)
    safetensors.save_file({"clean": x, "adv": adv}, tmp_path / "a.safetensors")
    back = safetensors.load_file(tmp_path / "a.safetensors")
    assert torch.equal(back["adv"], adv)
    threat.check(back["adv"], back["clean"])
    assert (back["adv"].double() - back["clean"].double()).abs().max() <= (
        threat.eps_255 * threat.unit
    )


@EACH
@pytest.mark.parametrize("convention", ["pixel", "doubled"])
def test_no_budget_returns_the_inputs_bit_for_bit(name, convention):
    x, adv = attacked(name, PixelLinf(0, convention))
    assert torch.equal(adv, x)
    assert adv.data_ptr() != x.data_ptr()


@EACH
def test_the_callers_tensors_are_left_alone(name):
    oracle, x = LinearOracle(), some_images()
    labels, ids = torch.tensor([0, 1, 2, 0]), torch.arange(4)
    kept = x.clone(), labels.clone(), ids.clone()
    attacks(PixelLinf(8), **EVERY_SAMPLE)[name](oracle, x, labels, victim=oracle, sample_ids=ids)
    assert all(torch.equal(a, b) for a, b in zip((x, labels, ids), kept, strict=True))
    assert not x.requires_grad


def test_the_doubled_convention_moves_twice_as_far_and_below_black():
    x, adv = attacked("FGSM", PixelLinf(8, "doubled"), torch.float64)
    torch.testing.assert_close((adv - x).abs().max().item(), 16 / 255, atol=1e-15, rtol=0)
    assert (adv < 0).any()
    assert adv.max() == 1


def test_the_pixel_convention_stays_in_the_box():
    x, adv = attacked("FGSM", PixelLinf(8), torch.float64)
    torch.testing.assert_close((adv - x).abs().max().item(), 8 / 255, atol=1e-15, rtol=0)
    assert adv.min() == 0
    assert adv.max() == 1


def test_bytes_stay_within_integer_units():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (3, 3, 6, 6), generator=generator)
    x = (pixels.double() / 255).float()
    oracle = LinearOracle(dtype=torch.float32)
    adv = FGSM(PixelLinf(8), **EVERY_SAMPLE)(oracle, x, torch.tensor([0, 1, 2]), victim=oracle)
    moved = (adv.double() * 255).round().long() - pixels
    assert moved.abs().max() == 8


def test_pixel_mask_golden():
    """Numbers of docs/reference/images.md, "Pixel masks", and sums of positions."""
    for size, rates in {
        (32, 32): {0.05: (51, 24_110), 0.1: (102, 49_587), 0.2: (204, 101_673)},
        (224, 224): {0.005: (250, 6_320_412), 0.01: (501, 12_308_022), 0.02: (1003, 24_991_519)},
    }.items():
        for rate, (count, total) in rates.items():
            mask = PixelLinf(8, valid_ratio=rate).mask(torch.zeros(1, 3, *size))
            assert mask.shape == (1, 1, *size)
            positions = mask.flatten().nonzero()[:, 0]
            assert len(positions) == count
            assert int(positions.sum()) == total
    first = PixelLinf(8, valid_ratio=8 / 1024).mask(torch.zeros(1, 3, 32, 32)).flatten()
    assert set(first.nonzero()[:, 0].tolist()) == {37, 708, 342, 9, 647, 767, 633, 291}
    first = PixelLinf(8, valid_ratio=5 / 50176).mask(torch.zeros(1, 3, 224, 224)).flatten()
    assert set(first.nonzero()[:, 0].tolist()) == {13349, 38490, 41286, 42954, 39719}


def test_pixel_masks_are_nested_and_follow_their_seed():
    x = torch.zeros(1, 3, 16, 16)
    masks = [PixelLinf(8, valid_ratio=ratio).mask(x) for ratio in (0.05, 0.2, 0.7, 1.0)]
    for small, large in itertools.pairwise(masks):
        assert (large | ~small).all()
    assert masks[-1].all()
    other = PixelLinf(8, valid_ratio=0.2, mask_seed=2).mask(x)
    assert not torch.equal(other, masks[1])
    assert other.sum() == masks[1].sum()


def test_a_mask_first_made_in_inference_mode_serves_later():
    threat = PixelLinf(8, valid_ratio=0.37, mask_seed=99)
    with torch.inference_mode():
        threat.mask(torch.zeros(1, 3, 6, 6))
    oracle = LinearOracle()
    FGSM(threat, **EVERY_SAMPLE)(oracle, some_images(1), torch.tensor([0]), victim=oracle)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x + 8.01 / 255, r"max \|delta\| is 8.01\d* units of 0.00392157, allowed are 8"),
        (lambda x: x - 1e-3, r"leave the box \[0, 1\]"),
        (lambda x: x.float(), "torch.float32, expected .* torch.float64"),
        (lambda x: x[:1], r"\(1, 3, 6, 6\) torch.float64, expected \(4, 3, 6, 6\)"),
        (lambda x: x * torch.nan, "432 adversarial values are not finite"),
    ],
)
def test_check_measures_the_excess(change, message):
    x = some_images().clamp(0.0, 0.9)
    with pytest.raises(BudgetError, match=message):
        PixelLinf(8).check(change(x), x)


def test_check_sees_the_mask():
    x = torch.full((2, 3, 6, 6), 0.5)
    threat = PixelLinf(8, valid_ratio=0.5)
    moved = x + torch.where(threat.mask(x), 0.01, 0.0)
    threat.check(moved, x)
    moved[0, 0][~threat.mask(x)[0, 0]] += 0.001
    with pytest.raises(BudgetError, match="18 values moved outside the valid pixels"):
        threat.check(moved, x)


def test_check_accepts_what_did_not_move_and_nothing_at_all():
    x = some_images() * 3 - 1  # outside the box, but not by the attack's doing
    PixelLinf(8).check(x, x)
    PixelLinf(8).check(x[:0], x[:0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_bounds_are_rounded_towards_the_origin(dtype):
    x = some_images(dtype=dtype)
    for threat in THREATS:
        region = threat.region(x)
        assert region.low.dtype == dtype
        radius = threat.eps_255 * threat.unit
        assert (region.high.double() - x.double()).max() <= radius
        assert (x.double() - region.low.double()).max() <= radius
        threat.check(region.project(x + 1), x)
        threat.check(region.project(x - 1), x)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((0.0314,), r"eps_255=0.0314 looks like a fraction .* did you mean eps_255=8.007\?"),
        ((8 / 255,), r"did you mean eps_255=8\?"),
        ((-1,), r"eps_255 must lie in \[0, 255\] units, got -1"),
        ((256,), "got 256"),
        ((float("nan"),), "got nan"),
        ((8, "half"), 'convention must be "pixel" or "doubled", got \'half\''),
        ((8, "pixel", 0.0), r"valid_ratio must be a share in \(0, 1\], got 0.0"),
        ((8, "pixel", 20), "got 20"),
    ],
)
def test_threat_models_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        PixelLinf(*settings)


class Free(ThreatModel):
    """Forgets to project."""

    def region(self, origin):
        everywhere = torch.ones_like(origin, dtype=torch.bool)
        return Region(origin, origin - 9, origin + 9, everywhere)

    def check(self, x, origin):
        PixelLinf(8).check(x, origin)


class Jump(Attack):
    def run(self, surrogate, inputs, labels, *, victim, eligible, samples):
        return inputs + 0.5


def test_the_call_projects_and_then_enforces():
    oracle, x = LinearOracle(), some_images(2)
    labels = oracle(x).argmax(1)
    adv = Jump(PixelLinf(8))(oracle, x, labels, victim=oracle)
    torch.testing.assert_close(adv, (x + 8 / 255).clamp(max=1.0), atol=1e-15, rtol=0)
    with pytest.raises(BudgetError, match=r"max .delta. is 127\.5 units"):
        Jump(Free())(oracle, x, labels, victim=oracle)


@pytest.mark.parametrize("base", [ThreatModel, Attack, Goal, SignGradientAttack, PointAttack])
def test_base_classes_are_abstract(base):
    with pytest.raises(TypeError, match="abstract"):
        base()
