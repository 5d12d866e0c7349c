"""The architecture's change, of gates, choices and places, against sets."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from leadgrad.victims import (
    FGM,
    LGM,
    Change,
    Choice,
    Decision,
    Gate,
    MinkUNet,
    Places,
    Reach,
    Sigmoid,
    architecture_change,
    gradient_method,
    record_architecture,
    record_occupancies,
)
from leadgrad.victims.occupancy.change import place_changes, unit_change, voxel_changes
from leadgrad.victims.occupancy.voxelize import Voxelizer


def drawn(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def counts(change):
    return [each.tolist() for each in (change.entered, change.left, change.replaced, change.total)]


def test_a_gates_change_is_the_symmetric_difference_over_its_units():
    before, after = drawn(4, 3, 5) > 0.5, drawn(4, 3, 5, seed=1) > 0.4
    change = unit_change(before, after)
    for row in range(4):
        one, other = (
            {tuple(place) for place in side[row].nonzero().tolist()} for side in (before, after)
        )
        assert [each[row] for each in counts(change)] == [
            len(other - one),
            len(one - other),
            0,
            15,
        ]
        assert int(change.changed[row]) == len(one ^ other)


def test_a_gate_of_one_unit_a_sample():
    before, after = torch.tensor([True, False, True]), torch.tensor([False, True, True])
    assert counts(unit_change(before, after)) == [[0, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize("k", [1, 2])
def test_a_choice_that_changes_is_one_change_of_k(k):
    choice = Choice(k)
    with record_architecture(choice) as record:
        choice(drawn(4, 6, 5))
        choice(drawn(4, 6, 5, seed=1))
    before, after = record
    change = architecture_change([before], [after])
    entered = (after.hard & ~before.hard).sum((1, 2))
    assert counts(change) == [[0] * 4, [0] * 4, entered.tolist(), [6 * k] * 4]
    assert torch.equal(change.changed, entered)
    assert int(entered.sum()) > 0


def test_a_choice_that_is_reached_only_after_has_entered():
    choice = Choice(2)
    scores = torch.tensor([[3.0, 2.0, 1.0]])
    with record_architecture(choice) as record:
        choice(scores, torch.tensor([False]))
        choice(scores)
    assert counts(architecture_change(record[:1], record[1:])) == [[2], [0], [0], [2]]
    assert counts(architecture_change(record[1:], record[:1])) == [[0], [2], [0], [2]]


def rows(seed, count, scenes):
    made = torch.Generator().manual_seed(seed)
    cells = torch.randint(-9, 9, (count, 3), generator=made)
    scene = torch.randint(0, scenes, (count, 1), generator=made)
    return torch.cat([scene, cells], 1).unique(dim=0)


def test_places_change_by_the_symmetric_difference_over_their_union_in_each_scene():
    before, after = rows(0, 300, 3), rows(1, 250, 3)
    changes = place_changes(Places.of(before, 4, 3), Places.of(after, 4, 3))
    assert len(changes) == 4
    for level, change in enumerate(changes):
        for scene in range(3):
            one, other = (
                {tuple(c // 2**level for c in row[1:]) for row in side.tolist() if row[0] == scene}
                for side in (before, after)
            )
            expected = [len(other - one), len(one - other), 0, len(one | other)]
            assert [each[scene] for each in counts(change)] == expected
    totals = voxel_changes(before, after, 4)
    assert totals.dtype == torch.int64
    assert totals[:, 0].tolist() == [int(change.entered.sum()) for change in changes]
    assert totals[:, 2].tolist() == [int(change.total.sum()) for change in changes]


def test_levels_hold_sorted_distinct_rows():
    places = Places.of(rows(0, 300, 2), 3, 2)
    for level in places.levels:
        assert torch.equal(level, level.unique(dim=0))


def test_changes_add_up_by_sample_and_are_chosen_by_sample():
    one = unit_change(drawn(4, 5) > 0.5, drawn(4, 5, seed=1) > 0.5)
    other = unit_change(drawn(4, 2) > 0.5, drawn(4, 2, seed=1) > 0.5)
    whole = one + other
    assert whole.total.tolist() == [7] * 4
    assert torch.equal(whole.changed, one.changed + other.changed)
    mask = torch.tensor([True, False, True, False])
    assert torch.equal(whole[mask].changed, whole.changed[mask])
    assert counts(Change.none(2) + Change.none(2)) == [[0, 0]] * 4


def decision(hard):
    return Decision(hard.float(), hard, hard.float())


def test_what_is_not_of_the_same_network_is_refused():
    gate, wide = decision(torch.zeros(2, 3) > 0), decision(torch.zeros(2, 4) > 0)
    places = Places.of(rows(0, 9, 1), 2, 1)
    for before, after, message in (
        ([], [], "0 decisions were recorded before and 0 after"),
        ([gate], [gate, gate], "1 decisions were recorded before and 2 after"),
        ([gate], [places], "a Decision before is a Places after"),
        ([gate], [wide], r"units before are \(2, 3\) and after \(2, 4\)"),
        ([places], [Places.of(rows(0, 9, 1), 3, 1)], "of 1 scenes at 2 strides, after of 1 at 3"),
    ):
        with pytest.raises(ValueError, match=message):
            architecture_change(before, after)


def scene(seed=0):
    return 0.4 * drawn(40, 3, seed=seed), drawn(40, 3, seed=seed + 1)


METHODS = [FGM(), LGM(Sigmoid(20.0))]


@pytest.mark.parametrize("method", METHODS)
def test_a_voxelizer_tells_its_occupied_places_under_every_method(method):
    voxelizer = Voxelizer(0.05, levels=3)
    coords, color = scene()
    owner = torch.arange(40) // 20
    with record_architecture(voxelizer) as record:
        voxelizer(coords, color, owner)
        with gradient_method(voxelizer, method, Reach(0.02, 0.02, coords)):
            voxelizer(coords, color, owner)
    voxelizer(coords, color, owner)
    assert len(record) == 2
    for places in record:
        assert places.scenes == 2
        assert len(places.levels) == 3
        assert torch.equal(places.levels[0], voxelizer.occupied(coords, owner))


class Both(nn.Module):
    """A voxel network whose classes are gated."""

    def __init__(self, again):
        super().__init__()
        self.voxelizer, self.gate, self.again = Voxelizer(0.05, levels=2), Gate(), again

    def part(self, coords, color):
        voxels = self.voxelizer(coords, color)
        return self.gate(voxels.readout(voxels.tensor.feats).mean(0)[None])

    def forward(self, coords, color):
        if self.again:
            return checkpoint(self.part, coords, color, use_reentrant=False)
        return self.part(coords, color)


@pytest.mark.parametrize("again", [False, True])
def test_both_kinds_are_recorded_once_and_compared(again):
    network = Both(again)
    coords, color = scene()
    method, reach = LGM(Sigmoid(20.0)), Reach(0.02, 0.02, coords)
    points = coords.clone().requires_grad_()
    with record_architecture(network) as record, record_occupancies(network) as units:
        with gradient_method(network, method, reach):
            out = network(points, color)
        out.sum().backward()
    assert [type(each) for each in record] == [Places, Decision]
    assert len(units) == 1
    with record_architecture(network) as later:
        network(coords + 0.05, color)
    change = architecture_change(record, later)
    places = place_changes(record[0], later[0])
    expected = sum(each.total for each in places) + record[1].hard.numel()
    assert change.total.tolist() == expected.tolist()
    assert change.changed.tolist() >= sum(each.changed for each in places).tolist()
    assert network.voxelizer.observers == network.gate.observers == ()


def test_a_voxel_networks_places_are_recorded():
    network = MinkUNet(3, 0.05, encoder=(4,) * 4, decoder=(4,) * 4, blocks=(1,) * 8, stem=4).eval()
    with torch.no_grad(), record_architecture(network) as record:
        network(*scene())
    (places,) = record
    assert len(places.levels) == network.voxelizer.levels
    assert places.scenes == 1
