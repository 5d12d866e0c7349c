"""The error of a gate that cannot decide."""

from __future__ import annotations

from torch import Tensor, nn

NOTHING = "the victim's logits would mean nothing"


class MarginError(ValueError):
    """A margin that decides nothing: NaN, which no comparison holds for."""

    def __init__(self, gate: nn.Module, margin: Tensor) -> None:
        self.gate = gate
        self._what = (
            f"{int(margin.isnan().sum())} of {margin.numel()} margins {tuple(margin.shape)} are "
            "NaN, which would pass for units that are not executed; check the weights and the input"
        )
        super().__init__(f"{NOTHING}: at a gate, {self._what}")

    def find_in(self, network: nn.Module) -> None:
        """Adds where in ``network`` the gate is."""
        for name, module in network.named_modules():
            if module is self.gate:
                where = f"gate {name!r} of {type(network).__name__}"
                self.args = (f"{NOTHING}: at {where}, {self._what}",)
