"""Unpacks ILSVRC 2012's official archives into a folder per synset; resumable.

``ILSVRC2012_img_train.tar`` holds one archive per synset, ``ILSVRC2012_img_val.tar`` 50,000 images
whose synsets the development kit tells. Images are copied as they are, byte for byte.
"""

import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from leadgrad.data.contract import DataSetError
from leadgrad.data.imagenet import UNFINISHED
from leadgrad.data.imagenet_classes import FILE_NAME, write_class_file
from leadgrad.data.imagenet_devkit import Devkit, read_devkit
from leadgrad.data.scene_prepare import PrepareError
from leadgrad.data.strangers import is_stranger

TRAIN, VALIDATION = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
_VALIDATION_NAME = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG")
# Validation images of one step.
_STEP = 1000


@dataclass(frozen=True)
class Unpacked:
    """What became of a synset's archive, or of some validation images.

    Attributes:
        name: Of the part.
        written: Number of images written now.
        kept: Number of images kept from an earlier run.
        done_bytes: How far all archives are read.
        total_bytes: Length of all archives.
        problems: What is wrong with the archives.
        notes: What was left out.
    """

    name: str
    written: int
    kept: int
    done_bytes: int
    total_bytes: int
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def prepare_imagenet(source: str | Path, root: str | Path) -> Iterator[Unpacked]:
    """Unpack the archives that are there: training, validation or both.

    An image whose file has the right length is kept. Files appear under their names when they are
    complete. Until the end a file ``unfinished.txt`` lies in the folder, which `ImageNet` refuses;
    it stays if an archive is damaged. One run at a time may write to a folder.

    Args:
        source: Folder with the archives and the development kit.
        root: Folder for ``train``, ``val`` and ``classes.csv``; made if need be.

    Returns:
        What becomes of each part, as an iterator that does the work. Take all of them.

    Raises:
        DataSetError: There is no archive, or the kit is missing or damaged.
        PrepareError: While it works: a file cannot be written, as on a full disk.
    """
    source, root = Path(source), Path(root)
    archives = [path for path in (source / TRAIN, source / VALIDATION) if path.is_file()]
    if not archives:
        raise DataSetError(
            f"{source} holds neither {TRAIN} nor {VALIDATION}; give the folder of the official "
            "archives, not unpacked"
        )
    return _unpack(archives, read_devkit(source), root)


def _unpack(archives: list[Path], kit: Devkit, root: Path) -> Iterator[Unpacked]:
    mark = root / UNFINISHED
    _write(mark, b"leadgrad prepare imagenet has not come to its end; run it again\n", root)
    for left in root.glob(".*.part"):
        left.unlink()  # a run was killed while it wrote this
    total, before, damaged = sum(path.stat().st_size for path in archives), 0, False
    for archive in archives:
        work = _training if archive.name == TRAIN else _validation
        for part, position in work(archive, kit, root):
            damaged = damaged or bool(part.problems)
            yield Unpacked(
                part.name,
                part.written,
                part.kept,
                before + position,
                total,
                part.problems,
                part.notes,
            )
        before += archive.stat().st_size
    _write(root / FILE_NAME, write_class_file(kit.classes), root)
    if not damaged:
        os.sync()  # the images are not synchronised one by one, which would take hours
        mark.unlink()


@dataclass
class _Part:
    """A part while it is worked on."""

    name: str
    written: int = 0
    kept: int = 0
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _training(archive: Path, kit: Devkit, root: Path) -> Iterator[tuple[_Part, int]]:
    try:
        with tarfile.open(archive, "r:") as outer:
            for member in outer:
                name = PurePosixPath(member.name).name
                if is_stranger(Path(name)) or not member.isfile():
                    continue
                synset = name.removesuffix(".tar")
                part = _Part(synset)
                if synset == name or synset not in kit.classes.numbers:
                    part.notes = (f"{archive}: {name} is no class's archive and was left out",)
                else:
                    _unpack_synset(archive, outer, member, part, root)
                yield part, member.offset_data + member.size
    except PrepareError:
        raise
    except (OSError, EOFError, tarfile.TarError) as error:
        yield _Part("train", problems=(_damaged(archive, error),)), archive.stat().st_size


def _unpack_synset(
    archive: Path, outer: tarfile.TarFile, member: tarfile.TarInfo, part: _Part, root: Path
) -> None:
    where, folder = f"{archive}: {member.name}", f"train/{part.name}"
    try:
        with tarfile.open(fileobj=outer.extractfile(member), mode="r:") as inner:
            for image in inner:
                _copy(where, inner, image, folder if _is_image(image.name) else None, part, root)
    except (EOFError, tarfile.TarError) as error:
        part.problems = (_damaged(where, error),)
    if not part.written + part.kept and not part.problems:
        part.problems = (f"{where} holds no image; download the archive again",)


def _validation(archive: Path, kit: Devkit, root: Path) -> Iterator[tuple[_Part, int]]:
    part, position, count = _Part("validation"), 0, 0
    try:
        with tarfile.open(archive, "r:") as images:
            for image in images:
                numbered = _VALIDATION_NAME.fullmatch(PurePosixPath(image.name).name)
                known = numbered and 0 < int(numbered[1]) <= len(kit.validation)
                synset = kit.validation[int(numbered[1]) - 1] if numbered and known else None
                folder = None if synset is None else f"val/{synset}"
                _copy(str(archive), images, image, folder, part, root)
                position = image.offset_data + image.size
                if part.written + part.kept == _STEP:
                    count += _STEP
                    yield part, position
                    part = _Part("validation")
    except PrepareError:
        raise
    except (OSError, EOFError, tarfile.TarError) as error:
        part.problems = (_damaged(archive, error),)
    count += part.written + part.kept
    if count < len(kit.validation) and not part.problems:
        part.problems = (
            f"{archive} holds {count} validation images, the development kit labels "
            f"{len(kit.validation)}; download it again",
        )
    yield part, position


def _copy(
    where: str,
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    folder: str | None,
    part: _Part,
    root: Path,
) -> None:
    """Write a member into a folder of the set, unless it is there; None: it is no image of it."""
    # An archive may name what it likes: only the last part of it is used.
    name = PurePosixPath(member.name).name
    if not member.isfile() or is_stranger(Path(name)):
        return
    if folder is None:
        part.notes = (*part.notes, f"{where}: {name} is no image of the set and was left out")
        return
    path = root / folder / name
    if _has_length(path, member.size):
        part.kept += 1
        return
    file = archive.extractfile(member)
    assert file is not None  # it is a file
    _write(path, _whole(file, member), root)
    part.written += 1


def _whole(file: IO[bytes], member: tarfile.TarInfo) -> bytes:
    content = file.read()
    if len(content) != member.size:
        raise EOFError(f"{member.name} has {len(content)} of {member.size} bytes")
    return content


def _is_image(name: str) -> bool:
    return name.lower().endswith((".jpeg", ".jpg"))


def _has_length(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def _write(path: Path, content: bytes, root: Path) -> None:
    """Write a file that is never seen half-written."""
    # One name for all, so that what a killed run leaves is found without a walk.
    part = root / f".{os.getpid()}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(content)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise PrepareError(
            f"{path}: cannot be written ({len(content)} bytes needed): {error.strerror}; make room "
            "and run again to continue"
        ) from error


def _damaged(what: str | Path, error: Exception) -> str:
    return (
        f"{what} is damaged or cut off ({error or type(error).__name__}); download it again and "
        "run the same command, what is unpacked is kept"
    )
