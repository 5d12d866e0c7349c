"""A line through a gate's decision: what is there, and what FGM and LGM see of it.

At an image x the line is x + t·sign(dq/dx) for one unit's margin q: along it every pixel moves by t
at most, and q changes as fast as it can. There the true class's logit is a function of t alone,
with a jump where the unit decides otherwise. Each method knows its derivative at t = 0, and steps
to where that falls. In the direction of an attack's own step, the sign of LGM's whole gradient, the
two hardly ever disagree: over thousands of pixels the frozen part outweighs one unit's jump.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from leadgrad.victims import LGM, Sigmoid, gradient_method, record_decisions

POINTS = 401
"""Of a line, an odd number: the present point is among them."""

REACH = 1.6
"""How far a line is drawn to either side, in steps."""


NEAREST = 4
"""Units of each gate in each image that are looked at."""

TRACED = 20
"""Lines that are traced, of those on which the methods' steps end farthest apart."""

CROSSED = (0.15, 0.85)
"""Where the step crosses the unit's decision, in steps: so that both sides of it are seen."""


@dataclass(frozen=True)
class Candidate:
    """A unit near its decision, and what the two methods do on its line. Logits of the true class.

    Args:
        image: Position in the batch.
        gate: Number of the gate.
        unit: Its unit, in the margin's flat order.
        direction: sign(dq/dx) of its margin. Shape: (3, H, W).
        fgm: Derivative that FGM sees, per pixel level.
        lgm: That LGM sees.
        now: The exact victim's logit.
        after_fgm: Where FGM's step ends.
        after_lgm: Where LGM's does.
    """

    image: int
    gate: int
    unit: int
    direction: Tensor
    fgm: float
    lgm: float
    now: float
    after_fgm: float
    after_lgm: float

    @property
    def gap(self) -> float:
        """How much lower LGM's step ends than FGM's."""
        return self.after_fgm - self.after_lgm


