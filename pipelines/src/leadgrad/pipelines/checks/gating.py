"""Checks of what the gradient sees of the gates: C7 and C10."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from leadgrad.attacks import Answer
from leadgrad.pipelines.attack.trial import Tried, require_same_gates
from leadgrad.pipelines.checks.methods import local_slope
from leadgrad.pipelines.checks.subject import NO_GATES, Subject
from leadgrad.pipelines.checks.truth import truth_of_method
from leadgrad.pipelines.checks.verdicts import Check, Question
from leadgrad.victims import (
    FGM,
    LGM,
    Change,
    Decision,
    GradientMethod,
    Sigmoid,
    Unled,
    VoxelFGM,
    architecture_change,
)

STEEP = 1e6  # slope at which a sigmoid is a step
SOFT = 40 / STEEP
"""Margins nearer to 0 than this are still soft at that slope: sigmoid(-40) is 4e-18."""

CONSISTENT = 1e-3  # greatest difference of logits between the steep soft and the hard victim


def consistency(subject: Subject) -> Check:
    """C7: the soft network becomes the hard one as its surrogate becomes the step.

    Where every margin of the hard network is beyond ``SOFT``, the steep occupancies are exactly 0
    and 1, hence so is all that follows; other samples are left out.
    """
    ask = Question(
        "C7",
        "a steep surrogate is the hard victim",
        f"logits within {CONSISTENT:g}, same decisions",
        "the network must use the gate's occupancy alone, in one expression for hard and soft",
        len(subject),
    )
    if not subject.gated:
        return ask.skipped(NO_GATES)
    # With a graph, as in the attack: a network may take another path without one
    x = subject.inputs.clone().requires_grad_()
    with torch.enable_grad():
        hard, steep, used = (
            subject.under(method, x)
            for method in (FGM(), LGM(Sigmoid(STEEP)), subject.module.method)
        )
    margins = [_by_sample(each.margin.detach().abs()) for each in hard.decisions]
    clear = torch.cat(margins, 1).amin(1) > SOFT
    gap = (hard.logits - steep.logits).detach().abs().amax(1)
    flips = _change(hard, steep).changed
    wrong = int((clear & (~(gap <= CONSISTENT) | (flips > 0))).sum())
    answers = float((used.logits.argmax(1) == hard.logits.argmax(1)).double().mean())
    change = _change(hard, used)
    kept = 1 - float(change.changed.double().mean()) / int(change.total[0])
    value = (
        f"{wrong} of {int(clear.sum())} differ; under the method used {100 * answers:.1f} % of "
        f"answers and {100 * kept:.1f} % of decisions are the victim's"
    )
    if not bool(clear.all()):
        value += f"; {int((~clear).sum())} left out, with a margin of 0"
    if not bool(clear.any()):
        return ask.warned(value)
    return ask.fails_if(wrong > 0, value)


def _by_sample(units: Tensor) -> Tensor:
    """One gate's units, (N, ...), as (N, units)."""
    return units.reshape(len(units), -1)


def _change(one: Tried, other: Tried) -> Change:
    """Decisions that differ, per sample."""
    require_same_gates("the victim", one, other)
    return architecture_change(one.decisions, other.decisions)


def connection(subject: Subject) -> Check:
    """C10: the leading term exists where the method has one, at every gate, and not under FGM.

    The leading term is what the gradient loses when each occupancy keeps its value as a constant.
    Comparing with FGM alone would not show it: soft values by themselves give another gradient.
    """
    method = subject.module.method
    ask = Question(
        "C10",
        "the gradient leads through every gate",
        "leading term > 0 for LGM; none where decisions are frozen",
        "find what detaches the margin, or rounds it, between input, gate and output",
        len(subject),
    )
    if not subject.gated:
        return _places(subject, ask) if subject.module.decides else ask.skipped(NO_GATES)
    with torch.enable_grad():
        x = subject.inputs.clone().requires_grad_()
        made = subject.under(method, x)
        decisions = made.decisions
        slopes = [local_slope(method, each) for each in decisions]
        if all(slope is None for slope in slopes):
            leaks = sum(each.occupancy.requires_grad for each in decisions)
            value = f"{type(method).__name__} freezes occupancies; {leaks} gates pass a gradient"
            return ask.fails_if(leaks > 0, value)
        answer = subject.attempt.answer(made.logits, [each.executed for each in decisions])
        loose = _loose_gates(subject.loss(answer).sum(), decisions)
    if loose:
        return ask.failed(f"{loose} of {len(decisions)} gates are disconnected")
    whole, without, frozen = (_gradient(subject, each) for each in (method, Unled(method), FGM()))
    leading = _share(whole - without, without)
    from_fgm = _share(whole - frozen, frozen)
    value = f"{leading:.3g} of the rest; the difference to FGM is {from_fgm:.3g} of FGM"
    remedy = "every surrogate is saturated, so that this is FGM: a smaller slope"
    return ask.passed(value) if leading > 0 else ask.failed(value, remedy)


def _places(subject: Subject, ask: Question) -> Check:
    """C10 of a voxel network: its gradient beside that with the same voxels frozen."""
    method = subject.module.method
    soft = method.relations()
    if soft.occupancy is None:
        return ask.passed(f"{type(method).__name__} freezes voxels")
    frozen = VoxelFGM(input=soft.input, output=soft.output)
    whole, without = (_gradient(subject, each) for each in (method, frozen))
    leading = _share(whole - without, without)
    value = f"{leading:.3g} of the rest"
    remedy = "no point can reach another voxel in a step, so that this is FGM: a larger step"
    return ask.passed(value) if leading > 0 else ask.failed(value, remedy)


def variation(subject: Subject) -> Check:
    """C10: some gate decides otherwise for one sample than for another."""
    ask = Question(
        "C10",
        "decisions depend on the sample",
        "a gate that does not decide the same for all samples",
        "such a network is static, with nothing to lead; check its weights and the scale of its "
        "margins",
        len(subject),
    )
    if not subject.gated:
        return ask.skipped(NO_GATES)
    if len(subject) < 2:
        return ask.skipped("one sample shows no difference")
    decisions = subject.attempt.tried(subject.inputs).hard
    varying = sum(bool((hard != hard[:1]).any()) for hard in decisions)
    return ask.warns_if(not varying, f"{varying} of {len(decisions)} gates vary")


def _loose_gates(loss: Tensor, decisions: Sequence[Decision]) -> int:
    """Gates whose margin does not depend on the inputs, or does not reach the loss."""
    tied = [each.margin for each in decisions if each.margin.requires_grad]
    if not tied or not loss.requires_grad:
        return len(decisions)
    reached = torch.autograd.grad(loss, tied, allow_unused=True)
    return len(decisions) - sum(gradient is not None for gradient in reached)


def _gradient(subject: Subject, method: GradientMethod) -> Tensor:
    """Of the attack's loss under a method; zero where there is none."""

    def model(x: Tensor) -> Answer:
        made = subject.under(method, x)
        return subject.attempt.answer(made.logits, [each.executed for each in made.decisions])

    gradient = subject.gradient(model)
    return torch.zeros_like(subject.inputs) if gradient is None else gradient


def _share(part: Tensor, rest: Tensor) -> float:
    """Norm of a part in units of the rest's; infinite where there is no rest."""
    part_norm, rest_norm = float(part.double().norm()), float(rest.double().norm())
    if part_norm == 0:
        return 0.0
    return part_norm / rest_norm if rest_norm else float("inf")


GATING: tuple[tuple[str, Callable[[Subject], Check]], ...] = (
    ("C7", consistency),
    ("C8", truth_of_method),
    ("C10", connection),
)
