"""torch's own files, of which no code runs; what is refused is refused in our words.

torch's own advise to read such a file all the same.
"""

from __future__ import annotations

import io
import re
import warnings
from pickle import UnpicklingError

import torch

_REMEDY = "get a file that holds tensors only, a state dict or .safetensors"


def torch_content(data: bytes) -> object:
    """What a file's bytes hold.

    Raises:
        UnpicklingError: If they are no torch file, or hold something that code would have to make.
        Exception: Of any kind, if the file is damaged.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")  # then refused
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        if found := re.search(r"GLOBAL ([\w.]+)", str(error)):
            words = f"it holds {found[1]}, which is no tensor and might run code"
        else:
            words = "it is no weights file of torch, but a pickle, a text or another kind"
        raise UnpicklingError(f"{words}; {_REMEDY}") from None
