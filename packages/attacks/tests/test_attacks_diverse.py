"""DI-FGSM: what its views are, and that it is MI-FGSM on them."""

import pytest
import torch
from oracles import LinearOracle, some_images
from torch import nn

from leadgrad.attacks import MIFGSM, PixelLinf
from leadgrad.attacks.diverse import DIFGSM, placed

THREAT = PixelLinf(8)
IMAGES = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A small network with a stride, on float64 images."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(36, 4)
        )
        self.seen = []

    def forward(self, x):
        self.seen.append(x.detach())
        return self.body(x)


def test_a_view_is_the_image_shrunk_and_put_somewhere():
    half = placed(
        IMAGES, torch.full((3,), 0.5), torch.tensor([[-1.0, -1.0], [1.0, 1.0], [1.0, -1]])
    )
    small = nn.functional.interpolate(IMAGES, scale_factor=0.5, mode="bilinear")
    torch.testing.assert_close(half[0, :, :4, :4], small[0])
    torch.testing.assert_close(half[1, :, 4:, 4:], small[1])
    torch.testing.assert_close(half[2, :, :4, 4:], small[2])
    assert half[0, :, 4:].abs().max() == half[0, :, :, 4:].abs().max() == 0
    torch.testing.assert_close(placed(IMAGES, torch.ones(3), torch.zeros(3, 2)), IMAGES)


def test_without_views_it_is_mifgsm():
    net = Net()
    labels = net(IMAGES).argmax(1)
    plain = MIFGSM(THREAT, steps=4)(net, IMAGES, labels, victim=net)
    assert torch.equal(
        DIFGSM(THREAT, steps=4, probability=0)(net, IMAGES, labels, victim=net), plain
    )
    diverse = DIFGSM(THREAT, steps=4, probability=1, least_side=0.5)(
        net, IMAGES, labels, victim=net
    )
    assert not torch.equal(diverse, plain)


def test_every_step_and_sample_has_a_view_of_its_own():
    net, victim = Net(), Net()
    attack = DIFGSM(THREAT, steps=3, probability=1, least_side=0.5, skip_misclassified=False)
    same = IMAGES[:1].expand(3, -1, -1, -1).clone()
    attack(net, same, victim(same).argmax(1), victim=victim)
    first = net.seen[0]
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(net.seen[0], net.seen[1])


def test_a_sample_does_not_depend_on_its_batch():
    net = Net()
    labels, ids = net(IMAGES).argmax(1), torch.tensor([7, 3, 5])
    attack = DIFGSM(THREAT, steps=3)
    together = attack(net, IMAGES, labels, victim=net, sample_ids=ids)
    for row in range(3):
        part = slice(row, row + 1)
        alone = attack(net, IMAGES[part], labels[part], victim=net, sample_ids=ids[part])
        torch.testing.assert_close(alone, together[part], atol=1e-6, rtol=0)


def test_it_stays_within_the_budget_and_gets_somewhere():
    oracle, x = LinearOracle(), some_images(4)
    labels = oracle(x).argmax(1)
    adv = DIFGSM(THREAT, steps=8)(oracle, x, labels, victim=oracle)
    THREAT.check(adv, x)
    lead = [logits.gather(1, labels[:, None]).sum() for logits in (oracle(x), oracle(adv))]
    assert lead[1] < lead[0]


@pytest.mark.parametrize("wrong", [{"least_side": 0}, {"least_side": 1.5}, {"probability": 2}])
def test_arguments_that_are_none(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DIFGSM(THREAT, **wrong)
