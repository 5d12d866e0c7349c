"""Networks whose decisions are not recorded as they are taken: refused by name before the work."""

import pytest
import torch
from run_config import arguments, attack, attack_config, class_path, node
from torch import nn

from leadgrad.pipelines.attack.trial import tried
from leadgrad.pipelines.cli import main
from leadgrad.victims import Gate, MarginError


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


class HookedUnseen(Base):
    """As ``Hooked``, without a forward before the copy, which then lacks what the hook keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.score.register_forward_hook(lambda module, args, out: setattr(self, "kept", out))

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


class LeavesInAnotherBatch(Base):
    """Asks its second gate for several samples, of which the last batch has one."""

    def forward(self, images):
        x = self.gated(images.mean((2, 3)))
        return self.head(self.gated(x) if len(images) > 1 else x)


class Static(Base):
    """Decides once for a whole batch of four."""

    def forward(self, images):
        x = images.mean((2, 3))
        margins = self.score(x)
        return self.head(x * self.gate(margins[:1] if len(images) == 4 else margins))


class ReordersWhenMoved(Base):
    """Has two gates of equal shapes, of which the clean images meet the other one first."""

    def __init__(self) -> None:
        super().__init__()
        self.other = Gate()

    def forward(self, images):
        x = images.mean((2, 3))
        clean = bool(((255 * images).round() == 255 * images).all())
        first, second = (self.gate, self.other) if clean else (self.other, self.gate)
        x = x * first(self.score(x))
        return self.head(x * second(self.score(x)))


class OneByOne(Base):
    """Knows one image at a time."""

    def forward(self, images):
        return super().forward(images) if images.mean((1, 2, 3)).item() > 0 else None


REFUSED = {
    Closure: "has 1 gates, but none of them decides",
    Compiled: "has 1 gates, but none of them decides",
    Hooked: "the copy of Hooked answers or decides otherwise",
    HookedUnseen: "the copy of HookedUnseen cannot answer, unlike HookedUnseen itself",
    SequenceFirst: "gate 'gate' of SequenceFirst decides on margins of shape (4, 2, 1) for 2",
    AsLongByChance: "margins of shape (2, 3, 1) for 3 samples",
    LeavesEarly: "decision 1 of LeavesEarly is taken by no gate in one forward and by gate 'gate' "
    "on margins of shape (1,) in another",
    LeavesWhenMoved: "by gate 'gate' on margins of shape (4, 1) in one forward and by no gate",
    LeavesInAnotherBatch: "by gate 'gate' on margins of shape (1,) in one forward and by no gate",
    Static: "gate 'gate' of Static decides on margins of shape (1, 1) for 4 samples",
    ReordersWhenMoved: "decision 0 of ReordersWhenMoved is taken by gate 'gate' on margins of "
    "shape (4, 1) in one forward and by gate 'other' on",
}
LATER = (LeavesWhenMoved, LeavesInAnotherBatch, Static, ReordersWhenMoved)
"""Found by the attack itself: on the first samples they are sound."""


def configured(victim, **changes):
    return attack_config(model__network=node(class_path(victim, "tried_victims")), **changes)


@pytest.mark.parametrize("victim", REFUSED, ids=lambda victim: victim.__name__)
def test_a_network_that_would_be_counted_wrongly_is_refused(victim, tmp_path, capsys):
    config = configured(victim, data__init_args__eval_size=9)
    assert main(arguments("attack", config, tmp_path / "run")) == 1
    assert REFUSED[victim] in capsys.readouterr().err
    if victim not in LATER:
        assert not (tmp_path / "run").exists()


def test_a_margin_that_is_nan_is_named():
    with pytest.raises(MarginError, match="at gate 'gate' of Base"):
        tried(Base(), lambda network: network(torch.full((2, 3, 8, 8), torch.nan)))


def test_a_network_for_one_image_at_a_time_gets_one(tmp_path):
    config = configured(OneByOne, data__init_args__batch_size=1)
    assert attack(config, tmp_path / "run")["samples"] == 12


def test_a_network_that_draws_is_no_copy_that_differs(tmp_path):
    class Draws(Base):
        def forward(self, images):
            return super().forward(images) + torch.randn(len(images), 2)

    assert attack(configured(Draws), tmp_path / "run")["samples"] == 12
