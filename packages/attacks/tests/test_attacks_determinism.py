"""Results depend on the sample, its id and the seed, and on nothing else."""

import pytest
import torch
from oracles import EVERY_SAMPLE, NAMES, LinearOracle, attacks, some_images
from torch import nn

from leadgrad.attacks import PGD, PixelLinf, sample_generator, uniform_like

EACH = pytest.mark.parametrize("name", NAMES)
RANDOM = pytest.mark.parametrize(
    "name", ["PGD", "APGD", "AnnealedPGD", "RandomNoise", "UniformNoise"]
)
THREAT = PixelLinf(8, valid_ratio=0.5)
COUNT = 7


class Bent(nn.Module):
    """A victim that is not linear, and whose rounding does not depend on the batch."""

    def __init__(self):
        super().__init__()
        self.inner = LinearOracle(seed=7)

    def forward(self, x):
        logits = self.inner(x)
        waves = torch.stack([(9 * x).sin().flatten(1).sum(1), (11 * x).cos().flatten(1).sum(1)], 1)
        return torch.cat([logits[:, :1], logits[:, 1:] + waves], 1)


def run(name, rows, *, seed=0, ids=None, victim=None):
    victim = victim or Bent()
    x = some_images(COUNT)
    labels = torch.arange(COUNT) % 3
    if name == "AnnealedPGD":  # which leaves alone what is wrong already
        labels = victim(x).argmax(1)
    ids = torch.arange(100, 100 + COUNT) if ids is None else ids
    attack = attacks(THREAT, seed=seed, **EVERY_SAMPLE)[name]
    return attack(victim, x[rows], labels[rows], victim=victim, sample_ids=ids[rows])


@EACH
@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_batch_size_does_not_matter(name, batch_size):
    whole = run(name, torch.arange(COUNT))
    parts = [run(name, rows) for rows in torch.arange(COUNT).split(batch_size)]
    assert torch.equal(torch.cat(parts), whole)


@EACH
def test_order_does_not_matter(name):
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    assert torch.equal(run(name, order), run(name, torch.arange(COUNT))[order])


@EACH
def test_the_same_seed_gives_the_same_result_whatever_was_drawn_before(name):
    first = run(name, torch.arange(COUNT))
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again = run(name, torch.arange(COUNT))
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), state), "the global stream is not drawn from"


@RANDOM
def test_another_seed_and_another_id_give_another_result(name):
    rows = torch.arange(COUNT)
    first = run(name, rows)
    assert not (run(name, rows, seed=1) == first).flatten(1).all(1).any()
    ids = torch.arange(100, 100 + COUNT)
    ids[2] = 7
    moved = (run(name, rows, ids=ids) == first).flatten(1).all(1)
    assert moved.tolist() == [True, True, False, True, True, True, True]


def test_attacks_without_randomness_ignore_seed_and_ids():
    rows = torch.arange(COUNT)
    for name in ("FGSM", "IFGSM", "MIFGSM", "NIFGSM", "CarliniWagner"):
        assert torch.equal(run(name, rows), run(name, rows, seed=5, ids=torch.arange(COUNT)))


def test_ids_count_from_zero_if_there_are_none():
    oracle, x = LinearOracle(), some_images(3)
    labels = torch.tensor([0, 1, 2])
    attack = attacks(THREAT, **EVERY_SAMPLE)["RandomNoise"]
    named = attack(oracle, x, labels, victim=oracle, sample_ids=torch.arange(3))
    assert torch.equal(attack(oracle, x, labels, victim=oracle), named)


def test_restarts_start_elsewhere():
    x = some_images(2)
    starts = []

    def victim(images):
        starts.append(images.detach().clone())
        return torch.stack([images.flatten(1).sum(1) * 0 + 1, images.flatten(1).sum(1) * 0], 1)

    labels = torch.tensor([0, 0])
    PGD(PixelLinf(8), steps=1, restarts=3)(victim, x, labels, victim=victim)
    # The clean victim, then per restart the surrogate, and between restarts the victim
    first, second, third = starts[1], starts[3], starts[5]
    for start in (first, second, third):
        assert (start - x).abs().max() <= 8 / 255 + 1e-15
        assert not torch.equal(start, x)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)


def test_a_sample_draws_by_seed_id_and_stream():
    def draw(*key):
        return torch.rand(3, generator=sample_generator(*key)).tolist()

    assert draw(0, 5, "start") == draw(0, 5, "start")
    others = [draw(1, 5, "start"), draw(0, 6, "start"), draw(0, 5, "noise"), draw(0, -5, "start")]
    assert all(other != draw(0, 5, "start") for other in others)


def test_uniform_values_are_uniform_in_the_inputs_form():
    for dtype in (torch.float32, torch.float64, torch.float16):
        like = torch.zeros(4, 3, 20, 20, dtype=dtype)
        noise = uniform_like(like, seed=0, sample_ids=torch.arange(4), stream="noise")
        assert noise.dtype == dtype
        assert noise.shape == like.shape
        values = noise.double().flatten()
        assert values.abs().max() <= 1
        quantiles = values.quantile(torch.tensor([0.1, 0.5, 0.9], dtype=torch.double))
        expected = torch.tensor([-0.8, 0.0, 0.8], dtype=torch.double)
        torch.testing.assert_close(quantiles, expected, atol=0.06, rtol=0)
    empty = uniform_like(
        torch.zeros(0, 3, 2, 2), seed=0, sample_ids=torch.arange(0), stream="noise"
    )
    assert empty.shape == (0, 3, 2, 2)


def test_noise_is_the_same_on_every_machine():
    """The numbers themselves, so that a change of the seeding shows."""
    drawn = torch.rand(4, generator=sample_generator(0, 0, "noise"))
    expected = torch.tensor([0.66340810, 0.78970325, 0.73251605, 0.16306865])
    torch.testing.assert_close(drawn, expected, atol=1e-6, rtol=0)
