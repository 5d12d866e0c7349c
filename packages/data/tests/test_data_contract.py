"""What a user's own data set may get wrong is refused by name, before anything is served."""

import numpy as np
import pytest
import torch

from leadgrad.data import ImageDataModule, SceneDataModule, check_batch
from leadgrad.data.base import ImageSplit
from leadgrad.data.contract import DataSetError
from leadgrad.data.scene_check import Scene, SceneError
from leadgrad.data.scene_loaders import SceneSource


def images_of(images, labels, **stated):
    """A user's own data set, of two samples unless told otherwise."""

    class Own(ImageDataModule):
        num_classes, class_names, image_size = 3, ("a", "b", "c"), 4

        def load_split(self, name):
            return ImageSplit(images, labels)

    for name, value in stated.items():
        setattr(Own, name, value)
    return Own


IMAGES = torch.full((2, 3, 4, 4), 7, dtype=torch.uint8)
LABELS = torch.tensor([0, 2])
WRONG = {
    "label too large": (IMAGES, torch.tensor([0, 3]), "1 labels are not in 0..2, the first is 3"),
    "label negative": (IMAGES, torch.tensor([-1, 3]), "2 labels are not in 0..2, the first is -1"),
    "ignore label": (IMAGES, torch.tensor([0, 255]), "the first is 255 of sample 1"),
    "labels a list": (IMAGES, [0, 2], "labels must be a tensor, got list; return ImageSplit.of"),
    "labels an array": (IMAGES, np.array([0, 2]), "labels must be a tensor, got ndarray"),
    "labels int32": (IMAGES, LABELS.int(), r"got \(2,\) int32; use labels.flatten\(\).long\(\)"),
    "labels float": (IMAGES, LABELS.float(), r"labels must be \(N,\) int64"),
    "labels one-hot": (IMAGES, torch.eye(3)[:2].long(), r"got \(2, 3\) int64; use labels.argmax"),
    "labels in a column": (IMAGES, LABELS[:, None, None], "flatten"),
    "fewer labels": (IMAGES, LABELS[:1], "holds 2 images and 1 labels"),
    "no samples": (IMAGES[:0], LABELS[:0], "holds no sample"),
    "images an array": (IMAGES.numpy(), LABELS, "images must be a tensor, got ndarray"),
    "channels last": (IMAGES.permute(0, 2, 3, 1), LABELS, r"use images.permute\(0, 3, 1, 2\)"),
    "one channel": (IMAGES[:, :1], LABELS, r"use images.repeat\(1, 3, 1, 1\)"),
    "no channel": (IMAGES[:, 0], LABELS, r"use images\[:, None\].repeat\(1, 3, 1, 1\)"),
    "alpha": (IMAGES.repeat(1, 2, 1, 1)[:, :4], LABELS, r"\(N, 3, H, W\), got \(2, 4, 4, 4\)"),
    "flat": (IMAGES.flatten(1), LABELS, r"\(N, 3, H, W\), got \(2, 48\)"),
    "floats to 255": (IMAGES.float(), LABELS, r"float32; use images.round\(\).to\(torch.uint8\)"),
    "floats to 1": (IMAGES.double() / 255, LABELS, r"float64; use \(255 \* images\).round\(\)"),
    "int64": (IMAGES.long(), LABELS, "images must be uint8 of 0..255, got int64"),
    "another size": (IMAGES[..., :3], LABELS, "images are 4 x 3 pixels, image_size says 4"),
}


def served(datamodule):
    """Everything that an attack, a fit or a validation asks for."""
    return (
        datamodule.manifest,
        datamodule.num_attack_batches,
        datamodule.predict_dataloader,
        datamodule.train_dataloader,
        datamodule.val_dataloader,
        datamodule.test_dataloader,
    )


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_images_and_labels_are_refused(fault):
    images, labels, message = WRONG[fault]
    for call in served(images_of(images, labels)()):
        for _ in range(2):  # and the split is not kept
            with pytest.raises(DataSetError, match=message) as caught:
                call()
        assert str(caught.value).startswith("split ")
        assert " of Own: " in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [None, (IMAGES, LABELS), {"images": IMAGES}])
