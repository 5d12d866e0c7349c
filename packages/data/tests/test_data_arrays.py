import numpy as np
import pytest
import torch

from leadgrad.data import (
    ImageArrays,
    ImageDataModule,
    SceneArrays,
    SceneDataModule,
    SceneFolder,
    check_batch,
)
from leadgrad.data.contract import DataSetError
from leadgrad.data.palette import distinct_colors
from leadgrad.data.scene_batch import check_scene_batch
from leadgrad.data.scene_check import SceneError
from leadgrad.data.scene_files import SceneFileError

SIZES = (4, 1, 6)


def arrays(sizes=SIZES):
    made = np.random.default_rng(0)
    coords = [made.random((size, 3)) * 4 for size in sizes]
    colors = [made.integers(0, 256, (size, 3), dtype=np.uint8) for size in sizes]
    labels = [np.arange(size) % 3 for size in sizes]
    labels[0][1] = 255
    return coords, colors, labels


def test_scenes_in_memory_are_served_as_they_are():
    coords, colors, labels = arrays()
    data = SceneDataModule.from_arrays(coords, colors, labels)
    assert (data.num_classes, data.class_names) == (3, ("class 0", "class 1", "class 2"))
    assert (data.split_names, data.attack_split) == (("test",), "test")
    assert data.palette == distinct_colors(3)
    assert data.scene_sizes("test") == SIZES
    assert data.scene_name(2) == "scene_0002"
    for index, batch in enumerate(data.predict_dataloader()):
        check_scene_batch(batch, 3)
        assert batch["index"].tolist() == [index]
        assert np.array_equal(batch["coords"].numpy(), coords[index].astype(np.float32))
        assert np.array_equal((batch["features"] * 255).round().byte().numpy(), colors[index])
        assert batch["label"].tolist() == labels[index].tolist()


def test_the_scenes_are_copies_and_identified():
    coords, colors, labels = arrays()
    data = SceneDataModule.from_arrays(coords, colors, labels)
    manifest = data.manifest()
    assert (manifest["dataset"], manifest["split"], manifest["count"]) == ("SceneArrays", "test", 3)
    for column in (coords, colors, labels):
        column[0][0] = 1
    assert data.manifest() == manifest
    digests = {
        manifest["sha256"],
        SceneDataModule.from_arrays(coords, colors, labels).manifest()["sha256"],
    }
    named = SceneDataModule.from_arrays(coords, colors, labels, names=["a", "b", "Büro 3"])
    assert len({*digests, named.manifest()["sha256"]}) == 3
    assert named.scene_name(2) == "Büro 3"


def test_types_that_mean_the_same_give_the_same():
    coords, colors, labels = arrays()
    expected = SceneDataModule.from_arrays(coords, colors, labels).manifest()
    as_tensors = [
        [torch.from_numpy(array) for array in column] for column in (coords, colors, labels)
    ]
    singles = [array.astype(np.float32) for array in coords]
    lists = [array.tolist() for array in labels]
    for given in (as_tensors, (singles, colors, lists), map(tuple, (coords, colors, labels))):
        assert SceneDataModule.from_arrays(*given).manifest() == expected


def test_arrays_are_classes_of_the_package_too():
    made = SceneDataModule.from_arrays(*arrays())
    assert isinstance(made, SceneArrays)
    assert SceneArrays(*arrays()).manifest() == made.manifest()
    images = np.zeros((4, 3, 8, 8), np.uint8)
    held = np.array([False, True, True, False])
    data = ImageArrays(images, np.arange(4), splits={"train": ~held, "test": held})
    assert data.split("test").labels.tolist() == [1, 2]


def test_equal_scenes_may_be_one_array():
    coords, colors, labels = arrays((5, 5))
    data = SceneDataModule.from_arrays(np.stack(coords), np.stack(colors), np.stack(labels))
    assert data.scene_sizes("test") == (5, 5)


