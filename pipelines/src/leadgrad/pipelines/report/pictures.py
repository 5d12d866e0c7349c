"""Pictures as data URIs, so that a page needs no file beside it."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def data_uri(content: bytes) -> str:
    """A PNG file's bytes as a data URI, so that a page needs no file beside it."""
    return "data:image/png;base64," + base64.b64encode(content).decode()


def figure_png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    return _saved(figure, "png")


def figure_format(path: Path) -> str:
    """The format that a file's suffix names.

    Raises:
        ValueError: If matplotlib writes none of that suffix.
    """
    known = Figure().canvas.get_supported_filetypes()
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in known:
        raise ValueError(
            f"{path} ends in {path.suffix or 'no suffix'}, which is no format of a picture; end it "
            f"in one of {', '.join(f'.{name}' for name in sorted(known))}"
        )
    return suffix


def figure_bytes(figure: Figure, path: Path) -> bytes:
    """A figure as the bytes of a file of this name, in the format of its suffix.

    Raises:
        ValueError: If matplotlib writes none of that suffix.
    """
    return _saved(figure, figure_format(path))


def _saved(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=120)
    return buffer.getvalue()


def png(pixels: Pixels, *, scale: int = 1) -> str:
    """An image (H, W, 3) as a data URI, every pixel enlarged ``scale`` times without smoothing."""
    image = Image.fromarray(pixels)
    if scale > 1:
        size = (image.width * scale, image.height * scale)
        image = image.resize(size, Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return data_uri(buffer.getvalue())
