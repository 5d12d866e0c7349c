"""The official archives become folders: whole, resumable, and nothing but their images."""

import errno
import io
import multiprocessing
import os
import tarfile
import time
from pathlib import Path

import pytest
from made_imagenet import (
    NUMBERS,
    WNIDS,
    add,
    devkit,
    jpeg,
    meta,
    packed,
    write_download,
)

from leadgrad.data import ImageNet, imagenet_prepare
from leadgrad.data.contract import DataSetError
from leadgrad.data.imagenet import UNFINISHED
from leadgrad.data.imagenet_prepare import TRAIN, VALIDATION, prepare_imagenet
from leadgrad.data.scene_prepare import PrepareError

SYNSETS = (WNIDS[2], WNIDS[700], WNIDS[999])


@pytest.fixture
def source(tmp_path):
    write_download(tmp_path / "source")
    return tmp_path / "source"


@pytest.fixture
def root(tmp_path):
    return tmp_path / "ready"


def files(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def counts(parts):
    parts = list(parts)
    assert parts[-1].done_bytes <= parts[-1].total_bytes
    return sum(part.written for part in parts), sum(part.kept for part in parts)


def problems(parts):
    return [problem for part in parts for problem in part.problems]


def test_images_come_to_their_synsets_byte_for_byte(source, root):
    assert counts(prepare_imagenet(source, root)) == (9 + 7, 0)
    found = files(root)
    expected = {
        f"train/{synset}/{synset}_{k}.JPEG": jpeg(100 * place + k)
        for place, synset in enumerate(SYNSETS)
        for k in range(3)
    }
    for k in range(7):
        name = f"ILSVRC2012_val_{k + 1:08d}.JPEG"
        expected[f"val/{SYNSETS[k % 3]}/{name}"] = jpeg(1000 + k)
    rows = found.pop("classes.csv").decode().splitlines()
    assert found == expected
    assert rows[0] == "class_index,wnid,name,train_images"
    assert rows[1] == f'0,{WNIDS[0]},"word, {WNIDS[0]}",3'
    assert len(rows) == 1001


def test_the_set_is_served_with_the_kits_classes(source, root):
    list(prepare_imagenet(source, root))
    data = ImageNet(root, image_size=16, resize=16)
    assert data.split("validation").labels.tolist() == [2, 2, 2, 700, 700, 999, 999]
    assert data.class_names[700] == f"word, {WNIDS[700]}"
    assert len(data.split("train")) + len(data.split("tuning")) == 9


def test_a_second_run_keeps_all_and_mends_what_changed(source, root):
    list(prepare_imagenet(source, root))
    before = files(root)
    assert counts(prepare_imagenet(source, root)) == (0, 16)
    names = sorted(name for name in before if name.endswith(".JPEG"))
    (root / names[0]).write_bytes(before[names[0]][:9])
    (root / names[-1]).unlink()
    assert counts(prepare_imagenet(source, root)) == (2, 14)
    assert files(root) == before


def slowly(source, root, written):
    """In a process of its own: says of each file that it is there."""
    write = imagenet_prepare._write

    def slow(*arguments):
        write(*arguments)
        written.release()
        time.sleep(0.02)

    imagenet_prepare._write = slow
    list(prepare_imagenet(source, root))


def test_a_killed_run_goes_on(source, root, tmp_path):
    context = multiprocessing.get_context("fork")
    written = context.Semaphore(0)
    process = context.Process(target=slowly, args=(source, root, written))
    process.start()
    for _ in range(6):
        assert written.acquire(timeout=60)
    process.kill()
    process.join()
    process.close()
    (root / ".1.part").write_bytes(b"half")
    assert (root / UNFINISHED).exists()
    with pytest.raises(DataSetError, match="is not finished"):
        ImageNet(root).split("validation")
    written, kept = counts(prepare_imagenet(source, root))
    assert written + kept == 16
    assert 5 <= kept < 16
    list(prepare_imagenet(source, tmp_path / "other"))
    assert files(root) == files(tmp_path / "other")


@pytest.mark.parametrize("missing", [TRAIN, VALIDATION])
def test_one_archive_alone(source, root, missing):
    (source / missing).unlink()
    assert counts(prepare_imagenet(source, root)) == ((7, 0) if missing == TRAIN else (9, 0))
    assert not (root / UNFINISHED).exists()


def test_an_unpacked_kit_will_do(source, root):
    kit = source / "ILSVRC2012_devkit_t12.tar.gz"
    with tarfile.open(kit) as archive:
        archive.extractall(source, filter="data")
    kit.unlink()
    assert counts(prepare_imagenet(source, root)) == (16, 0)


def test_a_full_disk_ends_it_and_the_rest_follows(source, root, monkeypatch):
    done, replace = [], os.replace

    def five_then_full(*paths):
        done.append(paths)
        if len(done) > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", five_then_full)
        with pytest.raises(PrepareError, match=r"No space left on device; make room and run"):
            list(prepare_imagenet(source, root))
    assert not list(root.rglob("*.part"))
    assert counts(prepare_imagenet(source, root)) == (12, 4)


@pytest.mark.parametrize("name", [TRAIN, VALIDATION])
@pytest.mark.parametrize("share", [0, 0.3, 0.6])
def test_an_archive_that_is_cut_off(source, root, name, share):
    whole = (source / name).read_bytes()
    (source / name).write_bytes(whole[: int(len(whole) * share)])
    found = problems(prepare_imagenet(source, root))
    assert any(f"{source / name}" in problem and "again" in problem for problem in found)
    assert (root / UNFINISHED).exists(), "a part of the set does not pass for the whole"
    (source / name).write_bytes(whole)
    parts = list(prepare_imagenet(source, root))
    assert problems(parts) == []
    assert sum(counts(parts)) == 16
    assert not (root / UNFINISHED).exists()


def test_one_damaged_synset_does_not_stop_the_others(source, root):
    with tarfile.open(source / TRAIN, "a") as archive:
        add(archive, f"{WNIDS[5]}.tar", b"no archive" * 100)
    found = problems(prepare_imagenet(source, root))
    assert len(found) == 1
    assert f"{WNIDS[5]}.tar is damaged or cut off" in found[0]
    assert sum(name.endswith(".JPEG") for name in files(root)) == 16


def test_only_images_of_the_set_are_written(source, root, tmp_path):
    inner = {
        "../../../outside.JPEG": jpeg(1),
        "/absolute.JPEG": jpeg(2),
        "._a.JPEG": b"x",
        "notes.txt": b"x",
    }
    link = tarfile.TarInfo("link.JPEG")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(link)
        for name, data in inner.items():
            add(archive, name, data)
    with tarfile.open(source / TRAIN, "a") as archive:
        add(archive, f"folder/{WNIDS[5]}.tar", content.getvalue())
        add(archive, "n99999999.tar", packed({"a.JPEG": jpeg(3)}))
    with tarfile.open(source / VALIDATION, "a") as archive:
        add(archive, "ILSVRC2012_val_00000008.JPEG", jpeg(4))
        add(archive, "ILSVRC2012_val_00000000.JPEG", jpeg(4))
    parts = list(prepare_imagenet(source, root))
    notes = " ".join(note for part in parts for note in part.notes)
    for name in ("notes.txt", "n99999999.tar", "val_00000008.JPEG", "val_00000000.JPEG"):
        assert name in notes
    new = sorted(p.name for p in (root / "train" / WNIDS[5]).iterdir())
    assert new == ["absolute.JPEG", "outside.JPEG"]
    assert not list(tmp_path.rglob("n99999999"))
    assert sum(name.endswith(".JPEG") for name in files(tmp_path)) == 18


def test_validation_images_that_are_missing_are_a_problem(source, root):
    names = {f"ILSVRC2012_val_{k + 1:08d}.JPEG": jpeg(1000 + k) for k in range(5)}
    (source / VALIDATION).write_bytes(packed(names))
    (found,) = problems(prepare_imagenet(source, root))
    assert "holds 5 validation images, the development kit labels 7" in found


LINE = f"{NUMBERS[WNIDS[0]]}\n"
KITS = {
    "missing": (None, r"holds no ILSVRC2012_devkit_t12\.tar\.gz, without which"),
    "cut off": (lambda: devkit(LINE)[:900], r"is damaged \(\w+"),
    "no archive": (lambda: b"x", "is damaged"),
    "another archive": (lambda: packed({"a": b"x"}, "w:gz"), r"is damaged \(KeyError"),
    "no MATLAB": (lambda: devkit(LINE, b"x" * 300), "cannot be understood"),
    "fewer synsets": (lambda: devkit(LINE, meta(WNIDS[:999])), "lists 999 synsets .* 1000"),
    "no number": (lambda: devkit("one\n"), r"cannot be understood \(ValueError"),
    "a number above": (lambda: devkit(LINE + "1001\n"), "line 2 of .* has the number 1001"),
}


@pytest.mark.parametrize("kit", KITS)
def test_a_wrong_kit_is_refused_before_any_work(source, root, kit):
    make, words = KITS[kit]
    path = source / "ILSVRC2012_devkit_t12.tar.gz"
    path.unlink()
    if make is not None:
        path.write_bytes(make())
    with pytest.raises(DataSetError, match=words):
        prepare_imagenet(source, root)
    assert not root.exists()


def test_a_folder_without_archives(tmp_path, root):
    with pytest.raises(DataSetError, match=r"neither ILSVRC2012_img_train\.tar nor"):
        prepare_imagenet(tmp_path, root)


def test_progress_comes_to_the_end(source, root):
    parts = list(prepare_imagenet(source, root))
    done = [part.done_bytes for part in parts]
    assert done == sorted(done)
    total = sum(Path(source / name).stat().st_size for name in (TRAIN, VALIDATION))
    assert {part.total_bytes for part in parts} == {total}
    assert done[-1] > 0.5 * total
