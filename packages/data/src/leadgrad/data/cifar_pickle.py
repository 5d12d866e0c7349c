"""A reader of CIFAR-10's pickled batch files that runs none of the code a pickle can ask for.

A pickle may name any importable callable and have it called. This reader knows the few names that
numpy arrays and byte strings need, gives its own inert stand-in for each, and refuses the rest.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class CifarFileError(ValueError):
    """A CIFAR-10 file that cannot be read; the message names the file."""


def read_pickle(path: Path) -> dict[str, Any]:
    """Read a pickled dictionary, written by Python 2 or 3.

    Args:
        path: The file.

    Returns:
        The dictionary; keys that were byte strings are decoded.

    Raises:
        CifarFileError: The file is cut, is no pickled dictionary, or names a global that arrays,
            strings, lists and dictionaries do not need. Nothing it names is called.
        OSError: The file cannot be opened.
    """
    content = path.read_bytes()
    try:
        # latin1 keeps every byte of a Python 2 string, which is what numpy's arrays arrive as.
        loaded = _InertUnpickler(io.BytesIO(content), encoding="latin1").load()
    except _RefusedGlobalError as error:
        raise CifarFileError(
            f"{path}: asks for {error}, which no CIFAR-10 batch needs; it was not run. "
            "Do not use this file"
        ) from None
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise CifarFileError(
            f"{path}: no readable pickle of {len(content)} bytes "
            f"({type(error).__name__}: {error}); the file is cut or damaged"
        ) from error
    if not isinstance(loaded, dict):
        raise CifarFileError(f"{path}: holds a {type(loaded).__name__} where a dict is expected")
    return {
        key.decode("latin1") if isinstance(key, bytes) else str(key): value
        for key, value in loaded.items()
    }


class _RefusedGlobalError(pickle.UnpicklingError):
    """The pickle asks for a global that is not on the list."""


class _ArrayClass:
    """Stands for `numpy.ndarray`, which a pickle only ever passes on as an argument."""


def _empty_array(kind: object, shape: object, typecode: object) -> NDArray[Any]:
    """Stands for numpy's `_reconstruct`: the array that a later state fills."""
    if kind is not _ArrayClass or shape != (0,):
        raise pickle.UnpicklingError(f"an array is built from shape {shape!r}, expected (0,)")
    return np.empty(0, dtype=np.uint8)


def _array_from_buffer(buffer: bytes, dtype: object, shape: object, order: object) -> NDArray[Any]:
    """Stands for numpy's `_frombuffer`, with which pickle protocol 5 stores arrays."""
    if dtype != np.dtype(np.uint8):
        raise pickle.UnpicklingError(f"an array of {dtype!r}, expected uint8")
    flat = np.frombuffer(buffer, dtype=np.uint8)
    return flat.reshape(shape, order="F" if order == "F" else "C")  # type: ignore[call-overload,no-any-return]


def _encode_latin1(text: str, encoding: str = "latin1") -> bytes:
    """Stands for `_codecs.encode`, with which protocol 2 stores Python 3's byte strings."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"a string in {encoding!r}, expected latin1")
    return text.encode("latin1")


def _empty_bytes() -> bytes:
    """Stands for `bytes`, with which protocol 2 stores Python 3's empty byte string."""
    return b""


# numpy moved its core from `numpy.core` to `numpy._core` in 2.0; files name either.
_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _ArrayClass,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _empty_array,
    ("numpy._core.multiarray", "_reconstruct"): _empty_array,
    ("numpy.core.numeric", "_frombuffer"): _array_from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _array_from_buffer,
    ("_codecs", "encode"): _encode_latin1,
    ("__builtin__", "bytes"): _empty_bytes,
}


class _InertUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise _RefusedGlobalError(f"{module}.{name}") from None
