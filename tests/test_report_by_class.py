"""The report's table of classes, counted by hand."""

import torch

from leadgrad.pipelines.tasks.images.by_class import MOST, by_class


def test_classes_are_counted():
    names = ["cat", "dog", "emu", "fox"]
    label, before, after = ([0, 0, 1, 0, 1, 3], [0, 0, 2, 0, 1, 3], [1, 0, 2, 1, 0, 3])
    rows, found = by_class(*map(torch.tensor, (label, before, after)), names)
    assert rows == [
        ["cat", "3", "100.0", "33.3", "dog (2)"],
        ["dog", "2", "50.0", "0.0", "cat (1)"],
        ["fox", "1", "100.0", "100.0", "–"],
    ]
    assert found == 3, "there is no emu"


def test_of_many_classes_those_that_lost_most_are_shown():
    count = MOST + 10
    labels = list(range(count)) * 2
    after = [*labels[:count], *[0 if each >= 45 else each for each in labels[count:]]]
    answers = map(torch.tensor, (labels, labels, after))
    rows, found = by_class(*answers, [f"c{number}" for number in range(count)])
    assert found == count
    assert len(rows) == MOST
    assert {row[0] for row in rows[:5]} == {"c45", "c46", "c47", "c48", "c49"}
    assert rows[0][1:] == ["2", "100.0", "50.0", "c0 (1)"]
