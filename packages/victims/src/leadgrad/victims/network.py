"""What an adaptive network can tell about its units besides its logits: dependents and cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from torch import Tensor, nn

Counting = Literal[
    "decisions/all",
    "decisions/attacked",
    "decisions+dependents/all",
    "decisions+dependents/attacked",
]


class GatedNetwork(nn.Module):
    """Base of networks whose decisions go through ``Gate``; overriding either method is optional.

    Any ``nn.Module`` with gates can be attacked and its decisions counted; this base adds what only
    the network knows. ``record`` is always what ``record_occupancies`` gave for one forward: a list
    of bool tensors of shape (B, ...), one per gate.
    """

    paper_counting: ClassVar[Counting] = "decisions/attacked"
    """Which counting of the architecture change the paper's program reports for this family."""

    backbone_names: ClassVar[tuple[tuple[str, str], ...] | None] = None
    """Regular expressions and their replacements that turn the static twin's state-dict names into
    this family's, applied in order; None where there is no twin to start from."""

    gate_names: ClassVar[str] = ""
    """Regular expression of the state-dict names that the twin does not have."""

    def dependent_units(self, record: Sequence[Tensor]) -> list[Tensor]:
        """Decisions that follow from others (DynConv's dilated masks), as bool tensors (B, ...)."""
        return []

    def conditional_macs(self, record: Sequence[Tensor]) -> Tensor | None:
        """Multiply-accumulates spent on gated units. Shape: (B,), int64; None where not known."""
        return None

    def conditional_macs_total(self) -> int | None:
        """The same for one image with every unit executed."""
        return None
