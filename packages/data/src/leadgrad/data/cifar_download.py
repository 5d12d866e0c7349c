"""Fetches an archive, resumes a cut-off download, and unpacks it so that no half folder is left."""

import hashlib
import os
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, TextIO, cast

# From the data set's page, which also states the digest.
OFFICIAL_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
OFFICIAL_MD5 = "c58f30108f718f92721af3b95e74349a"

_CHUNK_BYTES = 1 << 18
_TIMEOUT_S = 30.0
# A server that cuts the connection is asked again this often, each time for the missing rest.
_ATTEMPTS = 5


class DownloadError(RuntimeError):
    """The archive could not be fetched, or is not the expected one."""


def fetch_folder(url: str, root: Path, folder: str, *, md5: str) -> Path:
    """Download an archive and put one of its folders under `root`.

    The bytes go to ``<archive>.part``, which a later call continues. A new folder appears under
    its own name only when it is complete. Into a folder that exists only the files it lacks are
    moved, one by one; those it has are left alone.

    Args:
        url: Address of a gzipped tar archive, http or https.
        root: Folder to put it in; made if need be.
        folder: Name of the folder inside the archive.
        md5: Expected digest of the archive.

    Returns:
        The unpacked folder.

    Raises:
        DownloadError: The server cannot be reached, keeps cutting the download off, or sends an
            archive with another digest or without the folder.
        ValueError: The address is neither http nor https.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"url must start with http:// or https://, got {url!r}")
    root.mkdir(parents=True, exist_ok=True)
    part = root / (url.rsplit("/", 1)[-1] + ".part")
    _download(url, part)
    with part.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != md5:
        part.unlink()
        raise DownloadError(
            f"{url}: MD5 of the download is {found}, expected {md5}; it was deleted, try again"
        )
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=root) as scratch:
        try:
            with tarfile.open(part, "r:gz") as archive:
                archive.extractall(scratch, filter="data")
        except tarfile.TarError as error:
            raise DownloadError(f"{url}: the archive cannot be unpacked safely: {error}") from error
        unpacked = Path(scratch) / folder
        if not unpacked.is_dir():
            raise DownloadError(f"{url}: the archive has no folder {folder!r}")
        target = root / folder
        if target.exists():
            for entry in sorted(unpacked.iterdir()):
                if not (target / entry.name).exists():
                    os.replace(entry, target / entry.name)
        else:
            os.replace(unpacked, target)
    part.unlink()
    return target


def _download(url: str, part: Path) -> None:
    """Append to `part` until it is as long as the server says."""
    reason = "no answer"
    for _ in range(_ATTEMPTS):
        have = part.stat().st_size if part.exists() else 0
        request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
                total = _receive(response, part, have)
        except urllib.error.HTTPError as error:
            if error.code == 416:  # nothing after `have`: complete, or not this server's file
                if _is_complete(error, have):
                    return
                part.unlink(missing_ok=True)
                continue
            raise DownloadError(f"{url}: the server answers {error.code} {error.reason}") from None
        except (OSError, HTTPException) as error:
            reason = f"{type(error).__name__}: {error}"
            continue
        have = part.stat().st_size
        if total is None or have == total:
            return
        reason = f"cut off after {have} of {total} bytes"
    raise DownloadError(
        f"{url}: download failed after {_ATTEMPTS} attempts ({reason}); "
        f"run again to continue, or put the data there by hand"
    )


def _receive(response: HTTPResponse, part: Path, have: int) -> int | None:
    """Write one response to `part` and return the size of the whole file, if it is known."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    resumed = response.status == 206
    if not resumed:
        have = 0  # the server ignored the range and sends everything
    length = response.headers.get("Content-Length")
    total = None if length is None else have + int(length)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(file=cast(TextIO, _Terminal(sys.stdout)))
    with (
        Progress(*columns, console=console) as progress,
        part.open("ab" if resumed else "wb") as file,
    ):
        task = progress.add_task(part.name.removesuffix(".part"), total=total, completed=have)
        while chunk := response.read(_CHUNK_BYTES):
            try:
                file.write(chunk)
            except OSError as error:
                raise DownloadError(
                    f"{part}: cannot be written ({error}); make room and run again to continue"
                ) from error
            progress.advance(task, len(chunk))
    return total


class _Terminal:
    """A text stream that spells out what its encoding lacks, such as the dots of a cut-off word."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        encoding = self.stream.encoding or "utf-8"
        return self.stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def _is_complete(error: urllib.error.HTTPError, have: int) -> bool:
    return error.headers.get("Content-Range", "") == f"bytes */{have}"
