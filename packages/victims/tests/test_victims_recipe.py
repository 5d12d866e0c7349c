"""Recipes: the rate of every step, and what is refused."""

import math

import pytest
import torch
from torch import nn

from leadgrad.victims.training.recipe import Recipe, SGDOneCycle, SGDSteps


def rates(recipe, steps):
    """Rates that an optimiser really uses over a run."""
    parameter = nn.Parameter(torch.ones(1))
    optimizer, scheduler = recipe.build([parameter], steps)
    used = []
    for _ in range(steps):
        used.append(optimizer.param_groups[0]["lr"])
        parameter.grad = torch.ones(1)
        optimizer.step()
        scheduler.step()
    return used


def test_the_rate_drops_tenfold_at_its_milestones():
    assert rates(SGDSteps(), 8) == pytest.approx([0.1] * 4 + [0.01] * 2 + [0.001] * 2)


def test_published_milestones_fall_on_their_steps():
    skipnet, dynconv = SGDSteps(), SGDSteps(milestones=(150 / 350, 250 / 350))
    assert [skipnet.lr_at(step, 64_000) for step in (31_999, 32_000, 47_999, 48_000)] == (
        pytest.approx([0.1, 0.01, 0.01, 0.001])
    )
    per_epoch = 196  # 50,000 images in batches of 256
    first = [dynconv.lr_at(epoch * per_epoch, 350 * per_epoch) for epoch in (149, 150, 249, 250)]
    assert first == pytest.approx([0.1, 0.01, 0.01, 0.001])


def test_the_warm_up_ends():
    recipe = SGDSteps(warmup_steps=3, warmup_lr=0.02)
    assert rates(recipe, 8) == pytest.approx([0.02] * 3 + [0.1] + [0.01] * 2 + [0.001] * 2)


def test_one_cycle_rises_and_falls_to_nothing():
    recipe = SGDOneCycle(max_lr=0.4, warmup=0.25, start_share=0.1)
    used = rates(recipe, 100)
    assert used[0] == pytest.approx(0.04)
    assert max(used) == used[25] == pytest.approx(0.4)
    assert used[:26] == sorted(used[:26])
    assert used[25:] == sorted(used[25:], reverse=True)
    assert used[62] == pytest.approx(0.2 * (1 + math.cos(math.pi * 37 / 75)))
    assert used[99] < 1e-3
    assert recipe.lr_at(100, 100) == pytest.approx(0, abs=1e-15)


def test_a_cycle_may_end_above_0():
    recipe = SGDOneCycle(max_lr=0.4, warmup=0.25, end_share=0.1)
    assert recipe.lr_at(100, 100) == pytest.approx(0.04)
    assert max(rates(recipe, 100)) == pytest.approx(0.4)
    assert recipe.lr_at(62, 100) - 0.04 == pytest.approx(0.9 * SGDOneCycle(0.4).lr_at(62, 100))


@pytest.mark.parametrize("recipe", [SGDOneCycle(warmup=0.0), SGDOneCycle(), SGDSteps()])
@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_short_runs_have_rates_too(recipe, steps):
    assert all(rate > 0 for rate in rates(recipe, steps))


@pytest.mark.parametrize(
    ("recipe", "momentum", "decay", "nesterov"),
    [
        (SGDSteps(momentum=0.5, weight_decay=3e-4), 0.5, 3e-4, False),
        (SGDSteps(nesterov=True), 0.9, 1e-4, True),
        (SGDOneCycle(momentum=0.8), 0.8, 5e-4, True),
    ],
)
def test_the_optimiser_gets_its_settings(recipe, momentum, decay, nesterov):
    optimizer, _ = recipe.build([nn.Parameter(torch.ones(1))], 10)
    (group,) = optimizer.param_groups
    assert (group["momentum"], group["weight_decay"], group["nesterov"]) == (
        momentum,
        decay,
        nesterov,
    )


@pytest.mark.parametrize("recipe", [SGDOneCycle(), SGDSteps(warmup_steps=2)])
def test_a_resumed_schedule_goes_on(recipe):
    whole = rates(recipe, 10)
    parameter = nn.Parameter(torch.ones(1))
    optimizer, scheduler = recipe.build([parameter], 10)
    for _ in range(4):
        optimizer.step()
        scheduler.step()
    kept = optimizer.state_dict(), scheduler.state_dict()
    optimizer, scheduler = recipe.build([parameter], 10)
    optimizer.load_state_dict(kept[0])
    scheduler.load_state_dict(kept[1])
    resumed = []
    for _ in range(6):
        resumed.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert resumed == whole[4:]


@pytest.mark.parametrize("steps", [math.inf, 0, math.nan])
@pytest.mark.parametrize("recipe", [SGDOneCycle(), SGDSteps()])
def test_a_run_without_end_is_refused(recipe, steps):
    with pytest.raises(ValueError, match="give the trainer a finite max_epochs or max_steps"):
        recipe.build([nn.Parameter(torch.ones(1))], steps)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0.0}, "lr must be finite and above 0, got 0.0"),
        ({"lr": math.nan}, "got nan"),
        ({"warmup_steps": -1}, "warmup_steps must not be negative, got -1"),
        ({"milestones": (0.75, 0.5)}, "ascending shares"),
        ({"milestones": (150, 250)}, "divide epochs by their number"),
        ({"milestones": (0.0,)}, "ascending shares"),
    ],
)
def test_steps_refuses(settings, message):
    with pytest.raises(ValueError, match=message):
        SGDSteps(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_lr": -1.0}, "max_lr must be finite and above 0"),
        ({"warmup": 1.0}, r"warmup .* \[0, 1\), got 1.0"),
        ({"start_share": 0.0}, r"start_share .* \(0, 1\], got 0.0"),
        ({"end_share": 1.5}, r"end_share .* \[0, 1\], got 1.5"),
    ],
)
def test_one_cycle_refuses(settings, message):
    with pytest.raises(ValueError, match=message):
        SGDOneCycle(**settings)


def test_the_base_class_leaves_the_recipe_to_subclasses():
    with pytest.raises(NotImplementedError):
        Recipe().build([], 1)
