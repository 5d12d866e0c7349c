"""A network's decisions, tried on the first samples: that they are recorded as they are taken.

An attack is on a copy of the network, and its numbers are made of what the copy's gates record.
Both can go wrong without a word: a closure or a compiled part of the copy may still belong to the
original, and a margin may have something else than the samples on its first axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from leadgrad.victims import Decision
from leadgrad.victims.gates import gates

SAME = 1e-3
"""Greatest difference of logits, in units of the greatest, that folding of BN explains."""

EVERY_GATE = (
    "call every gate in every forward, with the samples on its first axis, and multiply by its "
    "occupancy where its decision does not count"
)


@dataclass(frozen=True)
class Tried:
    """One forward of some samples.

    Args:
        logits: Shape: (N, K).
        names: Of the gates that have decided, in order.
        decisions: Theirs.
    """

    logits: Tensor
    names: tuple[str, ...]
    decisions: tuple[Decision, ...]


Forward = Callable[[nn.Module], Tensor]


def tried(network: nn.Module, forward: Forward) -> Tried:
    """Runs ``forward`` on a network without gradients, and names what decides."""
    names: list[str] = []
    decisions: list[Decision] = []

    def observer(name: str) -> Callable[[Decision], None]:
        def observe(decision: Decision) -> None:
            names.append(name)
            decisions.append(decision)

        return observe

    known = {id(module): name for name, module in network.named_modules()}
    previous = [(gate, gate.observers) for gate in gates(network)]
    try:
        for gate, observers in previous:
            gate.observers = (*observers, observer(known[id(gate)]))
        with torch.no_grad():
            logits = forward(network)
    finally:
        for gate, observers in previous:
            gate.observers = observers
    return Tried(logits, tuple(names), tuple(decisions))


def try_copy(network: nn.Module, victim: nn.Module, forward: Forward) -> None:
    """Compares the network with the copy that is attacked.

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
        return  # it draws; check C3 says so
    if original.names == copy.names and not _differ(original, copy):
        return
    raise ValueError(
        f"an attack is on a copy of the network, and the copy of {name} answers or decides "
        "otherwise on the first samples; keep all that it computes with in modules, parameters, "
        "buffers and methods: lambdas, hooks with closures, and parts that were compiled when it "
        "was built, still belong to the network that was copied"
    )


def _differ(one: Tried, other: Tried) -> bool:
    clear = torch.ones(len(one.logits), dtype=torch.bool, device=one.logits.device)
    for a, b in zip(one.decisions, other.decisions, strict=True):
        if a.hard.shape != b.hard.shape:
            return True
        if len(a.hard) != len(clear):
            return False  # for ``try_axes`` to tell
        near = a.margin.abs() <= SAME * a.margin.abs().max().clamp_min(1)
        flipped = (a.hard != b.hard).reshape(len(clear), -1)
        if bool((flipped & ~near.reshape(len(clear), -1) & clear[:, None]).any()):
            return True
        clear &= ~flipped.any(1)  # rounding has sent it another way from here on
    scale = one.logits.abs().max().clamp_min(1)
    return bool((((one.logits - other.logits).abs() / scale > SAME) & clear[:, None]).any())


def try_axes(victim: nn.Module, runs: Sequence[tuple[int, Forward]]) -> None:
    """Looks whether every gate decides for each sample, on its first axis, in every forward.

    Args:
        victim: As it is attacked.
        runs: Number of samples and a forward of as many; two numbers tell an axis that is as long
            as the batch by chance.

    Raises:
        ValueError: If a gate's first axis is not the samples, or the gates differ between forwards.
    """
    name = type(victim).__name__
    before: Tried | None = None
    for count, forward in runs:
        made = tried(victim, forward)
        for gate, decision in zip(made.names, made.decisions, strict=True):
            shape = tuple(decision.hard.shape)
            if shape[:1] != (count,):
                raise ValueError(
                    f"gate {gate!r} of {name} decides on margins of shape {shape} for {count} "
                    "samples, expected the samples on the first axis: move that axis to the front "
                    f"(margin.transpose(0, 1)), and {EVERY_GATE}"
                )
        if before is not None:
            require_same_gates(name, before.decisions, made.decisions, whole=False)
        before = made


def require_same_gates(
    name: str,
    before: Sequence[Decision] | Sequence[Tensor],
    after: Sequence[Decision] | Sequence[Tensor],
    *,
    whole: bool = True,
) -> None:
    """Compares the decisions of two forwards by number and shape.

    Args:
        name: Of the network.
        before: Of one forward.
        after: Of another.
        whole: Whether both are of equally many samples.

    Raises:
        ValueError: If they are not of the same gates.
    """
    if len(before) != len(after):
        raise ValueError(
            f"{name} took {len(before)} decisions in one forward and {len(after)} in another, so "
            f"that they cannot be compared one by one; {EVERY_GATE}"
        )
    start = 0 if whole else 1
    for number, (one, other) in enumerate(zip(_units(before), _units(after), strict=True)):
        if one.shape[start:] != other.shape[start:]:
            raise ValueError(
                f"decision {number} of {name} has shape {tuple(one.shape[start:])} in one forward "
                f"and {tuple(other.shape[start:])} "
                f"in another, so that they cannot be compared one by one; {EVERY_GATE}"
            )


def _units(decisions: Sequence[Decision] | Sequence[Tensor]) -> list[Tensor]:
    return [each.hard if isinstance(each, Decision) else each for each in decisions]
