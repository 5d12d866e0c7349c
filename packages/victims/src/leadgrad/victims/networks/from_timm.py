"""Any classifier of timm as a victim, by its name, with its own normalisation as the first layer.

The classifiers decide nothing, so they are static victims: to lead a gradient, a network needs a
``Gate``. timm is imported when a victim is made and not before: that takes seconds.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from torch import Tensor, nn

from leadgrad.victims.networks.layers import Normalize
from leadgrad.victims.weights.checkpoints import load_published

if TYPE_CHECKING:
    from types import ModuleType

INNER = "network."  # under which the state dict has timm's names


class FromTimm(nn.Module):
    """A classifier of timm: images (B, 3, H, W) in [0, 1] to logits (B, num_classes).

    Nothing is downloaded. The weights are random unless a file is given, here or to
    ``load_published``, with the names that timm and torchvision publish them under.

    Args:
        name: timm's, with or without a tag: "resnet101.tv_in1k". The tag stands for the weights, so
            it settles the normalisation, the image size and the crop.
        pretrained_file: Weights, a ``.safetensors`` file or a torch file, of which no code runs.
        sha256: Digest (hex) that the file must have.
        in_order: Whether files may have other names than timm's, and their tensors are then taken
            in their order. Each must have the last part of the name and the shape of the one in its
            place.
        num_classes: Classes; None: as published.
        mean: Normalisation constants; None: as published.
        std: Likewise.

    Attributes:
        image_size: Height and width of the images that it was published for; the lesser of them
            where they differ, which is rare.
        crop_share: Share of the resized image's shorter side that the central crop keeps.
        interpolation: Of that resizing: "bilinear", "bicubic", ...

    Raises:
        ValueError: If timm has no such classifier.
        CheckpointError: If the file does not fit.
    """

    def __init__(
        self,
        name: str,
        *,
        pretrained_file: str | os.PathLike[str] | None = None,
        sha256: str | None = None,
        in_order: bool = False,
        num_classes: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        timm = _timm()
        _check_name(name, timm)
        size = {} if num_classes is None else {"num_classes": num_classes}
        network = timm.create_model(name, pretrained=False, **size)
        if not network.num_classes:
            raise ValueError(
                f"timm's {name} gives features, no classes; give num_classes, and train the new "
                "head or load weights that have it"
            )
        published = network.pretrained_cfg
        self.name = name
        self.in_order = in_order
        self.image_size = min(published["input_size"][1:])
        self.crop_share = float(published["crop_pct"])
        self.interpolation = str(published["interpolation"])
        self.normalize = Normalize(mean or published["mean"], std or published["std"])
        self.network = network
        if pretrained_file is not None:
            load_published(self, pretrained_file, sha256=sha256)
        elif sha256 is not None:
            raise TypeError("sha256 is the digest of a file; give pretrained_file too")

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to logits (B, num_classes)."""
        logits: Tensor = self.network(self.normalize(images))
        return logits

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A file's tensors; with ``in_order``, under timm's names where it has others.

        Raises:
            ValueError: If there are more or fewer than the network's, or one is another than that
                in its place.
        """
        own = self.state_dict()
        names = {name.removeprefix(INNER) for name in own}
        if not self.in_order or any(name.removeprefix(INNER) in names for name in state):
            return dict(state)
        theirs = [(name, value) for name, value in state.items() if not _counter(name)]
        ours = [(name, value) for name, value in own.items() if not _counter(name)]
        pairs = zip_longest(theirs, ours, fillvalue=None)
        for place, (given, wanted) in enumerate(pairs):
            if given is None or wanted is None or _kind(*given) != _kind(*wanted):
                raise ValueError(
                    f"tensor {place} in order is {_said(given)}, where {self.name} has "
                    f"{_said(wanted)}; the file must hold the same tensors in the same order, "
                    "or be loaded by name (in_order=False)"
                )
        return {ours[place][0]: value for place, (_, value) in enumerate(theirs)}


def _timm() -> ModuleType:
    import timm

    return timm


def _check_name(name: str, timm: ModuleType) -> None:
    """Refuses what would be looked for on the network, or is not there."""
    known = sorted({*timm.list_models(), *timm.list_pretrained()})
    if name in known:
        return
    base, _, tag = name.partition(".")
    tags = [other for other in known if other.startswith(f"{base}.")]
    if tag and tags:
        raise ValueError(
            f"timm {timm.__version__} has no tag {tag!r} of {base}; choose from {', '.join(tags)}"
        )
    near = difflib.get_close_matches(name, known, 5, 0.5)
    meant = f"did you mean {', '.join(near)}?" if near else "no name is near it:"
    raise ValueError(
        f"timm {timm.__version__} has no classifier {name!r}; {meant} "
        "timm.list_models(pretrained=True) has them all"
    )


def _counter(name: str) -> bool:
    return name.endswith("num_batches_tracked")  # which old files lack


def _kind(name: str, value: Tensor) -> tuple[str, tuple[int, ...]]:
    return name.rsplit(".", 1)[-1], tuple(value.shape)


def _said(entry: tuple[str, Tensor] | None) -> str:
    return "missing" if entry is None else f"{entry[0]} {list(entry[1].shape)}"
