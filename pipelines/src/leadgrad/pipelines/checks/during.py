"""Checks of how an attack went, from a tape of one batch: C11 to C14.

Source: Pintor et al. 2022, *Indicators of Attack Failure*. The attack is made once more on the
first samples worth attacking, and knows nothing of the tape: it is the callable that it takes
gradients of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from leadgrad.attacks import Answer, Standard, detached
from leadgrad.pipelines.checks.subject import Subject
from leadgrad.pipelines.checks.verdicts import Check, Question

LAST = 10  # steps over which an optimisation that has finished no longer moves
STILL = 0.05  # of the whole rise of the loss
FEW = 0.05  # share of samples that may be unfinished, or fool the surrogate alone
TRACED = 6400  # gradients of a trace, at most: 64 samples at 100 each
LEAST = 8  # samples of a trace, whatever each costs

NOTHING = "the goal finds no sample worth attacking"
NO_GRADIENT = "the attack asked for no gradient of the whole batch"


class Tape:
    """A surrogate that remembers the loss and the victim's answer at every point it is asked for.

    Calls on other than the whole batch (a restart on what is left) are passed on unrecorded.

    Args:
        subject: Whose batch is attacked.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.losses: list[Tensor] = []
        self.taken: list[Tensor] = []

    def __call__(self, x: Tensor) -> Answer:
        """The surrogate's answer."""
        answer = self.subject.attempt.surrogate(x)
        if x.shape == self.subject.inputs.shape:
            self.losses.append(self.subject.loss(detached(answer)))
            self.taken.append(self.subject.taken_at(x.detach()))
        return answer

    def stacked(self, values: list[Tensor]) -> Tensor:
        """Of all steps, (T, S)."""
        none = torch.zeros(0, len(self.subject), device=self.subject.inputs.device)
        return torch.stack(values) if values else none


@dataclass(frozen=True)
class Trace:
    """What became of S samples in T recorded steps.

    What is taken of a sample is 1 where it is won, else 0; of a scene, how much of its mIoU.

    Args:
        subject: The samples, all worth attacking.
        losses: At each step, raised by the attack. Shape: (T, S).
        on_the_way: What the exact victim has lost there. Shape: (T, S).
        adv: What the attack returned.
        loss: The surrogate's there. Shape: (S,).
        taken: What the exact victim has lost there. Shape: (S,).
        taken_soft: What the surrogate has. Shape: (S,).
        exhausted: Where the goal has nothing left to gain. Shape: (S,), bool.
    """

    subject: Subject
    losses: Tensor
    on_the_way: Tensor
    adv: Tensor
    loss: Tensor
    taken: Tensor
    taken_soft: Tensor
    exhausted: Tensor

    @classmethod
    def of(cls, subject: Subject) -> Trace | None:
        """Attacks the samples worth attacking; None if there is none.

        Of ``Standard`` at great budgets only the first of them.
        """
        chosen = subject.worth_attacking()
        if not len(chosen):
            return None
        attack = subject.module.attack
        if isinstance(attack, Standard):  # whose trace would cost more than the run of some sets
            chosen = chosen.rows(slice(max(LEAST, TRACED // attack.budget)))
        tape = Tape(chosen)
        adv = chosen.attacked(tape)
        with torch.no_grad():
            soft, exact = chosen.attempt.surrogate(adv), chosen.attempt.exact(adv)
        exhausted = attack.goal.exhausted(chosen.labels, exact)
        return cls(
            subject=chosen,
            losses=tape.stacked(tape.losses),
            on_the_way=tape.stacked(tape.taken),
            adv=adv,
            loss=chosen.loss(soft),
            taken=chosen.taken(exact),
            taken_soft=chosen.taken(soft),
            exhausted=chosen.samples.all(exhausted),
        )

    @property
    def resisting(self) -> Tensor:
        """Of which something is left to gain. Shape: (S,), bool."""
        return (self.taken < 1) & ~self.exhausted


def finished(trace: Trace | None) -> Check:
    """C11: on samples that resist, the loss no longer rises in the end."""
    ask = question(
        "C11",
        "the optimisation has finished",
        f"last {LAST} steps ≤ {STILL:g} of the rise, but for {100 * FEW:g} % of resisting samples",
        "more steps, or larger ones",
        trace,
    )
    if trace is None:
        return ask.skipped(NOTHING)
    steps = len(trace.losses)
    if steps < 2 * LAST:  # of fewer, the last ones are most of them
        return ask.skipped(f"{steps} recorded steps, {2 * LAST} are needed to tell")
    resisting = trace.resisting
    if not bool(resisting.any()):
        return ask.skipped("no sample resists")
    rise = trace.losses[:, resisting].cummax(0).values
    whole = rise[-1] - rise[0]
    late = torch.where(whole > 0, (rise[-1] - rise[-1 - LAST]) / whole, 0)
    share = float((late > STILL).double().mean())
    return ask.warns_if(share > FEW, f"{100 * share:.1f} % of resisting samples still rise")


def silent_success(trace: Trace | None) -> Check:
    """C12: no sample was won on the way and given back."""
    ask = question(
        "C12",
        "no success is lost on the way",
        "no iterate wins where the result does not",
        "keep the best iterate; never mix last and best in one table",
        trace,
    )
    if trace is None:
        return ask.skipped(NOTHING)
    if not len(trace.on_the_way):
        return ask.skipped(NO_GRADIENT)
    best = torch.maximum(trace.on_the_way.amax(0), trace.taken)
    kept, least = (100 * float(1 - taken.mean()) for taken in (trace.taken, best))
    lost = int((best > trace.taken).sum())
    value = f"{lost} lost; resisting: {kept:.1f} % at the result, {least:.1f} % at the best iterate"
    return ask.warns_if(lost > 0, value)


def surrogate_gap(trace: Trace | None) -> Check:
    """C13: what fools the surrogate fools the victim."""
    ask = question(
        "C13",
        "what fools the surrogate fools the victim",
        f"≤ {100 * FEW:g} % fool the surrogate alone",
        "a surrogate nearer to the victim: a steeper slope, or hard values (straight-through)",
        trace,
    )
    if trace is None:
        return ask.skipped(NOTHING)
    share = float((trace.taken_soft - trace.taken).clamp_min(0).mean())
    return ask.warns_if(share > FEW, f"{100 * share:.1f} %")


def loss_rose(trace: Trace | None) -> Check:
    """C14: on samples that resist, the attack at least raised its loss."""
    ask = question(
        "C14",
        "the loss rose where the attack failed",
        "on every resisting sample",
        "smaller steps, or another loss: these gradients lead nowhere",
        trace,
    )
    if trace is None:
        return ask.skipped(NOTHING)
    if not len(trace.losses):
        return ask.skipped(NO_GRADIENT)
    resisting = trace.resisting
    if not bool(resisting.any()):
        return ask.skipped("no sample resists")
    # What is returned may be the clean input, where no iterate was better on the victim
    greatest = torch.maximum(trace.losses.amax(0), trace.loss)
    stuck = int((greatest <= trace.losses[0])[resisting].sum())
    return ask.warns_if(stuck > 0, f"not on {stuck} of {int(resisting.sum())}")


def question(id_: str, name: str, threshold: str, remedy: str, trace: Trace | None) -> Question:
    """A check of the traced samples."""
    return Question(id_, name, threshold, remedy, 0 if trace is None else len(trace.subject))


DURING: tuple[tuple[str, Callable[[Trace | None], Check]], ...] = (
    ("C11", finished),
    ("C12", silent_success),
    ("C13", surrogate_gap),
    ("C14", loss_rose),
)
