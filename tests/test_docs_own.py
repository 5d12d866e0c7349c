"""What the pages for beginners and about one's own parts show runs as printed."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from leadgrad.pipelines.cli import main

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [DOCS / "start.md", *sorted((DOCS / "own").glob("*.md"))]


def blocks(page, language):
    """The code blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def write_files(page, folder):
    """Writes each file that a page shows, whose first line says its name; the modules' names."""
    names = []
    for text in blocks(page, "python"):
        named = re.match(r"# (\w+)\.py\n", text)
        assert named, f"a block of {page.name} does not begin with its file's name"
        (folder / f"{named[1]}.py").write_text(text)
        names.append(named[1])
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_runs_as_printed(page, tmp_path, monkeypatch, capsys):
    """In this process, as each start of the command takes seconds; the README's is a real one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "zoo").symlink_to(DOCS.parent / "zoo")
    names, ran = write_files(page, tmp_path), 0
    try:
        for line in "\n".join(blocks(page, "bash")).replace("\\\n", " ").splitlines():
            words = shlex.split(line)
            if words[:1] == ["leadgrad"]:
                assert main(words[1:]) == 0, line
                ran += 1
    finally:
        for each in names:
            sys.modules.pop(each, None)
    assert ran >= 3
    assert "Not trustworthy" not in capsys.readouterr().out


def test_every_subject_has_a_page():
    assert [page.stem for page in PAGES] == ["start", "attack", "data", "goal", "network"]
