"""Tables III, IV, VI, VII: rows, settings and the paper's numbers.

The settings are those of docs/reference/scenes.md, "Budgets and slopes". Lengths are counted in
voxel edges, so that a row keeps its meaning on other data: ScanNet's budgets of 0.005, 0.01, 0.02
and 0.05 m are 1/4, 1/2, 1 and 2 1/2 of its voxels of 0.02 m.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from leadgrad.pipelines.paper.layout import settings
from leadgrad.pipelines.paper.printed import BEFORE, printed, value


@dataclass(frozen=True)
class Setting:
    """How one method attacks at one budget, as the released program is configured.

    Args:
        steps: Evaluations T.
        step_voxels: α, in voxel edges.
        input: Slope of the relaxed input.
        occupancy: Slope of the relaxed occupancy; None for FGM.
        output: Slope of the relaxed output.
    """

    steps: int
    step_voxels: float
    input: float
    occupancy: float | None
    output: float


@dataclass(frozen=True)
class Row:
    """A budget with both methods' settings.

    Args:
        eps_voxels: ε, in voxel edges.
        lgm: Of LGM.
        fgm: Of FGM.
    """

    eps_voxels: float
    lgm: Setting
    fgm: Setting


def _rows(content: Any) -> tuple[Row, ...]:
    columns = (content[name] for name in ("eps_voxels", "lgm", "fgm"))
    return tuple(
        Row(eps, Setting(*lgm), Setting(*fgm)) for eps, lgm, fgm in zip(*columns, strict=True)
    )


SETTINGS = {name: _rows(content) for name, content in settings()["scenes"].items()}
"""By the data set that the released program configures them for."""

RANDOM, FGM, LGM, CONTROL = "Random", "FGM", "LGM", "FGM, LGM's settings"
CORNERS, SURFACE = "Random, corners", "Random, surface"
BILINEAR, GAUSSIAN = "LGM, BI", "LGM, RBF"

_PRINTED = {BILINEAR: "LGM:BI", GAUSSIAN: "LGM:RBF"}
"""Names of the paper where ours are other ones."""


def paper_miou(data_set: str, method: str | None, eps_voxels: float | None) -> float | None:
    """The mIoU in percent that the paper prints; before the attack without a method."""
    content = settings()["scenes"][data_set]
    for table in content["printed"]:
        more: dict[str, Any] = {}
        if method is not None and eps_voxels is not None:
            eps_m = content["eps_m"][content["eps_voxels"].index(eps_voxels)]
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


@dataclass(frozen=True)
class SceneTable:
    """One of the paper's tables.

    Args:
        title: Of it.
        settings: Key of ``SETTINGS``.
        methods: Columns, in order.
        budgets: ε in voxel edges that it has; empty: all of the settings'.
        classes: Whether it prints the IoU of every class instead of the mIoU of every budget.
    """

    title: str
    settings: str
    methods: tuple[str, ...]
    budgets: tuple[float, ...] = ()
    classes: bool = False

    def row(self, eps_voxels: float) -> Row:
        """The settings of a budget.

        Raises:
            ValueError: If the released program has none for it.
        """
        for row in SETTINGS[self.settings]:
            if abs(row.eps_voxels - eps_voxels) < 1e-9:
                return row
        known = ", ".join(f"{row.eps_voxels:g}" for row in SETTINGS[self.settings])
        raise ValueError(
            f"{self.title} has settings for budgets of {known} voxels, got {eps_voxels:g}"
        )

    def paper(self, method: str, eps_voxels: float) -> float | None:
        """The paper's mIoU in percent, where it prints one."""
        return paper_miou(self.settings, method, self.row(eps_voxels).eps_voxels)


TABLES = {
    name: SceneTable(
        content["title"],
        content["settings"],
        tuple(content["methods"]),
        tuple(content.get("budgets", ())),
        content.get("classes", False),
    )
    for name, content in settings()["scene_tables"].items()
}
