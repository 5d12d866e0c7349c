"""What an adaptive network can tell about its units besides its logits: dependents and cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

Counting = Literal[
    "decisions/all",
    "decisions/attacked",
    "decisions+dependents/all",
    "decisions+dependents/attacked",
]


class GatedNetwork(nn.Module):
    """Base of networks that decide through ``Gate`` or ``Choice``; overriding a method is optional.

    Any ``nn.Module`` with gates can be attacked and its decisions counted; this base adds what only
    the network knows. ``record`` is always what ``record_occupancies`` gave for one forward: a list
    of bool tensors of shape (B, ...), one per gate or choice.
    """

    paper_counting: ClassVar[Counting] = "decisions/attacked"
    """Which counting of the architecture change the paper's program reports for this family."""

    backbone_names: ClassVar[tuple[tuple[str, str], ...] | None] = None
    """Regular expressions and their replacements that turn the static twin's state-dict names into
    this family's, applied in order; None where there is no twin to start from."""

    gate_names: ClassVar[str] = ""
    """Regular expression of the state-dict names that the twin does not have."""

    def backbone_places(self, name: str) -> tuple[str, ...]:
        """Names here that start with one tensor of the twin, whose name has been turned into one.

        Several where a family has copies of it, as experts.
        """
        return (name,)

    def dependent_units(self, record: Sequence[Tensor]) -> list[Tensor]:
        """Decisions that follow from others (DynConv's dilated masks), as bool tensors (B, ...)."""
        return []

    def unit_costs(self) -> tuple[float, ...] | None:
        """What executing one unit of each gate costs, in gate order, in any one unit.

        None counts every unit alike. It is what attacks on compute raise or lower; what follows
        from several decisions at once is counted as if each entailed it alone.
        """
        return None

    def conditional_macs(self, record: Sequence[Tensor]) -> Tensor | None:
        """Multiply-accumulates spent on gated units. Shape: (B,), int64; None where not known."""
        return None

    def conditional_macs_total(self) -> int | None:
        """The same for one image with every unit executed."""
        return None


def unit_costs(network: nn.Module, gates: int) -> tuple[float, ...]:
    """What one unit of each gate costs; 1 where the network states nothing.

    Args:
        network: Any.
        gates: Number of gates that have decided.

    Raises:
        ValueError: If it states the costs of another number of gates.
    """
    stated = network.unit_costs() if isinstance(network, GatedNetwork) else None
    costs = (1.0,) * gates if stated is None else stated
    if len(costs) != gates:
        raise ValueError(
            f"{type(network).__name__} states the costs of {len(costs)} gates, but {gates} have "
            "decided; state one for each"
        )
    return costs


def executed_share(network: nn.Module, occupancies: Sequence[Tensor]) -> Tensor:
    """Share of the cost of all units that is executed: Σ cost·o / Σ cost, in [0, 1].

    Args:
        network: Whose ``unit_costs`` weigh the gates; a network that states none weighs all units
            alike.
        occupancies: Of one forward, a tensor (B, ...) per gate, in gate order; with their graphs
            where they are led. At least one.

    Returns:
        Shape: (B,), floating point.

    Raises:
        ValueError: If there is no occupancy, or the costs are not those of these gates.
    """
    if not occupancies:
        raise ValueError(
            f"{type(network).__name__} decides nothing, so what it executes cannot change; attack "
            "compute on a network with gates"
        )
    costs = unit_costs(network, len(occupancies))
    # In bfloat16 998 of 1,000 units were all
    wide = [o.float() if o.dtype.itemsize < 4 else o for o in occupancies]
    units = [o.reshape(len(o), -1) for o in wide]
    spent = torch.stack([cost * own.sum(1) for cost, own in zip(costs, units, strict=True)]).sum(0)
    return spent / sum(cost * own.shape[1] for cost, own in zip(costs, units, strict=True))
