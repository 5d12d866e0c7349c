"""``leadgrad verify``: recomputes a run's numbers from its files alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from leadgrad.pipelines.api.verifying import Finding, verify
from leadgrad.pipelines.commands.arguments import verify_parser
from leadgrad.pipelines.runs.directory import RunDirectory


def _rows(findings: Sequence[Finding]) -> Iterator[tuple[str, str, str, str]]:
    for finding in findings:
        verdict = "[red]FAIL[/]" if finding.problems else "[green]PASS[/]"
        yield finding.check, finding.name, finding.value, verdict


def main(args: Sequence[str]) -> int:
    """Prints the checks' verdicts; 1 if any failed."""
    findings = verify(RunDirectory(verify_parser().parse_args(list(args)).run_dir))
    table = Table("check", "what", "value", "verdict", title="leadgrad verify")
    for row in _rows(findings):
        table.add_row(*row)
    console = Console()
    console.print(table)
    failed = [finding for finding in findings if finding.problems]
    for finding in failed:
        for problem in finding.problems[:5]:
            console.print(f"{finding.check}: {problem}", style="red", markup=False, soft_wrap=True)
        if len(finding.problems) > 5:
            console.print(f"{finding.check}: and {len(finding.problems) - 5} more")
    return 1 if failed else 0
