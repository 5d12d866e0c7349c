"""``leadgrad fit`` and ``publish`` on point clouds, of a tiny MinkUNet on made-up rooms."""

import json
import shlex
import shutil
import signal

import numpy as np
import pytest
import torch
from run_config import arguments, attack, fit_config, node
from run_processes import Command
from safetensors.torch import load_file
from scene_config import scene_config
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator, TensorEvent
from tensorboard.plugins.mesh.plugin_data_pb2 import MeshPluginData

from leadgrad.data import SyntheticRooms
from leadgrad.pipelines.cli import main
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.pipelines.runs.portable import portable
from leadgrad.pipelines.runs.zoo import Card
from leadgrad.pipelines.tasks.scenes.curves import MESH_POINTS, mesh_points
from leadgrad.victims import MinkUNet

# Lightning says so of every resumed fit, and of every moved one
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*exists and is not empty:UserWarning"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed:UserWarning"),
]
EPOCHS = 8  # so that a signal, sent after the first, comes before the last
ROOMS = {"points": 1000, "train_rooms": 2, "validation_rooms": 1, "test_rooms": 2}
MINKUNET = node(
    "leadgrad.victims.MinkUNet",
    num_classes=20,
    voxel_m=0.3,
    encoder=[4] * 4,
    decoder=[4] * 4,
    blocks=[1] * 8,
    stem=4,
)
SEGMENTER = node(
    "leadgrad.victims.training.segmentation.SceneSegmenter",
    network=MINKUNET,
    recipe=node("leadgrad.victims.training.recipe.SGDPolynomial"),
)


def config(**changes):
    rooms = node("leadgrad.data.SyntheticRooms", **ROOMS)
    return fit_config(model=SEGMENTER, data=rooms, trainer__max_epochs=EPOCHS, **changes)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    run = RunDirectory(tmp_path_factory.mktemp("unbroken") / "run")
    assert main(arguments("fit", config(), run.path)) == 0
    return run


def training(run: RunDirectory) -> dict:
    return json.loads((run.path / "training.json").read_bytes())


def test_what_a_fit_leaves(unbroken):
    card = training(unbroken)
    assert card["epochs"] == EPOCHS
    assert {"val_loss", "val_miou", "val_accuracy", "weights_sha256"} <= card.keys()
    assert 0 < card["val_miou"] < card["val_accuracy"] < 100
    weights = load_file(unbroken.path / "weights.safetensors")
    assert weights["conv0p1s1.kernel"].shape == (125, 3, 4)
    assert len(list((unbroken.path / "checkpoints").iterdir())) == 2


def test_killed_and_resumed(unbroken, tmp_path):
    run, log = RunDirectory(tmp_path / "run"), tmp_path / "log"
    args = arguments("fit", config(), run.path)
    command = Command.start(args, log)
    command.until((run.path / "checkpoints" / "last.ckpt").exists)
    command.signal(signal.SIGKILL)
    assert command.wait() == -signal.SIGKILL
    assert not (run.path / "training.json").exists()
    command = Command.start(args, log)
    assert command.wait() == 0, command.output()
    assert training(run) == training(unbroken)
    resumed, whole = (each.path / "weights.safetensors" for each in (run, unbroken))
    assert resumed.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            fit_config(data=node("leadgrad.data.SyntheticRooms", **ROOMS)),
            "SkipNetClassifier is trained on images, got SyntheticRooms",
        ),
        (
            fit_config(model=SEGMENTER),
            "SceneSegmenter is trained on scenes, got FakeCIFAR10",
        ),
    ],
    ids=["rooms for a classifier", "images for a segmenter"],
)
def test_the_wrong_kind_of_data_is_refused(tmp_path, capsys, settings, words):
    assert main(arguments("fit", settings, tmp_path / "run")) == 1
    assert f"error: {words}; give it such --data" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def board(run: RunDirectory) -> EventAccumulator:
    events = EventAccumulator(str(run.path / "tensorboard"), size_guidance={"tensors": 0})
    events.Reload()
    return events


