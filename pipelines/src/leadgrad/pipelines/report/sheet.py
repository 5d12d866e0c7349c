"""A table of measurements, of any kind of data: on the terminal, as Markdown, CSV and a page."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from markupsafe import Markup, escape
from rich.console import Console
from rich.table import Table

from leadgrad.pipelines.report.pages import pages
from leadgrad.pipelines.report.pictures import data_uri
from leadgrad.victims.weights.atomic import write_atomically

TEXT_COLUMNS = frozenset(
    {"attack", "victim", "method", "weights", "cost", "control", "class", "compared with"}
)
SUFFIXES = (".md", ".csv", ".html", ".png", ".json")
"""Of the files that a sheet, or a board, is written to."""
_CODE = re.compile(r"`([^`]*)`")


@dataclass(frozen=True)
class Block:
    """Some rows under one header.

    Args:
        header: Column titles.
        lines: Rows of text.
        title: Above it on the page.
        note: Sentences above it.
        linked: Column whose numbers lead to their runs.
        links: Of each row, the run's report; empty without links.
        hints: Of each row, shown where the mouse rests on it; or empty.
        more: Titles of further columns that the CSV file has.
        more_lines: Their values.
    """

    header: Sequence[str]
    lines: Sequence[Sequence[str]]
    title: str = ""
    note: str = ""
    linked: str = ""
    links: Sequence[str] = ()
    hints: Sequence[str] = ()
    more: Sequence[str] = ()
    more_lines: Sequence[Sequence[object]] = ()

    def markdown(self) -> list[str]:
        """Lines of a Markdown table, after its title and note."""
        rows = [self.header, ["---"] * len(self.header), *self.lines]
        table = ["| " + " | ".join(row) + " |" for row in rows]
        above = [f"## {self.title}", ""] if self.title else []
        return [*above, *([self.note, ""] if self.note else []), *table]


@dataclass(frozen=True)
class Sheet:
    """What has been measured, and what is said above and below.

    Args:
        title: Of it all.
        facts: Sentences on data, settings and command; `code` in backticks.
        main: The measurements.
        before: Blocks above them.
        after: Blocks below.
        figures: Caption and PNG of each plot.
        missing: Keys of the cells that have not been run.
        warning: What makes the numbers doubtful; empty if nothing does.
    """

    title: str
    facts: Sequence[str]
    main: Block
    before: Sequence[Block] = ()
    after: Sequence[Block] = ()
    figures: Sequence[tuple[str, bytes]] = ()
    missing: Sequence[str] = ()
    warning: str = ""

    @property
    def blocks(self) -> list[Block]:
        """All that have rows, in order."""
        return [block for block in (*self.before, self.main, *self.after) if block.lines]

    def pictures(self, name: str) -> list[tuple[str, str, bytes]]:
        """File name, caption and PNG of each plot: NAME.png, NAME-2.png and so on."""
        return [
            (f"{name}-{number}.png" if number > 1 else f"{name}.png", caption, data)
            for number, (caption, data) in enumerate(self.figures, 1)
        ]

    def markdown(self, name: str) -> str:
        """The table for a repository page, which shows the pictures of this name."""
        said = [*self.facts, *([self.warning] if self.warning else [])]
        parts = [f"# {self.title}", "", *(f"- {fact}" for fact in said)]
        for block in self.blocks:
            parts += ["", *block.markdown()]
        for file, caption, _ in self.pictures(name):
            parts += ["", f"![{caption}]({file})"]
        if self.missing:
            parts += ["", f"Not run: {', '.join(self.missing)}."]
        return "\n".join(parts) + "\n"

    def csv(self) -> str:
        """One line per measurement."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow([*self.main.header, *self.main.more])
        more = self.main.more_lines or [()] * len(self.main.lines)
        for line, further in zip(self.main.lines, more, strict=True):
            writer.writerow([*line, *further])
        return buffer.getvalue()

    def html(self, *, linked: bool = True) -> str:
        """A self-contained page with the plots.

        Args:
            linked: Whether numbers link to their runs' reports, below the page's folder.
        """
        return pages.get_template("table.html.j2").render(
            title=self.title,
            facts=[marked(fact) for fact in self.facts],
            warning=self.warning,
            blocks=[(block, marked(block.note)) for block in self.blocks],
            linked=linked,
            missing=self.missing,
            figures=[(caption, data_uri(data)) for caption, data in self.figures],
            text_columns=TEXT_COLUMNS,
        )

    def write(self, directory: Path, name: str, *, linked: bool = True) -> None:
        """Writes NAME.md, .csv and .html, and the pictures.

        Args:
            directory: Where to.
            name: Of the files.
            linked: Whether the page links to its runs, which then have to lie beside it.
        """
        directory.mkdir(parents=True, exist_ok=True)
        page = self.html(linked=linked)
        for file, _, data in self.pictures(name):
            write_atomically(directory / file, data)
        for suffix, text in (("md", self.markdown(name)), ("csv", self.csv()), ("html", page)):
            write_atomically(directory / f"{name}.{suffix}", text.encode())

    def present(
        self, directory: Path, name: str, console: Console, *, publish: str | None = None
    ) -> None:
        """Writes it beside its runs, prints it, and says where the page is.

        Args:
            directory: Of the runs.
            name: Of the files.
            console: Where to print.
            publish: Path without suffix, to write it to once more, without links to its runs.
        """
        self.write(directory, name)
        if publish is not None:
            target = Path(publish)
            self.write(target.parent, target.name, linked=False)
        self.show(console)
        console.print(f"page: {directory / f'{name}.html'}")

    def show(self, console: Console) -> None:
        """Prints the table."""
        if not console.is_terminal:
            console.width = 200  # a log has no edge
        for number, block in enumerate(self.blocks):
            table = Table(title=block.title or (self.title if not number else None))
            for name in block.header:
                table.add_column(name, justify="left" if name in TEXT_COLUMNS else "right")
            for line in block.lines:
                table.add_row(*line)
            console.print(table)


def require_target(target: Path) -> None:
    """Refuses, before any work, a path that its sheet could not be written to; makes its folder.

    Args:
        target: Path without suffix.

    Raises:
        ValueError: If it has a suffix of a sheet's files, or nothing can be written there.
    """
    if not target.name or target.suffix in SUFFIXES:
        meant = target.parent / (target.stem or "table")
        raise ValueError(f"{str(target)!r} is no path without suffix; give one such as {meant}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise ValueError(
            f"{target} cannot be written ({error.strerror}); give a path in a folder that can be "
            "made and written to"
        ) from error


def marked(fact: str) -> Markup:
    """A sentence for a page, `code` in backticks set as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(fact))))
