"""Kernels of spconv checkpoints: two layouts, and slices that nobody has ever read.

spconv 1 stores a kernel as (kρ, kφ, kz, Cin, Cout), spconv 2 as (Cout, kρ, kφ, kz, Cin); here it is
(K, Cin, Cout), slices row-major (docs/reference/cylinder3d.md, "Checkpoints of Cylinder3D").
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from torch import Tensor

UNREAD = re.compile(r"upBlock\d\.conv3\.weight$")
"""Kernels of which 18 of 27 slices are never read with shared rulebooks, and are NaN as released.

Ours holds zeros there."""
READ = 9


def grid_kernels(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], *, shared: bool
) -> dict[str, Tensor]:
    """A state dict with its 5-D kernels in our shape.

    Args:
        state: Names to tensors.
        own: The network's, for the shapes.
        shared: Whether the network computes with shared rulebooks.

    Raises:
        ValueError: If there are 5-D kernels, trained with shared rulebooks, but the network does
            not compute with them; or one has neither layout.
    """
    published = [name for name, value in state.items() if value.ndim == 5]
    if published and not shared:
        raise ValueError(
            "weights in spconv's layout were trained with shared rulebooks; load them into "
            'Cylinder3D(variant="released")'
        )
    made = dict(state)
    for name in published:
        kernel = _three_dimensional(name, state[name], own)
        if UNREAD.search(name):
            kernel = kernel.clone()
            kernel[READ:] = 0
        made[name] = kernel
    return made


def _three_dimensional(name: str, kernel: Tensor, own: Mapping[str, Tensor]) -> Tensor:
    mine = own.get(name)
    if mine is None or mine.ndim != 3:
        return kernel  # the loader names what does not belong
    slices, inputs, outputs = mine.shape
    first = (math.prod(kernel.shape[:3]), *kernel.shape[3:])
    second = (math.prod(kernel.shape[1:4]), kernel.shape[4], kernel.shape[0])
    if first == (slices, inputs, outputs):
        return kernel.flatten(0, 2)
    if second == (slices, inputs, outputs):
        return kernel.permute(1, 2, 3, 4, 0).flatten(0, 2)
    raise ValueError(
        f"{name} of shape {tuple(kernel.shape)} is no kernel of {slices} slices, {inputs} to "
        f"{outputs} channels, in either of spconv's layouts"
    )
