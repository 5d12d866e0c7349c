"""DI-FGSM: MI-FGSM whose gradients are taken of images that are resized and moved at random.

    x ← project(x + α · sign(velocity(∇L(surrogate(T(x))))))             Xie et al. 2019

T keeps an image as it is, or shrinks it and puts it somewhere in a frame of zeros of the same size,
anew at each step: what the gradient says then holds for more than one alignment of the image with
the network's strides, which other networks do not share.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from leadgrad.attacks.iterative import Momentum, Slope
from leadgrad.attacks.models import LooksAhead, Model, foresees
from leadgrad.attacks.output import Answer
from leadgrad.attacks.samples import Samples
from leadgrad.attacks.seeding import sample_generator


@dataclass(frozen=True)
class DIFGSM(Momentum):
    """MI-FGSM on diverse inputs.

    Args:
        least_side: Least side of a shrunk image, as a share of the frame's.
        probability: Of an image to be transformed, at each step. At 0 this is MI-FGSM.
    """

    least_side: float = 0.9
    probability: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.least_side <= 1:
            raise ValueError(f"least_side must be a share in (0, 1], got {self.least_side}")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability must lie in [0, 1], got {self.probability}")

    def look_at(self, x: Tensor, velocity: Tensor, alpha: float, slope: Slope) -> Tensor:
        """At the iterate, of which the surrogate is shown a view."""
        return x

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
        """The last iterate, as in the paper."""
        return super().run(
            Diverse(surrogate, self, samples),
            inputs,
            labels,
            victim=victim,
            eligible=eligible,
            samples=samples,
        )


@dataclass
class Diverse:
    """A surrogate that is shown another view of its inputs at every call.

    Args:
        model: The surrogate.
        attack: Whose settings and seed count.
        samples: Of the batch: each draws for itself.
        calls: So far.
    """

    model: Model
    attack: DIFGSM
    samples: Samples
    calls: int = field(default=0)

    def __call__(self, x: Tensor) -> Answer:
        """The model's answer to the next view."""
        self.calls += 1
        return self.model(self.view(x))

    @property
    def looks_ahead(self) -> bool:
        """Whether the model does."""
        return foresees(self.model)

    @property
    def taken(self) -> float:
        """As the model's; 0 of one that does not look ahead."""
        return self.model.taken if isinstance(self.model, LooksAhead) else 0.0

    def ahead(self, proposed: Tensor) -> Model:
        """The model, told of the same view of the step as it was shown last."""
        assert isinstance(self.model, LooksAhead), "asked before"
        model = self.model.ahead(self.view(proposed))
        return lambda x: model(self.view(x))

    def view(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) as the present call's draws have them."""
        draws = torch.stack(
            [
                torch.rand(4, generator=sample_generator(self.attack.seed, id_, self._stream()))
                for id_ in self.samples.ids.tolist()
            ]
        ).to(x)[self.samples.owner]
        side = self.attack.least_side + (1 - self.attack.least_side) * draws[:, 1]
        return torch.where(
            (draws[:, 0] < self.attack.probability)[:, None, None, None],
            placed(x, side, 2 * draws[:, 2:] - 1),
            x,
        )

    def _stream(self) -> str:
        return f"diverse {self.calls}"


def placed(images: Tensor, side: Tensor, place: Tensor) -> Tensor:
    """Images shrunk, bilinearly, and put into a frame of zeros of their size.

    Args:
        images: Shape: (N, C, H, W).
        side: Share of the frame that an image's side has, in (0, 1]. Shape: (N,).
        place: From -1, at the left or top edge of the frame, to 1. Shape: (N, 2), x and y.
    """
    middle = place * (1 - side)[:, None]
    theta = torch.zeros(len(images), 2, 3, dtype=images.dtype, device=images.device)
    for axis in range(2):
        theta[:, axis, axis] = 1 / side
        theta[:, axis, 2] = -middle[:, axis] / side
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)
