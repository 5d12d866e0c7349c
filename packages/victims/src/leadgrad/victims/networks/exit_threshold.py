"""The threshold of a network of exits, chosen for a target compute."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from leadgrad.victims.networks.exits import ExitNetwork

HALVINGS = 40


@torch.no_grad()
def calibrated_threshold(network: ExitNetwork, images: Iterable[Tensor], share: float) -> float:
    """The threshold at which a network executes a share of its conditional compute.

    Args:
        network: Whose ``threshold`` it is; left as it was.
        images: Batches (B, 3, H, W) in [0, 1] to choose on: validation images.
        share: Mean over the images of MACs behind early exits that run, of all, in (0, 1).

    Returns:
        The threshold; the share is met up to the compute of one image.

    Raises:
        ValueError: If the share is none, or no threshold gives it.
    """
    if not 0 < share < 1:
        raise ValueError(f"share of the compute must lie in (0, 1), got {share}")
    logits = [[own.cpu() for own in network.exit_logits(batch)] for batch in images]
    exits = [torch.cat(one) for one in zip(*logits, strict=True)][:-1]
    costs = torch.tensor(network.stage_macs(), dtype=torch.float64)
    kept = network.threshold
    low, high = network.threshold_range()

    def executed(threshold: float) -> float:
        network.threshold = threshold
        going_on = torch.stack([network.margin(own) > 0 for own in exits], 1)
        return float((going_on.long().cumprod(1).double() @ costs).mean() / costs.sum())

    try:
        near = (executed(low + 1e-9 * (high - low)), executed(high - 1e-9 * (high - low)))
        more_when_greater = near[1] > near[0]
        if not min(near) <= share <= max(near):
            raise ValueError(
                f"no threshold executes {share:g} of the compute: thresholds between {low:g} and "
                f"{high:g} execute {min(near):.3f} to {max(near):.3f}"
            )
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            if (executed(middle) > share) == more_when_greater:
                high = middle
            else:
                low = middle
    finally:
        network.threshold = kept
    return (low + high) / 2
