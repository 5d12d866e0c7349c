"""Lovász-softmax beside its definition: a sum over sets of errors."""

import pytest
import torch

from leadgrad.attacks import PointIFGSM, PointLinf, point_lovasz
from leadgrad.attacks.segmentation import IGNORE


def slow(logits, labels):
    """Of each class, the Lovász extension of 1 - IoU as a function of the set of wrong points."""
    kept = [i for i, label in enumerate(labels.tolist()) if label != IGNORE]
    chances = logits.double().softmax(1)
    losses = []
    for c in sorted({int(labels[i]) for i in kept}):
        error = {i: abs(float(labels[i] == c) - float(chances[i, c])) for i in kept}

        def jaccard(wrong, c=c):
            truth = {i for i in kept if labels[i] == c}
            answer = (truth - wrong) | (wrong - truth)  # a wrong point changes sides
            return 1 - len(truth & answer) / len(truth | answer)

        loss, wrong = 0.0, set()
        for i in sorted(kept, key=lambda i: -error[i]):
            before = jaccard(wrong)
            wrong = wrong | {i}
            loss += error[i] * (jaccard(wrong) - before)
        losses.append(loss)
    return sum(losses) / len(losses)


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_lovasz_extension_of_the_jaccard_loss(seed):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(12, 4, generator=generator)
    labels = torch.randint(0, 3, (12,), generator=generator)
    labels[seed] = IGNORE
    values = point_lovasz(logits, labels)
    assert values.dtype == torch.float64
    assert float(values[seed]) == 0
    assert float(values.sum() / (labels != IGNORE).sum()) == pytest.approx(slow(logits, labels))


def test_its_gradient_is_right():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 1, IGNORE, 0, 0])
    assert torch.autograd.gradcheck(lambda x: point_lovasz(x, labels), (logits,))


def test_right_answers_lose_nothing_and_wrong_ones_all():
    labels = torch.tensor([0, 1, 1])
    sure = 100 * torch.nn.functional.one_hot(labels, 2).double()
    assert float(point_lovasz(sure, labels).sum()) == pytest.approx(0, abs=1e-12)
    assert float(point_lovasz(-sure, labels).mean()) == pytest.approx(1)


def test_without_a_label_there_is_a_gradient_of_nothing():
    logits = torch.randn(3, 2, requires_grad=True)
    point_lovasz(logits, torch.full((3,), IGNORE)).sum().backward()
    assert torch.equal(logits.grad, torch.zeros(3, 2))


def test_an_attack_takes_it():
    x = torch.rand(30, 3)
    labels = (x[:, 0] > 0.5).long()

    def model(points):
        return torch.stack([0.5 - points[:, 0], points[:, 0] - 0.5], 1) * 20

    attack = PointIFGSM(PointLinf(0.1), steps=8, step_size_m=0.02, loss=point_lovasz)
    moved = attack(model, x, labels, victim=model, owner=torch.zeros(30, dtype=torch.int64))
    before, after = ((model(points).argmax(1) == labels).sum() for points in (x, moved))
    assert after < before