@dataclass(frozen=True)
class Line:
    """A candidate's line, at ``POINTS`` places. Logits of the true class.

    Args:
        t_255: Places, in pixel levels, 0 in the middle. Shape: (P,).
        hard: The exact victim's logit. Shape: (P,).
        soft: LGM's. Shape: (P,).
        margin: The unit's, of the exact victim. Shape: (P,).
        flips: Units of any gate that decide otherwise than one place before. Shape: (P,).
    """

    t_255: Tensor
    hard: Tensor
    soft: Tensor
    margin: Tensor
    flips: Tensor

    @property
    def shift(self) -> float:
        """What LGM's logit lacks at the present point."""
        return float(self.hard[POINTS // 2] - self.soft[POINTS // 2])

    @property
    def misfit(self) -> float:
        """How far LGM's logit, shifted, is from the exact one, in deviations of the latter."""
        apart = self.hard - self.soft - self.shift
        return float(apart.square().mean().sqrt() / self.hard.std())

    @property
    def crossings(self) -> Tensor:
        """Places where the unit's margin changes its sign, in pixel levels."""
        changed = (self.margin[1:] >= 0) != (self.margin[:-1] >= 0)
        return (self.t_255[1:] + self.t_255[:-1])[changed] / 2


def candidates(
    victim: nn.Module, images: Tensor, labels: Tensor, *, slope: float, step_255: float
) -> list[Candidate]:
    """The units nearest to their decision, of every gate in every image that is right.

    Args:
        victim: In evaluation mode, prepared for attack.
        images: Shape: (B, 3, H, W), in [0, 1].
        labels: Shape: (B,).
        slope: λ of LGM's sigmoid.
        step_255: Of both methods, in pixel levels.

    Raises:
        ValueError: If the victim has no gates, or gets no image right.
    """
    x = images.clone().requires_grad_()
    with record_decisions(victim) as recorded:
        logits = victim(x)
    right = logits.argmax(1) == labels
    if not any(each.margin.requires_grad for each in recorded) or not bool(right.any()):
        raise ValueError(
            f"{type(victim).__name__} decides nothing by these {len(images)} images, or gets none "
            "of them right; give an adaptive victim, and images of its data"
        )
    true = _true(logits, labels)
    (frozen,) = torch.autograd.grad(true.sum(), x, retain_graph=True)
    led_at = images.clone().requires_grad_()
    with gradient_method(victim, LGM(Sigmoid(slope))):
        (led,) = torch.autograd.grad(_true(victim(led_at), labels).sum(), led_at)
    found = []
    for number, decision in enumerate(recorded):
        if not decision.margin.requires_grad:
            continue
        margins = decision.margin.reshape(len(images), -1)
        sizes = margins.detach().abs().nan_to_num(torch.inf)
        nearest = sizes.topk(min(NEAREST, sizes.shape[1]), largest=False).indices
        for units in nearest.unbind(1):
            of = margins.gather(1, units[:, None]).sum()
            (of_margin,) = torch.autograd.grad(of, x, retain_graph=True)
            direction = of_margin.sign()
            slopes = [(each * direction).flatten(1).sum(1) / 255 for each in (frozen, led)]
            ends = []
            for each in slopes:
                step = each.sign().view(-1, 1, 1, 1) * step_255 / 255
                with torch.no_grad():
                    ends.append(_true(victim(images - step * direction), labels))
            numbers = torch.stack([*slopes, true.detach(), *ends], 1)
            for image in right.nonzero().flatten().tolist():
                own = numbers[image].tolist()
                found.append(Candidate(image, number, int(units[image]), direction[image], *own))
    return found


def opposed(found: Sequence[Candidate]) -> list[Candidate]:
    """Those on whose line the two methods step to opposite sides."""
    return [one for one in found if one.fgm * one.lgm < 0]


def clearest(
    victim: nn.Module,
    images: Tensor,
    found: Sequence[Candidate],
    *,
    slope: float,
    step_255: float,
    labels: Tensor,
) -> tuple[Candidate, Line]:
    """The line that shows best how LGM leads.

    LGM's step crosses the unit's decision to a lower logit, FGM's goes the other way to a higher
    one, and LGM's logit follows the exact one most closely.

    Args:
        victim: As of ``candidates``.
        images: Likewise.
        found: Candidates, of which those with the greatest gap are looked at first.
        slope: As of ``candidates``.
        step_255: Likewise.
        labels: Likewise.

    Raises:
        ValueError: If there is none.
    """
    led = [one for one in opposed(found) if one.after_lgm < one.now < one.after_fgm]
    best: tuple[float, Candidate, Line] | None = None
    for one in sorted(led, key=lambda each: -each.gap)[:TRACED]:
        line = trace(victim, images[one.image], labels[one.image], one, slope, step_255)
        towards = -1 if one.lgm > 0 else 1
        low, high = (share * step_255 for share in CROSSED)
        if not any(low < towards * place < high for place in line.crossings.tolist()):
            continue
        if best is None or line.misfit < best[0]:
            best = (line.misfit, one, line)
    if best is None:
        raise ValueError(
            f"on none of {len(found)} lines does LGM step across the unit's decision to a lower "
            "logit, and FGM to a higher one; take more images, another --step_255 or --slope"
        )
    return best[1:]


def trace(
    victim: nn.Module,
    image: Tensor,
    label: Tensor,
    candidate: Candidate,
    slope: float,
    step_255: float,
) -> Line:
    """What is on a candidate's line.

    Args:
        victim: As of ``candidates``.
        image: The candidate's. Shape: (3, H, W).
        label: Its class.
        candidate: Whose line.
        slope: As of ``candidates``.
        step_255: Likewise; the line is ``REACH`` times as long to either side.
    """
    t = torch.linspace(-REACH * step_255, REACH * step_255, POINTS)
    t[POINTS // 2] = 0
    hard, soft, margin, flips = [], [], [], []
    before: Tensor | None = None
    for part in torch.split(t, 64):
        moved = image + part.view(-1, 1, 1, 1) / 255 * candidate.direction
        labels = label.expand(len(part))
        with torch.no_grad(), record_decisions(victim) as recorded:
            hard.append(_true(victim(moved), labels))
        margins = recorded[candidate.gate].margin.reshape(len(part), -1)
        margin.append(margins[:, candidate.unit])
        units = torch.cat([each.hard.reshape(len(part), -1) for each in recorded], 1)
        before = units[:1] if before is None else before
        flips.append((units != torch.cat([before, units[:-1]])).sum(1))
        before = units[-1:]
        with torch.no_grad(), gradient_method(victim, LGM(Sigmoid(slope))):
            soft.append(_true(victim(moved), labels))
    return Line(t, *(torch.cat(parts) for parts in (hard, soft, margin, flips)))


def pieces(line: Line) -> Iterator[slice]:
    """Stretches of a line on which no unit changes its decision."""
    edges = [0, *line.flips.nonzero().flatten().tolist(), len(line.t_255)]
    for first, last in pairwise(edges):
        if last > first:
            yield slice(first, last)


def _true(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.gather(1, labels[:, None])[:, 0]
