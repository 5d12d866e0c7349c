"""What a check of a data folder found, whatever the data set."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FolderReport:
    """Everything that is wrong with a folder, or remarkable about it.

    Attributes:
        problems: One line per fault; any of them makes the folder unfit for use.
        notes: One line per oddity that does no harm by itself.
    """

    problems: tuple[str, ...]
    notes: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("problems", "notes"):
            object.__setattr__(self, name, tuple(one_line(line) for line in getattr(self, name)))


def one_line(text: object) -> str:
    """Return a message as one line of UTF-8; bytes of a path that are none are spelt out.

    Args:
        text: A message or an error.
    """
    lines = str(text).encode("utf-8", "backslashreplace").decode().splitlines()
    return " ".join(line.strip() for line in lines)
