"""What attacks note of samples."""

import pytest
import torch

from leadgrad.attacks import Nearest, Notes, PixelLinf, Several, Square, Standard, strongest

torch.manual_seed(0)
WEIGHT = torch.randn(3 * 4 * 4, 5, dtype=torch.float64)
X = 0.3 + 0.4 * torch.rand(12, 3, 4, 4, dtype=torch.float64)
IDS = torch.arange(100, 112)


def victim(x):
    return x.flatten(1) @ WEIGHT


def blind(x):
    """Whose gradient is 0."""
    return victim(x) + 0 * x.flatten(1)[:, :1] - (victim(x) - victim(x).detach())


Y = victim(X).argmax(1)


def test_a_later_note_replaces_an_earlier_one_and_others_stay():
    notes = Notes()
    notes.add("of", ["a", "b"], torch.tensor([4, 9]), torch.tensor([0, 1]))
    notes.add("of", ["a", "b"], torch.tensor([9]), torch.tensor([-7]))
    assert notes.of("of", torch.tensor([9, 4, 5])).tolist() == [-1, 0, -1]
    assert notes.of("other", torch.tensor([4])).tolist() == [-1]
    assert notes.words == {"of": ("a", "b")}


def test_wrong_notes_are_refused():
    notes = Notes()
    notes.add("of", ["a"], torch.tensor([1]), torch.tensor([0]))
    with pytest.raises(ValueError, match="with the words"):
        notes.add("of", ["b"], torch.tensor([2]), torch.tensor([0]))
    with pytest.raises(ValueError, match="1 words, got number 1"):
        notes.add("of", ["a"], torch.tensor([2]), torch.tensor([1]))


def test_the_standard_notes_the_part_that_each_sample_has_fallen_to():
    standard, notes = Standard(PixelLinf(2), budget=40), Notes()
    models = (blind, victim)
    strongest(standard, models, X, Y, victim=victim, sample_ids=IDS, notes=notes)
    worst = standard.worst(models, X, Y, victim=victim, ids=IDS)
    assert torch.equal(notes.of("fallen to", IDS), worst.part)
    assert notes.words["fallen to"] == tuple(part.words for part in worst.parts)
    assert len(set(worst.part.tolist())) > 1


def test_evaluations_are_those_to_the_end_of_the_part():
    standard = Standard(PixelLinf(2), budget=40)
    worst = standard.worst((blind, victim), X, Y, victim=victim)
    ends = torch.tensor([part.evaluations for part in worst.parts[:-1]]).cumsum(0)
    for part, spent in zip(worst.part.tolist(), worst.evaluations.tolist(), strict=True):
        assert spent == (40 if part < 0 or part == len(ends) else ends[part])


@pytest.mark.parametrize("split", [12, 5])
def test_nearest_notes_the_least_budget_and_batches_do_not_matter(split):
    near, notes = Nearest(PixelLinf(4), resolution_255=0.5), Notes()
    found = []
    for x, y, ids in zip(X.split(split), Y.split(split), IDS.split(split), strict=True):
        model = Several((victim, blind))
        found.append(near(model, x, y, victim=victim, sample_ids=ids, notes=notes))
    level = notes.of("least ε of 255", IDS)
    moved = 255 * (torch.cat(found) - X).abs().amax((1, 2, 3))
    won = victim(torch.cat(found)).argmax(1) != Y
    assert torch.equal(won, level >= 0)
    words = notes.words["least ε of 255"]
    assert words == ("0.5", "1", "1.5", "2", "2.5", "3", "3.5", "4")
    for distance, number in zip(moved[won].tolist(), level[won].tolist(), strict=True):
        assert distance <= float(words[number]) + 1e-9
    assert len(set(level.tolist())) > 2


def test_other_attacks_note_nothing():
    notes = Notes()
    Square(PixelLinf(2), 3)(victim, X, Y, victim=victim, notes=notes)
    assert notes.words == {}
