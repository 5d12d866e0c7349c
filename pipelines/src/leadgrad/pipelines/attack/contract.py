"""What an attack asks of a victim and its data, tried on the first samples before any work."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from leadgrad.attacks import Answer, Apart, cost_of, logits_of
from leadgrad.pipelines.attack.attempt import Attempt
from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.attack.task import task_of
from leadgrad.pipelines.attack.trial import OWN_PARTS, require_samples_first, try_copy
from leadgrad.victims.occupancy.choice import chooses_only

UNANSWERED = (RuntimeError, IndexError, AttributeError)
"""What a network raises that is not made for such inputs."""


def check_classes(module: AttackModule, data: Any) -> None:
    """Asks the victim for its answers to the first samples, before anything is written.

    Raises:
        RunError: If no attack can be made of such data.
        ValueError: If the answers are no finite logits of the samples, of another number of classes
            than the data has, the attack's threat model, goal or loss does not suit them, or the
            decisions are not recorded as they are taken (``trial``).
        TypeError: If the victim returns something else than one tensor.
    """
    task = task_of(data)
    task.require(module, data)
    module.task = task
    attempts = [module.attempt(batch) for batch in task.trial(data)]
    first, *others = attempts
    answer = _answers(first)
    attack, classes = module.attack, logits_of(answer).shape[1]
    attack.threat.region(first.inputs)
    attack.objective(answer, first.labels.clamp(0, classes - 1))
    forwards = [try_copy(module.network, module.victim, partial(first.forward, x=first.inputs))]
    forwards += [attempt.tried(attempt.inputs) for attempt in others]
    require_samples_first(type(module.network).__name__, forwards)
    if attack.goal.asks_cost:
        _require_led_cost(first)
    if classes != len(data.class_names):
        expected = len(data.class_names)
        raise ValueError(
            f"the network answers with {classes} logits, but {type(data).__name__} has {expected} "
            f"classes; give a network of num_classes={expected}, or the data it was trained on"
        )


def _require_led_cost(attempt: Attempt[Any]) -> None:
    name = type(attempt.module.network).__name__
    if chooses_only(attempt.module.victim):
        raise ValueError(
            f"all that {name} decides are choices of k, so that it always executes as much, and "
            f"{attempt.attack.goal} cannot be attacked; give another goal, or another network"
        )
    for method in attempt.module.candidates():
        with torch.enable_grad():
            cost = cost_of(attempt.surrogate(attempt.inputs.clone().requires_grad_(), method))
        if not cost.requires_grad:
            raise ValueError(
                f"under {method} what {name} executes has no gradient, so that "
                f"{attempt.attack.goal} cannot be attacked; give a method that leads, such as "
                "--model.method=leadgrad.victims.LGM"
            )


def _answers(attempt: Attempt[Any]) -> Answer:
    network = attempt.module.network
    name, inputs = type(network).__name__, attempt.inputs
    try:
        with torch.no_grad():
            answer = Apart(attempt.exact)(inputs)
    except UNANSWERED as error:
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        if _can_answer(attempt):
            raise ValueError(
                f"an attack is on a copy of the network, and the copy of {name} cannot answer, "
                f"unlike {name} itself: {reason}; {OWN_PARTS}"
            ) from error
        raise ValueError(
            f"{name} cannot answer {attempt.described}: {reason}; it is called with {attempt.call}"
        ) from error
    if not bool(logits_of(answer).isfinite().all()):
        raise ValueError(
            f"{name} answers the first samples with logits that are not finite; check its weights, "
            f"and that it takes {attempt.call}"
        )
    return answer


def _can_answer(attempt: Attempt[Any]) -> bool:
    try:
        with torch.no_grad():
            attempt.forward(attempt.module.network, attempt.inputs)
    except UNANSWERED:
        return False
    return True
