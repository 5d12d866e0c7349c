"""Pictures as data URIs, so that a page needs no file beside it."""

from __future__ import annotations

import base64
import io

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
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
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
