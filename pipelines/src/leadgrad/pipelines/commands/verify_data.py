"""``leadgrad verify-data``: lists every damaged file of a data set in one pass."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from leadgrad.data.cifar_files import find_layout
from leadgrad.data.cifar_verify import find_problems
from leadgrad.data.class_folders import SUFFIXES
from leadgrad.data.folder_report import FolderReport
from leadgrad.data.image_folder import SPLITS
from leadgrad.data.image_folder_verify import find_image_folder_problems
from leadgrad.data.imagenet import FOLDERS, UNFINISHED
from leadgrad.data.imagenet_classes import SYNSET
from leadgrad.data.imagenet_verify import find_imagenet_problems
from leadgrad.data.s3dis_prepare import verify_raw_s3dis, verify_s3dis
from leadgrad.data.scannet_prepare import verify_raw_scannet, verify_scannet
from leadgrad.data.scene_files import INDEX_NAME
from leadgrad.data.semantickitti_files import verify_semantickitti
from leadgrad.pipelines.commands.arguments import KindName, verify_data_parser


class KindError(ValueError):
    """A folder does not show what data it holds, or an option is not for that kind."""


@dataclass(frozen=True)
class Kind:
    """A kind of data folder.

    Args:
        looks_like: Whether a folder's content says that it is one, damaged or not.
        check: Lists everything that is wrong with it.
        signs: What ``looks_like`` looks for, in words.
    """

    looks_like: Callable[[Path], bool]
    check: Callable[..., FolderReport]
    signs: str


def _imagenet(root: Path) -> bool:
    splits = [root / name for names in FOLDERS.values() for name in names]
    found = any(SYNSET.fullmatch(path.name) for split in splits for path in split.glob("n*"))
    return found or (root / UNFINISHED).is_file()


def _image_folder(root: Path) -> bool:
    folders = [path for split in SPLITS for path in (root / split).glob("*") if path.is_dir()]
    if any(SYNSET.fullmatch(path.name) for path in folders):
        return False
    return any(path.suffix.lower() in SUFFIXES for folder in folders for path in folder.iterdir())


def _raw_scannet(root: Path) -> bool:
    return any(
        path.is_dir() for folder in (root, root / "scans") for path in folder.glob("scene*_*")
    )


def _raw_s3dis(root: Path) -> bool:
    copies = root.glob("Stanford3dDataset*")
    return any(path.is_dir() for paths in (root.glob("Area_*/*"), copies) for path in paths)


def _semantickitti(root: Path) -> bool:
    layouts = ("sequences/*/velodyne", "dataset/sequences/*/velodyne")
    return any(path.is_dir() for layout in layouts for path in root.glob(layout))


def _prepared(dataset: str, unfinished: str) -> Callable[[Path], bool]:
    """Whether the index names the set, or, without an index, scenes lie as ``unfinished``."""

    def looks_like(root: Path) -> bool:
        if not (root / INDEX_NAME).is_file():
            return any(root.glob(unfinished))
        try:
            return bool(json.loads((root / INDEX_NAME).read_bytes())["dataset"] == dataset)
        except (ValueError, LookupError, TypeError):
            return False  # damaged: nothing tells of which set

    return looks_like


KINDS: dict[KindName, Kind] = {
    "cifar10": Kind(
        lambda root: find_layout(root) is not None, find_problems, "cifar-10-batches-*/ or a batch"
    ),
    "imagenet": Kind(_imagenet, find_imagenet_problems, "train/nNNNNNNNN/ or val/nNNNNNNNN/"),
    "image-folder": Kind(
        _image_folder, find_image_folder_problems, "train/CLASS/, val/CLASS/ or test/CLASS/"
    ),
    "scannet-raw": Kind(_raw_scannet, verify_raw_scannet, "scene*/ or scans/scene*/"),
    "scannet": Kind(
        _prepared("ScanNet", "scene*.ply"), verify_scannet, f"{INDEX_NAME} of ScanNet, scene*.ply"
    ),
    "s3dis-raw": Kind(_raw_s3dis, verify_raw_s3dis, "Area_*/ROOM/ or Stanford3dDataset*/"),
    "s3dis": Kind(
        _prepared("S3DIS", "Area_*/*.ply"), verify_s3dis, f"{INDEX_NAME} of S3DIS, Area_*/*.ply"
    ),
    "semantickitti": Kind(_semantickitti, verify_semantickitti, "sequences/SS/velodyne/"),
}


def detect(root: Path) -> KindName:
    """The kind of data that a folder holds, from names in it.

    Raises:
        KindError: If there is no such folder, none fits, or several do.
    """
    if not root.is_dir():
        raise KindError(f"there is no folder {root}; give the one that holds the data")
    found = [name for name, kind in KINDS.items() if kind.looks_like(root)]
    if len(found) == 1:
        return found[0]
    if found:
        raise KindError(f"{root} looks like {' and '.join(found)}; give one as --kind")
    signs = "; ".join(f"{name} ({kind.signs})" for name, kind in KINDS.items())
    raise KindError(f"{root} looks like none of: {signs}; give another folder, or --kind")


def main(args: Sequence[str]) -> int:
    """Prints problems and notes of a data folder; 1 if there are problems."""
    options = verify_data_parser().parse_args(list(args))
    root = Path(options.root)
    kind: KindName = detect(root) if options.kind is None else options.kind
    check = KINDS[kind].check
    console = Console()
    status = console.status(f"reading {kind}")
    if options.classes is not None and kind != "imagenet":
        raise KindError(f"{root} was taken for {kind}; --classes is for imagenet")
    if options.decode and kind not in ("imagenet", "image-folder"):
        raise KindError(f"{root} was taken for {kind}; --decode is for imagenet and image-folder")
    if kind in ("imagenet", "image-folder"):
        check = partial(
            check, decode=options.decode, tell=lambda words: status.update(f"reading {words}")
        )
    if kind == "imagenet":
        check = partial(check, classes=options.classes)
    console.print(f"{root}: checked as {kind}", markup=False, soft_wrap=True)
    with status:
        report = check(root)
    for problem in report.problems:
        console.print(f"problem: {problem}", style="red", markup=False, soft_wrap=True)
    for note in report.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    console.print(f"{len(report.problems)} problems, {len(report.notes)} notes", markup=False)
    return 1 if report.problems else 0
