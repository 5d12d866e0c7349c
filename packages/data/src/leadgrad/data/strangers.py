"""Which entries of a folder belong to a data set, and which a system or an editor left there."""

from pathlib import Path

# macOS writes what other file systems cannot hold into ``._*`` and ``__MACOSX``.
_STRANGERS = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "$recycle.bin", "@eadir"}
)
_BACKUPS = ("~", ".bak", ".orig", ".swp", ".swo", ".tmp")


def is_stranger(path: Path) -> bool:
    """Whether a file or folder is none of a data set's.

    That is what begins with a dot (``._*`` and ``.DS_Store`` of macOS, hidden files), what Windows
    and network drives put beside pictures (``Thumbs.db``, ``desktop.ini``), and the backups and
    locks of editors (``*~``, ``#*#``, ``~$*``, ``*.bak``, ``*.orig``, ``*.swp``, ``*.tmp``).

    Args:
        path: Its last part alone is looked at.
    """
    name = path.name.lower()
    return name.startswith((".", "#", "~$")) or name.endswith(_BACKUPS) or name in _STRANGERS


def own_entries(folder: Path, pattern: str = "*") -> list[Path]:
    """List what a folder holds of a data set; every reader that walks a folder asks this.

    Args:
        folder: The folder. One that does not exist holds nothing.
        pattern: As of `Path.glob`.

    Returns:
        The matching paths in the order of their names, without those that are, or lie in,
        something of `is_stranger`.
    """
    return sorted(
        path
        for path in folder.glob(pattern)
        if not any(is_stranger(Path(part)) for part in path.relative_to(folder).parts)
    )
