"""What papers on slowdown attacks report, side by side, from the executed share before and after.

All three are of costs C that a network decides on, in percent: what always runs is in none of them.

- Recovery (GradMDM, Pan et al. 2023): (C_adv - C) / (C_full - C). What was saved and is lost again.
- Attack success (SlowFormer, Navaneet et al. 2024): (C_adv - C_min) / (C_max - C_min). All units
  may be skipped and all may run, so that it is the executed share itself, and has no row beside it.
- Efficacy (DeepSloth, Hong et al. 2021), of networks of exits alone: the area under the curve of
  the share of samples that have been answered against the cost that has been spent. A sample that
  is answered at cost c adds 1 - c, hence it is what the mean share leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from leadgrad.attacks import Goal
from leadgrad.victims.networks.exits import ExitNetwork


def slowdown(
    goal: Goal, network: nn.Module, share: Mapping[str, float] | None
) -> dict[str, dict[str, Any]]:
    """The entry of results.json's compute; nothing for goals that are not about compute.

    Args:
        goal: Of the attack.
        network: The victim.
        share: Executed share in percent, "clean" and "adversarial"; None where nothing is decided.
    """
    if share is None or not goal.asks_cost:
        return {}
    clean, adv = share["clean"], share["adversarial"]
    found: dict[str, Any] = {
        "recovery": None if clean == 100 else 100 * (adv - clean) / (100 - clean),
        "success": adv,
    }
    if isinstance(network, ExitNetwork):
        found["efficacy"] = {"clean": 100 - clean, "adversarial": 100 - adv}
    return {"slowdown": found}


def slowdown_rows(compute: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The same as (name, value) rows."""
    found = compute.get("slowdown")
    if found is None:
        return []
    recovery = found["recovery"]
    rows = [
        ("recovery of saved compute", "–" if recovery is None else f"{recovery:.2f} %"),
    ]
    if "efficacy" in found:
        before, after = found["efficacy"]["clean"], found["efficacy"]["adversarial"]
        rows.append(("efficacy of the exits", f"{before:.2f} % → {after:.2f} %"))
    return rows
