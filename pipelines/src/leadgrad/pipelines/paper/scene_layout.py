"""Tables III to VII: rows, settings and the paper's numbers.

The settings are those of docs/reference/scenes.md, "Budgets and slopes". Indoors lengths are
counted in voxel edges, so that a row keeps its meaning on other data: ScanNet's budgets of 0.005,
0.01, 0.02 and 0.05 m are 1/4, 1/2, 1 and 2 1/2 of its voxels of 0.02 m. Outdoors, where cells have
no one size, they are in metres.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from leadgrad.pipelines.paper.layout import settings
from leadgrad.pipelines.paper.printed import BEFORE, printed, value


@dataclass(frozen=True)
class Setting:
    """How one method attacks at one budget, as the released program is configured.

    Args:
        steps: Evaluations T.
        step: α, in the data set's unit of length.
        input: Slope of the relaxed input; None where the method relaxes none.
        occupancy: Slope of the relaxed occupancy; None for FGM.
        output: Slope of the relaxed output; None likewise, as under FGM outdoors.
    """

    steps: int
    step: float
    input: float | None
    occupancy: float | None
    output: float | None


@dataclass(frozen=True)
class Row:
    """A budget with both methods' settings.

    Args:
        eps: ε, in the data set's unit of length.
        lgm: Of LGM.
        fgm: Of FGM.
    """

    eps: float
    lgm: Setting
    fgm: Setting


def _rows(content: Any) -> tuple[Row, ...]:
    columns = (content[name] for name in ("eps", "lgm", "fgm"))
    return tuple(
        Row(eps, Setting(*lgm), Setting(*fgm)) for eps, lgm, fgm in zip(*columns, strict=True)
    )


SETTINGS = {name: _rows(content) for name, content in settings()["scenes"].items()}
"""By the data set that the released program configures them for."""

RANDOM, FGM, LGM, CONTROL = "Random", "FGM", "LGM", "FGM, LGM's settings"
CORNERS, SURFACE = "Random, corners", "Random, surface"
BILINEAR, GAUSSIAN, DEFAULT = "LGM, BI", "LGM, RBF", "LGM()"

_PRINTED = {BILINEAR: "LGM:BI", GAUSSIAN: "LGM:RBF"}
"""Names of the paper where ours are other ones."""


def paper_miou(data_set: str, method: str | None, eps: float | None) -> float | None:
    """The mIoU in percent that the paper prints; before the attack without a method."""
    content = settings()["scenes"][data_set]
    for table in content["printed"]:
        more: dict[str, Any] = {}
        if method is not None and eps is not None:
            eps_m = content["eps_m"][content["eps"].index(eps)]
            name = _PRINTED.get(method, method)
            more = {"attack": "I-FGSM", "eps": eps_m, "method": name}
        found = value(table, "mIoU", **more)
        if found is not None:
            return found
    return None


def paper_classes(method: str | None) -> list[str]:
    """IoU of each of ScanNet's classes that Table VI prints, in its order, in percent."""
    wanted = BEFORE if method is None else method
    return [
        f"{one.value:.1f}"
        for one in printed()
        if one.table == "VI" and one.quantity.startswith("IoU:")
        if wanted == (one.method or BEFORE)
    ]


ROOMS = {"class_path": "leadgrad.data.SyntheticRooms"}


@dataclass(frozen=True)
class SceneTable:
    """One of the paper's tables.

    Args:
        title: Of it.
        settings: Key of ``SETTINGS``.
        methods: Columns, in order.
        budgets: ε that it has, in the settings' unit; empty: all of the settings'.
        classes: Whether it prints the IoU of every class instead of the mIoU of every budget.
        victim: Weights that are attacked by default.
        data: Class and arguments of the data that they were trained for.
        notes: What else has to be said above the table.
    """

    title: str
    settings: str
    methods: tuple[str, ...]
    budgets: tuple[float, ...] = ()
    classes: bool = False
    victim: str = "zoo/rooms_minkunet.safetensors"
    data: Mapping[str, Any] = field(default_factory=lambda: dict(ROOMS))
    notes: tuple[str, ...] = ()

    @property
    def out(self) -> str:
        """Directory by default: settings of different data sets are different attacks."""
        own = "" if self.settings == "ScanNet" else f"-{self.settings.lower()}"
        return f"runs/scenes{own}"

    @property
    def unit(self) -> str:
        """Of lengths: "voxels" (edges) or "m"."""
        return str(settings()["scenes"][self.settings]["unit"])

    def row(self, eps: float) -> Row:
        """The settings of a budget.

        Raises:
            ValueError: If the released program has none for it.
        """
        for row in SETTINGS[self.settings]:
            if abs(row.eps - eps) < 1e-9:
                return row
        known = ", ".join(f"{row.eps:g}" for row in SETTINGS[self.settings])
        raise ValueError(
            f"{self.title} has settings for budgets of {known} {self.unit}, got {eps:g}"
        )

    def paper(self, method: str, eps: float) -> float | None:
        """The paper's mIoU in percent, where it prints one."""
        return paper_miou(self.settings, method, self.row(eps).eps)


TABLES = {
    name: SceneTable(
        **{
            **content,
            "methods": tuple(content["methods"]),
            "notes": tuple(content.get("notes", ())),
        }
    )
    for name, content in settings()["scene_tables"].items()
}
