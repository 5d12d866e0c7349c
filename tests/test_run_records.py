"""Batch records and atomic files: what is written is what is read, or a named error."""

import dataclasses
import json
import os
import stat
import struct

import pytest
import torch
from safetensors.torch import load, save

from leadgrad.attacks import Notes
from leadgrad.pipelines.runs.directory import RunDirectory, digest, flatten
from leadgrad.pipelines.runs.noted import Noted, counted
from leadgrad.pipelines.tasks.images.records import BatchRecord, Cost, RecordError
from leadgrad.victims.weights.atomic import write_atomically


def record(images, shapes=((), (1, 3, 5)), *, dtype=torch.float32, half=False) -> BatchRecord:
    made = torch.Generator().manual_seed(1)
    size = len(images)
    adv = images + torch.rand(images.shape, generator=made) / 255
    logits = torch.randn(2, size, 4, generator=made)
    units = [[torch.rand(size, *shape, generator=made) < 0.5 for shape in shapes] for _ in range(2)]
    batch = {
        "image": images.to(dtype),
        "label": torch.arange(size) % 4,
        "index": torch.arange(8, 8 + size),
    }
    answers = torch.randn(size, 4, generator=made) if half else None
    return BatchRecord.of(batch, adv.to(dtype), tuple(logits), tuple(units), answers)


def levels(size: int = 3) -> torch.Tensor:
    made = torch.Generator().manual_seed(0)
    return torch.randint(256, (size, 3, 4, 4), generator=made) / 255


def assert_equal(one: BatchRecord, other: BatchRecord) -> None:
    for name, value in vars(one).items():
        again = getattr(other, name)
        if not isinstance(value, torch.Tensor):
            assert again == value
        else:
            assert again.dtype == value.dtype
            assert torch.equal(again, value), name


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("shapes", [(), ((),), ((2,), (1, 3, 5), ()), ((1, 8, 8),)])
def test_round_trip(tmp_path, shapes, half):
    made = record(levels(), shapes, half=half)
    (tmp_path / "r").write_bytes(made.to_bytes())
    assert_equal(made, BatchRecord.read(tmp_path / "r"))


def test_the_same_record_is_the_same_bytes():
    made = dataclasses.replace(record(levels()), cost=Cost(2, 3))
    written = {made.to_bytes() for _ in range(40)}
    assert len(written) == 1
    assert len(load(written.pop())) == 8


def test_a_record_without_cost_is_what_safetensors_writes(monkeypatch):
    """Files of earlier versions stay what they were, bit by bit."""
    made = record(levels())
    ours = made.to_bytes()
    monkeypatch.setattr("leadgrad.pipelines.tasks.images.records.ordered", lambda data: data)
    assert made.to_bytes() == ours


@pytest.mark.parametrize(
    "images",
    [
        levels() + 1e-4,  # no whole levels
        levels() * 2 - 1,  # normalised
        levels() * 0 - 0.0,  # negative zeros
        levels().double(),
    ],
)
def test_images_that_are_no_bytes_are_kept_as_they_are(tmp_path, images):
    made = record(images, dtype=images.dtype)
    (tmp_path / "r").write_bytes(made.to_bytes())
    assert_equal(made, BatchRecord.read(tmp_path / "r"))


def test_whole_levels_take_a_byte_each():
    tensors = load(record(levels()).to_bytes())
    assert tensors["clean_inputs"].dtype == torch.uint8
    assert tensors["clean_units"].shape == (3, 2)  # 16 decisions


def test_channels_last_is_written_in_sample_order(tmp_path):
    images = levels().contiguous(memory_format=torch.channels_last)
    made = record(images)
    (tmp_path / "r").write_bytes(made.to_bytes())
    assert_equal(made, BatchRecord.read(tmp_path / "r"))
    assert digest(iter([made])) == digest(iter([BatchRecord.read(tmp_path / "r")]))


def test_digest_does_not_depend_on_the_cut():
    whole = record(levels(5))
    names = [name for name, value in vars(whole).items() if isinstance(value, torch.Tensor)]
    parts = [
        BatchRecord(**{n: getattr(whole, n)[cut] for n in names}, unit_shapes=whole.unit_shapes)
        for cut in (slice(0, 2), slice(2, 5))
    ]
    assert digest(iter(parts)) == digest(iter([whole]))
    assert digest(iter(parts[::-1])) != digest(iter([whole]))


def cut(data: bytes) -> bytes:
    return data[:-1]


def without(name: str):
    def change(data: bytes) -> bytes:
        tensors = load(data)
        del tensors[name]
        return save(tensors, metadata={"unit_shapes": "[[]]"})

    return change


