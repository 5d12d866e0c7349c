"""ScanNet v2, read from a prepared folder."""

from pathlib import Path

from leadgrad.data.scannet_prepare import CLASS_NAMES, COMMAND, DATASET
from leadgrad.data.scene_augment import SceneAugmentation
from leadgrad.data.scene_files import NotPreparedError, PreparedScenes, read_index
from leadgrad.data.scenes import SceneDataModule

VOXEL_SIZE_M = 0.02
# Names of the benchmark's split files.
SPLIT_FILES = {"train": "scannetv2_train.txt", "validation": "scannetv2_val.txt"}
# Colours of our own, by rule: hues at equal distances, in two brightnesses.
PALETTE = (
    (174, 174, 174), (139, 105, 78), (230, 126, 34), (241, 196, 15), (192, 57, 43),
    (155, 89, 182), (52, 152, 219), (120, 66, 18), (133, 193, 233), (39, 174, 96),
    (255, 105, 180), (22, 160, 133), (108, 52, 131), (46, 204, 113), (93, 109, 126),
    (253, 121, 168), (0, 206, 209), (30, 132, 73), (65, 105, 225), (205, 97, 85),
)  # fmt: skip


class SplitError(ValueError):
    """It is not known which scenes a split holds."""


class ScanNet(SceneDataModule):
    """ScanNet v2 (Dai et al., "ScanNet: Richly-annotated 3D reconstructions", 2017): 20 classes.

    All vertices of a scan, in its own coordinates and order. The benchmark's 1,201 training and
    312 validation scans are named in its split files; its test labels are not public, so papers
    report the validation split, and `test_dataloader` serves it as well.

    Training scenes go through the published augmentation (docs/reference/scenes.md, "Training").

    Args:
        root: Folder that ``leadgrad prepare scannet`` wrote.
        splits: The scenes of each split: a text file with one name per line (``.ply`` behind it is
            ignored), or the names themselves. None looks for the benchmark's own split files,
            ``scannetv2_train.txt`` and ``scannetv2_val.txt``, in `root`.
        batch_size: Scenes per batch and device.
        num_workers: Loader processes.
        seed: Seed of the training order and of the augmentation.
        limit: Serve only the first `limit` scenes of the attacked split. None serves all.
        attack_split: Split that `predict_dataloader` serves.
        max_points: Training batches leave out the scenes with which they would exceed this many
            points. The published bound counts 2 cm voxels, of which there are at most as many.

    Raises:
        ValueError: An argument is out of its range.
    """

    num_classes = len(CLASS_NAMES)
    class_names = CLASS_NAMES
    palette = PALETTE

    def __init__(
        self,
        root: str | Path,
        splits: dict[str, str | list[str]] | None = None,
        *,
        batch_size: int = 1,
        num_workers: int = 0,
        seed: int = 0,
        limit: int | None = None,
        attack_split: str = "validation",
        max_points: int | None = 1_200_000,
    ) -> None:
        self.split_names = tuple(SPLIT_FILES if splits is None else splits)
        super().__init__(
            batch_size,
            num_workers=num_workers,
            seed=seed,
            limit=limit,
            attack_split=attack_split,
            max_points=max_points,
        )
        self.root = Path(root)
        self.splits = splits

    def load_split(self, name: str) -> PreparedScenes:
        """Find the scenes of one split.

        Args:
            name: One of `split_names`.

        Returns:
            The split's scenes, in the order of its list.

        Raises:
            NotPreparedError: The folder or a scene is not prepared.
            SplitError: The list of scenes is missing, empty or names a scene twice.
            SceneFileError: A scene of the split could not be prepared.
        """
        index = read_index(self.root, DATASET, COMMAND)
        return PreparedScenes(
            self.root, index, self._names(name), num_classes=self.num_classes, command=COMMAND
        )

    def augmentation(self) -> SceneAugmentation:
        """Return the published ScanNet recipe."""
        return published_augmentation(self.seed)

    def _names(self, split: str) -> list[str]:
        if self.splits is None:
            path = self.root / SPLIT_FILES[split]
            if not path.is_file():
                raise SplitError(
                    f"ScanNet's {split} scenes are not known: {path} is missing; put the "
                    f"benchmark's file there, or pass splits={{{split!r}: <file or names>, ...}}"
                )
            return read_names(path)
        given = self.splits[split]
        return read_names(Path(given)) if isinstance(given, str) else _checked(given, split)


def published_augmentation(seed: int) -> SceneAugmentation:
    """Return the published ScanNet recipe (docs/reference/scenes.md, "Training").

    Args:
        seed: Seed of the augmentation.
    """
    return SceneAugmentation(elastic=((0.2, 0.4), (0.8, 1.6)), seed=seed)


def read_names(path: Path) -> list[str]:
    """Read a split file.

    Args:
        path: One name per line, in UTF-8; blanks, empty lines and a suffix ``.ply`` are taken off,
            and a last line without a line end counts like any other.

    Returns:
        The names, in order.

    Raises:
        NotPreparedError: There is no such file.
        SplitError: It is no text, holds no name, or one twice.
    """
    if not path.is_file():
        raise NotPreparedError(f"{path}: there is no such split file")
    try:
        content = path.read_bytes().decode("utf-8-sig")  # Windows' editors begin with a mark
    except UnicodeDecodeError as error:
        raise SplitError(f"{path}: is no UTF-8 text ({error}); save it as such") from None
    lines = (line.strip() for line in content.splitlines())
    return _checked([line.removesuffix(".ply") for line in lines if line], str(path))


def _checked(names: list[str], where: str) -> list[str]:
    if not names:
        raise SplitError(f"{where}: names no scene")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SplitError(f"{where}: names {len(twice)} scenes twice, the first is {twice[0]}")
    return list(names)
