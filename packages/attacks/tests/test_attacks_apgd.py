"""Auto-PGD against its paper's algorithm written out in numpy, one sample at a time."""

import math

import numpy as np
import pytest
import torch
from oracles import EVERY_SAMPLE, LinearOracle, some_images

from leadgrad.attacks import (
    APGD,
    PGD,
    PixelLinf,
    TargetShift,
    cross_entropy,
    dlr,
    uniform_like,
)
from leadgrad.attacks.apgd import checkpoints

COUNT, SHAPE, CLASSES = 5, (2, 3, 3), 5
LABELS = torch.zeros(COUNT, dtype=torch.int64)


class Net:
    """z = V·sin(ω·x) + b: the same numbers for torch, which attacks it, and for numpy, by hand.

    The bias keeps class 0 among the first two, for the gradient of its ``dlr`` at the third place
    is nothing but rounding.
    """

    def __init__(self, pitch):
        generator = np.random.default_rng(0)
        self.omega = generator.normal(size=(12, math.prod(SHAPE))) * pitch
        self.v = generator.normal(size=(CLASSES, 12))
        self.bias = np.eye(CLASSES)[0] * 16
        self.seen = []

    def __call__(self, x):
        self.seen.append(x.detach().clone())
        # A product and a sum, not a matrix product: its rounding does not depend on the batch
        inner = (x.flatten(1)[:, None] * torch.from_numpy(self.omega)).sum(2).sin()
        return (inner[:, None] * torch.from_numpy(self.v)).sum(2) + torch.from_numpy(self.bias)

    def logits(self, x):
        return self.v @ np.sin(self.omega @ x) + self.bias

    def back(self, x, cotangent):
        return self.omega.T @ (np.cos(self.omega @ x) * (self.v.T @ cotangent))


def by_hand(loss, z, own, *, targeted):
    """The loss at one class, and its gradient with respect to the logits."""
    at = np.eye(CLASSES)
    if loss is cross_entropy:
        p = np.exp(z - z.max())
        p /= p.sum()
        return -math.log(p[own]), p - at[own]
    rank = list(np.argsort(-z))
    other = next(k for k in rank if k != own)
    top = z[other] - z[own]
    if targeted:
        below = z[rank[0]] - (z[rank[2]] + z[rank[3]]) / 2
        d_below = at[rank[0]] - (at[rank[2]] + at[rank[3]]) / 2
    else:
        below, d_below = z[rank[0]] - z[rank[2]], at[rank[0]] - at[rank[2]]
    return top / below, (at[other] - at[own]) / below - top / below**2 * d_below


def algorithm(net, clean, start, label, *, loss, target, steps, threat):
    """Every iterate, the best one, and how often the step was halved."""
    eps, (least, greatest) = threat.eps_255 * threat.unit, threat.box
    low, high = np.maximum(clean - eps, least), np.minimum(clean + eps, greatest)
    valid = np.broadcast_to(threat.mask(torch.zeros(1, *SHAPE))[0].numpy(), SHAPE).ravel()

    def project(x):
        return np.where(valid, np.clip(x, low, high), clean)

    def f(x):
        own = label if target is None else target
        value, cotangent = by_hand(loss, net.logits(x), own, targeted=target is not None)
        sign = 1 if target is None else -1
        return sign * value, sign * net.back(x, cotangent)

    p = [0.0, 0.22]
    while p[-1] < 1:
        p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
    ends = [math.ceil(round(q * steps, 6)) for q in p if q <= 1]

    x, before, eta = project(start), None, 2 * eps
    visited, rises, etas, bests = [x], [], [eta], [f(x)[0]]
    best, halvings, j = x, 0, 1
    for k in range(1, steps + 1):
        value, gradient = f(x)
        z = project(x + eta * np.sign(gradient))
        new = z if before is None else project(x + 0.75 * (z - x) + 0.25 * (x - before))
        before, x = x, new
        visited.append(x)
        rises.append(f(x)[0] > value)
        if f(x)[0] > bests[-1]:
            best = x
        bests.append(max(bests[-1], f(x)[0]))
        etas.append(eta)
        if j < len(ends) and k == ends[j]:
            since = ends[j - 1]
            few = sum(rises[since:k]) < 0.75 * (k - since)
            # The step size used up to the last checkpoint's own halving counts as another
            still = eta == (etas[since] if since else eta) and bests[since] == bests[k]
            if few or still:
                eta, x, halvings = eta / 2, best, halvings + 1
            j += 1
    return visited, best, halvings


class Never:
    """A victim that is always right, so that the best loss decides."""

    def __init__(self, labels):
        self.labels = labels

    def __call__(self, x):
        return torch.nn.functional.one_hot(self.labels, CLASSES)[: len(x)].to(x)


def images(count=COUNT):
    return some_images(count, SHAPE)


