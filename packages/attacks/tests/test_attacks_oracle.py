"""Each attack against a linear victim whose strongest perturbation is known in closed form."""

import pytest
import torch
from oracles import (
    CLASSES,
    EVERY_SAMPLE,
    GRADIENT_NAMES,
    NAMES,
    SIGN_NAMES,
    LinearOracle,
    attacks,
    some_images,
)

from leadgrad.attacks import (
    FGSM,
    IFGSM,
    MIFGSM,
    PGD,
    PixelLinf,
    RandomNoise,
    TargetClass,
    TargetShift,
    cross_entropy,
    margin,
)

THREATS = pytest.mark.parametrize(
    "threat",
    [
        PixelLinf(8),
        PixelLinf(8, "doubled"),
        PixelLinf(16, valid_ratio=0.3),
        PixelLinf(200, "doubled", valid_ratio=0.5),
    ],
    ids=str,
)


def reaching(name, threat, **settings):
    """The attack with steps enough to cross the whole region."""
    if name == "FGSM":
        return FGSM(threat, **settings, **EVERY_SAMPLE)
    kind = type(attacks(threat)[name])
    return kind(threat, steps=12, step_size_255=threat.eps_255 / 5, **settings, **EVERY_SAMPLE)


@pytest.mark.parametrize("name", SIGN_NAMES)
@pytest.mark.parametrize("loss", [cross_entropy, margin])
@pytest.mark.parametrize("batch_size", [1, 3])
@THREATS
def test_gradient_attacks_reach_the_optimum(name, loss, batch_size, threat):
    oracle, x = LinearOracle(), some_images(batch_size)
    labels = torch.arange(batch_size) % CLASSES
    attack = reaching(name, threat, loss=loss)
    adv = attack(oracle, x, labels, victim=oracle)
    torch.testing.assert_close(adv, oracle.worst_case(x, labels, threat), atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", SIGN_NAMES)
@THREATS
def test_a_targeted_attack_goes_the_other_way(name, threat):
    oracle, x = LinearOracle(), some_images(3)
    labels = torch.tensor([1, 2, 1])  # target 0: towards it is what is away from 1
    # The margin, for cross-entropy stops where the target's probability is 1 already
    attack = reaching(name, threat, loss=margin, goal=TargetClass(0))
    adv = attack(oracle, x, labels, victim=oracle)
    torch.testing.assert_close(adv, oracle.worst_case(x, labels, threat), atol=1e-12, rtol=0)


@THREATS
def test_random_noise_stays_within_and_is_no_better(threat):
    oracle, x = LinearOracle(), some_images()
    labels = torch.zeros(len(x), dtype=torch.int64)
    best = cross_entropy(oracle(oracle.worst_case(x, labels, threat)), labels)
    radius = threat.eps_255 * threat.unit
    for corners in (True, False):
        adv = RandomNoise(threat, corners=corners, **EVERY_SAMPLE)(oracle, x, labels, victim=oracle)
        moved = (adv - x).abs()
        assert moved.max() <= radius + 1e-15
        assert moved.max() > 0.9 * radius
        assert (cross_entropy(oracle(adv), labels) < best).all()
    inside = (x + radius < threat.box[1]) & (x - radius > threat.box[0]) & threat.mask(x)
    corners = RandomNoise(threat, **EVERY_SAMPLE)(oracle, x, labels, victim=oracle)
    moved = (corners - x).abs()[inside.expand_as(x)]
    torch.testing.assert_close(moved, torch.full_like(moved, radius))


def test_random_noise_asks_for_no_gradient():
    def blind(x):
        assert not x.requires_grad
        return x.flatten(1)[:, :3]

    x, labels = some_images(), torch.zeros(4, dtype=torch.int64)
    for attack in (RandomNoise(PixelLinf(8)), RandomNoise(PixelLinf(8), corners=False)):
        attack(blind, x, labels, victim=blind)


def test_a_step_of_ifgsm_moves_one_unit_and_the_last_iterate_counts():
    oracle, x = LinearOracle(), some_images(2)
    labels = torch.tensor([0, 1])
    for steps in (1, 2, 5):
        threat = PixelLinf(8, "doubled")
        adv = IFGSM(threat, steps=steps, **EVERY_SAMPLE)(oracle, x, labels, victim=oracle)
        expected = oracle.worst_case(x, labels, PixelLinf(steps, "doubled"))
        torch.testing.assert_close(adv, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("eps_255", "steps"), [(0, 1), (0.5, 1), (1, 1), (2, 2), (4, 5), (8, 10), (16, 20), (64, 68)]
)
def test_ifgsms_number_of_steps_is_the_papers(eps_255, steps):
    attack, oracle = IFGSM(PixelLinf(eps_255), **EVERY_SAMPLE), LinearOracle()
    assert attack.schedule() == (steps, 1.0)
    attack(oracle, some_images(1), torch.tensor([0]), victim=oracle)
    assert oracle.calls == steps
    assert IFGSM(PixelLinf(eps_255), steps=3, step_size_255=0.5).schedule() == (3, 0.5)


class Valley(torch.nn.Module):
    """Two logits whose loss gradient turns round on the way: only memory carries on."""

    def forward(self, x):
        moved = (x - 0.5).flatten(1).sum(1) * 255
        raised = torch.where(moved < 1.5, moved, 3.0 - moved)
        return torch.stack([-raised, raised], 1)


def test_momentum_carries_over_a_turn_of_the_gradient():
    x = torch.full((1, 1, 1, 1), 0.5, dtype=torch.double)
    labels, threat = torch.tensor([0]), PixelLinf(8)
    plain = IFGSM(threat, steps=4, **EVERY_SAMPLE)(Valley(), x, labels, victim=Valley())
    assert plain.item() * 255 == pytest.approx(127.5 + 2)  # up, up, down, up
    heavy = MIFGSM(threat, steps=4, **EVERY_SAMPLE)(Valley(), x, labels, victim=Valley())
    assert heavy.item() * 255 == pytest.approx(127.5 + 3)  # velocity 1, 2, 1, 0
    light = MIFGSM(threat, steps=4, decay=0.0, **EVERY_SAMPLE)(Valley(), x, labels, victim=Valley())
    assert torch.equal(light, plain)


def test_what_is_off_the_mask_has_no_say_in_the_norm():
    x = torch.full((1, 1, 1, 2), 0.5, dtype=torch.double)
    threat = PixelLinf(8, valid_ratio=0.5)
    valid, off = (int(side) for side in threat.mask(x).flatten().sort(descending=True).indices)

    def victim(images):
        pixels = images.flatten(1)
        plain = Valley()(pixels[:, valid].view(-1, 1, 1, 1))
        loud = (pixels[:, valid] * 255 > 127.5 + 1.5) * 1e6 * pixels[:, off]
        return plain + torch.stack([-loud, loud], 1) - torch.stack([-loud, loud], 1).detach()

    adv = MIFGSM(threat, steps=4, **EVERY_SAMPLE)(victim, x, torch.tensor([0]), victim=victim)
    moved = ((adv - x) * 255).flatten()
    assert moved[valid].item() == pytest.approx(3), "as if the other pixel had no gradient"
    assert moved[off] == 0


def test_momentum_is_normalised_per_sample():
    attack = attacks(PixelLinf(8))["MIFGSM"]
    gradient = torch.tensor([[1.0, -3.0], [0.0, 0.0], [1e-30, 0.0]])
    sign, velocity = attack.direction(gradient, torch.zeros_like(gradient))
    torch.testing.assert_close(velocity, torch.tensor([[0.25, -0.75], [0.0, 0.0], [1.0, 0.0]]))
    assert sign.tolist() == [[1, -1], [0, 0], [1, 0]]


class OneGoodStart(torch.nn.Module):
    """Right everywhere but in the corner that only some random starts fall into; no gradient."""

    def __init__(self, edge):
        super().__init__()
        self.edge, self.seen = edge, []

    def forward(self, x):
        self.seen.append(len(x))
        lost = (x.flatten(1)[:, 0] > self.edge).to(x.dtype) * 4 - 2
        return torch.stack([-lost, lost], 1) + 0 * x.flatten(1).sum(1)[:, None]


def test_pgd_keeps_the_first_restart_that_wins():
    x = torch.full((6, 1, 2, 2), 0.5, dtype=torch.double)
    labels, threat = torch.zeros(6, dtype=torch.int64), PixelLinf(8)
    edge = 0.5 + 4 / 255  # one start in four
    won, previous = [], x
    for restarts in (1, 2, 4, 30):
        victim = OneGoodStart(edge)
        attack = PGD(threat, steps=1, restarts=restarts)
        adv = attack(victim, x, labels, victim=victim)
        lost = victim(adv).argmax(1) != labels
        won.append(lost)
        if len(won) > 1:
            assert torch.equal(adv[won[-2]], previous[won[-2]]), "what is won is left alone"
        previous = adv
    assert won[0].sum() < won[-1].sum() == 6
    assert victim.seen[-2] < 6, "only open samples are attacked again"


def test_pgd_stops_when_all_are_won():
    victim = LinearOracle()
    x, labels = some_images(2), torch.tensor([0, 1])
    PGD(PixelLinf(200), steps=3, step_size_255=200.0, restarts=9, **EVERY_SAMPLE)(
        victim, x, labels, victim=victim
    )
    assert victim.calls == 3 + 1


def test_one_misclassified_image_stays_as_it_is_and_the_others_move():
    oracle, x = LinearOracle(), some_images(6)
    right = oracle(x).argmax(1)
    labels = right.clone()
    labels[2] = (right[2] + 1) % CLASSES
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(CLASSES, x[0].numel(), generator=generator, dtype=torch.double)

    def surrogate(images):
        # Unlike the oracle's, the margin between any two of its logits has a gradient
        return images.flatten(1) @ weight.T

    for name in NAMES:
        adv = attacks(PixelLinf(8))[name](surrogate, x, labels, victim=oracle)
        still = (adv == x).flatten(1).all(1)
        assert still.tolist() == [False, False, True, False, False, False], name
        everyone = attacks(PixelLinf(8), **EVERY_SAMPLE)[name](surrogate, x, labels, victim=oracle)
        left = (everyone == x).flatten(1).all(1)
        # What is wrong already has nothing left to gain
        assert left.tolist() == ([False, False, name == "AnnealedPGD", False, False, False]), name


def test_the_victim_says_what_is_right_not_the_surrogate():
    victim, surrogate, x = LinearOracle(), LinearOracle(seed=1), some_images(8)
    labels = victim(x).argmax(1)
    assert (surrogate(x).argmax(1) != labels).any()
    adv = FGSM(PixelLinf(8))(surrogate, x, labels, victim=victim)
    assert not (adv == x).flatten(1).all(1).any()


def test_targeted_goals_leave_out_what_is_there_already():
    oracle, x = LinearOracle(), some_images(8)
    predicted = oracle(x).argmax(1)
    assert set(predicted.tolist()) >= {0}
    adv = FGSM(PixelLinf(8), goal=TargetClass(0))(oracle, x, predicted, victim=oracle)
    still = (adv == x).flatten(1).all(1)
    assert torch.equal(still, predicted == 0)
    labels = torch.full_like(predicted, CLASSES - 1)
    shifted = FGSM(PixelLinf(8), goal=TargetShift(1))(oracle, x, labels, victim=oracle)
    assert torch.equal((shifted == x).flatten(1).all(1), predicted == 0)


def test_a_strong_attack_wins():
    oracle, x = LinearOracle(), some_images(8)
    labels = oracle(x).argmax(1)
    for name in GRADIENT_NAMES:
        adv = attacks(PixelLinf(64))[name](oracle, x, labels, victim=oracle)
        lost = oracle(adv).argmax(1) != labels
        assert lost.double().mean() > 0.5, name
