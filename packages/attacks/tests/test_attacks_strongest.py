"""Several surrogates: the victim picks, per sample, and no work is done for samples already won."""

import pytest
import torch

from leadgrad.attacks import FGSM, PGD, PixelLinf, TargetShift, strongest

THREAT = PixelLinf(eps_255=8)
torch.manual_seed(0)
WEIGHT = torch.randn(3 * 4 * 4, 5)
X = torch.rand(20, 3, 4, 4)


def victim(x):
    return x.flatten(1) @ WEIGHT


def blind(x):
    """Its gradient leads to the opposite of the victim's."""
    return -(x.flatten(1) @ WEIGHT)


Y = victim(X).argmax(1)


def lost(adv):
    return (victim(adv).argmax(1) != Y).sum()


@pytest.mark.parametrize("goal", [{}, {"goal": TargetShift(1)}])
def test_it_is_as_strong_as_each_alone(goal):
    attack = FGSM(THREAT, **goal)
    alone = [attack(surrogate, X, Y, victim=victim) for surrogate in (blind, victim)]
    both = strongest(attack, [blind, victim], X, Y, victim=victim)
    won = attack.goal.reached(Y, victim(both))
    for adv in alone:
        assert bool((won | ~attack.goal.reached(Y, victim(adv))).all())
    assert bool(won.any())
    assert torch.equal(both[~won], alone[1][~won]), "the greater loss where none wins"


def test_one_surrogate_is_the_attack_itself():
    attack = FGSM(THREAT)
    assert torch.equal(
        strongest(attack, [victim], X, Y, victim=victim), attack(victim, X, Y, victim=victim)
    )


def test_samples_already_won_are_left_alone():
    seen = []

    def counting(x):
        seen.append(len(x))
        return victim(x)

    first = FGSM(THREAT)(victim, X, Y, victim=victim)
    assert 0 < int(lost(first)) < len(X), "else this shows nothing"
    both = strongest(FGSM(THREAT), [victim, counting], X, Y, victim=victim)
    assert seen == [len(X) - int(lost(first))]
    won = victim(first).argmax(1) != Y
    assert torch.equal(both[won], first[won])


def test_misclassified_samples_stay_as_they_are():
    wrong = (Y + 1) % 5
    labels = torch.where(torch.arange(len(X)) < 10, wrong, Y)
    adv = strongest(FGSM(THREAT), [blind, victim], X, labels, victim=victim)
    assert torch.equal(adv[:10], X[:10])


def test_ids_follow_their_samples():
    attack = PGD(PixelLinf(eps_255=1), steps=1)
    ids = torch.arange(100, 120)
    together = strongest(attack, [blind, victim], X, Y, victim=victim, sample_ids=ids)
    apart = torch.cat(
        [
            strongest(attack, [blind, victim], x, y, victim=victim, sample_ids=i)
            for x, y, i in zip(X.split(1), Y.split(1), ids.split(1), strict=True)
        ]
    )
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-7)


def test_it_needs_a_surrogate():
    with pytest.raises(ValueError, match="at least one surrogate"):
        strongest(FGSM(THREAT), [], X, Y, victim=victim)
