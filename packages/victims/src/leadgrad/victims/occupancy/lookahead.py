"""Looking ahead: the gradient here, through the network that decides as it will there.

FGM takes the gradient at x with the decisions o(x). A large step lands at x' with the decisions
o(x'). ``Lookahead`` takes the gradient at x through the network whose decisions are held at o(x'),
where x' is FGM's own step: foreseen values in place of led derivatives. Beyond the paper.
"""

# No postponed annotations: the command line could not tell the types of fields from text
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from leadgrad.victims.occupancy.deciding import gradient_method, observed
from leadgrad.victims.occupancy.gates import Decider, Decision, gates
from leadgrad.victims.occupancy.methods import FGM, GradientMethod
from leadgrad.victims.occupancy.smoothed import Smoothed, check_share


@dataclass(frozen=True)
class Lookahead(GradientMethod):
    """Decisions of the place that the step would lead to; no gradient through them.

    An attack's step costs two gradients, FGM's for the proposal and the one that counts, and one
    forward of the exact victim between them. Without a proposal it is FGM.

    Args:
        smoothing: Share s of half a weight in each foreseen decision, (1 - s)·o(x') + s·½, as of
            ``Smoothed``; in [0, 1].
        taken: Where the gradient that counts is taken, as a share of the proposed step, in [0, 1]:
            0 at the iterate, 0.5 half-way (as ``leadgrad.attacks.Midpoint`` does, which leads
            nothing).
    """

    smoothing: float = 0.0
    taken: float = 0.0

    looks_ahead = True

    def __post_init__(self) -> None:
        check_share("smoothing", self.smoothing)
        check_share("taken", self.taken)

    @property
    def leads(self) -> bool:
        """It foresees decisions, which are frozen."""
        return False

    def occupancy(self, margin: Tensor, hard: Tensor) -> Tensor:
        """The hard decision, as FGM's: of this gradient the step is proposed."""
        return FGM().occupancy(margin, hard)


@dataclass(frozen=True, eq=False)
class Imposed(GradientMethod):
    """What a gate has decided elsewhere, whatever its margins are.

    Args:
        decisions: Of each of its calls in one forward, in order; bool, in the margins' shapes.
        smoothing: Share of half a weight in each.
    """

    decisions: tuple[Tensor, ...]
    smoothing: float = 0.0
    calls: list[int] = field(default_factory=lambda: [0])

    @property
    def leads(self) -> bool:
        """It freezes decisions."""
        return False

    def occupancy(self, margin: Tensor, hard: Tensor) -> Tensor:
        """The decision of the next call, smoothed."""
        return Smoothed(self.smoothing).occupancy(margin, self._next(margin))

    def choice(self, margin: Tensor, hard: Tensor, choices: int) -> Tensor:
        """The choice of the next call, smoothed."""
        return Smoothed(self.smoothing).choice(margin, self._next(margin), choices)

    def _next(self, margin: Tensor) -> Tensor:
        """The decision of the call that is next; after the last, the first one's again.

        Raises:
            ValueError: If the gate has decided on other shapes there, or not at all.
        """
        if not self.decisions:
            raise ValueError(
                "a gate decides here that was not asked at the proposed point, so its decision "
                "there is not known; call every gate in every forward"
            )
        number = self.calls[0] % len(self.decisions)  # a forward that is made again starts anew
        self.calls[0] += 1
        decision = self.decisions[number]
        if decision.shape != margin.shape:
            raise ValueError(
                f"a gate decides on {tuple(margin.shape)} here and on {tuple(decision.shape)} at "
                "the proposed point; call every gate with the same shape in every forward"
            )
        return decision


@contextmanager
def deciding_as(
    network: nn.Module, elsewhere: Callable[[], object], *, smoothing: float = 0.0
) -> Iterator[None]:
    """Lets every gate of a network decide as it does while ``elsewhere`` runs the network.

    Args:
        network: With gates.
        elsewhere: Runs one forward of the exact network, at the proposed point.
        smoothing: Share of half a weight in each decision, in [0, 1].
    """
    seen: dict[Decider, list[Decision]] = {gate: [] for gate in gates(network)}
    with ExitStack() as watching, torch.no_grad(), gradient_method(network, FGM()):
        for gate, decisions in seen.items():
            watching.enter_context(observed(network, [gate], decisions.append))
        elsewhere()
    with ExitStack() as stack:
        for gate, decisions in seen.items():
            there = tuple(decision.hard for decision in decisions)
            stack.enter_context(gradient_method(gate, Imposed(there, smoothing)))
        yield