def test_what_is_no_split_is_refused(value, monkeypatch):
    own = images_of(IMAGES, LABELS)
    monkeypatch.setattr(own, "load_split", lambda self, name: value)
    with pytest.raises(DataSetError, match=r"'test' of Own must be an ImageSplit, got .*return"):
        own().manifest()


def test_what_the_table_allows_is_served():
    for images in (IMAGES, IMAGES.contiguous(memory_format=torch.channels_last)):
        (batch,) = images_of(images, LABELS)().predict_dataloader()
        check_batch(batch)
    del (own := images_of(IMAGES[..., :3], LABELS)).image_size
    check_batch(next(iter(own().predict_dataloader())))


STATED = [
    ({"class_names": ("a", "b")}, "Own: 2 class_names for num_classes=3"),
    ({"class_names": "abc"}, "class_names must be a tuple of strings, got 'abc'"),
    ({"class_names": (1, 2, 3)}, "class_names must be a tuple of strings"),
    ({"class_names": None}, "class_names must be a tuple of strings, got None"),
    ({"num_classes": 0}, "num_classes must be a number above 0, got 0"),
    ({"num_classes": "3"}, "num_classes must be a number above 0, got '3'"),
    ({"num_classes": 3.0}, "num_classes must be a number above 0, got 3.0"),
]


@pytest.mark.parametrize(("stated", "message"), STATED)
def test_classes_that_do_not_fit_are_refused_when_the_set_is_made(stated, message):
    with pytest.raises(DataSetError, match=message):
        images_of(IMAGES, LABELS, **stated)()
    with pytest.raises(DataSetError, match=message):
        scenes_of(SCENE, **stated)()


@pytest.mark.parametrize(("stated", "message"), STATED)
def test_classes_that_init_sets_are_checked_before_anything_is_served(stated, message):
    class Late(images_of(IMAGES, LABELS)):
        def __init__(self):
            super().__init__()
            for name, value in stated.items():
                setattr(self, name, value)

    with pytest.raises(DataSetError, match=message.replace("Own", "Late")):
        Late().manifest()


@pytest.mark.parametrize("base", ["image", "scene"])
@pytest.mark.parametrize("name", ["num_classes", "class_names"])
def test_classes_that_are_not_stated_are_asked_for(base, name):
    own = images_of(IMAGES, LABELS) if base == "image" else scenes_of(SCENE)
    delattr(own, name)
    for read in (lambda: getattr(own(), name), lambda: own().manifest()):
        with pytest.raises(DataSetError, match=f"Own states no {name}; set .* in the class"):
            read()


def scenes_of(*scenes, names=None, **stated):
    class Source(SceneSource):
        def size(self, index):
            return len(scenes[index].coords)

        def read(self, index):
            return scenes[index]

    class Own(SceneDataModule):
        num_classes, class_names = 3, ("a", "b", "c")

        def load_split(self, name):
            return Source([f"room {k}" for k in range(len(scenes))] if names is None else names)

    for name, value in stated.items():
        setattr(Own, name, value)
    return Own


COORDS = np.ones((5, 3), dtype=np.float32)
COLOR = np.full((5, 3), 9, dtype=np.uint8)
CLASSES = np.array([0, 1, 2, 255, 0], dtype=np.uint8)
SCENE = Scene(COORDS, COLOR, CLASSES)


def replaced(array, value):
    array = array.copy()
    array[3] = value
    return array


