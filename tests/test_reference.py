"""What the code cites of docs/reference/ is there."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
# Headings of one file: docs/reference/scenes.md, "Voxels", "Candidates" and "Metrics"
CITED = re.compile(r'docs/reference/([\w-]+\.md)((?:(?:,| and|, and) "[^"]+")*)')
NO_ENTRY = {"D65"}  # the CIE's daylight


def git(*arguments):
    """What git prints, without a repository a skip."""
    ran = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if ran.returncode not in (0, 1):
        pytest.skip(f"no repository here: {ran.stderr.strip()}")
    return ran.stdout


@cache
def texts(*patterns):
    """Tracked files by name, as one line each, so that citations may run over several."""
    names = [name for name in git("ls-files", "-z", *patterns).split("\0") if name]
    files = {name: (ROOT / name).read_text() for name in names if (ROOT / name).is_file()}
    return {name: re.sub(r"\s*\n\s*(?:# )?", " ", text) for name, text in files.items()}


@cache
def headings(name):
    return re.findall(r"^#+ (.+)$", (REFERENCE / name).read_text(), flags=re.MULTILINE)


def test_every_cited_section_is_there():
    cited = {
        (name, file, heading)
        for name, text in texts("*.py", "*.yaml", "*.md").items()
        for file, listed in CITED.findall(text)
        for heading in re.findall('"([^"]+)"', listed) or [None]
    }
    assert len(cited) > 50, "the search finds citations at all"
    wrong = [
        (name, file, heading)
        for name, file, heading in sorted(cited, key=str)
        if not (REFERENCE / file).is_file() or (heading and heading not in headings(file))
    ]
    assert wrong == []


def test_every_cited_difference_is_there():
    table = (REFERENCE / "differences.md").read_text()
    entries = re.findall(r"^\| (D\d+) \|", table, flags=re.MULTILINE)
    assert entries == [f"D{number}" for number in range(1, len(entries) + 1)]
    cited = {
        entry
        for name, text in texts("*.py", "*.yaml", "docs/reference/*.md").items()
        for entry in re.findall(r"\bD\d+\b", text)
    }
    assert {"D4", "D13", "D14"} <= cited, "the search finds citations at all"
    assert cited - NO_ENTRY - set(entries) == set()


def test_every_cited_equation_is_there():
    method = (REFERENCE / "method.md").read_text()
    told = {
        int(number)
        for first, last in re.findall(r"[Ee]q\. (\d+)(?: (?:to|and) (\d+))?", method)
        for number in range(int(first), int(last or first) + 1)
    }
    cited = {
        int(number)
        for text in texts("packages/victims/*.py").values()
        for pair in re.findall(r"[Ee]q\. (\d+)(?: and (\d+))?", text)
        for number in pair
        if number
    }
    assert cited >= {2, 15, 31}, "the search finds citations at all"
    assert cited <= told


def test_nothing_cites_what_is_not_here():
    elsewhere = "|".join(("reference" + r"\s+page", "shared" + "/reference", r"\b[23]D" + " page"))
    assert git("grep", "-nIiP", elsewhere) == ""
