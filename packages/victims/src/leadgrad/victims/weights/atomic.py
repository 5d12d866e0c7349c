"""Files that are whole or absent."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file so that whoever reads it finds all of it, or what was there before.

    A process that is killed may leave a file ``.NAME.*`` beside it, which nothing reads.

    Raises:
        OSError: If it cannot be written, naming the path and the bytes needed; nothing is left
            behind.
    """
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())  # mkstemp gives the owner alone access
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise OSError(
            error.errno,
            f"{error.strerror}: {len(data):,} bytes are needed for {path}; make room or give "
            "access, then start the same command again",
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