@pytest.mark.parametrize("loss", [cross_entropy, dlr])
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("pitch", [2.0, 15.0])
@pytest.mark.parametrize(
    "threat", [PixelLinf(8), PixelLinf(32, "doubled", valid_ratio=0.6)], ids=str
)
@pytest.mark.parametrize("steps", [10, 20, 60])
def test_every_iterate_is_the_algorithms(loss, targeted, pitch, threat, steps):
    net, x, ids = Net(pitch), images(), torch.arange(20, 20 + COUNT)
    goal = {"goal": TargetShift(2)} if targeted else {}
    attack = APGD(threat, loss=loss, steps=steps, **goal, **EVERY_SAMPLE)
    adv = attack(net, x, LABELS, victim=Never(LABELS), sample_ids=ids)
    noise = uniform_like(x, seed=0, sample_ids=ids, stream="start 0")
    starts = (x + threat.eps_255 * threat.unit * noise).flatten(1).numpy()
    assert len(net.seen) == steps + 1
    most = 0
    for n in range(COUNT):
        visited, best, halvings = algorithm(
            net,
            x[n].flatten().numpy(),
            starts[n],
            0,
            loss=loss,
            target=2 if targeted else None,
            steps=steps,
            threat=threat,
        )
        for iterate, batch in zip(visited, net.seen, strict=True):
            np.testing.assert_allclose(batch[n].flatten().numpy(), iterate, atol=1e-9, rtol=0)
        np.testing.assert_allclose(adv[n].flatten().numpy(), best, atol=1e-9, rtol=0)
        most = max(most, halvings)
    assert most > 0


def test_checkpoints_are_the_papers():
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(10) == [3, 5, 6, 7, 8, 9, 10]  # 0.7·10 is 7, however it is summed up
    assert checkpoints(20) == [5, 9, 12, 14, 16, 18, 19, 20]
    assert checkpoints(1) == [1]


class Script:
    """A surrogate whose f is written in advance; its gradient says up at every pixel."""

    def __init__(self, script):
        self.script, self.seen = script, []

    def __call__(self, x):
        f = self.script[len(self.seen)]
        self.seen.append(x.detach().clone())
        up = (x - x.detach()).flatten(1).sum(1) + f
        return torch.stack([-up, torch.zeros_like(up)], 1)


def lead(logits, classes):
    """The script's value, whatever the class."""
    return -logits[:, 0]


def restarts(script):
    """After which of 100 steps the scripted run went back to its start."""
    x = torch.full((1, 1, 1, 1), 0.5, dtype=torch.double)
    surrogate = Script(script)
    attack = APGD(PixelLinf(8), loss=lead, steps=100, seed=1, **EVERY_SAMPLE)
    attack(surrogate, x, torch.tensor([0]), victim=lambda x: torch.eye(2)[:1])
    way = torch.cat(surrogate.seen).flatten()
    eps = 8 / 255
    assert way[0] < 0.5 - eps / 4, "the start is well below, so that a restart shows"
    corner = 0.5 + eps
    found, eta = [], 2 * eps
    for step in range(1, 100):
        if step in checkpoints(100):
            # From the start by eta, three quarters, and a quarter of the way from the corner to it
            z = min(way[0] + eta / 2, corner)
            back = way[0] + 0.75 * (z - way[0]) + 0.25 * (way[0] - corner)
            if torch.isclose(way[step + 1], back.clamp(0.5 - eps), atol=1e-12, rtol=0):
                found.append(step)
                eta /= 2
    return found


def test_no_gain_at_an_unchanged_step_size_halves_it_too():
    # All but one step between checkpoints raise f, but never above the start: condition 2 alone. It
    # asks for a step size that has not been halved just before, hence every other checkpoint.
    assert restarts([1000.0, *range(100)]) == checkpoints(100)[::2] == [22, 57, 80, 93]


def test_the_victims_first_win_is_kept_whatever_the_loss_says():
    net, x = Net(2.0), images()
    kept = {0: 0, 1: 3, 2: 7, 4: 12}  # sample: visit at which the victim errs, and not after it
    visits = []

    def of(given):
        """Which samples these are: each lies nearest to its own clean image."""
        return (given[:, None] - x[None]).abs().flatten(2).amax(2).argmin(1)

    def victim(given):
        names = of(given).tolist()
        logits = Never(LABELS[names])(given)
        for sample, visit in kept.items():
            if len(visits) == visit:
                row = names.index(sample)
                logits[row] = logits[row].roll(1)
        visits.append(dict(zip(names, given.clone(), strict=True)))
        return logits

    adv = APGD(PixelLinf(8), steps=12, **EVERY_SAMPLE)(net, x, LABELS, victim=victim)
    for sample, visit in kept.items():
        assert torch.equal(adv[sample], visits[visit][sample])
    asked = [dict(zip(of(seen).tolist(), seen, strict=True)) for seen in net.seen]
    for number, (visit, seen) in enumerate(zip(visits, asked, strict=True)):
        open_ = [k for k in visit if kept.get(k) != number]
        assert sorted(seen) == sorted(open_), "no gradient of an iterate that has won"
        assert all(torch.equal(visit[k], seen[k]) for k in open_), "asked about every iterate"
    losses = torch.stack([cross_entropy(net(visit[3][None]), LABELS[3:4])[0] for visit in visits])
    assert torch.equal(adv[3], visits[int(losses.argmax())][3]), "the best loss elsewhere"
    for sample, visit in kept.items():
        present = [sample in each for each in visits]
        assert present == [True] * (visit + 1) + [False] * (12 - visit), "leaves at once"


