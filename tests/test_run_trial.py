"""Networks whose decisions are not recorded as they are taken: refused by name before the work."""

import pytest
import torch
from run_config import arguments, attack, attack_config, class_path, node
from torch import nn

from leadgrad.pipelines.cli import main
from leadgrad.victims import Gate


class Base(nn.Module):
    """A gate on the mean colour."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.score, self.head, self.gate = nn.Linear(3, 1), nn.Linear(3, 2), Gate()

    def gated(self, x):
        return x * self.gate(self.score(x))

    def forward(self, images):
        return self.head(self.gated(images.mean((2, 3))))


class Closure(Base):
    def __init__(self) -> None:
        super().__init__()
        self.part = lambda x: self.gated(x)

    def forward(self, images):
        return self.head(self.part(images.mean((2, 3))))


class Compiled(Base):
    def __init__(self) -> None:
        super().__init__()
        self.part = torch.compile(self.gated, backend="eager")

    def forward(self, images):
        return self.head(self.part(images.mean((2, 3))))


class Hooked(Base):
    """Adds what a hook has kept, on the network that the hook was made for."""

    def __init__(self) -> None:
        super().__init__()
        self.score.register_forward_hook(lambda module, args, out: setattr(self, "kept", out))
        with torch.no_grad():
            self(torch.zeros(1, 3, 8, 8))  # to size its layers, as is common

    def forward(self, images):
        return super().forward(images) + self.kept


class SequenceFirst(Base):
    """Decides for each of four patches, patches first."""

    def forward(self, images):
        patches = torch.stack(images.chunk(4, 2)).mean((3, 4))
        return self.head((patches * self.gate(self.score(patches))).mean(0))


class AsLongByChance(Base):
    """Two patches, as many as the first samples that are tried."""

    def forward(self, images):
        patches = torch.stack(images.chunk(2, 2)).mean((3, 4))
        return self.head((patches * self.gate(self.score(patches))).mean(0))


class LeavesEarly(Base):
    """Asks its second gate for a third sample alone."""

    def forward(self, images):
        x = self.gated(images.mean((2, 3)))
        return self.head(self.gated(x) if len(images) > 2 else x)


class LeavesWhenMoved(Base):
    """Asks its second gate while no value lies below 0, as in clean images."""

    def forward(self, images):
        x = self.gated(images.mean((2, 3)))
        clean = bool(((255 * images).round() == 255 * images).all())
        return self.head(self.gated(x) if clean else x)


class OneByOne(Base):
    """Knows one image at a time."""

    def forward(self, images):
        return super().forward(images) if images.mean((1, 2, 3)).item() > 0 else None


REFUSED = {
    Closure: "has 1 gates, but none of them decides",
    Compiled: "has 1 gates, but none of them decides",
    Hooked: "the copy of Hooked answers or decides otherwise",
    SequenceFirst: "gate 'gate' of SequenceFirst decides on margins of shape (4, 2, 1) for 2",
    AsLongByChance: "margins of shape (2, 3, 1) for 3 samples",
    LeavesEarly: "took 1 decisions in one forward and 2 in another",
    LeavesWhenMoved: "took 2 decisions in one forward and 1 in another",
}


def configured(victim, **changes):
    return attack_config(model__network=node(class_path(victim, "tried_victims")), **changes)


@pytest.mark.parametrize("victim", REFUSED, ids=lambda victim: victim.__name__)
def test_a_network_that_would_be_counted_wrongly_is_refused(victim, tmp_path, capsys):
    assert main(arguments("attack", configured(victim), tmp_path / "run")) == 1
    assert REFUSED[victim] in capsys.readouterr().err
    if victim is not LeavesWhenMoved:
        assert not (tmp_path / "run").exists()


def test_a_network_for_one_image_at_a_time_gets_one(tmp_path):
    config = configured(OneByOne, data__init_args__batch_size=1)
    assert attack(config, tmp_path / "run")["samples"] == 12


def test_a_network_that_draws_is_no_copy_that_differs(tmp_path):
    class Draws(Base):
        def forward(self, images):
            return super().forward(images) + torch.randn(len(images), 2)

    assert attack(configured(Draws), tmp_path / "run")["samples"] == 12
