"""Two tries at one step: each image keeps the stronger, at the cost of what it still needed."""

import pytest
import torch

from leadgrad.attacks import FGSM, Midpoint, PixelLinf, TwoTries

torch.manual_seed(0)
WEIGHT = torch.randn(3 * 4 * 4, 5, dtype=torch.float64)
X = (16 * (0.3 + 0.4 * torch.rand(40, 3, 4, 4, dtype=torch.float64))).round() / 16
THREAT = PixelLinf(1)


def victim(x):
    return x.flatten(1) @ WEIGHT


def half_wrong(x):
    """Its gradient leads astray: of half of the images where they are clean, else elsewhere."""
    flat = 16 * x.flatten(1)
    clean = (flat - flat.round()).abs().amax(1) < 1e-6
    even = flat[:, 0].round() % 2 == 0
    return torch.where(clean ^ even, 1.0, -1.0)[:, None] * victim(x)


Y = victim(X).argmax(1)


class Counted:
    def __init__(self):
        self.rows = 0

    def __call__(self, x):
        self.rows += len(x)
        return victim(x)


class Ahead(Counted):
    """Looks ahead; remembers of where."""

    looks_ahead, taken = True, 0.25

    def ahead(self, proposed):
        self.proposed = proposed

        def foreseen(x):
            self.at = x.detach()
            return self(x)

        return foreseen


def wrong(adv):
    return victim(adv).argmax(1) != Y


def test_an_image_keeps_the_stronger_of_fgsm_and_half_way():
    both = TwoTries(THREAT)(half_wrong, X, Y, victim=victim)
    one = FGSM(THREAT)(half_wrong, X, Y, victim=victim)
    half = Midpoint(THREAT)(half_wrong, X, Y, victim=victim)
    assert torch.equal(wrong(both), wrong(one) | wrong(half))
    assert int(wrong(both).sum()) > max(int(wrong(one).sum()), int(wrong(half).sum()))
    for row in range(len(X)):
        assert any(torch.equal(both[row], adv[row]) for adv in (one, half))


def test_only_who_resists_the_first_try_pays_for_the_second():
    surrogate = Counted()
    TwoTries(THREAT)(surrogate, X, Y, victim=victim)
    first = wrong(FGSM(THREAT)(victim, X, Y, victim=victim))
    assert surrogate.rows == 40 + int((~first).sum())


def test_a_surrogate_that_looks_ahead_is_told_of_the_first_try():
    surrogate = Ahead()
    TwoTries(THREAT)(surrogate, X, Y, victim=victim)
    first = FGSM(THREAT)(victim, X, Y, victim=victim)
    left = ~wrong(first)
    torch.testing.assert_close(surrogate.proposed, first[left])
    torch.testing.assert_close(surrogate.at, X[left] + 0.25 * (first[left] - X[left]))


def test_masks_budgets_and_misclassified_images_are_kept():
    threat = PixelLinf(8, valid_ratio=0.5)
    labels = Y.clone()
    labels[:5] = (labels[:5] + 1) % 5
    adv = TwoTries(threat)(victim, X, labels, victim=victim)
    assert torch.equal(adv[:5], X[:5])
    moved = (adv - X).abs()
    assert 0 < float(moved.max()) <= 8 / 255 + 1e-12
    still = (moved == 0).flatten(2).all(1).all(0)
    assert bool(still.any()), "pixels that may not move"


def test_a_share_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\], got 1.5"):
        TwoTries(THREAT, taken=1.5)
