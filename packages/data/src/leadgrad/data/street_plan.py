"""What one side of a made-up street looks like: which strips of ground follow each other.

Lengths in metres. Distances q count from the kerb outwards.
"""

from dataclasses import dataclass, replace

from leadgrad.data.draws import Draws
from leadgrad.data.semantickitti_classes import LABELS
from leadgrad.data.street_ground import Strip

# What a side looks like, as often as it is listed.
_KINDS = (
    "houses", "houses", "gardens", "gardens", "gardens", "plaza", "plaza", "lot", "green", "green",
    "wood", "wood",
)  # fmt: skip
_PARKING_M = 2.3
_KERB_M = 0.12


@dataclass(frozen=True)
class Side:
    """A side of a street.

    Attributes:
        kind: Houses at the pavement, houses behind gardens, behind a plaza or behind a car park,
            a meadow, or a wood.
        strips: Its ground, from the kerb outwards.
        parking: Where cars stand in a row, or None.
        verge: Where trees stand in a row, or None.
        walk: The pavement, or what is left of it, or None.
        front: From the pavement to what bounds the street.
    """

    kind: str
    strips: tuple[Strip, ...]
    parking: tuple[float, float] | None
    verge: tuple[float, float] | None
    walk: tuple[float, float] | None
    front: tuple[float, float]


def plan_side(draws: Draws, *, level: bool) -> Side:
    """Draw what a side looks like.

    Args:
        draws: Where the randomness comes from.
        level: No embankment, as where streets meet.
    """
    kind = _KINDS[draws.choice(len(_KINDS))]
    strips: list[Strip] = []
    q, parking, verge, walk = 0.0, None, None, None
    rural = kind in ("green", "wood")
    if draws.chance(0.15 if rural else 0.45):
        strips.append(_strip("parking", q))
        parking, q = (q, q + _PARKING_M), q + _PARKING_M
    if draws.chance(0.3):
        strips.append(_strip("other-ground" if draws.chance(0.35) else "terrain", q))
        verge = (q, q + draws.number(1.2, 2.2))
        q = verge[1]
    if not rural or draws.chance(0.55):
        strips.append(_strip("sidewalk", q))
        walk = (q, q + draws.number(1.7, 3.6))
        if parking is None and verge is None and draws.chance(0.35):
            # Cars stand on the pavement.
            parking, walk = (q, q + 2.1), (q + 2.1, walk[1] + 2.1)
        q = walk[1]
    depth = {"houses": (0.0, 0.0), "gardens": (2.5, 6.0), "plaza": (5.0, 9.0), "lot": (12.0, 15.0)}
    front = (q, q + draws.number(*depth.get(kind, (2.0, 5.0))))
    if kind == "gardens":
        strips.append(_strip("terrain", q))
    elif kind == "plaza":
        strips.append(_strip("other-ground", q))
    elif kind == "lot":
        strips.append(_strip("parking", q, height_m=_KERB_M))
    elif rural:
        bank = 0.0 if level else draws.number(-0.22, 0.3)
        strips.append(replace(_strip("terrain", q), slope=bank, waves_m=0.0))
    risen = strips[-1].height_m + strips[-1].slope * (front[1] - strips[-1].start_m)
    strips.append(replace(_strip("terrain", front[1] + 0.1), height_m=risen, waves_m=0.25))
    return Side(kind, tuple(strips), parking, verge, walk, front)


def _strip(name: str, start_m: float, *, height_m: float | None = None) -> Strip:
    remission, rough, waves, height = {
        "parking": (0.48, 0.01, 0.0, 0.0),
        "sidewalk": (0.53, 0.0, 0.0, _KERB_M),
        "terrain": (0.6, 0.05, 0.0, _KERB_M),
        "other-ground": (0.3, 0.025, 0.0, _KERB_M),
    }[name]
    height = height if height_m is None else height_m
    return Strip(start_m, LABELS[name], height, remission=remission, rough_m=rough, waves_m=waves)