def test_a_split_may_be_a_mask():
    held = np.array([False, True, True])
    for mask in (held, held.tolist(), torch.from_numpy(held)):
        data = SceneDataModule.from_arrays(*arrays(), splits={"train": ~held, "test": mask})
        assert [data.scene_name(number) for number in range(2)] == ["scene_0001", "scene_0002"]
        assert data.scene_sizes("train") == (len(arrays()[2][0]),)


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"test": [True, False]}, "a mask of 2 samples, but there are 3"),
        ({"test": [False] * 3}, "keeps no sample"),
        ({"test": [0.9, 1.9]}, "whole numbers, .* got float64"),
        ({"test": [1, 1]}, "names sample 1 twice"),
        ({"test": [-1]}, "0..2, -1 is none"),
        ({"test": [3]}, "0..2, 3 is none"),
        ({"test": []}, "0..2, it holds none"),
        ({"test": [[0], [1]]}, r"its shape is \(2, 1\)"),
        ({"train": [0, 1], "test": [1, 2]}, "1 samples are in both 'train' and 'test'"),
        ({}, "names no split"),
    ],
)
def test_what_is_no_split_is_refused(splits, message):
    with pytest.raises(ValueError, match=message):
        SceneDataModule.from_arrays(*arrays(), splits=splits)


def test_splits_limit_and_classes_are_chosen():
    coords, colors, labels = arrays()
    data = SceneDataModule.from_arrays(
        coords, colors, labels, class_names=["x", "y", "z", "never"], palette=((9, 9, 9),) * 4,
        splits={"train": [0, 1], "validation": [2]}, seed=3, batch_size=2,
    )  # fmt: skip
    assert (data.num_classes, data.attack_split) == (4, "validation")
    assert sum(len(batch["index"]) for batch in data.train_dataloader()) == 2
    assert data.scene_name(0) == "scene_0002"
    (batch,) = data.predict_dataloader()
    assert batch["label"].tolist() == labels[2].tolist()
    assert SceneDataModule.from_arrays(*arrays(), limit=2).num_attack_batches() == 2
    assert SceneDataModule.from_arrays(*arrays(), num_classes=255).num_classes == 255


def changed(column, scene, place, value):
    given = [list(each) for each in arrays()]
    array = np.array(given[column][scene], dtype=np.float64 if column == 0 else np.int64)
    array[place] = value
    given[column][scene] = array.astype(np.uint8) if column == 1 else array
    return given


def other(column, scene, change):
    given = [list(each) for each in arrays()]
    given[column][scene] = change(given[column][scene])
    return given


BAD_SCENES = {
    "NaN": (changed(0, 2, (5, 1), np.nan), "scene 2: 1 points are not finite .* at point 5"),
    "infinite": (changed(0, 0, 0, -np.inf), "scene 0: 1 points are not finite"),
    "on a map": (changed(0, 2, ..., 455_123.5), "scene 2: 6 points .*subtract an origin"),
    "beyond float32": (changed(0, 1, ..., 1e300), "scene 1: 1 points"),
    "negative label": (
        changed(2, 2, 3, -1),
        r"scene 2: 1 labels are neither in 0..2 nor 255, .* -1",
    ),
    "label of two bytes": (changed(2, 2, 3, 256), "scene 2: 1 labels .* 256 at point 3"),
    "float labels": (other(2, 1, lambda a: a.astype(float)), "scene 1: labels must be whole"),
    "one-hot labels": (
        other(2, 2, lambda a: np.eye(3, dtype=int)[a]),
        r"scene 2: labels must be .*\(6, 3\)",
    ),
    "fewer labels": (other(2, 2, lambda a: a[1:]), r"scene 2: labels must be .*\(6,\), got \(5,\)"),
    "float colours": (
        other(1, 0, lambda a: a / 255),
        r"scene 0: features must be .*astype\(np.uint8\)",
    ),
    "wide colours": (other(1, 0, lambda a: a.astype(int)), "scene 0: features must be RGB"),
    "grey": (other(1, 0, lambda a: a[:, :1]), r"scene 0: features must be .*\(4, 3\), .*\(4, 1\)"),
    "fewer colours": (other(1, 2, lambda a: a[1:]), r"scene 2: features must be .*\(6, 3\)"),
    "flat": (other(0, 0, lambda a: a[:, :2]), r"scene 0: coords must be numbers of shape \(P, 3\)"),
    "transposed": (other(0, 2, lambda a: a.T), "scene 2: coords must be numbers"),
    "words": (other(0, 2, lambda a: a.astype(str)), "scene 2: coords must be numbers"),
    "empty": ([[*c[:2], c[2][:0]] for c in arrays()], "scene 2: holds no point"),
    "ragged": (other(0, 1, lambda a: [[1, 2, 3], [1, 2]]), "scene 1: is not made of arrays"),
    "needs gradient": (
        other(0, 1, lambda a: torch.tensor(a, requires_grad=True)),
        "scene 1: is not",
    ),
    "no scene": (([], [], []), "there is no scene"),
    "unequal": ((arrays()[0], arrays()[1][:2], arrays()[2]), r"are of \(3, 2, 3\) scenes"),
    "one scene": (
        [column[0] for column in arrays()],
        r"coords must be a list .*; of one scene \[coords\]",
    ),
    "one of labels": ((arrays()[0], arrays()[1], arrays()[2][0]), "labels must be a list"),
}


