"""Training of Cylinder3D: majority labels, Lovász-softmax, recipes, and that it learns."""

import pytest
import torch

from leadgrad.victims import Cylinder3D
from leadgrad.victims.training import CylinderSegmenter
from leadgrad.victims.training.adam import AdamConstant, AdamOneCycle
from leadgrad.victims.training.cylinder3d import majority
from leadgrad.victims.training.lovasz import lovasz_softmax

SMALL = {
    "num_classes": 4,
    "width": 2,
    "point_widths": (8, 8, 8, 8),
    "grid": (24, 20, 8),
    "high": (12.0, 3.1415926, 2.0),
}


def batch(count=400, seed=0):
    """Ground, and something bright above it."""
    generator = torch.Generator().manual_seed(seed)
    coords = (torch.rand(count, 3, generator=generator) - 0.5) * torch.tensor([16.0, 16.0, 0.2])
    label = 1 + (torch.rand(count, generator=generator) < 0.4).long()
    coords[:, 2] += label.float() - 2
    label[:5] = 255
    return {
        "coords": coords,
        "features": label.clamp(max=2).float()[:, None] / 3,
        "label": label,
        "scene": torch.zeros(count, dtype=torch.int64),
        "index": torch.zeros(1, dtype=torch.int64),
    }


def test_a_cell_has_the_label_of_most_of_its_points():
    cell = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 3])
    label = torch.tensor([3, 1, 3, 3, 1, 255, 255, 2, 255])
    assert majority(cell, label, 4, 5).tolist() == [3, 1, 0, 0], "of equals the least; 255 votes 0"


def slow_lovasz(logits, labels, ignore):
    kept = [i for i in range(len(labels)) if int(labels[i]) != ignore]
    chances, losses = logits.softmax(1), []
    for c in sorted({int(labels[i]) for i in kept}):
        errors = sorted(
            ((abs(float(labels[i] == c) - chances[i, c]), int(labels[i]) == c) for i in kept),
            key=lambda pair: -pair[0].item(),
        )
        truth, loss, before, missed, wrong = sum(hit for _, hit in errors), 0.0, 0.0, 0, 0
        for error, hit in errors:
            missed, wrong = missed + hit, wrong + (not hit)
            lost = 1 - (truth - missed) / (truth + wrong)
            loss, before = loss + error * (lost - before), lost
        losses.append(loss)
    return sum(losses) / len(losses)


@pytest.mark.parametrize("seed", range(4))
def test_lovasz_softmax_beside_a_slow_one(seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(30, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    labels = torch.randint(0, 4, (30,), generator=generator)
    ours = lovasz_softmax(logits.float(), labels, 0)
    slow = slow_lovasz(logits, labels, 0)
    assert float(ours.detach()) == pytest.approx(float(slow.detach()), abs=1e-6)
    (one,), (other,) = (torch.autograd.grad(each, logits) for each in (ours, slow))
    torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def test_a_loss_of_nothing_is_nothing():
    logits = torch.randn(3, 4, requires_grad=True)
    lovasz_softmax(logits, torch.zeros(3, dtype=torch.int64), 0).backward()
    assert torch.equal(logits.grad, torch.zeros(3, 4))


def test_it_learns():
    torch.manual_seed(0)
    module = CylinderSegmenter(Cylinder3D(**SMALL))
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        loss, terms = module.training_loss(batch())
        assert loss.item() == pytest.approx((terms["cross_entropy"] + terms["lovasz"]).item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    module.eval()
    new = batch(seed=1)
    with torch.no_grad():
        right = module(new["coords"], new["features"]).argmax(1) == new["label"]
    assert right[5:].float().mean() > 0.9


def test_a_class_that_stands_for_none_is_refused():
    given = batch()
    given["label"][7] = 0
    with pytest.raises(ValueError, match="1 points have class 0"):
        CylinderSegmenter(Cylinder3D(**SMALL)).training_loss(given)


def test_slices_that_nobody_reads_are_not_trained():
    module = CylinderSegmenter(Cylinder3D(**SMALL))
    module.training_loss(batch())[0].backward()
    kernel = module.victim.cylinder_3d_spconv_seg.upBlock2.conv3.weight
    assert bool((kernel.grad[9:] == 0).all())
    assert float(kernel.grad[:9].abs().sum()) > 0


def test_rates():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer, scheduler = AdamConstant().build([weight], float("inf"))
    assert scheduler.get_last_lr() == [1e-3]
    optimizer, scheduler = AdamOneCycle(max_lr=1.0, rise=0.2).build([weight], 100)
    rates = []
    for _ in range(100):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert max(rates) == pytest.approx(1, abs=0.01)
    assert rates.index(max(rates)) == 20
    assert rates[0] < 0.1
    assert rates[-1] < 0.01
    with pytest.raises(ValueError, match="known length"):
        AdamOneCycle().build([weight], float("inf"))
    with pytest.raises(ValueError, match="rise must be a share"):
        AdamOneCycle(rise=1.0)
