"""Checks of the victim and its inputs, on one batch: C1 to C4, C6 and C9.

Sources: the flags of AutoAttack (Croce and Hein 2020) for C3, C4 and C9; Carlini et al. 2019 for
the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from leadgrad.attacks import saturated
from leadgrad.data.base import BatchError
from leadgrad.pipelines.attack.trial import require_same_gates
from leadgrad.pipelines.checks.subject import Subject
from leadgrad.pipelines.checks.verdicts import Check, Question
from leadgrad.victims import Decision, architecture_change

LOGITS = 1e-4
"""Greatest difference of logits that rounding explains, where they are of the order of 1."""

TIE = 1e-4
"""A margin this near to 0 may be decided either way by rounding."""

FEW = 8  # samples that are answered one by one, or attacked once more


def inputs(subject: Subject) -> Check:
    """C1: the clean inputs are what the table of batches says."""
    ask = Question(
        "C1",
        "inputs are what the table of batches says",
        "exact",
        "repair the datamodule: finite, in their units, normalisation in the network",
        len(subject),
    )
    try:
        value = subject.task.check(subject.batch)
    except BatchError as error:
        return ask.failed(str(error))
    return ask.passed(value)


def evaluation(subject: Subject) -> Check:
    """C2: the attack is made in evaluation mode and leaves the victim as it is."""
    few = subject.rows(slice(FEW))
    ask = Question(
        "C2",
        "evaluation mode, and the attack changes nothing",
        "exact",
        "call eval() on every module, keep state out of forward, and take no weight gradients",
        len(few),
    )
    victim = subject.module.victim
    problems = []
    training = [name or "the network" for name, part in victim.named_modules() if part.training]
    if training:
        problems.append(f"{len(training)} modules in train mode, the first is {training[0]}")
    before = state_digest(victim)
    few.attacked()
    if state_digest(victim) != before:
        problems.append("weights or buffers changed in the attack")
    grown = [name for name, weight in victim.named_parameters() if weight.grad is not None]
    if grown:
        problems.append(f"{len(grown)} parameters have a .grad, the first is {grown[0]}")
    return ask.fails_if(bool(problems), "; ".join(problems) or "all in eval, nothing changed")


def state_digest(network: nn.Module) -> str:
    """SHA-256 (hex) over all parameters and buffers, saved or not."""
    sha = hashlib.sha256()
    for tensor in (*network.parameters(), *network.buffers()):
        sha.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return sha.hexdigest()


def determinism(subject: Subject) -> Check:
    """C3: five forwards of the same samples."""
    ask = Question(
        "C3",
        "five forwards agree",
        f"logits within {LOGITS:g}, gates identical",
        "seed the victim's randomness, or average the gradient over it (EOT)",
        len(subject),
    )
    first = subject.attempt.tried(subject.inputs)
    gap, flips = 0.0, 0
    for _ in range(4):
        again = subject.attempt.tried(subject.inputs)
        require_same_gates("the victim", first, again)
        gap = max(gap, _gap(first.logits, again.logits))
        if first.recorded:
            flips += int(architecture_change(first.recorded, again.recorded).changed.sum())
    return ask.warns_if(
        not gap <= LOGITS or flips > 0, f"logits differ by {gap:.2g}, {flips} decisions flip"
    )


def _gap(logits: Tensor, others: Tensor) -> float:
    """Greatest difference, in units of the greatest logit where that is above 1."""
    scale = logits.abs().max().clamp_min(1)
    return float(((logits - others).abs() / scale).max())


def logits_not_probabilities(subject: Subject) -> Check:
    """C4: the outputs are no distribution, whose logarithm of a softmax hides the gradient."""
    ask = Question(
        "C4",
        "outputs are logits",
        "not in [0, 1] with rows that sum to 1",
        "remove the softmax at the network's end; the loss has its own",
        len(subject),
    )
    logits = subject.logits(subject.inputs)
    sums = logits.sum(1)
    inside = bool(((logits >= 0) & (logits <= 1)).all())
    bad = inside and bool(((sums - 1).abs() <= 1e-5).all())
    low, high = float(logits.min()), float(logits.max())
    return ask.warns_if(bad, f"{low:.2f} to {high:.2f}, rows sum to {float(sums.mean()):.2f}")


def batch_invariance(subject: Subject) -> Check:
    """C6: a sample's answer does not depend on what shares its batch.

    Rounding does depend on it, and flips a decision whose margin is nearly 0, which then changes
    all that follows. A sample whose first differing gate differs in such units alone is left out.
    """
    few = subject.rows(slice(FEW))
    ask = Question(
        "C6",
        "a sample alone answers as in its batch",
        f"same prediction and gates, logits within {LOGITS:g}",
        "no BN in train mode, no capacity limit or top-k over the batch",
        len(few),
    )
    if len(subject) < 2:
        return ask.skipped("one sample is its whole batch")
    inside = subject.attempt.tried(subject.inputs)
    wrong, ties, gap = 0, 0, 0.0
    for number in range(len(few)):
        own = subject.rows(slice(number, number + 1))
        alone = own.attempt.tried(own.inputs)
        require_same_gates("the victim", inside, alone, whole=False)
        mine = [_alone(each, number) for each in inside.decisions]
        flipped = _first_flip(mine, alone.decisions)
        if flipped is not None and float(flipped.max()) <= TIE:
            ties += 1
            continue
        logits = inside.logits[subject.samples.owner == number]
        apart = _gap(logits, alone.logits)
        gap = max(gap, apart)
        same = torch.equal(logits.argmax(1), alone.logits.argmax(1))
        wrong += not (same and apart <= LOGITS and flipped is None)
    value = f"{wrong} of {len(few)} differ, logits by {gap:.2g}"
    if ties:
        value += f"; {ties} left out, decided at a margin of 0"
    if ties == len(few) and not wrong:
        return ask.warned(value)
    return ask.fails_if(wrong > 0, value)


def _alone(decision: Decision, row: int) -> Decision:
    """What was decided on one sample."""
    parts = (decision.margin, decision.hard, decision.occupancy)
    margin, hard, occupancy = (part[row : row + 1] for part in parts)
    reached = None if decision.reached is None else decision.reached[row : row + 1]
    return Decision(margin, hard, occupancy, decision.choices, reached)


def _first_flip(one: Sequence[Decision], other: Sequence[Decision]) -> Tensor | None:
    """|margin| of the flipped units of the first gate, in order of execution, that has any."""
    for a, b in zip(one, other, strict=True):
        flipped = a.hard != b.hard
        if bool(flipped.any()):
            return torch.maximum(a.margin.abs(), b.margin.abs())[flipped]
    return None


def gradients(subject: Subject) -> Check:
    """C9: every sample worth attacking has a finite gradient that is not all zero."""
    chosen = subject.worth_attacking()
    ask = Question(
        "C9",
        "input gradients finite and not zero",
        "no NaN or infinity, not all of them zero (FAIL), none all zero (WARN)",
        "look for detach, rounding or argmax between inputs and logits; else the margin loss",
        len(chosen),
    )
    if not len(chosen):
        return ask.skipped("the goal finds no sample worth attacking")
    gradient = chosen.gradient(chosen.attempt.surrogate)
    if gradient is None:
        return ask.failed("the logits do not depend on the inputs")
    by_row = gradient.flatten(1)
    bad = int((~chosen.samples.all(by_row.isfinite().all(1))).sum())
    if bad:
        remedy = "check the weights, the precision and the surrogate's slope"
        return ask.failed(f"{bad} of {len(chosen)} gradients are not finite", remedy)
    zero = int(chosen.samples.all((by_row == 0).all(1)).sum())
    logits = chosen.logits(chosen.inputs)
    counted = chosen.labels < logits.shape[1]  # others are ignored
    sure = int(saturated(logits[counted], chosen.labels[counted]).sum())
    value = f"{zero} of {len(chosen)} gradients are all zero"
    if sure:
        value += f"; {sure} saturated in float32, not in the loss, which is taken in float64"
    if zero == len(chosen):
        return ask.failed(value)  # a gradient that is nowhere is no ground for any number
    return ask.warns_if(zero > 0, value)


BEFORE: tuple[tuple[str, Callable[[Subject], Check]], ...] = (
    ("C1", inputs),
    ("C2", evaluation),
    ("C3", determinism),
    ("C4", logits_not_probabilities),
    ("C6", batch_invariance),
    ("C9", gradients),
)
