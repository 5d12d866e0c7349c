import errno
import os

import numpy as np
import pytest

from leadgrad.data.ply import PlyError, read_header, read_vertices, write_vertices

DTYPE = np.dtype([("x", "<f4"), ("red", "u1"), ("label", "<u2")])


@pytest.fixture
def vertices():
    table = np.zeros(5, dtype=DTYPE)
    table["x"] = np.linspace(-1, 1, 5)
    table["red"] = [0, 1, 2, 254, 255]
    table["label"] = [0, 1, 40, 149, 65535]
    return table


@pytest.fixture
def path(tmp_path, vertices):
    write_vertices(tmp_path / "a" / "scene.ply", vertices, ["made here", "note x"])
    return tmp_path / "a" / "scene.ply"


def test_what_is_written_is_read_back(path, vertices):
    assert np.array_equal(read_vertices(path, ("x", "label")), vertices)
    header = read_header(path)
    assert (header.count, header.dtype, header.text) == (5, DTYPE, False)
    assert header.comments == ("made here", "note x")
    assert [entry.name for entry in path.parent.iterdir()] == ["scene.ply"]


@pytest.mark.parametrize(("text", "order"), [(False, "<"), (False, ">"), (True, "=")])
@pytest.mark.parametrize("faces", [None, 0, 2])
def test_files_of_a_peer_library_are_read(tmp_path, vertices, text, order, faces):
    plyfile = pytest.importorskip("plyfile")
    elements = [plyfile.PlyElement.describe(vertices, "vertex")]
    if faces is not None:
        face = np.array([([0, 1, 2],)] * faces, dtype=[("vertex_indices", "i4", (3,))])
        elements.append(plyfile.PlyElement.describe(face, "face"))
    path = tmp_path / "peer.ply"
    plyfile.PlyData(elements, text=text, byte_order=order).write(path)
    found = read_vertices(path, ("x",))
    for name in DTYPE.names:
        assert np.array_equal(found[name], vertices[name])
    assert read_header(path).last is (faces != 2)


def test_a_peer_library_reads_our_files(path, vertices):
    plyfile = pytest.importorskip("plyfile")
    assert np.array_equal(plyfile.PlyData.read(path)["vertex"].data, vertices)


@pytest.mark.parametrize("cut", [1, 7, 14])
def test_a_cut_file_is_refused(path, cut):
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(PlyError, match=r"scene.ply: cut off, holds [34] of 5 vertices"):
        read_vertices(path, ())


@pytest.mark.parametrize("size", [0, 2, 30, 60])
def test_a_file_cut_in_its_header_is_refused(path, size):
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(PlyError, match=r"is no PLY file|no end_header"):
        read_vertices(path, ())


def test_a_longer_file_than_the_header_says_is_refused(path):
    path.write_bytes(path.read_bytes() + b"\0" * 7)
    with pytest.raises(PlyError, match="7 bytes follow the 5 vertices"):
        read_vertices(path, ())


def test_a_missing_property_is_named(path):
    with pytest.raises(PlyError, match=r"no property \['y', 'z'\], only \['x', 'red', 'label'\]"):
        read_vertices(path, ("x", "y", "z"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"property float x", b"property half x"),
        (b"element vertex 5", b"element vertex five"),
        (b"element vertex 5", b"element vertex -5"),
        (b"element vertex 5", b"element face 5"),
        (b"property uchar red", b"property list uchar int red"),
        (b"binary_little_endian", b"binary_middle_endian"),
        (b"format binary_little_endian 1.0\n", b""),
        (b"property uchar red", b"property uchar x"),
        (b"made here", b"made h\xe9re"),
    ],
)
def test_a_damaged_header_is_refused(path, old, new):
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(PlyError, match="the header is damaged"):
        read_vertices(path, ())


TEXT = "ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty uchar red\nend_header\n"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1.5 2\n", "holds 1 of 2 vertices"),
        ("1.5 2\n2.5 25", "the last line has no line end"),
        ("1.5 2\n2.5\n", "a vertex cannot be read"),
        ("1.5 2\nx 3\n", "a vertex cannot be read"),
        ("1.5 2\n2.5 3\n3.5 4\n", "1 lines follow"),
    ],
)
def test_damaged_text_rows_are_refused(tmp_path, rows, message):
    path = tmp_path / "text.ply"
    path.write_text(TEXT + rows)
    with pytest.raises(PlyError, match=message):
        read_vertices(path, ())


def test_carriage_returns_do_no_harm(tmp_path):
    path = tmp_path / "text.ply"
    path.write_bytes((TEXT + "1.5 2\n2.5 3\n").replace("\n", "\r\n").encode())
    assert read_vertices(path, ())["x"].tolist() == [1.5, 2.5]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(path, vertices, monkeypatch):
    before = path.read_bytes()

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_vertices(path, vertices[:2], [])
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["scene.ply"]