def intensities():
    return [np.linspace(0, 50, size)[:, None] for size in SIZES]


def test_features_of_other_names_are_served_as_they_are(tmp_path):
    coords, colors, labels = arrays()
    names = ["intensity"]
    data = SceneDataModule.from_arrays(coords, intensities(), labels, feature_names=names)
    assert data.feature_names == ("intensity",)
    for number, batch in enumerate(data.predict_dataloader()):
        check_scene_batch(batch, 3)
        assert batch["from_bytes"].tolist() == [False]
        assert np.array_equal(batch["features"], intensities()[number].astype(np.float32))
    for number, scene in enumerate(zip(coords, intensities(), labels, strict=True)):
        content = dict(zip(("coords", "features", "labels"), scene, strict=True))
        np.savez(tmp_path / f"scene_{number:04d}.npz", **content)
    folder = SceneFolder(tmp_path, num_classes=3, feature_names=names)
    assert folder.manifest() == data.manifest() | {"dataset": "SceneFolder"}
    with pytest.raises(SceneError, match=r"must be RGB .*; of anything else give feature_"):
        SceneFolder(tmp_path, num_classes=3).manifest()
    grey = [color[:, :1] for color in colors]
    data = SceneDataModule.from_arrays(coords, grey, labels, feature_names=["grey"])
    for number, batch in enumerate(data.predict_dataloader()):
        assert batch["from_bytes"].tolist() == [True]
        assert np.array_equal((batch["features"] * 255).round().byte().numpy(), grey[number])


def test_float_colours_are_colours_when_they_are_named_so():
    coords, colors, labels = arrays()
    names = ("intensity", "red", "green", "blue")
    mixed = [np.hstack([i, c / 255]) for i, c in zip(intensities(), colors, strict=True)]
    data = SceneDataModule.from_arrays(coords, mixed, labels, feature_names=names)
    assert [batch["features"].shape[1] for batch in data.predict_dataloader()] == [4] * 3
    bright = [2 * columns for columns in mixed]
    with pytest.raises(SceneError, match=r"values of (red|green|blue) are not colours in \[0, 1\]"):
        SceneDataModule.from_arrays(coords, bright, labels, feature_names=names)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("column", "names", "message"),
    [
        ([[np.nan]], ["i"], "scene 0: 1 values of i are not finite, the first is nan at point 0"),
        ([[1e300]], ["i"], "scene 0: 1 values of i are not finite, the first is inf"),
        ([[1.0]], ["i", "j"], r"floats of shape \(1, 2\), named i, j, got \(1, 1\) float64"),
        ([[1]], ["i"], r"must be uint8 or floats of shape \(1, 1\), named i, got .* int64"),
        ([[1.0]], None, r"features must be RGB .*; of anything else give feature_names"),
        ([[1.0]], "i", "feature_names must be a tuple with the name of each column, got 'i'"),
    ],
)
def test_wrong_features_are_refused(column, names, message):
    with pytest.raises(ValueError, match=message):
        SceneDataModule.from_arrays([np.ones((1, 3))], [column], [[0]], feature_names=names)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("fault", BAD_SCENES)
