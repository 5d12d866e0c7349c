"""Each page in a real browser, narrow and wide: silent, no wider than the window, not empty."""

from pathlib import Path

import pytest
from browser import CHROMIUM, looked_at
from recorded_runs import results_of

ROOT = Path(__file__).parents[1]
WIDTHS = (400, 1280)  # px: a phone, a laptop

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


def hold(folder):
    """Every page of a folder is as it should be."""
    pages = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.html"))
    looks, console = looked_at(folder, pages, WIDTHS)
    assert console == []
    assert len(looks) == len(pages) * len(WIDTHS)
    assert [each for each in looks if each.wide > each.width] == []
    assert [each.page for each in looks if each.text < 20] == []
    return pages


@pytest.mark.skipif(not (ROOT / "site").exists(), reason="nox -s docs builds the site")
def test_the_site():
    assert "index.html" in hold(ROOT / "site")


def test_tables_of_results():
    assert "table1.html" in hold(ROOT / "docs" / "results")


def test_reports_of_images_and_of_scenes(tmp_path):
    for name in ("dynconv_pgd_lgm", "minkunet_noise"):
        (tmp_path / name).mkdir()
        results_of(name, tmp_path / name)
    assert len(hold(tmp_path)) == 2


def test_a_page_that_complains_or_is_wide_is_found(tmp_path):
    (tmp_path / "loud.html").write_text("<!doctype html><script>nothing.here()</script>")
    (tmp_path / "wide.html").write_text("<!doctype html><pre style='width: 900px'>a</pre>")
    looks, console = looked_at(tmp_path, ["loud.html", "wide.html"], (400,))
    assert any("nothing is not defined" in line for line in console)
    assert [each.wide > each.width for each in looks] == [False, True]