@pytest.mark.parametrize(
    ("scene", "message"),
    [
        (Scene(COORDS.astype(float), COLOR, CLASSES), r"coords must be \(P, 3\) float32, got \(5"),
        (Scene(COORDS[:, :2], COLOR, CLASSES), r"coords must be .* got \(5, 2\)"),
        (Scene(COORDS.tolist(), COLOR, CLASSES), "coords must be a numpy array .*got list"),
        (
            Scene(COORDS, COLOR / 255, CLASSES),
            r"features must be \(P, 3\) uint8 or float32, named red, green, blue, got .*float64",
        ),
        (Scene(COORDS, COLOR[:, 0], CLASSES), "features must be"),
        (
            Scene(COORDS, COLOR.astype(np.float32), CLASSES),
            r"5 values of red are not colours in \[0, 1\], or bytes, the first is 9.0 at point 0",
        ),
        (
            Scene(COORDS, COLOR, CLASSES.astype(int)),
            r"label must be \(P,\) uint8, got \(5,\) int64",
        ),
        (Scene(COORDS, COLOR, CLASSES.tolist()), "label must be a numpy array"),
        (Scene(COORDS, COLOR, CLASSES[:4]), "5 points, 5 features and 4 labels"),
        (Scene(COORDS[:0], COLOR[:0], CLASSES[:0]), "holds no point"),
        (Scene(COORDS, COLOR, replaced(CLASSES, 3)), "1 labels are neither in 0..2 nor 255"),
        (Scene(replaced(COORDS, np.nan), COLOR, CLASSES), "1 points are not finite .* at point 3"),
        (Scene(replaced(COORDS, 2000), COLOR, CLASSES), "1 points are not finite or beyond 1000 m"),
    ],
)
def test_wrong_scenes_are_refused_by_their_number(scene, message):
    own = scenes_of(SCENE, scene)()
    loaders = (own.predict_dataloader, own.train_dataloader, own.val_dataloader)
    for call in (own.manifest, *(lambda loader=loader: list(loader()) for loader in loaders)):
        with pytest.raises(SceneError, match=rf"scene 1 \(room 1\): .*{message}"):
            call()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "must be a tuple with the name of each column"),
        ("intensity", "must be a tuple .* got 'intensity'"),
        (("two words",), "must be one word .* got 'two words'"),
        (("a", "a"), "must differ"),
    ],
)
def test_names_of_features_that_nothing_could_show_are_refused(names, message):
    own = scenes_of(SCENE)
    own.feature_names = names
    with pytest.raises(DataSetError, match=f"Own: .*{message}"):
        own()


def test_other_columns_than_named_are_refused():
    own = scenes_of(SCENE)
    own.feature_names = ("intensity",)
    with pytest.raises(SceneError, match=r"features must be \(P, 1\) .*, named intensity, got"):
        own().manifest()


@pytest.mark.parametrize("name", ["b\udcfcro", "two\nlines", "a\x1b[31m"])
def test_names_that_cannot_be_printed_are_refused(name):
    with pytest.raises(DataSetError, match=r"the name of scene 0 is no printable text, '.*rename"):
        scenes_of(SCENE, names=[name])().manifest()


def test_what_is_no_source_is_refused(monkeypatch):
    own = scenes_of(SCENE)
    monkeypatch.setattr(own, "load_split", lambda self, name: [SCENE])
    with pytest.raises(DataSetError, match="must be a SceneSource, got list"):
        own().manifest()


def test_a_set_without_a_palette_has_one():
    own = scenes_of(SCENE)()
    assert len(own.palette) == len(set(own.palette)) == 3
    own.palette = ((1, 2, 3),) * 3
    assert own.palette == ((1, 2, 3),) * 3
    assert scenes_of(SCENE, palette=((0, 0, 0),) * 3)().palette == ((0, 0, 0),) * 3


def test_a_palette_that_does_not_fit_is_refused_when_the_set_is_made():
    for palette in (((0, 0, 0),) * 2, ((0, 0),) * 3, (), ((0, 0, 256),) * 3):
        with pytest.raises(ValueError, match="Own: palette must hold"):
            scenes_of(SCENE, palette=palette)()
    own = scenes_of(SCENE)()
    own.palette = ((0, 0, 0),)
    with pytest.raises(ValueError, match="Own: palette must hold"):
        own.manifest()


def test_more_classes_than_labels_can_hold_are_refused():
    names = tuple(str(number) for number in range(256))
    with pytest.raises(DataSetError, match="num_classes must be at most 255"):
        scenes_of(SCENE, num_classes=256, class_names=names)()
