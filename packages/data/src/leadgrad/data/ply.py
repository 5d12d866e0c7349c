"""Reads and writes the vertices of PLY files, checking that none is missing.

A PLY file is a text header that declares elements (here ``vertex``), each with a number of rows
and typed properties, and then the rows, as text or binary (G. Turk, "The PLY Polygon File Format",
1994). Only the vertices are read; faces and what else follows them are not looked at. The header is
taken line by line as bytes: a comment may hold anything but a line end.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

# Both spellings of each type that PLY files use, and the two of 64 bits that only some know.
_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1",
    "short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2",
    "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "int64": "i8", "uint64": "u8",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
_NAMES = {"i1": "char", "u1": "uchar", "i2": "short", "u2": "ushort", "i4": "int", "u4": "uint"}
_NAMES |= {"i8": "int64", "u8": "uint64", "f4": "float", "f8": "double"}
_BYTE_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": "="}
# Lines end in LF, CR LF, or, as in Turk's own words, CR. Which it is shows in the first line: after
# a CR the rows may begin with the byte of an LF.
_BEGIN = re.compile(rb"ply[ \t]*(\r?\n|\r)")
_END = re.compile(rb"\n[ \t]*end_header[ \t\r]*\n")
_END_AFTER_CR = re.compile(rb"\r[ \t]*end_header[ \t]*\r")
# Most headers are this long at most; of a longer one as much again is read, and so on.
_HEADER_BYTES = 1 << 12


class PlyError(ValueError):
    """A file that is no PLY file, is cut, or has no vertices as expected."""


@dataclass(frozen=True)
class PlyHeader:
    """What the header says of the vertices.

    Attributes:
        count: Number of vertices.
        dtype: One vertex; the fields are the properties in the file's order.
        text: Whether the rows are text.
        comments: The comment lines, without the word ``comment``. Bytes that are no UTF-8 are spelt
            out, so that any comment can be printed.
        offset: Where the rows begin, in bytes.
        last: Whether nothing but the vertices follows.
    """

    count: int
    dtype: np.dtype[Any]
    text: bool
    comments: tuple[str, ...]
    offset: int
    last: bool


def read_header(path: Path) -> PlyHeader:
    """Read the header alone.

    Args:
        path: The file.

    Returns:
        The header.

    Raises:
        PlyError: The header is damaged, or vertices are not its first element or hold lists.
    """
    with path.open("rb") as file:
        return _parse_header(path, file)


def read_vertices(path: Path, properties: Sequence[str]) -> NDArray[Any]:
    """Read vertices.

    Args:
        path: The file.
        properties: Names of the properties that must be there; others are returned as well.

    Returns:
        The vertices, with the properties as fields. Shape: (N,), structured.

    Raises:
        PlyError: The header is damaged, a property is missing, the file is shorter than its header
            says, or longer where nothing follows the vertices.
    """
    with path.open("rb") as file:
        header = _parse_header(path, file)
        fields = header.dtype.names or ()
        missing = [name for name in properties if name not in fields]
        if missing:
            raise PlyError(f"{path}: vertices have no property {missing}, only {list(fields)}")
        body = file.read()
    if header.text:
        return _text_rows(path, header, body)
    needed = header.count * header.dtype.itemsize
    if len(body) < needed:
        held = len(body) // header.dtype.itemsize
        raise PlyError(f"{path}: cut off, holds {held} of {header.count} vertices")
    if header.last and len(body) > needed:
        raise PlyError(
            f"{path}: {len(body) - needed} bytes follow the {header.count} vertices of the header"
        )
    return np.frombuffer(body, dtype=header.dtype, count=header.count)


def write_vertices(path: Path, vertices: NDArray[Any], comments: Sequence[str]) -> None:
    """Write a binary little-endian file, which appears under its name only when it is complete.

    Args:
        path: The file; its folder is made if need be.
        vertices: Structured array whose fields become the properties. Shape: (N,).
        comments: Lines for the header; a line end in one becomes a blank.

    Raises:
        OSError: The file cannot be written; nothing is left of it.
    """
    little = vertices.astype(vertices.dtype.newbyteorder("<"), copy=False)
    lines = ["ply", "format binary_little_endian 1.0", *(_comment(line) for line in comments)]
    lines.append(f"element vertex {len(little)}")
    for name in little.dtype.names or ():
        lines.append(f"property {_NAMES[little.dtype[name].str[1:]]} {name}")
    head = "\n".join([*lines, "end_header", ""]).encode("utf-8", "backslashreplace")
    write_atomically(path, head + little.tobytes())


def _comment(line: str) -> str:
    return "comment " + re.sub(r"[\r\n]+", " ", line)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is never seen half-written, also after a crash or on a full disk.

    Args:
        path: The file; its folder is made if need be.
        content: Its bytes.

    Raises:
        OSError: The file cannot be written; nothing is left of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _parse_header(path: Path, file: BinaryIO) -> PlyHeader:
    """The header of a file, which then stands where the rows begin."""
    lines, offset = _header_lines(path, file)
    file.seek(offset)
    byte_order, text, comments = "", False, []
    elements: list[tuple[str, int]] = []
    properties: list[list[tuple[str, str]]] = []
    try:
        for line in lines:
            word, *words = line.decode("utf-8", "backslashreplace").split()
            if word == "comment":
                comments.append(_remark(line))
            elif word == "obj_info":
                pass
            elif word == "format":
                byte_order = _BYTE_ORDERS[words[0]]
                text = words[0] == "ascii"
            elif word == "element":
                name, number = words
                elements.append((name, int(number)))
                properties.append([])
            elif word == "property":
                # A list's type is "list", which the table below lacks; only vertices look there.
                kind, name = words[0], words[-1]
                properties[-1].append((name, kind))
            else:
                # Were it a misspelt property, binary rows would be read shifted.
                raise ValueError(f"{word!r} begins no line of a PLY header")
        if not elements or elements[0][0] != "vertex" or elements[0][1] < 0 or not properties[0]:
            raise ValueError(f"the first element must be vertex, found {elements or 'none'}")
        if any(kind == "list" for _, kind in properties[0]):
            raise ValueError("vertices with list properties are not supported")
        dtype = np.dtype([(name, byte_order + _TYPES[kind]) for name, kind in properties[0]])
    except (ValueError, KeyError, IndexError) as error:
        raise PlyError(f"{path}: the header is damaged: {type(error).__name__} {error}") from None
    if not byte_order:
        raise PlyError(f"{path}: the header is damaged: it names no format")
    # Point clouds often declare an empty list of faces.
    last = all(count == 0 for _, count in elements[1:])
    return PlyHeader(elements[0][1], dtype, text, tuple(comments), offset, last)


def _header_lines(path: Path, file: BinaryIO) -> tuple[list[bytes], int]:
    """The lines between ``ply`` and ``end_header`` that are not blank, and where the rows begin."""
    content = file.read(_HEADER_BYTES)
    begin = _BEGIN.match(content)
    if begin is None:
        raise PlyError(f"{path}: is no PLY file, it begins with {content[:8]!r}")
    after_cr = begin[1] == b"\r"
    pattern = _END_AFTER_CR if after_cr else _END
    while (end := pattern.search(content)) is None:
        more = file.read(len(content))
        if not more:
            raise PlyError(f"{path}: has no end_header; the header is cut off")
        content += more
    lines = content[begin.end() : end.start()].split(b"\r" if after_cr else b"\n")
    return [line for line in lines if line.strip()], end.end()


def _remark(line: bytes) -> str:
    return line.strip()[len("comment") :].strip().decode("utf-8", "backslashreplace")


def _text_rows(path: Path, header: PlyHeader, body: bytes) -> NDArray[Any]:
    if header.last and header.count and not body.endswith((b"\n", b"\r")):
        raise PlyError(f"{path}: cut off, the last line has no line end")
    # Split as bytes: text has further characters that end a line.
    lines = [line.decode("ascii", "replace") for line in body.splitlines() if line.strip()]
    if len(lines) < header.count:
        raise PlyError(f"{path}: cut off, holds {len(lines)} of {header.count} vertices")
    if header.last and len(lines) > header.count:
        raise PlyError(
            f"{path}: {len(lines) - header.count} lines follow the {header.count} vertices"
        )
    if header.count == 0:
        return np.empty(0, dtype=header.dtype)
    try:
        return np.loadtxt(lines[: header.count], dtype=header.dtype, comments=None, ndmin=1)
    except ValueError as error:
        raise PlyError(f"{path}: a vertex cannot be read ({error})") from None
