import numpy as np
import pytest

from leadgrad.data.palette import check_palette, distinct_colors

WHITE, IGNORED = (255, 255, 255), (205, 205, 208)  # of the pictures


@pytest.mark.parametrize("count", [1, 2, 13, 20, 100, 255])
def test_any_number_of_classes_gets_colours_that_are_told_apart(count):
    palette = distinct_colors(count)
    check_palette(palette, count, "Toy")
    assert all(type(value) is int for color in palette for value in color)
    shown = np.array([*palette, WHITE, IGNORED])
    apart = np.abs(shown[:, None] - shown[None]).max(axis=-1) + 255 * np.eye(len(shown), dtype=int)
    assert apart.min() >= 17  # of 255; one level of the grid


def test_a_class_keeps_its_colour_when_others_are_added():
    assert distinct_colors(20)[:7] == distinct_colors(7)


@pytest.mark.parametrize("count", [0, -1, 4097])
def test_a_count_out_of_range_is_refused(count):
    with pytest.raises(ValueError, match=f"1 to 4096 distinct colours, got a count of {count}"):
        distinct_colors(count)


@pytest.mark.parametrize(
    ("palette", "message"),
    [
        (((0, 0, 0),), r"one \(red, green, blue\) for each of 2 classes, got shape \(1, 3\)"),
        (((0, 0, 0, 0), (1, 1, 1, 1)), r"got shape \(2, 4\)"),
        ((0, 1), "got 2 entries"),
        (((0, 0, 0), (1, 1)), "got 2 entries"),
        ((), "got 0 entries"),
        (None, "got None"),
        (("#ff0000", "#00ff00"), "got 2 entries"),
        (((0, 0, 0), (0, 0, 256)), "whole numbers of 0..255, got 0 to 256"),
        (((0, 0, 0), (0, -1, 0)), "got -1 to 0"),
        (((0.0, 0.0, 0.0), (0.5, 1.0, 0.2)), "got float64"),
        (((0, 0, 0), ("a", "b", "c")), "whole numbers"),
    ],
)
def test_a_palette_of_another_form_is_refused(palette, message):
    with pytest.raises(ValueError, match=message) as caught:
        check_palette(palette, 2, "Toy")
    assert str(caught.value).startswith("Toy: palette must hold")
    assert "\n" not in str(caught.value)
