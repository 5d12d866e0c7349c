"""Training on scenes: labels of voxels, the loss, the shift of the grid, the rate, and mIoU."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from torch import nn
from torch.utils.data import DataLoader

from leadgrad.victims.networks.minkunet import MinkUNet
from leadgrad.victims.training.recipe import SGDPolynomial
from leadgrad.victims.training.segmentation import SHIFTS, SceneSegmenter, voxel_labels

CLASSES = 4


def segmenter():
    torch.manual_seed(0)
    widths = {"encoder": (4,) * 4, "decoder": (4,) * 4, "blocks": (1,) * 8, "stem": 4}
    return SceneSegmenter(MinkUNet(CLASSES, 0.3, **widths))


def batch(points=200, scenes=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(0, CLASSES, (points,), generator=generator)
    label[::7] = 255
    return {
        "coords": torch.rand(points, 3, generator=generator) * 4 - 1,
        "features": torch.rand(points, 3, generator=generator),
        "label": label,
        "scene": torch.arange(scenes).repeat_interleave(points // scenes),
        "index": torch.arange(scenes),
    }


def test_labels_of_voxels_by_hand():
    voxelizer = MinkUNet(CLASSES, 1.0).voxelizer
    # Along x: one point; two that agree; two that do not; one ignored; one ignored of two
    x = torch.tensor([0.5, 1.2, 1.8, 2.2, 2.4, 3.5, 4.1, 4.9])
    labels = torch.tensor([3, 2, 2, 0, 1, 255, 1, 255])
    coords = torch.stack([x, torch.zeros(8), torch.zeros(8)], 1)
    voxels = voxelizer(coords, torch.zeros(8, 3), None)
    found = voxel_labels(voxels, labels)
    assert dict(zip(voxels.tensor.coords[:, 1].tolist(), found.tolist(), strict=True)) == {
        0: 3,
        1: 2,
        2: 255,
        3: 255,
        4: 255,
    }
    # The same x in another scene is another voxel
    scene = torch.tensor([0, 0, 1, 0, 1, 0, 0, 1])
    apart = voxelizer(coords, torch.zeros(8, 3), scene)
    found = voxel_labels(apart, labels)
    assert found[apart.own].tolist() == labels.tolist()


def test_the_loss_is_the_mean_over_voxels_that_agree(monkeypatch):
    module, given = segmenter(), batch()
    voxels = module.victim.voxelizer(given["coords"], given["features"], given["scene"])
    logits = torch.randn(len(voxels.tensor.coords), CLASSES)
    monkeypatch.setattr(module.victim, "voxel_logits", lambda x: logits)
    loss, _ = module.training_loss(given)
    labels = [set(given["label"][voxels.own == row].tolist()) for row in range(len(logits))]
    losses = [
        F.cross_entropy(logits[row], torch.tensor(label.pop()))
        for row, label in enumerate(labels)
        if len(label) == 1 and 255 not in label
    ]
    assert 0 < len(losses) < len(logits)
    torch.testing.assert_close(loss, torch.stack(losses).mean())


def test_a_batch_without_labels_teaches_nothing():
    module, given = segmenter(), batch()
    given["label"] = torch.full_like(given["label"], 255)
    loss, _ = module.training_loss(given)
    assert loss.item() == 0
    loss.backward()
    gradients = [parameter.grad for parameter in module.parameters()]
    assert all(gradient is not None and not gradient.any() for gradient in gradients)


def test_the_shift_moves_the_grid_and_keeps_its_voxels(monkeypatch):
    module, given, seen = segmenter(), batch(), []
    exact = module.victim.voxelizer(given["coords"], given["features"], given["scene"]).tensor
    voxel_logits = module.victim.voxel_logits

    def spy(x):
        seen.append(x)
        return voxel_logits(x)

    monkeypatch.setattr(module.victim, "voxel_logits", spy)
    for seed in range(8):
        torch.manual_seed(seed)
        module.training_loss(given)
    shifts = []
    for x in seen:
        assert torch.equal(x.feats, exact.feats)
        assert len(x.coords.unique(dim=0)) == len(exact.coords)
        (shift,) = (x.coords - exact.coords).unique(dim=0).tolist()  # one for all voxels
        shifts.append(tuple(shift))
    assert len(set(shifts)) == 8
    assert all(scene == 0 for scene, *_ in shifts)
    moved = np.array(shifts)[:, 1:]
    assert 0 <= moved.min() < 25 < 75 < moved.max() < SHIFTS


@pytest.mark.parametrize(("power", "steps"), [(0.9, 10), (2.0, 7)])
def test_the_polynomial_rate(power, steps):
    parameter = nn.Parameter(torch.zeros(2))
    optimizer, scheduler = SGDPolynomial(lr=0.3, power=power).build([parameter], steps)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        parameter.grad = torch.ones(2)
        optimizer.step()
        scheduler.step()
    expected = [0.3 * (1 - step / (steps + 1)) ** power for step in range(steps)]
    assert rates == pytest.approx(expected, rel=1e-12)
    assert rates[0] == 0.3
    assert rates[-1] > 0


def test_dampening_is_of_the_momentum():
    parameter = nn.Parameter(torch.zeros(1))
    optimizer, _ = SGDPolynomial(lr=1.0, weight_decay=0.0).build([parameter], 10**9)
    for _ in range(2):  # the buffer: 1, then 0.9 * 1 + (1 - 0.1) * 1
        parameter.grad = torch.ones(1)
        optimizer.step()
    assert parameter.item() == pytest.approx(-(1 + 1.8))


@pytest.mark.parametrize("field", ["lr", "power"])
def test_rates_that_cannot_be_are_refused(field):
    with pytest.raises(ValueError, match=f"{field} must be finite and above 0, got 0"):
        SGDPolynomial(**{field: 0})


def test_validation_miou_is_that_of_a_slow_count():
    module = segmenter().eval()
    batches = [batch(seed=1), batch(points=90, scenes=1, seed=2)]
    for given in batches:
        given["label"][given["label"] == 2] = 255  # a class without labels is left out of the mean
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False
    )
    (metrics,) = trainer.validate(module, DataLoader(batches, batch_size=None), verbose=False)
    answers, labels = [], []
    with torch.no_grad():
        for given in batches:
            logits = module(given["coords"], given["features"], given["scene"])
            answers.append(logits.argmax(1).numpy())
            labels.append(given["label"].numpy())
    answer, label = np.concatenate(answers), np.concatenate(labels)
    counted = label != 255
    answer, label = answer[counted], label[counted]
    ious = [
        100 * ((answer == k) & (label == k)).sum() / ((answer == k) | (label == k)).sum()
        for k in (0, 1, 3)
    ]
    assert metrics["val_miou"] == pytest.approx(np.mean(ious), rel=1e-6)
    assert metrics["val_accuracy"] == pytest.approx(100 * (answer == label).mean(), rel=1e-6)
    slow = np.zeros((CLASSES, CLASSES), dtype=np.int64)
    np.add.at(slow, (label, answer), 1)
    assert module.val_confusion.tolist() == slow.tolist()
    assert not any(name.startswith("val_") for name in module.state_dict())
