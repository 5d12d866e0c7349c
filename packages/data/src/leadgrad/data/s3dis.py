"""S3DIS, read from a prepared folder."""

from math import pi
from pathlib import Path

from leadgrad.data.s3dis_prepare import CLASS_NAMES, COMMAND, DATASET
from leadgrad.data.scene_augment import SceneAugmentation
from leadgrad.data.scene_files import NotPreparedError, PreparedScenes, read_index
from leadgrad.data.scenes import SceneDataModule

VOXEL_SIZE_M = 0.05
AREAS = {
    "train": ["Area_1", "Area_2", "Area_3", "Area_4", "Area_6"],
    "validation": ["Area_5"],
    "test": ["Area_5"],
}
PALETTE = (
    (93, 109, 126), (120, 66, 18), (22, 160, 133), (39, 174, 96), (213, 216, 220),
    (192, 57, 43), (205, 97, 85), (230, 126, 34), (139, 105, 78), (155, 89, 182),
    (52, 152, 219), (174, 174, 174), (133, 193, 233),
)  # fmt: skip


class S3DIS(SceneDataModule):
    """S3DIS (Armeni et al., "3D semantic parsing of large-scale indoor spaces", 2016): 13 classes.

    The points are the annotated ones, one per 1 cm voxel; published networks are trained on the
    release that is not aligned (``Stanford3dDataset_v1.2``). Rooms are served whole; training rooms
    go through the published augmentation, which crops them (docs/reference/scenes.md, "Training").

    By default ``validation`` is Area 5, as ``test`` is: the published networks were trained on all
    other areas. Whatever is chosen by it (checkpoint, slope, step size) is chosen on the rooms that
    are reported. For a clean choice pass areas without overlap, such as 1 to 4, 6 and 5.

    Args:
        root: Folder that ``leadgrad prepare s3dis`` wrote.
        areas: The areas of each split. None takes Areas 1, 2, 3, 4 and 6 to train, 5 otherwise.
        batch_size: Rooms per batch and device.
        num_workers: Loader processes.
        seed: Seed of the training order and of the augmentation.
        limit: Serve only the first `limit` rooms of the attacked split. None serves all.
        attack_split: Split that `predict_dataloader` serves.
        max_points: Training batches leave out the rooms with which they would exceed this many
            points. The published recipe sets no bound.

    Raises:
        ValueError: An argument is out of its range.
    """

    num_classes = len(CLASS_NAMES)
    class_names = CLASS_NAMES
    palette = PALETTE

    def __init__(
        self,
        root: str | Path,
        areas: dict[str, list[str]] | None = None,
        *,
        batch_size: int = 1,
        num_workers: int = 0,
        seed: int = 0,
        limit: int | None = None,
        attack_split: str = "test",
        max_points: int | None = None,
    ) -> None:
        self.areas = AREAS if areas is None else areas
        self.split_names = tuple(self.areas)
        super().__init__(
            batch_size,
            num_workers=num_workers,
            seed=seed,
            limit=limit,
            attack_split=attack_split,
            max_points=max_points,
        )
        self.root = Path(root)

    def load_split(self, name: str) -> PreparedScenes:
        """Find the rooms of one split.

        Args:
            name: One of `split_names`.

        Returns:
            The rooms of the split's areas, area by area, by name.

        Raises:
            NotPreparedError: The folder or an area is not prepared.
            SceneFileError: A room of the split could not be prepared.
        """
        index = read_index(self.root, DATASET, COMMAND)
        known = sorted({*index.sizes, *index.bad})
        names: list[str] = []
        for area in self.areas[name]:
            rooms = [room for room in known if room.startswith(f"{area}/")]
            if not rooms:
                there = sorted({room.split("/")[0] for room in known})
                raise NotPreparedError(
                    f"{self.root}: holds no room of {area}, only of {there}; run `{COMMAND}` with "
                    "a source that holds it, or pass other areas"
                )
            names.extend(rooms)
        return PreparedScenes(
            self.root, index, names, num_classes=self.num_classes, command=COMMAND
        )

    def augmentation(self) -> SceneAugmentation:
        """Return the published S3DIS recipe."""
        return SceneAugmentation(
            crop_m=4.0, tilt_rad=pi / 32, translation=0.05, jitter=0.005, seed=self.seed
        )