def test_it_stops_when_all_are_won():
    net, x = Net(2.0), images()

    def victim(images):
        return Never(LABELS if len(net.seen) < 4 else LABELS + 1)(images)

    APGD(PixelLinf(8), steps=30, restarts=3, **EVERY_SAMPLE)(net, x, LABELS, victim=victim)
    assert len(net.seen) == 4


@pytest.mark.parametrize("batch_size", [1, 3, COUNT])
def test_what_a_sample_costs_does_not_depend_on_its_batch(batch_size):
    net, x = Net(2.0), images()
    falls = {0: 0.0, 1: 0.02, 2: 0.05}  # sample: change of its first pixel from which it is won

    def attack(rows):
        def victim(given):
            which = (given[:, None] - x[None]).abs().flatten(2).amax(2).argmin(1)
            logits = Never(LABELS[which])(given)
            moved = (given - x[which]).abs().flatten(1)[:, 0]
            for row, sample in enumerate(which.tolist()):
                if moved[row] >= falls.get(sample, 1.0):
                    logits[row] = logits[row].roll(1)
            return logits

        APGD(PixelLinf(16), steps=20, **EVERY_SAMPLE)(
            net, x[rows], LABELS[rows], victim=victim, sample_ids=rows
        )

    for part in torch.arange(COUNT).split(batch_size):
        attack(part)
    together = sum(len(each) for each in net.seen)
    net.seen.clear()
    for sample in range(COUNT):
        attack(torch.tensor([sample]))
    assert together == sum(len(each) for each in net.seen)
    assert 2 * 21 < together < 5 * 21


def test_restarts_keep_the_first_win():
    # No gradient at all: every iterate is the random start, and the start decides
    x, labels = some_images(12, SHAPE).clamp(0.2, 0.8), torch.zeros(12, dtype=torch.int64)
    seen = []

    def surrogate(images):
        seen.append(len(images))
        return torch.zeros(len(images), CLASSES).to(images) + 0 * images.flatten(1)[:, :1]

    def victim(images):
        logits = torch.zeros(len(images), CLASSES).to(images)
        logits[:, 0] = 1
        logits[images.flatten(1).mul(1000).frac()[:, 0] < 0.25, 1] = 2
        return logits

    previous = None
    for count in (1, 2, 20):
        attack = APGD(PixelLinf(8), steps=2, restarts=count, **EVERY_SAMPLE)
        seen.clear()
        adv = attack(surrogate, x, labels, victim=victim)
        won = victim(adv).argmax(1) != 0
        if previous is not None:
            assert torch.equal(adv[previous[1]], previous[0][previous[1]]), "won, left alone"
            assert seen[-1] < 12, "only open samples are attacked again"
        previous = adv, won
    assert won.all()


@pytest.mark.parametrize("loss", [cross_entropy, dlr])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_batch_size_does_not_matter_over_many_steps(loss, batch_size):
    def run(rows):
        attack = APGD(PixelLinf(16, valid_ratio=0.6), loss=loss, steps=40, **EVERY_SAMPLE)
        victim = Never(LABELS)
        return attack(Net(15.0), images()[rows], LABELS[rows], victim=victim, sample_ids=rows)

    rows = torch.arange(COUNT)
    assert torch.equal(torch.cat([run(part) for part in rows.split(batch_size)]), run(rows))


def test_it_reaches_the_optimum_of_a_linear_surrogate():
    oracle, x = LinearOracle(), some_images(3)
    labels = torch.tensor([0, 1, 2])
    for threat in (PixelLinf(8), PixelLinf(200, "doubled", valid_ratio=0.5)):
        attack = APGD(threat, loss=lambda z, k: z[:, 1] - z[:, 0], steps=20, **EVERY_SAMPLE)
        adv = attack(oracle, x, labels * 0, victim=lambda x: torch.eye(3)[[0] * len(x)])
        expected = oracle.worst_case(x, labels * 0, threat)
        torch.testing.assert_close(adv, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    oracle, x = LinearOracle(dtype=dtype), some_images(3, dtype=dtype)
    adv = APGD(PixelLinf(8), steps=5, **EVERY_SAMPLE)(
        oracle, x, torch.tensor([0, 1, 2]), victim=oracle
    )
    assert adv.dtype == dtype
    assert not torch.equal(adv, x)


def test_it_climbs_higher_than_pgd_on_a_rough_surface():
    x = images(20)
    labels = torch.zeros(20, dtype=torch.int64)
    threat, never = PixelLinf(32), Never(labels)
    best = []
    for attack in (
        PGD(threat, steps=50, step_size_255=8.0, **EVERY_SAMPLE),
        APGD(threat, steps=50, **EVERY_SAMPLE),
    ):
        adv = attack(Net(15.0), x, labels, victim=never)
        best.append(cross_entropy(Net(15.0)(adv), labels).mean())
    assert best[1] > best[0]
