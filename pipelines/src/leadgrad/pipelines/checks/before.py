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
from leadgrad.data import check_batch
from leadgrad.data.base import BatchError
from leadgrad.pipelines.checks.subject import Subject
from leadgrad.pipelines.checks.verdicts import Check, Question
from leadgrad.pipelines.trial import require_same_gates
from leadgrad.victims import Decision

LOGITS = 1e-4
"""Greatest difference of logits that rounding explains, where they are of the order of 1."""

TIE = 1e-4
"""A margin this near to 0 may be decided either way by rounding."""

FEW = 8  # samples that are answered one by one, or attacked once more


def inputs(subject: Subject) -> Check:
    """C1: the clean images are what the batch table says."""
    ask = Question(
        "C1",
        "inputs finite, in [0, 1], whole levels",
        "exact",
        "repair the datamodule: images in [0, 1], normalisation in the network",
        len(subject),
    )
    images = subject.images
    batch = {"image": images, "label": subject.labels, "index": subject.index}
    try:
        check_batch(batch)
    except BatchError as error:
        return ask.failed(str(error))
    return ask.passed(f"{float(images.min()):.3f} to {float(images.max()):.3f}")


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
    few.attacked(subject.module.attack)
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
    """C3: five forwards of the same images."""
    ask = Question(
        "C3",
        "five forwards agree",
        f"logits within {LOGITS:g}, gates identical",
        "seed the victim's randomness, or average the gradient over it (EOT)",
        len(subject),
    )
    first = subject.module.tried(subject.images)
    gap, flips = 0.0, 0
    for _ in range(4):
        again = subject.module.tried(subject.images)
        require_same_gates("the victim", first, again)
        gap = max(gap, _gap(first.logits, again.logits))
        pairs = zip(first.decisions, again.decisions, strict=True)
        flips += sum(int((a.hard != b.hard).sum()) for a, b in pairs)
    return ask.warns_if(
        not gap <= LOGITS or flips > 0, f"logits differ by {gap:.2g}, {flips} gate decisions flip"
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
    logits = subject.logits(subject.images)
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
    inside = subject.module.tried(subject.images)
    wrong, ties, gap = 0, 0, 0.0
    for row in range(len(few)):
        alone = subject.module.tried(subject.images[row : row + 1])
        require_same_gates("the victim", inside, alone, whole=False)
        mine = [_alone(each, row) for each in inside.decisions]
        flipped = _first_flip(mine, alone.decisions)
        if flipped is not None and float(flipped.max()) <= TIE:
            ties += 1
            continue
        apart = _gap(inside.logits[row : row + 1], alone.logits)
        gap = max(gap, apart)
        same = bool(inside.logits[row].argmax() == alone.logits[0].argmax())
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
        "no NaN or infinity (FAIL), no all-zero gradient (WARN)",
        "look for detach, rounding or argmax between images and logits; else the margin loss",
        len(chosen),
    )
    if not len(chosen):
        return ask.skipped("the goal finds no sample worth attacking")
    gradient = chosen.gradient(subject.module.surrogate)
    if gradient is None:
        return ask.failed("the logits do not depend on the images")
    bad = int((~gradient.flatten(1).isfinite().all(1)).sum())
    if bad:
        remedy = "check the weights, the precision and the surrogate's slope"
        return ask.failed(f"{bad} of {len(chosen)} gradients are not finite", remedy)
    zero = int((gradient.flatten(1) == 0).all(1).sum())
    sure = int(saturated(chosen.logits(chosen.images), chosen.labels).sum())
    value = f"{zero} of {len(chosen)} gradients are all zero"
    if sure:
        value += f"; {sure} saturated in float32, not in the loss, which is taken in float64"
    return ask.warns_if(zero > 0, value)


BEFORE: tuple[tuple[str, Callable[[Subject], Check]], ...] = (
    ("C1", inputs),
    ("C2", evaluation),
    ("C3", determinism),
    ("C4", logits_not_probabilities),
    ("C6", batch_invariance),
    ("C9", gradients),
)
