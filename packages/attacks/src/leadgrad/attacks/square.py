"""Square: random search on the victim's answers alone.

Andriushchenko et al. 2020, their L-infinity attack: stripes as a start, then squares of shrinking
size whose colour is a corner of the budget, each kept if it raises the victim's margin loss. Their
schedule of sizes, as shares of the number of queries. One difference: a square that changes nothing
is a lost query here, where theirs is drawn again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from leadgrad.attacks.base import Attack
from leadgrad.attacks.losses import margin
from leadgrad.attacks.models import Model
from leadgrad.attacks.samples import Samples
from leadgrad.attacks.seeding import sample_generator
from leadgrad.attacks.threat import PixelLinf

FIRST_SHARE = 0.8  # of the image's area; their default for L-infinity
HALVED_AT = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
"""Shares of all queries at which the area is halved: theirs, which are 10, 50, ... of 10,000."""


@dataclass(frozen=True)
class Square(Attack):
    """Random search on the victim alone; a sample that has been won stays as it is.

    Each sample draws from a generator of its own, so its result does not depend on its batch.

    Args:
        threat: Budget, convention and valid pixels.
        queries: Forward passes of the victim, at most.
    """

    threat: PixelLinf
    queries: int = 500

    def __post_init__(self) -> None:
        if self.queries < 1:
            raise ValueError(f"queries must be at least 1, got {self.queries}")

    def run(
        self,
        surrogate: Model,
        inputs: Tensor,
        labels: Tensor,
        *,
        victim: Model,
        eligible: Tensor,
        samples: Samples,
    ) -> Tensor:
        """The best point found of each sample; ``surrogate`` is never called."""
        region = self.threat.region(inputs)
        generators = [
            sample_generator(self.seed, sample, "square search") for sample in samples.ids.tolist()
        ]
        radius = self.threat.eps_255 * self.threat.unit
        stripes = torch.stack([_stripes(inputs[0], generator) for generator in generators])
        best = region.project(inputs + radius * stripes.to(inputs))
        value, won = self._judge(victim, best, labels)
        won = won | ~eligible
        for query in range(1, self.queries):
            open_ = (~won).nonzero().flatten()
            if not len(open_):
                break
            side = _side(inputs.shape[-2:], query / self.queries)
            trial = best[open_].clone()
            for row, sample in enumerate(open_.tolist()):
                _recolour(trial[row], inputs[sample], side, radius, generators[sample])
            trial = region.part(open_).project(trial)
            trial_value, trial_won = self._judge(victim, trial, labels[open_])
            better = trial_value > value[open_]
            best[open_] = torch.where(better.view(-1, 1, 1, 1), trial, best[open_])
            value[open_] = torch.maximum(trial_value, value[open_])
            won[open_] = trial_won
        return best

    def _judge(self, victim: Model, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """How near the goal is, rising, and whether it is reached. Shapes: (N,)."""
        with torch.no_grad():
            answer = victim(x)
        return self.goal.objective(answer, labels, margin), self.goal.reached(labels, answer)


def _stripes(image: Tensor, generator: torch.Generator) -> Tensor:
    """A sign for each channel and column. Shape: (C, 1, W)."""
    return _signs((image.shape[0], 1, image.shape[2]), generator)


def _signs(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randint(0, 2, shape, generator=generator).float() * 2 - 1


def _side(size: torch.Size, progress: float) -> int:
    """Of the square, in pixels, after a share of the queries."""
    halvings = sum(progress >= at for at in HALVED_AT)
    area = FIRST_SHARE / 2**halvings * size[0] * size[1]
    return max(1, min(round(float(area**0.5)), int(size[0]), int(size[1])))


def _recolour(
    trial: Tensor, origin: Tensor, side: int, radius: float, generator: torch.Generator
) -> None:
    """Sets one square of an image (C, H, W), in place, to a corner of the budget per channel."""
    height, width = trial.shape[-2:]
    top = int(torch.randint(0, height - side + 1, (), generator=generator))
    left = int(torch.randint(0, width - side + 1, (), generator=generator))
    square = (slice(None), slice(top, top + side), slice(left, left + side))
    colour = radius * _signs((trial.shape[0], 1, 1), generator)
    trial[square] = origin[square] + colour.to(trial)
