import os
import pickle

import numpy as np
import pytest

from leadgrad.data import CIFAR10
from leadgrad.data.cifar_pickle import CifarFileError, read_pickle
from leadgrad.data.cifar_verify import find_problems


def cuts(size):
    return {"0": 0, "10": 10, "half": size // 2, "size-1": size - 1}


class Payload:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


def payload_bytes(marker):
    return pickle.dumps({"data": Payload(os.mkdir, (str(marker),)), "labels": []})


def replace_content(path, **changes):
    content = {"data": np.zeros((4, 3072), np.uint8), "labels": [0, 1, 2, 3]}
    content |= changes
    path.write_bytes(pickle.dumps({k: v for k, v in content.items() if v is not None}, protocol=2))


@pytest.mark.parametrize("cut", ["0", "10", "half", "size-1"])
@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
def test_a_cut_pickle_is_named(tmp_path, write_cifar, name, cut):
    path = write_cifar(tmp_path) / name
    content = path.read_bytes()
    path.write_bytes(content[: cuts(len(content))[cut]])
    (problem,) = find_problems(tmp_path).problems
    assert problem.startswith(f"{path}: no readable pickle of {path.stat().st_size} bytes")
    with pytest.raises(CifarFileError, match=name):
        CIFAR10(tmp_path).split("test" if name == "test_batch" else "train")


@pytest.mark.parametrize("cut", ["0", "10", "half", "size-1"])
def test_a_cut_binary_file_is_named(tmp_path, write_cifar, cut):
    path = write_cifar(tmp_path, layout="bin", size=21) / "data_batch_3.bin"
    content = path.read_bytes()
    path.write_bytes(content[: cuts(len(content))[cut]])
    (problem,) = find_problems(tmp_path).problems
    assert problem.startswith(str(path))
    assert "holds no image" in problem if cut == "0" else "multiple of 3073" in problem
    with pytest.raises(CifarFileError, match="data_batch_3"):
        CIFAR10(tmp_path).split("train")


def test_a_binary_file_without_its_last_record_is_noted(tmp_path, write_cifar):
    path = write_cifar(tmp_path, layout="bin") / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-3073])
    report = find_problems(tmp_path)
    assert report.problems == ()
    assert f"{path}: 19 images, the official file has 10000" in report.notes


@pytest.mark.parametrize(
    "call",
    [
        lambda marker: (os.mkdir, (marker,)),
        lambda marker: (os.system, (f"touch {marker}",)),
        lambda marker: (eval, (f"__import__('os').mkdir({marker!r})",)),
        lambda marker: (np.savetxt, (marker, [1])),
        lambda marker: (getattr, (np.zeros(1), "tofile")),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_payload_is_refused_by_name_and_never_runs(tmp_path, write_cifar, call, protocol):
    path = write_cifar(tmp_path) / "data_batch_2"
    marker = tmp_path / "executed"
    function, arguments = call(str(marker))
    path.write_bytes(
        pickle.dumps({"data": Payload(function, arguments), "labels": []}, protocol=protocol)
    )
    with pytest.raises(CifarFileError, match=rf"data_batch_2: asks for \S*{function.__name__}, "):
        CIFAR10(tmp_path).split("train")
    (problem,) = find_problems(tmp_path).problems
    assert "was not run" in problem
    assert not marker.exists()
    pickle.loads(path.read_bytes())  # the payload is a live one: python's own reader runs it
    assert marker.exists() or function is getattr


@pytest.mark.parametrize(
    "content",
    [
        b"(i__builtin__\neval\n.",  # INST
        b"(c__builtin__\neval\nS'1'\no.",  # OBJ
        b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.",  # STACK_GLOBAL
        b"\x80\x02cnumpy.core.multiarray\nscalar\n.",  # a numpy name that is not on the list
        b"\x80\x02Pabc\n.",  # persistent id
    ],
)
def test_other_ways_to_name_a_global_are_refused(tmp_path, content):
    path = tmp_path / "test_batch"
    path.write_bytes(content)
    with pytest.raises(CifarFileError, match=r"asks for|no readable pickle"):
        read_pickle(path)


@pytest.mark.parametrize(
    "call",
    [
        b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I1000000000000\ntS'b'\ntR.",
        b"c_codecs\nencode\n(S'abc'\nS'rot13'\ntR.",
        b"cnumpy\nndarray\n((I4\nttR.",
        b"c__builtin__\nbytes\n(I1000000000000\ntR.",
        b"cnumpy._core.numeric\n_frombuffer\n(S'abcd'\ncnumpy\ndtype\n(S'f4'\ntR(I1\ntS'C'\ntR.",
    ],
)
def test_allowed_names_cannot_be_put_to_other_uses(tmp_path, call):
    path = tmp_path / "test_batch"
    path.write_bytes(call)
    with pytest.raises(CifarFileError, match="no readable pickle"):
        read_pickle(path)


def test_something_else_than_a_dict_is_refused(tmp_path):
    (tmp_path / "test_batch").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(CifarFileError, match="holds a list where a dict"):
        read_pickle(tmp_path / "test_batch")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": [0, 1, 10, 3]}, "1 labels are out of 0..9, the first is 10 at image 2"),
        ({"labels": [0, -1, 2, 3]}, "the first is -1 at image 1"),
        ({"labels": [0, 10**30, 2, 3]}, "the first is 10{30} at image 1"),
        ({"labels": [0, 1, 2]}, "holds 4 images but 3 labels"),
        ({"labels": ["cat"] * 4}, "must be a list of integers"),
        ({"labels": None}, "has no 'labels', only"),
        ({"data": None}, "has no 'data', only"),
        ({"data": np.zeros((4, 3071), np.uint8)}, "12284 bytes .* multiple of 3072"),
        ({"data": np.zeros((4, 3072), np.float32)}, "must be a uint8 array, got float32"),
        ({"data": b"\0" * 3072 * 4}, "must be a uint8 array, got bytes"),
        ({"data": np.zeros((0, 3072), np.uint8), "labels": []}, "holds no image"),
    ],
)
def test_contradictory_content_is_named(tmp_path, write_cifar, changes, message):
    path = write_cifar(tmp_path) / "test_batch"
    replace_content(path, **changes)
    with pytest.raises(CifarFileError, match=f"test_batch: .*{message}"):
        CIFAR10(tmp_path).split("test")


