"""Victims made by functions and classes that take keyword arguments which no signature names."""

import itertools

from own_victims import OwnGated
from torch import Tensor, nn

_COUNT = itertools.count(1)


def create_model(name: str, pretrained: bool = False, **kwargs: object) -> nn.Module:
    """As model libraries have it: the family by name, and whatever its class takes."""
    families = {"gated": OwnGated, "unsteady": Unsteady}
    return families[name](**kwargs)


class Unsteady(OwnGated):
    """Computes with a number that is neither an argument nor in its state dict."""

    def __init__(self, **kwargs: int) -> None:
        super().__init__(**kwargs)
        self.factor = next(_COUNT)

    def forward(self, images: Tensor) -> Tensor:
        return self.factor * super().forward(images)
