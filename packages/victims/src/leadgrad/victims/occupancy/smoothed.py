"""Smoothing by a constant share: a relaxation without a slope, that leads nothing."""

# No postponed annotations: the command line could not tell the type of the field from text
from dataclasses import dataclass

from torch import Tensor

from leadgrad.victims.occupancy.methods import GradientMethod


@dataclass(frozen=True)
class Smoothed(GradientMethod):
    """ô = (1 - s)·o + s·½: each decision as it is, mixed with half a weight. One gradient a step.

    Of k chosen of E units, ô = (1 - s)·o + s·k/E. No margin enters, so there is no slope to be
    tuned, and no gradient through a decision: what it gains over FGM it gains by a smoother
    network, not by leading. A share of 0 is FGM, one of 1 is ``LGM(Constant())``. Beyond the paper.

    Args:
        share: s, in [0, 1].
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        check_share("share", self.share)

    def occupancy(self, margin: Tensor, hard: Tensor) -> Tensor:
        """The mixture."""
        return mixed(hard.to(margin.dtype), self.share, 0.5)

    def choice(self, margin: Tensor, hard: Tensor, choices: int) -> Tensor:
        """The mixture, whose units sum to ``choices`` as the chosen ones do."""
        return mixed(hard.to(margin.dtype), self.share, choices / margin.shape[-1])


def mixed(decided: Tensor, share: float, even: float) -> Tensor:
    """(1 - share)·decided + share·even, exactly ``decided`` at a share of 0."""
    return decided if share == 0 else (1 - share) * decided + share * even


def check_share(name: str, share: float) -> None:
    """Raises ``ValueError`` unless it lies in [0, 1]."""
    if not 0 <= share <= 1:
        raise ValueError(f"{name} is a share and must lie in [0, 1], got {share}")