def test_a_wrong_scene_is_named_by_its_number(fault):
    given, message = BAD_SCENES[fault]
    with pytest.raises(SceneError, match=message) as caught:
        SceneDataModule.from_arrays(*given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_classes": 2}, "scene 0: 1 labels are neither in 0..1 nor 255, the first is 2"),
        ({"num_classes": 256}, "num_classes must be at most 255"),
        ({"num_classes": 0}, "num_classes must be a number above 0"),
        ({"class_names": ["a", "b"]}, "scene 0: 1 labels are neither in 0..1"),
        ({"class_names": ["a", "b"], "num_classes": 3}, "2 class_names for num_classes=3"),
        ({"class_names": "abc"}, "class_names must be a list of strings, got 'abc'"),
        ({"palette": ((0, 0, 0),)}, "palette must hold one"),
        ({"names": ["a", "b"]}, "names must hold 3 different names"),
        ({"names": ["a", "b", "a"]}, "names must hold 3 different names"),
        ({"names": ["a", "b", 3]}, "scene 2: its name must be printable text, got 3"),
        ({"names": ["a", "b", "x\udcfc"]}, "scene 2: its name must be printable text"),
        ({"splits": {}}, "splits names no split"),
        ({"splits": {"test": []}}, "split 'test' must hold .* 0..2, it holds none"),
        ({"splits": {"test": [0, 3]}}, "0..2, 3 is none"),
        ({"attack_split": "train"}, "SceneArrays has no split 'train'"),
        ({"batch_size": 0}, "batch_size must be at least 1 scene"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SceneDataModule.from_arrays(*arrays(), **settings)


def test_scenes_without_any_class_need_the_number_of_classes():
    coords, colors, labels = arrays()
    ignored = [np.full(len(label), 255) for label in labels]
    with pytest.raises(DataSetError, match="pass num_classes"):
        SceneDataModule.from_arrays(coords, colors, ignored)
    data = SceneDataModule.from_arrays(coords, colors, ignored, num_classes=2)
    assert data.scene_sizes("test") == SIZES


class TestImages:
    images = np.arange(5 * 3 * 4 * 4, dtype=np.uint8).reshape(5, 3, 4, 4)

    def test_images_in_memory_are_served_as_they_are(self):
        data = ImageDataModule.from_arrays(self.images, [0, 1, 2, 1, 0], batch_size=5)
        assert (data.num_classes, data.image_size, data.split_names) == (3, 4, ("test",))
        (batch,) = data.predict_dataloader()
        check_batch(batch)
        assert np.array_equal((batch["image"] * 255).round().byte().numpy(), self.images)
        assert batch["label"].tolist() == [0, 1, 2, 1, 0]
        manifest = data.manifest()
        for labels in (torch.tensor([0, 1, 2, 1, 0]), np.array([0, 1, 2, 1, 0], dtype=np.uint8)):
            again = ImageDataModule.from_arrays(torch.from_numpy(self.images), labels)
            assert again.manifest() == manifest

    def test_splits_are_chosen(self):
        data = ImageDataModule.from_arrays(
            self.images, [0, 1, 2, 1, 0], splits={"train": range(3), "validation": [4, 3]}
        )
        assert data.attack_split == "validation"
        assert next(iter(data.val_dataloader()))["label"].tolist() == [0, 1]

    @pytest.mark.parametrize(
        ("images", "labels", "message"),
        [
            (images, [0, 1, 2, 1, -1], "1 labels are not in 0..2, the first is -1 of sample 4"),
            (images, [0.0, 1, 2, 1, 0], r"labels must be \(N,\) int64"),
            (images, [0, 1], "holds 5 images and 2 labels"),
            (images, [[0, 1], [2]], "labels must be an array or a tensor"),
            (images.transpose(0, 2, 3, 1), [0] * 5, "images.permute"),
            (images[:, :1], [0] * 5, "images.repeat"),
            (images / 255, [0] * 5, r"use \(255 \* images\).round\(\)"),
            (images[:0], [], "holds no sample"),
        ],
    )
    def test_what_is_wrong_is_named(self, images, labels, message):
        with pytest.raises(DataSetError, match=message):
            ImageDataModule.from_arrays(images, labels)


class TestFolder:
    def write(self, root, split="test", names=("b", "a", "c"), **changes):
        (root / split).mkdir(parents=True, exist_ok=True)
        for name, *scene in zip(names, *arrays(), strict=True):
            content = dict(zip(("coords", "features", "labels"), scene, strict=True)) | changes
            np.savez(root / split / f"{name}.npz", **content)

    def test_a_folder_is_served_in_the_order_of_the_names(self, tmp_path):
        self.write(tmp_path)
        self.write(tmp_path, "train")
        (tmp_path / "test" / "._a.npz").write_bytes(b"\0")
        (tmp_path / ".DS_Store").write_bytes(b"\0")
        data = SceneFolder(tmp_path, num_classes=3)
        assert (data.split_names, data.attack_split) == (("test", "train"), "test")
        assert [data.scene_name(index) for index in range(3)] == ["a", "b", "c"]
        assert data.scene_sizes("test") == (1, 4, 6)
        for batch in data.predict_dataloader():
            check_scene_batch(batch, 3)
        coords, colors, labels = ([column[k] for k in (1, 0, 2)] for column in arrays())
        memory = SceneDataModule.from_arrays(coords, colors, labels, names=["a", "b", "c"])
        assert data.manifest() == memory.manifest() | {"dataset": "SceneFolder"}
        assert SceneFolder(tmp_path / "train", class_names=["x", "y", "z"]).split_names == ("test",)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"labels": np.array([0, 1, 7])}, r"[abc].npz: labels must be|labels are neither"),
            ({"coords": np.full((6, 3), np.nan)}, "not finite|features must be"),
            ({"labels": np.array([None] * 4)}, "cannot be read"),
        ],
    )
    def test_a_wrong_file_is_named(self, tmp_path, changes, message):
        self.write(tmp_path, **changes)
        with pytest.raises(SceneError, match=message) as caught:
            SceneFolder(tmp_path, num_classes=3).manifest()
        assert str(tmp_path) in str(caught.value)

    @pytest.mark.parametrize("content", [b"", b"PK", b"no archive"])
    def test_a_damaged_file_is_named(self, tmp_path, content):
        self.write(tmp_path)
        (tmp_path / "test" / "b.npz").write_bytes(content)
        with pytest.raises(SceneFileError, match=r"b.npz: cannot be read"):
            SceneFolder(tmp_path, num_classes=3).manifest()

    def test_a_cut_file_and_a_missing_array_are_named(self, tmp_path):
        self.write(tmp_path)
        path = tmp_path / "test" / "b.npz"
        path.write_bytes(path.read_bytes()[:-30])
        with pytest.raises(SceneFileError, match=r"b.npz: cannot be read"):
            SceneFolder(tmp_path, num_classes=3).manifest()
        np.savez(path, coords=np.zeros((1, 3)))
        with pytest.raises(SceneFileError, match=r"b.npz: has no array \['features', 'labels'\]"):
            SceneFolder(tmp_path, num_classes=3).manifest()
        np.save(tmp_path / "test" / "plain.npy", np.zeros(3))
        (tmp_path / "test" / "plain.npy").rename(path)
        with pytest.raises(SceneFileError, match=r"b.npz: cannot be read"):
            SceneFolder(tmp_path, num_classes=3).manifest()

    def test_an_empty_folder_and_unknown_classes_are_refused(self, tmp_path):
        with pytest.raises(SceneFileError, match=r"there is no folder .*nowhere"):
            SceneFolder(tmp_path / "nowhere", num_classes=3)
        with pytest.raises(SceneFileError, match="holds no scene; write them as"):
            SceneFolder(tmp_path, num_classes=3)
        self.write(tmp_path)
        with pytest.raises(DataSetError, match="pass num_classes"):
            SceneFolder(tmp_path)

    def test_a_scene_beside_the_folders_of_splits_hides_none(self, tmp_path):
        self.write(tmp_path)
        (tmp_path / "test" / "b.npz").rename(tmp_path / "stray.npz")
        with pytest.raises(SceneFileError, match=r"holds stray.npz itself beside .*\(test\)"):
            SceneFolder(tmp_path, num_classes=3)