def test_the_board_shows_a_scene_and_the_ious(unbroken):
    events = board(unbroken)
    tags = events.Tags()
    assert {"train/loss", "val_miou", "class_iou/wall", "class_iou/floor"} <= set(tags["scalars"])
    assert "class_iou/toilet" not in tags["scalars"], "no room has one"
    last = {
        tag: events.Scalars(tag)[-1].value
        for tag in tags["scalars"]
        if tag.startswith("class_iou/")
    }
    assert np.mean(list(last.values())) == pytest.approx(training(unbroken)["val_miou"], rel=1e-5)
    pictures = events.Images("scene/labels_and_answers")
    assert len({picture.step for picture in pictures}) == len(pictures)
    assert pictures[-1].width == 2 * 420 + 12


def mesh(events: EventAccumulator, name: str) -> dict:
    """Of each part of a mesh: the tensors of all steps."""
    parts = {}
    for tag in events.Tags()["tensors"]:
        if tag.startswith(f"scene/{name}_"):
            metadata = events.SummaryMetadata(tag).plugin_data.content
            kind = MeshPluginData.ContentType.Name(MeshPluginData.FromString(metadata).content_type)
            parts[kind] = events.Tensors(tag)
    return parts


def mesh_rows(event: TensorEvent) -> np.ndarray:
    return np.array(event.tensor_proto.float_val, np.float32).reshape(-1, 3)


def test_the_meshes_are_the_scene_and_its_answers(unbroken):
    events = board(unbroken)
    labels, answers = mesh(events, "labels"), mesh(events, "answers")
    assert len(labels["VERTEX"]) == 1
    assert len(answers["VERTEX"]) == EPOCHS
    scene = SyntheticRooms(**ROOMS).split("validation").read(0)
    assert np.array_equal(mesh_rows(labels["VERTEX"][0]), scene.coords)
    for event in answers["VERTEX"]:
        assert np.array_equal(mesh_rows(event), scene.coords)
    palette = np.array([*SyntheticRooms.palette, *[(205, 205, 208)] * (256 - 20)])
    assert np.array_equal(mesh_rows(labels["COLOR"][0]), palette[scene.label])
    # The last epoch's weights are those of the published victim
    network = MinkUNet(**MINKUNET["init_args"])
    network.load_state_dict(load_file(unbroken.path / "weights.safetensors"))
    features = torch.from_numpy(scene.features.astype(np.float32) / np.float32(255))
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(scene.coords), features).argmax(1).numpy()
    assert np.array_equal(mesh_rows(answers["COLOR"][-1]), palette[expected])


def test_a_mesh_of_many_points_shows_some():
    assert torch.equal(mesh_points(MESH_POINTS), torch.arange(MESH_POINTS))
    some = mesh_points(3 * MESH_POINTS)
    assert len(some) == len(some.unique()) == MESH_POINTS
    assert torch.equal(some, some.sort().values)
    assert torch.equal(some, mesh_points(3 * MESH_POINTS))
    thirds = some.bincount(minlength=3 * MESH_POINTS).view(3, -1).sum(1)
    assert int(thirds.min()) > 0.3 * MESH_POINTS


def test_images_log_no_scene(tmp_path):
    run = RunDirectory(tmp_path / "run")
    assert main(arguments("fit", fit_config(trainer__max_epochs=1), run.path)) == 0
    tags = board(run).Tags()
    assert tags["images"] == tags["tensors"] == []
    assert not any(tag.startswith(("scene", "class_iou")) for tag in tags["scalars"])


@pytest.fixture(scope="module")
def published(unbroken, tmp_path_factory):
    target = tmp_path_factory.mktemp("zoo") / "rooms.safetensors"
    assert main(["publish", str(unbroken.path), str(target), "--device", "a test's CPU"]) == 0
    return Card.read(target)


def slow_ious(network, source) -> tuple[list[float | None], int, int]:
    """IoU of each class in percent by counting one class at a time; right points, their number."""
    answers, labels = [], []
    for index in range(len(source)):
        scene = source.read(index)
        features = torch.from_numpy(scene.features.astype(np.float32) / np.float32(255))
        with torch.no_grad():
            answers.append(network(torch.from_numpy(scene.coords), features).argmax(1).numpy())
        labels.append(scene.label)
    answer, label = np.concatenate(answers), np.concatenate(labels)
    answer, label = answer[label != 255], label[label != 255]
    ious = []
    for k in range(20):
        union = ((answer == k) | (label == k)).sum()
        there = (label == k).any()
        ious.append(100 * ((answer == k) & (label == k)).sum() / union if there else None)
    return ious, int((answer == label).sum()), len(label)


