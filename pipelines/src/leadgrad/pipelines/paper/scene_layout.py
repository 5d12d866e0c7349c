"""Tables III, IV, VI, VII: rows, settings and the paper's numbers (3D reference page, 3.7 and 5).

Lengths are counted in voxel edges, so that a row keeps its meaning on other data: ScanNet's budgets
of 0.005, 0.01, 0.02 and 0.05 m are 1/4, 1/2, 1 and 2 1/2 of its voxels of 0.02 m.
"""

from __future__ import annotations

from dataclasses import dataclass

SCANNET, S3DIS = "ScanNet", "S3DIS"


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


SETTINGS = {
    SCANNET: (
        Row(0.25, Setting(30, 0.125, 10, 25, 10), Setting(30, 0.25, 20, None, 20)),
        Row(0.5, Setting(50, 0.5, 10, 10, 10), Setting(30, 0.5, 20, None, 20)),
        Row(1.0, Setting(50, 0.5, 10, 10, 10), Setting(30, 0.5, 20, None, 20)),
        Row(2.5, Setting(50, 0.5, 10, 15, 10), Setting(30, 2.5, 20, None, 20)),
    ),
    S3DIS: (
        Row(0.1, Setting(50, 0.1, 45, 55, 45), Setting(30, 0.1, 55, None, 55)),
        Row(0.2, Setting(50, 0.2, 45, 55, 45), Setting(30, 0.2, 55, None, 55)),
        Row(0.4, Setting(50, 0.4, 45, 55, 45), Setting(30, 0.4, 55, None, 55)),
        Row(1.0, Setting(50, 0.5, 45, 55, 45), Setting(30, 1.0, 55, None, 55)),
    ),
}
"""By the data set that the released program configures them for."""

RANDOM, FGM, LGM, CONTROL = "Random", "FGM", "LGM", "FGM, LGM's settings"
CORNERS, SURFACE = "Random, corners", "Random, surface"
BILINEAR, GAUSSIAN = "LGM, BI", "LGM, RBF"

PAPER_CLEAN = {SCANNET: 72.22, S3DIS: 66.35}
PAPER = {
    SCANNET: {
        RANDOM: (71.22, 70.07, 57.30, 15.58),
        FGM: (60.44, 55.51, 38.65, 8.70),
        LGM: (25.79, 11.51, 5.76, 3.83),
        BILINEAR: (68.08, 60.21, 32.62, 11.73),
        GAUSSIAN: (36.14, 16.62, 8.29, 5.00),
    },
    S3DIS: {
        RANDOM: (61.35, 58.50, 52.17, 23.90),
        FGM: (57.53, 52.35, 45.24, 21.21),
        LGM: (48.20, 39.65, 30.93, 7.45),
    },
}
"""mIoU in percent that the paper prints, in the order of ``SETTINGS``."""

PAPER_CLASSES = {
    "clean": "83.3 94.8 66.0 80.1 91.2 81.7 76.3 61.4 59.1 80.7 29.5 63.3 64.3 75.9 62.1 69.2 92.1 "
    "66.8 85.9 60.0",
    RANDOM: "81.7 94.1 63.5 79.0 90.3 82.5 72.9 56.2 57.0 79.5 26.0 61.4 61.9 73.7 57.2 67.3 91.6 "
    "64.6 84.8 56.1",
    FGM: "70.1 92.6 45.9 73.7 84.0 71.9 55.7 33.5 37.2 58.1 12.5 46.7 37.9 58.0 35.9 47.5 80.6 "
    "55.0 77.2 36.4",
    LGM: "10.8 85.6 5.8 7.7 26.5 10.7 11.8 2.9 2.9 1.1 0.7 0.4 3.6 1.6 0.0 4.0 23.3 7.0 22.7 1.4",
}
"""Table VI: IoU of ScanNet's classes in percent at ε 0.01 m, in the classes' order."""


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
        printed = PAPER[self.settings].get(method)
        budgets = [row.eps_voxels for row in SETTINGS[self.settings]]
        return None if printed is None else printed[budgets.index(self.row(eps_voxels).eps_voxels)]


_NOISE = (RANDOM, CORNERS, SURFACE)
TABLES = {
    "3": SceneTable("Table III: ScanNet", SCANNET, (*_NOISE, FGM, CONTROL, LGM)),
    "4": SceneTable("Table IV: S3DIS", S3DIS, (*_NOISE, FGM, CONTROL, LGM)),
    "6": SceneTable(
        "Table VI: classes of ScanNet", SCANNET, (RANDOM, FGM, LGM), (0.5,), classes=True
    ),
    "7": SceneTable("Table VII: relation functions", SCANNET, (BILINEAR, GAUSSIAN, LGM)),
}
