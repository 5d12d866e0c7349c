import errno
import os

import numpy as np
import pytest

from leadgrad.data.ply import PlyError, read_header, read_vertices, write_vertices
from leadgrad.data.scene_check import Scene
from leadgrad.data.scene_files import SceneFileError, write_scene

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
        # Left out, it would shift all that follows.
        (b"property uchar red", b"propertx uchar red"),
    ],
)
def test_a_damaged_header_is_refused(path, old, new):
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(PlyError, match="the header is damaged"):
        read_vertices(path, ())


REMARKS = {
    "UTF-8": (
        "comment Büro\u2028element vertex 9\u0085".encode(),
        "Büro\u2028element vertex 9\u0085",
    ),
    "Latin-1": (b"comment B\xfcro", r"B\xfcro"),
    "the end": (b"comment before end_header\tx", "before end_header\tx"),
    "only the end": (b"comment end_header", "end_header"),
    "keywords": (b"comment element vertex 9", "element vertex 9"),
    "control characters": (b"comment a\x0bb\x1cend_header\x0c", "a\x0bb\x1cend_header"),
    "blanks": (b" comment \t two  words \t", "two  words"),
    "empty": (b"comment", ""),
    "long": (b"comment " + b"x" * 200_000, "x" * 200_000),
    "obj_info": (b"obj_info end_header \xfc element vertex 9", None),
    "a blank line": (b" \t", None),
}


@pytest.mark.parametrize("remark", REMARKS)
@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("rows", ["little", "big", "ascii"])
def test_a_remark_changes_nothing(tmp_path, vertices, remark, ending, rows):
    line, comment = REMARKS[remark]
    if rows == "ascii":
        form, body = b"ascii", b"".join(b"%g %d %d\n" % tuple(row) for row in vertices.tolist())
        body = body.replace(b"\n", ending)
    else:
        form = f"binary_{rows}_endian".encode()
        # After the header's CR the first row begins with the byte of an LF.
        vertices["x"] = np.frombuffer(b"\n\n\n\n", "<f4")
        order = {"little": "<", "big": ">"}[rows]
        body = vertices.astype(DTYPE.newbyteorder(order)).tobytes()
        assert body.startswith(b"\n")
    head = [b"ply ", b"format " + form + b" 1.0", line, b"element\tvertex  5 ", b"property float x"]
    head += [b"property  uint8 red\t", line, b"property uint16 label", b"end_header \t"]
    path = tmp_path / "scene.ply"
    path.write_bytes(ending.join(head) + ending + body)
    assert np.array_equal(read_vertices(path, ("x", "red", "label")), vertices)
    assert read_header(path).comments == (() if comment is None else (comment,) * 2)


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("char", "int8"), "i1"), (("uchar", "uint8"), "u1"), (("short", "int16"), "i2"),
        (("ushort", "uint16"), "u2"), (("int", "int32"), "i4"), (("uint", "uint32"), "u4"),
        (("int64",), "i8"), (("uint64",), "u8"), (("float", "float32"), "f4"),
        (("double", "float64"), "f8"),
    ],
)  # fmt: skip
def test_every_type_keeps_its_values(tmp_path, names, kind):
    values = np.array([0, 1, 100], dtype=[("v", f"<{kind}")])
    write_vertices(tmp_path / "own.ply", values, [])
    own = read_vertices(tmp_path / "own.ply", ("v",))
    assert (own.dtype, own["v"].tolist()) == (values.dtype, [0, 1, 100])
    for name in names:
        head = (
            f"ply\nformat binary_big_endian 1.0\nelement vertex 3\nproperty {name} v\nend_header\n"
        )
        (tmp_path / "v.ply").write_bytes(
            head.encode() + values.astype([("v", f">{kind}")]).tobytes()
        )
        assert read_vertices(tmp_path / "v.ply", ("v",))["v"].tolist() == [0, 1, 100]


def test_any_comment_can_be_written(tmp_path, vertices):
    comments = ["Büro 3", "two\nlines\r\nend_header", "b\udcfcro", "end_header"]
    write_vertices(tmp_path / "a.ply", vertices, comments)
    assert np.array_equal(read_vertices(tmp_path / "a.ply", ()), vertices)
    expected = ("Büro 3", "two lines end_header", r"b\udcfcro", "end_header")
    assert read_header(tmp_path / "a.ply").comments == expected


TEXT = "ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty uchar red\nend_header\n"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1.5 2\n", "holds 1 of 2 vertices"),
        ("1.5 2\n2.5 25", "the last line has no line end"),
        ("1.5 2\n2.5\n", "a vertex cannot be read"),
        ("1.5 2\nx 3\n", "a vertex cannot be read"),
        ("1.5 2\n2.5 3\n3.5 4\n", "1 lines follow"),
        ("1.5 2\n\n", "holds 1 of 2 vertices"),
        ("1.5 2\x0b2.5 3\n", "holds 1 of 2 vertices"),
    ],
)
def test_damaged_text_rows_are_refused(tmp_path, rows, message):
    path = tmp_path / "text.ply"
    path.write_text(TEXT + rows)
    with pytest.raises(PlyError, match=message):
        read_vertices(path, ())


def test_blank_lines_among_text_rows_are_no_rows(tmp_path):
    path = tmp_path / "text.ply"
    faces = "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    path.write_text(TEXT.replace("end_header\n", faces) + "\n1.5 2\n \n2.5 3\n3 0 1 0\n")
    assert read_vertices(path, ())["x"].tolist() == [1.5, 2.5]


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


def test_a_prepared_scene_holds_colours_and_nothing_else(tmp_path):
    scene = Scene(np.ones((2, 3), np.float32), np.ones((2, 1), np.float32), np.zeros(2, np.uint8))
    with pytest.raises(SceneFileError, match=r"RGB of uint8, got \(2, 1\) float32; .*SceneFolder"):
        write_scene(tmp_path / "a.ply", scene, source="", notes=())
    assert not list(tmp_path.iterdir())
