"""One attack under several surrogates, of whose results the victim picks for each sample."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from leadgrad.attacks.base import Attack
from leadgrad.attacks.models import Apart, Model, Several
from leadgrad.attacks.notes import Notes
from leadgrad.attacks.samples import by_row


def strongest(
    attack: Attack,
    surrogates: Sequence[Model],
    inputs: Tensor,
    labels: Tensor,
    *,
    victim: Model,
    sample_ids: Tensor | None = None,
    owner: Tensor | None = None,
    notes: Notes | None = None,
) -> Tensor:
    """Runs ``attack`` with each surrogate in turn, on the samples that none has won yet.

    A sample keeps the first result with which it is won; else the one of the greatest score, both
    as ``Attack.standing`` has them: the goal reached, and the cross-entropy; of scenes, the mIoU.
    So it costs at most one attack and one forward of the victim per surrogate, and can be no weaker
    than any of them alone. An attack that ``shares`` its budget is run once, with all of them.

    Args:
        attack: To be run.
        surrogates: Models that gradients are taken of; at least one. The likeliest first.
        inputs: As of ``Attack.__call__``.
        labels: Likewise.
        victim: Likewise.
        sample_ids: Likewise.
        owner: Likewise.
        notes: Likewise; of a sample the last attack on it has its say.

    Returns:
        Adversarial inputs, as of ``Attack.__call__``.

    Raises:
        ValueError: If there is no surrogate.
    """
    if not surrogates:
        raise ValueError("strongest needs at least one surrogate, got none")
    if len(surrogates) == 1 or attack.shares:
        one = surrogates[0] if len(surrogates) == 1 else Several(tuple(surrogates))
        return attack(
            one, inputs, labels, victim=victim, sample_ids=sample_ids, owner=owner, notes=notes
        )
    samples = attack.samples(inputs, owner, sample_ids)
    victim = Apart(victim)
    best = inputs.detach().clone()
    score = torch.full((samples.count,), -torch.inf, dtype=torch.double, device=inputs.device)
    left = torch.ones_like(score, dtype=torch.bool)
    for surrogate in surrogates:
        if not bool(left.any()):
            break
        rows, part = samples.rows(left), samples.part(left)
        x, y = inputs[rows], labels[rows].long()
        adv = attack(
            surrogate, x, y, victim=victim, sample_ids=part.ids, owner=part.owner, notes=notes
        )
        with torch.no_grad():
            standing = attack.standing(victim(adv), y, part)
        better = standing.won | (standing.score > score[left])
        best[rows] = torch.where(by_row(part.rows(better), adv), adv, best[rows])
        score[left] = torch.maximum(score[left], standing.score.nan_to_num(-torch.inf))
        left = left.masked_scatter(left, ~standing.won)
    return best
