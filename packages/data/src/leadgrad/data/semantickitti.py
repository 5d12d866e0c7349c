"""SemanticKITTI, read from its own files."""

from collections.abc import Sequence
from pathlib import Path

from leadgrad.data.lidar_augment import LidarAugmentation
from leadgrad.data.scene_check import Scene
from leadgrad.data.scene_files import SceneFileError
from leadgrad.data.scene_loaders import SceneSource
from leadgrad.data.scenes import SceneDataModule
from leadgrad.data.semantickitti_classes import CLASS_NAMES, PALETTE
from leadgrad.data.semantickitti_files import count_points, find_scans, find_sequences, read_scan

SEQUENCES = {
    "train": ["00", "01", "02", "03", "04", "05", "06", "07", "09", "10"],
    "validation": ["08"],
}


class SemanticKITTI(SceneDataModule):
    """SemanticKITTI (Behley et al., "SemanticKITTI", 2019): 19 classes, single scans.

    All points of a scan, in the scanner's frame and in the order of the file. The feature is the
    remission, as stored. Class 0, "unlabelled", is an output of networks but no label: points that
    the benchmark ignores have 255.

    The labels of sequences 11 to 21 are not public, so papers report sequence 08, and
    `test_dataloader` serves it as well. Training scans go through the published augmentation
    (docs/reference/scenes.md, "SemanticKITTI").

    Args:
        root: Folder that holds ``sequences/``, or ``dataset/sequences/``.
        sequences: The sequences of each split, as two digits. None takes 00 to 07, 09 and 10 to
            train, 08 to validate.
        batch_size: Scans per batch and device.
        num_workers: Loader processes.
        seed: Seed of the training order and of the augmentation.
        limit: Serve only the first `limit` scans of the attacked split. None serves all.
        attack_split: Split that `predict_dataloader` serves.
        max_points: Training batches leave out the scans with which they would exceed this many
            points. The published recipe sets no bound.

    Raises:
        ValueError: An argument is out of its range.
    """

    num_classes = len(CLASS_NAMES)
    class_names = CLASS_NAMES
    palette = PALETTE
    feature_names = ("remission",)

    def __init__(
        self,
        root: str | Path,
        sequences: dict[str, list[str]] | None = None,
        *,
        batch_size: int = 1,
        num_workers: int = 0,
        seed: int = 0,
        limit: int | None = None,
        attack_split: str = "validation",
        max_points: int | None = None,
    ) -> None:
        self.sequences = SEQUENCES if sequences is None else sequences
        self.split_names = tuple(self.sequences)
        super().__init__(
            batch_size,
            num_workers=num_workers,
            seed=seed,
            limit=limit,
            attack_split=attack_split,
            max_points=max_points,
        )
        self.root = Path(root)

    def load_split(self, name: str) -> "ScanFiles":
        """Find the scans of one split, which are read when they are asked for.

        Args:
            name: One of `split_names`.

        Returns:
            The scans of the split's sequences, sequence by sequence, by name.

        Raises:
            SceneFileError: The folder, or a scan of a sequence, is missing.
        """
        folder = find_sequences(self.root)
        scans: list[Path] = []
        for sequence in self.sequences[name]:
            found = find_scans(folder / sequence)
            if not found:
                there = [path.name for path in sorted(folder.iterdir()) if find_scans(path)]
                raise SceneFileError(
                    f"{folder / sequence}: holds no scan velodyne/NNNNNN.bin, only sequences "
                    f"{there} do; unpack it, or pass others as sequences={{{name!r}: [...]}}"
                )
            scans.extend(found)
        return ScanFiles(scans)

    def augmentation(self) -> LidarAugmentation:
        """Return the published recipe."""
        return LidarAugmentation(seed=self.seed)


class ScanFiles(SceneSource):
    """Scans in SemanticKITTI's files, read each time.

    Args:
        scans: The ``.bin`` of each.
    """

    def __init__(self, scans: Sequence[Path]) -> None:
        super().__init__([f"{scan.parent.parent.name}/{scan.stem}" for scan in scans])
        self.scans = tuple(scans)

    def size(self, index: int) -> int:
        """Return the number of points of a scan, from the length of its file."""
        return count_points(self.scans[index])

    def read(self, index: int) -> Scene:
        """Read a scan.

        Raises:
            SceneFileError: Its file, or that of its labels, is missing or damaged.
        """
        return read_scan(self.scans[index])
