"""report.html: one self-contained page of a run, built from its files alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from leadgrad.pipelines.attack.task import Task
from leadgrad.pipelines.checks.verdicts import failed
from leadgrad.pipelines.report.words import check_lines, remedies, setting_rows, title
from leadgrad.pipelines.runs.directory import RunDirectory

pages = Environment(
    loader=PackageLoader("leadgrad.pipelines"), autoescape=True, undefined=StrictUndefined
)


def write_report(
    run: RunDirectory[Any], task: Task[Any], results: Mapping[str, Any], data: Any
) -> None:
    """Writes report.html.

    Args:
        run: Whose run.json and batches it shows.
        task: Its kind.
        results: Content of results.json, which need not be there yet.
        data: The attacked datamodule, for what only it knows.
    """
    template, own = task.page(run, results, data)
    page = pages.get_template(template).render(
        title=title(results),
        results=results,
        rows=task.rows(results),
        settings=setting_rows(results, task),
        checks=check_lines(results),
        remedies=remedies(results),
        failed=failed(results["checks"]),
        verdicts=Counter(sorted(check["verdict"] for check in results["checks"])),
        command=run.run()["command"],
        **own,
    )
    run.write("report.html", page.encode())
