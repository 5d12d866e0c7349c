"""A network's decisions, tried on the first samples: that they are recorded as they are taken.

An attack is on a copy of the network, and its numbers are made of what the copy's gates record.
Both can go wrong without a word: a closure or a compiled part of the copy may still belong to the
original, and a margin may have something else than the samples on its first axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest

import torch
from torch import Tensor, nn

from leadgrad.victims import Decision
from leadgrad.victims.occupancy.deciding import Deciding, observed
from leadgrad.victims.occupancy.gates import gates
from leadgrad.victims.occupancy.places import Places

SAME = 1e-3
"""Greatest difference of logits, in units of the greatest, that folding of BN explains."""

EVERY_GATE = (
    "call every gate in every forward, in the same order and with the samples on its first axis, "
    "and multiply by its occupancy where its decision does not count"
)

OWN_PARTS = (
    "keep all that it computes with in modules, parameters, buffers and methods: lambdas, hooks "
    "with closures, and parts that were compiled when it was built, still belong to the network "
    "that was copied"
)


@dataclass(frozen=True)
class Tried:
    """One forward of some samples. R rows, K classes.

    Args:
        logits: Shape: (R, K).
        names: Of the gates that have decided, in order.
        decisions: Theirs.
        places: What voxelizers have decided, in order.
    """

    logits: Tensor
    names: tuple[str, ...]
    decisions: tuple[Decision, ...]
    places: tuple[Places, ...] = ()

    @property
    def hard(self) -> list[Tensor]:
        """What the gates execute, one bool tensor (B, ...) per gate."""
        return [decision.hard for decision in self.decisions]

    @property
    def recorded(self) -> tuple[Decision | Places, ...]:
        """All that was decided: by gates, then by voxelizers."""
        return (*self.decisions, *self.places)


Forward = Callable[[nn.Module], Tensor]


def tried(network: nn.Module, forward: Forward) -> Tried:
    """Runs ``forward`` on a network, and names what decides."""
    made: list[tuple[str, Decision]] = []
    places: list[Places] = []

    def note(name: str, decision: Decision | Places) -> None:
        if isinstance(decision, Places):
            places.append(decision)
        else:
            made.append((name, decision))

    with ExitStack() as watching:
        for name, module in network.named_modules():
            if isinstance(module, Deciding):
                watching.enter_context(observed(network, [module], partial(note, name)))
        logits = forward(network)
    names = tuple(name for name, _ in made)
    return Tried(logits, names, tuple(decision for _, decision in made), tuple(places))


@torch.no_grad()
def try_copy(network: nn.Module, victim: nn.Module, forward: Forward) -> Tried:
    """Compares the network with the copy that is attacked; the copy's forward.

    Raises:
        ValueError: If the copy answers or decides otherwise, or has gates of which none decides.
    """
    name = type(network).__name__
    copy = tried(victim, forward)
    found = gates(victim)
    if found and not copy.decisions:
        raise ValueError(
            f"{name} has {len(found)} gates, but none of them decides when it is attacked; keep "
            "what calls them in modules and methods of the network: a lambda, a hook with a "
            "closure, or a part that was compiled when the network was built, still calls the "
            "gates of the network that was copied"
        )
    original, again = tried(network, forward), tried(network, forward)
    if not torch.equal(original.logits, again.logits):
        return copy  # it draws; check C3 says so
    if original.names == copy.names and not _differ(original, copy):
        return copy
    raise ValueError(
        f"an attack is on a copy of the network, and the copy of {name} answers or decides "
        f"otherwise on the first samples; {OWN_PARTS}"
    )


def _differ(one: Tried, other: Tried) -> bool:
    clear = torch.ones(len(one.logits), dtype=torch.bool, device=one.logits.device)
    for a, b in zip(one.decisions, other.decisions, strict=True):
        if a.hard.shape != b.hard.shape:
            return True
        if len(a.hard) != len(clear):
            return False  # for ``require_samples_first`` to tell
        size = a.margin.abs()
        # Of a token that was pruned before it is infinite, beside which all others would be near
        near = size <= SAME * size.masked_fill(size.isinf(), 0).max().clamp_min(1)
        flipped = (a.hard != b.hard).reshape(len(clear), -1)
        if bool((flipped & ~near.reshape(len(clear), -1) & clear[:, None]).any()):
            return True
        clear &= ~flipped.any(1)  # rounding has sent it another way from here on
    scale = one.logits.abs().max().clamp_min(1)
    return bool((((one.logits - other.logits).abs() / scale > SAME) & clear[:, None]).any())


def require_samples_first(name: str, forwards: Sequence[Tried]) -> None:
    """Looks whether every gate decides for each sample, on its first axis, in every forward.

    Args:
        name: Of the network.
        forwards: Of it; two numbers of samples tell an axis that is as long as the batch by chance.

    Raises:
        ValueError: If a gate's first axis is not the samples, or the gates differ between forwards.
    """
    for made in forwards:
        count = len(made.logits)
        for gate, decision in zip(made.names, made.decisions, strict=True):
            shape = tuple(decision.hard.shape)
            if shape[:1] != (count,):
                raise ValueError(
                    f"gate {gate!r} of {name} decides on margins of shape {shape} for {count} "
                    "samples, expected the samples on the first axis: move that axis to the front "
                    f"(margin.transpose(0, 1)), and {EVERY_GATE}"
                )
        require_same_gates(name, forwards[0], made, whole=False)


def require_same_gates(name: str, before: Tried, after: Tried, *, whole: bool = True) -> None:
    """Compares the decisions of two forwards by gate and shape, in order.

    Args:
        name: Of the network.
        before: Of one forward.
        after: Of another.
        whole: Whether both are of equally many samples.

    Raises:
        ValueError: If they are not of the same gates.
    """
    start = 0 if whole else 1
    pairs = zip_longest(_asked(before, start), _asked(after, start), fillvalue="no gate")
    for number, (one, other) in enumerate(pairs):
        if one != other:
            raise ValueError(
                f"decision {number} of {name} is taken by {one} in one forward and by {other} in "
                f"another, so that they cannot be compared one by one; {EVERY_GATE}"
            )


def _asked(made: Tried, start: int) -> list[str]:
    """Which gates have decided, in order, each with its margin's axes from ``start`` on."""
    return [
        f"gate {gate!r} on margins of shape {tuple(decision.hard.shape[start:])}"
        for gate, decision in zip(made.names, made.decisions, strict=True)
    ]