def test_the_card_of_a_scene_victim(unbroken, published):
    content = published.content
    run = unbroken.run()
    assert published.name == content["name"] == "rooms"
    assert content["network"]["class_path"] == "leadgrad.victims.MinkUNet"
    assert content["sha256"] == training(unbroken)["weights_sha256"]
    assert content["bytes"] == published.weights.stat().st_size
    expected = {name: value for name, value in run["fingerprint"].items() if name != "code"}
    assert content["recipe"] == expected
    assert content["command"] == portable(shlex.split(run["command"]))
    assert content["training"]["device"] == "a test's CPU"
    assert content["training"]["wall_s"] > 0
    assert content["published_with"]["torch"] == torch.__version__
    assert content["cost"] is None
    right, count = published.right("test")
    assert 0 < right <= count, "points are right, not scenes"
    trained = {split: entry["trained_on"] for split, entry in content["accuracy"].items()}
    assert trained == {"train": True, "validation": False, "test": False}
    rooms = SyntheticRooms(**ROOMS)
    for split in trained:
        rooms.attack_split = split
        assert content["data"][split] == rooms.manifest()


def test_its_numbers_are_those_of_a_slow_count(published):
    rooms, network = SyntheticRooms(**ROOMS), published.load()
    for split, entry in published.content["accuracy"].items():
        ious, right, counted = slow_ious(network, rooms.split(split))
        there = [iou for iou in ious if iou is not None]
        assert entry["miou"] == pytest.approx(np.mean(there), abs=6e-4)
        assert entry["point_accuracy"] == pytest.approx(100 * right / counted, abs=6e-4)
        assert list(entry["class_iou"]) == list(rooms.class_names)
        for found, expected in zip(entry["class_iou"].values(), ious, strict=True):
            assert (found is None) == (expected is None)
            assert found == pytest.approx(expected, abs=6e-4)
        assert entry["scenes"] == len(rooms.split(split))
        assert entry["points"] == sum(rooms.scene_sizes(split))
    measured = published.content["accuracy"]["validation"]["miou"]
    assert measured == pytest.approx(published.content["training"]["val_miou"], abs=1e-3)


def test_an_attack_of_it_starts_from_the_cards_miou(published, tmp_path):
    settings = scene_config(model__network=published.content["network"])
    settings["data"]["init_args"] = dict(ROOMS)
    settings["model"]["attack"]["init_args"]["steps"] = 2
    results = attack(settings, tmp_path / "run", f"--model.weights={published.weights}")
    entry = published.content["accuracy"]["test"]
    assert results["clean_miou"] == pytest.approx(entry["miou"], abs=6e-4)
    assert results["point_accuracy"]["clean"] == pytest.approx(entry["point_accuracy"], abs=6e-4)
    assert (results["scenes"], results["points"]) == (entry["scenes"], entry["points"])


def test_a_limit_of_the_fit_is_not_one_of_the_card(unbroken, published, tmp_path):
    run = RunDirectory(tmp_path / "run")
    shutil.copytree(unbroken.path, run.path)
    content = run.run()
    content["fingerprint"]["data"]["init_args"]["limit"] = 1
    (run.path / "run.json").write_text(json.dumps(content))
    target = tmp_path / "limited.safetensors"
    assert main(["publish", str(run.path), str(target), "--device", "d"]) == 0
    limited = Card.read(target).content
    assert limited["data"] == published.content["data"]
    assert limited["accuracy"] == published.content["accuracy"]


def test_the_printed_summary(unbroken, tmp_path, capsys):
    target = tmp_path / "x.safetensors"
    assert main(["publish", str(unbroken.path), str(target), "--device", "d"]) == 0
    entry = Card.read(target).content["accuracy"]["test"]
    printed = " ".join(capsys.readouterr().out.split())
    assert f"test mIoU {entry['miou']} %, points right {entry['point_accuracy']} %" in printed
    assert f"({entry['scenes']} scenes, {entry['points']:,} points)" in printed
