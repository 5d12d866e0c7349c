"""MinkUNet on MinkowskiEngine, by a class path of its own; needs ``leadgrad-victims[minkowski]``.

A class, not an argument: configurations and cards of networks stay the same, whatever computes
them. A network that exists already changes its engine with ``network.geometry``.
"""

from __future__ import annotations

from leadgrad.victims.networks.minkunet import MinkUNet
from leadgrad.victims.sparse.minkowski import MinkowskiGeometry


class MinkUNetMinkowski(MinkUNet):
    """A ``MinkUNet`` with the same arguments, names and weights, convolved by MinkowskiEngine."""

    geometry = MinkowskiGeometry