def test_a_binary_label_out_of_range_is_named(tmp_path, write_cifar):
    path = write_cifar(tmp_path, layout="bin") / "test_batch.bin"
    content = bytearray(path.read_bytes())
    content[3 * 3073] = 200
    path.write_bytes(content)
    with pytest.raises(CifarFileError, match="the first is 200 at image 3"):
        CIFAR10(tmp_path).split("test")


@pytest.mark.parametrize("layout", ["py", "bin"])
def test_other_class_names_are_refused(tmp_path, write_cifar, layout):
    folder = write_cifar(tmp_path, layout=layout)
    if layout == "py":
        (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"cat", "dog"]}))
    else:
        (folder / "batches.meta.txt").write_text("cat\ndog\n")
    with pytest.raises(CifarFileError, match=r"lists the classes \('cat', 'dog'\)"):
        CIFAR10(tmp_path).split("test")


def test_class_names_that_are_no_list_are_refused(tmp_path, write_cifar):
    (write_cifar(tmp_path) / "batches.meta").write_bytes(pickle.dumps({"label_names": 3}))
    (problem,) = find_problems(tmp_path).problems
    assert "has no list 'label_names'" in problem


def test_missing_files_are_all_named_with_the_remedy(tmp_path, write_cifar):
    folder = write_cifar(tmp_path)
    for name in ("data_batch_2", "data_batch_5", "test_batch"):
        (folder / name).unlink()
    with pytest.raises(
        FileNotFoundError, match=r"data_batch_2 is.*data_batch_5 is.*test_batch is.*download=True"
    ):
        CIFAR10(tmp_path).split("test")


def test_damaged_files_are_all_named_with_the_remedy(tmp_path, write_cifar):
    folder = write_cifar(tmp_path)
    (folder / "data_batch_1").write_bytes(b"")
    (folder / "data_batch_4").write_bytes(b"\x80\x02}")
    with pytest.raises(CifarFileError, match=r"data_batch_1.*data_batch_4.*download=True"):
        CIFAR10(tmp_path).split("train")


@pytest.mark.parametrize("root", [".", "nowhere", "cifar-10-batches-py"])
def test_no_data_at_all(tmp_path, root):
    root = tmp_path / root
    with pytest.raises(FileNotFoundError, match="cifar-10-batches-py nor cifar-10-batches-bin"):
        CIFAR10(root).split("test")
    (problem,) = find_problems(root).problems
    assert str(root) in problem


def test_an_empty_batch_folder_names_every_file(tmp_path):
    (tmp_path / "cifar-10-batches-bin").mkdir()
    problems = find_problems(tmp_path).problems
    assert len(problems) == 6
    assert all(problem.endswith(".bin: missing") for problem in problems)


def test_one_pass_lists_every_kind_of_fault(tmp_path, write_cifar):
    folder = write_cifar(tmp_path)
    (folder / "data_batch_1").unlink()
    (folder / "data_batch_2").write_bytes(payload_bytes(tmp_path / "executed"))
    replace_content(folder / "data_batch_3", labels=[0, 1, 2, 77])
    replace_content(folder / "data_batch_4", labels=[0])
    (folder / "test_batch").unlink()
    (folder / "test_batch").mkdir()
    (folder / "batches.meta").unlink()
    (folder / "notes.txt").write_bytes(b"x")
    (folder / "readme.html").write_text("part of the official archive")
    report = find_problems(folder)
    expected = [
        "data_batch_1: missing",
        "data_batch_2: asks for",
        "data_batch_3: 1 labels",
        "data_batch_4: holds 4 images but 1 labels",
        "test_batch: missing",
        "notes.txt: unexpected",
    ]
    assert len(report.problems) == len(expected)
    for problem, part in zip(report.problems, expected, strict=True):
        assert part in problem
        assert "\n" not in problem
    assert any("data_batch_5: MD5" in note for note in report.notes)
    assert any("data_batch_5: 20 images" in note for note in report.notes)
    assert any("batches.meta: missing" in note for note in report.notes)
    assert not (tmp_path / "executed").exists()


def test_an_unreadable_file_is_a_problem_with_its_name(tmp_path, write_cifar, monkeypatch):
    path = write_cifar(tmp_path) / "data_batch_2"
    real_read = type(path).read_bytes

    def failing_read(self):
        if self == path:
            raise OSError(5, "Input/output error")
        return real_read(self)

    monkeypatch.setattr(type(path), "read_bytes", failing_read)
    (problem,) = find_problems(tmp_path).problems
    assert problem == f"{path}: [Errno 5] Input/output error"