def one_label_less(data: bytes) -> bytes:
    tensors = load(data)
    tensors["label"] = tensors["label"][:-1].contiguous()
    return save(tensors, metadata={"unit_shapes": "[[], [1, 3, 5]]"})


def other_shapes(data: bytes) -> bytes:
    return save(load(data), metadata={"unit_shapes": "[[1000]]"})


def no_metadata(data: bytes) -> bytes:
    return save(load(data))


def empty(data: bytes) -> bytes:
    return b""


def huge_header(data: bytes) -> bytes:
    return struct.pack("<Q", 2**62) + data[8:]


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        without("index"),
        without("adv_units"),
        without("clean_inputs"),
        one_label_less,
        other_shapes,
        no_metadata,
        empty,
        huge_header,
    ],
)
def test_what_is_no_record_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "000003.safetensors"
    path.write_bytes(damage(record(levels()).to_bytes()))
    with pytest.raises(RecordError, match=r"000003\.safetensors"):
        BatchRecord.read(path)


def test_atomic_write_replaces(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    write_atomically(path, b"new and longer")
    assert path.read_bytes() == b"new and longer"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_write_follows_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_atomic_write_into_no_directory_names_the_file(tmp_path):
    with pytest.raises(OSError, match=r"3 bytes are needed for .*gone/file"):
        write_atomically(tmp_path / "gone" / "file", b"abc")


def test_an_interrupted_write_leaves_what_was_there(tmp_path, monkeypatch):
    def interrupted(handle: int) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_strange_names_among_the_batches_are_not_batches(tmp_path):
    run = RunDirectory(tmp_path, BatchRecord)
    for number in (2, 10, 1_000_000):
        run.add(number, record(levels()), 0.5)
    for name in ("000002 (copy).json", "000002 (copy).safetensors", "notes.json", ".000003.json.x"):
        (run.batches / name).write_text("{}")
    assert run.finished() == {2, 10, 1_000_000}
    assert run.numbers(".safetensors") == [2, 10, 1_000_000]  # in the order of numbers, not of text
    assert len(list(run.records())) == 3
    assert run.seconds() == 1.5


@pytest.mark.parametrize("note", ["", "{}", "[]", "3", "null", '{"bytes": 1}', '{"bytes": "x"}'])
def test_a_damaged_note_makes_a_batch_unfinished(tmp_path, note):
    run = RunDirectory(tmp_path)
    run.add(0, record(levels()), 0)
    (run.batches / "000000.json").write_text(note)
    assert run.finished() == set()
    assert "000000.json" in run.problem(0)


def test_a_flipped_bit_makes_a_batch_unfinished(tmp_path):
    run = RunDirectory(tmp_path)
    run.add(0, record(levels()), 0)
    path = run.batches / "000000.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 4
    path.write_bytes(data)
    assert run.finished() == set()
    assert "000000.safetensors differs" in run.problem(0)


def test_sweep_takes_only_what_killed_writers_left(tmp_path):
    run = RunDirectory(tmp_path)
    run.add(0, record(levels()), 0)
    left = [run.batches / ".000001.safetensors.a1b2c3d4", run.path / ".results.json.abcdefgh"]
    kept = [run.path / ".gitignore", run.path / "notes.txt", run.batches / "000000.json"]
    for path in (*left, *kept[:2]):
        path.write_text("x")
    run.sweep()
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in kept)


def test_flatten():
    tree = {"a": {"b": 1, "c": {}}, "d": [1, {"e": 2}]}
    assert flatten(tree) == {"a.b": 1, "a.c": {}, "d": [1, {"e": 2}]}
    assert json.loads(json.dumps(tree)) == tree


def test_notes_are_kept(tmp_path):
    notes = Notes()
    ids = torch.tensor([10, 8])
    notes.add("least ε", ["one", "two"], ids, torch.tensor([1, 0]))
    noted = Noted.of(notes, torch.arange(8, 11))
    made = dataclasses.replace(record(levels()), noted=noted)
    (tmp_path / "r").write_bytes(made.to_bytes())
    again = BatchRecord.read(tmp_path / "r")
    assert again.noted is not None
    assert again.noted.words == {"least ε": ("one", "two")}
    assert again.noted.values["least ε"].tolist() == [0, -1, 1]
    assert counted([again.noted, again.noted]) == {"noted": {"least ε": {"one": 2, "two": 2}}}
    assert counted([None]) == {}
    assert Noted.of(Notes(), ids) is None


def test_notes_of_other_samples_are_refused(tmp_path):
    noted = Noted({"of": ("a",)}, {"of": torch.zeros(2, dtype=torch.int64)})
    made = dataclasses.replace(record(levels()), noted=noted)
    (tmp_path / "r").write_bytes(made.to_bytes())
    with pytest.raises(RecordError, match="expected one number"):
        BatchRecord.read(tmp_path / "r")
