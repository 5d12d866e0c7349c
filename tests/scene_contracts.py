"""What serves, is, and attacks a scene: the tables of test_contracts.py for point clouds."""

from pathlib import Path

import numpy as np
from scene_config import NETWORK

from leadgrad.attacks import (
    Attack,
    PointIFGSM,
    PointLinf,
    PointNoise,
    PointPGD,
    PointStandard,
)
from leadgrad.data import (
    S3DIS,
    ScanNet,
    SceneArrays,
    SceneDataModule,
    SceneFolder,
    SemanticKITTI,
    SyntheticRooms,
    SyntheticStreets,
)
from leadgrad.data.s3dis_prepare import prepare_s3dis
from leadgrad.data.scannet_prepare import prepare_scannet
from leadgrad.victims import LGM, Cylinder3D, MinkUNet, Sigmoid, VoxelFGM, VoxelLGM


def rooms(root: Path) -> SceneDataModule:
    return SyntheticRooms(points=1000, train_rooms=2, validation_rooms=1, test_rooms=3)


def streets(root: Path) -> SceneDataModule:
    return SyntheticStreets(columns=90, train_streets=2, validation_streets=1, test_streets=3)


def semantickitti(root: Path) -> SceneDataModule:
    """A scan to train on and three to attack, of a few points, in the official layout."""
    draws = np.random.default_rng(0)
    for sequence, scans in (("00", 1), ("08", 3)):
        for scan in range(scans):
            folder = root / "sequences" / sequence
            for name in ("velodyne", "labels"):
                (folder / name).mkdir(parents=True, exist_ok=True)
            points = draws.random((40, 4)).astype("<f4")
            points.tofile(folder / "velodyne" / f"{scan:06d}.bin")
            draws.choice([0, 10, 40, 70], 40).astype("<u4").tofile(
                folder / "labels" / f"{scan:06d}.label"
            )
    return SemanticKITTI(root, {"train": ["00"], "validation": ["08"]})


def scannet(root: Path) -> SceneDataModule:
    """Three scans of a few points in the official layout, prepared."""
    draws = np.random.default_rng(0)
    names = [f"scene000{number}_00" for number in range(3)]
    for name in names:
        folder = root / "raw" / "scans" / name
        folder.mkdir(parents=True)
        points = draws.random((40, 3)).astype(np.float32)
        colours = draws.integers(0, 256, (40, 4), dtype=np.uint8)
        for suffix, labels in (("", None), (".labels", draws.integers(0, 40, 40))):
            lines = ["ply", "format ascii 1.0", "element vertex 40"]
            lines += [f"property float {axis}" for axis in "xyz"]
            lines += [f"property uchar {c}" for c in ("red", "green", "blue", "alpha")]
            lines += [] if labels is None else ["property ushort label"]
            lines.append("end_header")
            for number in range(40):
                values = [*points[number].tolist(), *colours[number].tolist()]
                values += [] if labels is None else [int(labels[number])]
                lines.append(" ".join(map(str, values)))
            (folder / f"{name}_vh_clean_2{suffix}.ply").write_text("\n".join(lines) + "\n")
    outcomes = list(prepare_scannet(root / "raw", root / "ready"))
    assert [outcome.problem for outcome in outcomes] == [""] * 3
    splits = {"train": names[:2], "validation": names}
    return ScanNet(root / "ready", splits, attack_split="validation")


def s3dis(root: Path) -> SceneDataModule:
    """Three rooms of a few points in the official layout, prepared."""
    draws = np.random.default_rng(0)
    for area, room in ((1, "office_1"), (5, "hallway_1"), (5, "office_1"), (5, "office_2")):
        folder = root / "raw" / f"Area_{area}" / room / "Annotations"
        folder.mkdir(parents=True)
        for kind in ("chair_1", "floor_1"):
            values = np.concatenate(
                [draws.random((30, 3)) * 3, draws.integers(0, 256, (30, 3))], axis=1
            )
            np.savetxt(folder / f"{kind}.txt", values, fmt="%.3f %.3f %.3f %d %d %d")
    outcomes = list(prepare_s3dis(root / "raw", root / "ready"))
    assert [outcome.problem for outcome in outcomes] == [""] * 4
    areas = {"train": ["Area_1"], "validation": ["Area_5"], "test": ["Area_5"]}
    return S3DIS(root / "ready", areas, attack_split="test")


def folder(root: Path) -> SceneDataModule:
    """Files of arrays: three scenes to attack, and one to train on."""
    draws = np.random.default_rng(0)
    for split, number in (("train", 0), ("test", 0), ("test", 1), ("test", 2)):
        (root / split).mkdir(exist_ok=True)
        np.savez(
            root / split / f"room_{number}.npz",
            coords=draws.random((40, 3)) * 3,
            features=draws.integers(0, 256, (40, 3), dtype=np.uint8),
            labels=draws.integers(0, 4, 40),
        )
    return SceneFolder(root, num_classes=4)


def scene_arrays(root: Path) -> SceneDataModule:
    """As ``folder``, in memory."""
    draws = np.random.default_rng(0)
    return SceneArrays(
        [draws.random((40, 3)) * 3 for _ in range(4)],
        [draws.integers(0, 256, (40, 3), dtype=np.uint8) for _ in range(4)],
        [draws.integers(0, 4, 40) for _ in range(4)],
        num_classes=4,
        splits={"train": [0], "test": [1, 2, 3]},
    )


DATA = {
    "SyntheticRooms": rooms,
    "SyntheticStreets": streets,
    "ScanNet": scannet,
    "S3DIS": s3dis,
    "SemanticKITTI": semantickitti,
    "SceneFolder": folder,
    "SceneArrays": scene_arrays,
}
"""Data with three scenes to attack, made below a folder."""

VICTIMS = {
    "MinkUNet": lambda: MinkUNet(**NETWORK["init_args"]),
    "MinkUNet with coordinates": lambda: MinkUNet(
        **{**NETWORK["init_args"], "coordinate_features": True}
    ),
    "Cylinder3D": lambda: Cylinder3D(
        width=2, point_widths=(4, 4, 4, 4), compressed=3, grid=(60, 45, 16), features=3
    ),
}
METHODS = {"FGM": VoxelFGM(Sigmoid(10.0)), "LGM": VoxelLGM(Sigmoid(10.0)), "LGM()": LGM()}
ATTACKS: dict[str, Attack] = {
    "PointIFGSM": PointIFGSM(PointLinf(0.1), steps=3, step_size_m=0.05),
    "PointNoise": PointNoise(PointLinf(0.1)),
    "PointStandard": PointStandard(PointLinf(0.1), budget=10),
    "PointPGD": PointPGD(PointLinf(0.1), steps=2, step_size_m=0.05, restarts=2),
}
