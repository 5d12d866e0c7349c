"""The report's table of classes, counted by hand."""

import torch

from leadgrad.pipelines.tasks.images.by_class import MOST, by_class
from leadgrad.pipelines.tasks.images.records import BatchRecord


def record(labels, before, after, classes):
    """A batch of which only answers are known."""
    size = len(labels)
    nothing = torch.zeros(size, 0, dtype=torch.bool)
    images = torch.zeros(size, 3, 2, 2)
    answers = [
        torch.nn.functional.one_hot(torch.tensor(each), classes).float() for each in (before, after)
    ]
    return BatchRecord(
        torch.arange(size), torch.tensor(labels), images, images, *answers, nothing, nothing, []
    )


def test_classes_are_counted_over_batches():
    names = ["cat", "dog", "emu", "fox"]
    records = [
        record([0, 0, 1], before=[0, 0, 2], after=[1, 0, 2], classes=4),
        record([0, 1, 3], before=[0, 1, 3], after=[1, 0, 3], classes=4),
    ]
    rows, found = by_class(records, names)
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
    rows, found = by_class([record(labels, labels, after, count)], [f"c{n}" for n in range(count)])
    assert found == count
    assert len(rows) == MOST
    assert {row[0] for row in rows[:5]} == {"c45", "c46", "c47", "c48", "c49"}
    assert rows[0][1:] == ["2", "100.0", "50.0", "c0 (1)"]
