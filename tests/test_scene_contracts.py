"""What the three packages have to agree on about scenes, checked where they meet."""

import json

import pytest
import torch
from scene_contracts import ATTACKS, DATA, METHODS, VICTIMS

from leadgrad.data import SceneDataModule, check_scene_batch
from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.tasks import PointSegmentation
from leadgrad.pipelines.tasks.scenes.records import SceneBatch


@pytest.fixture(params=DATA)
def data(request, tmp_path) -> SceneDataModule:
    return DATA[request.param](tmp_path)


def test_attacked_scenes_are_what_a_run_needs(data):
    batches = list(data.predict_dataloader())
    for number, batch in enumerate(batches):
        check_scene_batch(batch, data.num_classes)
        assert batch["index"].tolist() == [number]
    assert len(batches) == data.num_attack_batches() == 3
    assert data.num_classes == len(data.class_names) == len(data.palette)
    assert len({data.scene_name(number) for number in range(3)}) == 3


def test_training_batches(data):
    batch = next(iter(data.train_dataloader()))
    check_scene_batch(batch, data.num_classes)


def test_the_manifest_tells_the_attacked_scenes(data):
    manifest = data.manifest()
    assert json.loads(json.dumps(manifest)) == manifest
    assert {"dataset", "split", "count", "sha256"} <= manifest.keys()
    assert manifest["count"] == 3


def test_finished_scenes_are_left_out(data):
    data.finished_batches = {0, 2}
    (batch,) = data.predict_dataloader()
    assert batch["index"].tolist() == [1]


@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_every_attack_on_every_victim_under_every_method(victim, method, attack, tmp_path):
    torch.manual_seed(0)
    module = AttackModule(VICTIMS[victim](), ATTACKS[attack], METHODS[method])
    module.task = PointSegmentation()
    batch = next(iter(DATA["SyntheticRooms"](tmp_path).predict_dataloader()))
    made = module.predict_step(batch)
    assert isinstance(made, SceneBatch)
    (record,) = made.scenes
    moved = (record.adv_inputs.double() - record.clean_inputs.double()).abs()
    assert float(moved.max()) <= 0.1
    assert torch.equal(record.clean_inputs, batch["coords"])
    assert torch.equal(record.label.long(), batch["label"])
    assert all(parameter.grad is None for parameter in module.parameters())


def test_the_result_does_not_depend_on_the_other_scenes(tmp_path):
    torch.manual_seed(0)
    module = AttackModule(VICTIMS["MinkUNet"](), ATTACKS["PointIFGSM"], METHODS["LGM"])
    module.task = PointSegmentation()
    data = DATA["SyntheticRooms"](tmp_path)
    together = [module.predict_step(batch).adv_inputs for batch in data.predict_dataloader()]
    data.finished_batches = {0, 1}
    (last,) = data.predict_dataloader()
    assert torch.equal(module.predict_step(last).adv_inputs, together[2])
