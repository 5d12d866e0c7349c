"""Pictures of decisions: what a colour says, and gates of every shape beside each other."""

import numpy as np
import torch

from leadgrad.pipelines.tasks.images.pictures import (
    EXECUTED,
    SKIPPED,
    SWITCHED_OFF,
    SWITCHED_ON,
    decision_pixels,
)


def test_colours_say_what_was_switched():
    before = [torch.tensor(value) for value in (True, False, True, False)]
    after = [torch.tensor(value) for value in (True, False, False, True)]
    pixels = decision_pixels(before, after)
    cells = pixels[1::3, 1::3]  # a pixel each, in frames of one
    assert [tuple(cell) for cell in cells[0]] == [EXECUTED, SKIPPED, EXECUTED, SKIPPED]
    assert [tuple(cell) for cell in cells[1]] == [EXECUTED, SKIPPED, SWITCHED_OFF, SWITCHED_ON]


def test_a_map_stands_as_it_lies():
    before = torch.tensor([[True, False], [False, True]])
    after = torch.tensor([[True, True], [False, False]])
    top, bottom = np.split(decision_pixels([before], [after])[:, 1:3], 2)
    assert [[tuple(each) for each in row] for row in top[1:3]] == [
        [EXECUTED, SKIPPED],
        [SKIPPED, EXECUTED],
    ]
    assert [[tuple(each) for each in row] for row in bottom[1:3]] == [
        [EXECUTED, SWITCHED_ON],
        [SKIPPED, SWITCHED_OFF],
    ]


def test_channels_of_a_map_are_mixed():
    before = torch.tensor([[[True]], [[True]], [[False]], [[False]]])
    after = torch.tensor([[[True]], [[False]], [[True]], [[False]]])
    pixels = decision_pixels([before], [after])
    parts = (EXECUTED, SWITCHED_OFF, SWITCHED_ON, SKIPPED)
    np.testing.assert_array_equal(pixels[4, 1], np.mean(parts, 0).round())
    np.testing.assert_array_equal(pixels[1, 1], np.mean((EXECUTED, SKIPPED), 0).round())


def test_many_units_are_a_square_and_every_shape_stands_beside_every_other():
    """Of a block, experts, channels, tokens, masks, channels by pixels, all activations."""
    torch.manual_seed(0)
    shapes = [(), (2,), (20,), (64,), (1, 8, 8), (16, 32, 32), (32, 16, 16), (16 * 32 * 32,)]
    units = [torch.rand(shape) > 0.5 for shape in shapes]
    pixels = decision_pixels(units, [~unit for unit in units])
    side = 128 + 2 * 8  # of the 16,384 activations, in a frame
    assert pixels.shape == (2 * side, len(shapes) * side, 3)
    channels = pixels[:side, 2 * side : 3 * side]  # twenty of them, in four rows of five
    cells = channels[8 + 12 : side - 8 : 25, 8 + 12 : side - 8 : 25]
    shown = [tuple(cell) == EXECUTED for row in cells[:4] for cell in row]
    assert shown == units[2].tolist()
