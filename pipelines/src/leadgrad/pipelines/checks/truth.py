"""C8: gradients are the derivatives of what they claim, by finite differences in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from leadgrad.attacks import sample_generator
from leadgrad.pipelines.attack.attempt import Batch
from leadgrad.pipelines.checks.methods import Held, Kind, Replay, kind
from leadgrad.pipelines.checks.subject import NO_GATES, Subject
from leadgrad.pipelines.checks.verdicts import Check, Question
from leadgrad.victims import FGM, GradientMethod, VoxelFGM

GREATEST_ERROR = 1e-3  # relative
DIRECTIONS = 8
SPARED = 2
"""Directions of each sample that may disagree. Of the millions of ReLUs of a network at 224 x 224,
some direction crosses one at every step; a wrong gradient is wrong in nearly all directions."""
SAMPLES = 8
HALF_STEPS = (1e-8, 1e-9, 1e-6)
"""In the [0, 1] image. A wrong gradient is wrong at each, while a kink of ReLU or rounding spoils
a right one at some: trained networks of 110 layers have kinks within 1e-7 of most images."""
TINY = 1e-13
"""Far above what float64 resolves of an image, far below what float32 does."""
JITTER = 1e-3
"""By which inputs are moved before their gradient is measured. Equal pixels can put a ReLU exactly
on its kink, where every difference, but no derivative, is the mean of two slopes."""

Forward = Callable[[Tensor], Tensor]


def truth_of_frozen(subject: Subject) -> Check:
    """C8 of FGM: its gradient is the derivative of the network with its decisions held."""
    return _truth(subject, _question(subject, "FGM"), FGM())


def truth_of_method(subject: Subject) -> Check:
    """C8 of the run's method: its gradient is the derivative of its own soft network."""
    method = subject.module.method
    ask = _question(subject, f"the method ({type(method).__name__})")
    if not subject.module.decides:
        return ask.skipped(NO_GATES)
    if isinstance(method, FGM | VoxelFGM):
        return ask.skipped("the method is FGM, see above")
    return _truth(subject, ask, method)


def _question(subject: Subject, method: str) -> Question:
    return Question(
        "C8",
        f"gradient of {method} is true",
        f"relative error ≤ {GREATEST_ERROR:g} in float64, {DIRECTIONS} directions but {SPARED}",
        "a custom backward is wrong, or something between input and logits is detached",
        min(SAMPLES, len(subject)),
    )


def _truth(subject: Subject, ask: Question, method: GradientMethod) -> Check:
    """Compares directional derivatives of a random mix of the logits.

    Not of the attack's loss, because a confident sample's cross-entropy is flat.
    """
    few = subject.rows(slice(SAMPLES))
    if few.inputs.device.type == "mps":
        return ask.skipped("this device has no float64")
    network = copy.deepcopy(subject.module.victim).double()
    few = replace(few, batch=_moved(few))
    x = few.inputs
    try:
        with torch.no_grad():
            classes = int(few.attempt.forward(network, x).shape[1])
    except RuntimeError as error:
        return ask.skipped(f"the victim has no float64 copy: {str(error).splitlines()[0]}")
    forward = differentiable(few, network, method)
    if forward is Kind.STRAIGHT:
        return ask.skipped(f"{Kind.STRAIGHT.value}, so that no difference of it can be taken")
    if isinstance(forward, Kind):
        return ask.warned(forward.value, "the method says another gradient than its values'")
    mix, directions = _draws(few, classes)
    gradient = _gradient(lambda at: (few.under(method, at, network).logits * mix).sum(), x)
    claimed = torch.stack([few.samples.total(_summed(gradient * d)) for d in directions], 1)
    greatest = float("inf")
    # Of each direction the step that agrees best: in a large network some direction meets a kink
    # at every step, but hardly one direction does at all of them
    nearest = torch.full_like(claimed, torch.inf)
    for step in HALF_STEPS:
        changes = []
        for direction in directions:
            with torch.no_grad():
                ends = [forward(x + sign * step * direction) for sign in (1, -1)]
            changes.append(few.samples.total(((ends[0] - ends[1]) * mix).sum(1)) / (2 * step))
        change = torch.stack(changes, 1)
        nearer = (change - claimed).abs() < (nearest - claimed).abs()
        nearest = torch.where(nearer, change, nearest)
        greatest = float(_relative_error(nearest, claimed).max())
        if greatest <= GREATEST_ERROR:
            break
    if greatest > GREATEST_ERROR and _casts(forward, x, directions[0], claimed[:, 0], few):
        return ask.warned(
            f"not measurable: a step of {TINY:g} changes nothing",
            "something inside the network casts to a lower precision (.float(), .half()), which "
            "hides the steps that a derivative is measured with: cast to the weights' dtype there",
        )
    # "not ≤", so that NaN fails
    return ask.fails_if(not greatest <= GREATEST_ERROR, f"greatest relative error {greatest:.2g}")


