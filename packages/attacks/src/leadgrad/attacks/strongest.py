"""One attack under several surrogates, of whose results the victim picks for each sample."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from leadgrad.attacks.base import Attack, Model, apart
from leadgrad.attacks.losses import cross_entropy


def strongest(
    attack: Attack,
    surrogates: Sequence[Model],
    inputs: Tensor,
    labels: Tensor,
    *,
    victim: Model,
    sample_ids: Tensor | None = None,
) -> Tensor:
    """Runs ``attack`` with each surrogate in turn, on the samples that none has won yet.

    A sample keeps the first result that reaches the goal on the victim; else the one with the
    greatest cross-entropy there (targeted: the least). So it costs at most one attack and one
    forward of the victim per surrogate, and can be no weaker than any of them alone.

    Args:
        attack: To be run.
        surrogates: Models that gradients are taken of; at least one. The likeliest first.
        inputs: As of ``Attack.__call__``.
        labels: Likewise.
        victim: Likewise.
        sample_ids: Likewise.

    Returns:
        Adversarial inputs, as of ``Attack.__call__``.

    Raises:
        ValueError: If there is no surrogate.
    """
    if not surrogates:
        raise ValueError("strongest needs at least one surrogate, got none")
    if len(surrogates) == 1:
        return attack(surrogates[0], inputs, labels, victim=victim, sample_ids=sample_ids)
    ids = torch.arange(len(inputs)) if sample_ids is None else sample_ids
    victim = apart(victim)
    best = inputs.detach().clone()
    score = torch.full((len(inputs),), -torch.inf, dtype=torch.double, device=inputs.device)
    left = torch.arange(len(inputs), device=inputs.device)
    for surrogate in surrogates:
        if not len(left):
            break
        x, y = inputs[left], labels[left].long()
        adv = attack(surrogate, x, y, victim=victim, sample_ids=ids[left.to(ids.device)])
        with torch.no_grad():
            logits = victim(adv)
        loss = cross_entropy(logits, attack.goal.classes(y, logits))
        loss = loss if attack.goal.ascend else -loss
        won = attack.goal.reached(y, logits)
        better = won | (loss > score[left])
        best[left[better]] = adv[better]
        score[left] = torch.maximum(score[left], loss)
        left = left[~won]
    return best
