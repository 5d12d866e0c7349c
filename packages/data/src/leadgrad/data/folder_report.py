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