def _casts(forward: Forward, x: Tensor, direction: Tensor, claimed: Tensor, few: Subject) -> bool:
    """Whether most samples that have a gradient do not feel a step that float64 resolves."""
    with torch.no_grad():
        high, low = (forward(x + sign * TINY * direction) for sign in (1, -1))
    unmoved = few.samples.all((high == low).all(1))[claimed != 0]
    return bool(len(unmoved)) and float(unmoved.double().mean()) > 0.5


def differentiable(few: Subject, network: nn.Module, method: GradientMethod) -> Forward | Kind:
    """The forward whose derivative at the clean inputs the method's gradient claims to be.

    Args:
        few: In float64.
        network: The victim, in float64.
        method: Any.

    Returns:
        Under a method that freezes occupancies, the network with them held; under a relaxation, the
        soft network, with what the method takes for constant held at the clean inputs; the kind of
        any other method, whose gradient is that of no forward. The candidates of a voxel network
        stay the same within the least of steps, so that its soft forward is the one to compare.
    """
    with torch.no_grad():
        decisions = few.under(method, few.inputs, network).decisions
    if not decisions:
        return lambda at: few.under(method, at, network).logits
    relation = kind(method, decisions)
    if relation is Kind.FROZEN:
        held = [each.occupancy for each in decisions]
        return lambda at: few.under(Replay(held), at, network).logits
    if relation is Kind.RELAXED:
        return lambda at: few.under(Held(method, decisions), at, network).logits
    return relation


def _gradient(value: Forward, x: Tensor) -> Tensor:
    """Of a scalar; zero where it does not depend on ``x``."""
    with torch.enable_grad():
        at = x.clone().requires_grad_()
        scalar = value(at)
        if not scalar.requires_grad:
            return torch.zeros_like(x)
        (gradient,) = torch.autograd.grad(scalar, at, allow_unused=True)
    return torch.zeros_like(x) if gradient is None else gradient


def _relative_error(measured: Tensor, claimed: Tensor) -> Tensor:
    """Per sample, over its directions (S, D) but for the worst. Shape: (S,)."""
    finite = measured.isfinite().all(1) & claimed.isfinite().all(1)
    agreeing = (measured - claimed).abs().argsort(dim=1)[:, : measured.shape[1] - SPARED]
    measured, claimed = measured.gather(1, agreeing), claimed.gather(1, agreeing)
    scale = torch.maximum(measured.norm(dim=1), claimed.norm(dim=1))
    # The floor: no change and no gradient agree
    error: Tensor = (measured - claimed).norm(dim=1) / scale.clamp_min(1e-300)
    return torch.where(finite, error, torch.nan)


def _summed(values: Tensor) -> Tensor:
    """Each row's sum. (R, ...) to (R,)."""
    return values.flatten(1).sum(1)


def _moved(few: Subject) -> Batch:
    """The batch in float64, its inputs a little off their place, each sample in its own way."""
    draw = partial(torch.rand, dtype=torch.float64)
    off = JITTER * _drawn(few, "gradient truth, place", draw, few.inputs.shape[1:])
    wide = {
        key: values.double() if values.is_floating_point() else values
        for key, values in few.batch.items()
    }
    key = next(key for key, values in few.batch.items() if values is few.inputs)
    return {**wide, key: few.inputs.double() + off}


def _draws(few: Subject, classes: int) -> tuple[Tensor, list[Tensor]]:
    """Weights of the logits (R, K), and directions of signs (R, ...), by sample."""

    def signs(*shape: int, generator: torch.Generator) -> Tensor:
        return torch.randint(0, 2, shape, generator=generator).double() * 2 - 1

    mix = _drawn(few, "gradient truth", partial(torch.randn, dtype=torch.float64), (classes,))
    directions = [
        _drawn(few, f"gradient truth, direction {number}", signs, few.inputs.shape[1:])
        for number in range(DIRECTIONS)
    ]
    return mix, directions


def _drawn(
    few: Subject, stream: str, draw: Callable[..., Tensor], shape: tuple[int, ...]
) -> Tensor:
    """Random numbers for each row, those of a sample from its own generator. (R, *shape)."""
    sizes = few.samples.total(torch.ones_like(few.samples.owner)).tolist()
    parts = [
        draw(size, *shape, generator=sample_generator(0, sample, stream))
        for sample, size in zip(few.index.tolist(), sizes, strict=True)
    ]
    return torch.cat(parts).to(few.inputs.device)
