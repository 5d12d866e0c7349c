"""What pages and terminals say of any run: its settings, costs and checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from leadgrad.pipelines.checks.verdicts import failed
from leadgrad.pipelines.runs.sources import own_modules

if TYPE_CHECKING:
    from leadgrad.pipelines.attack.task import Task

VERDICT_COLOURS = {"PASS": "green", "WARN": "yellow", "FAIL": "red", "SKIP": "dim"}


def short_class(value: Mapping[str, Any]) -> str:
    """A ``{class_path, init_args}`` mapping as it would be written in Python, defaults included."""
    name = str(value["class_path"]).rsplit(".", 1)[-1]
    arguments = []
    for key, item in value.get("init_args", {}).items():
        if item is not None:
            arguments.append(f"{key}={_short(item)}")
    return f"{name}({', '.join(arguments)})"


def _short(item: Any) -> str:
    """An argument; classes among it, and in lists, as ``short_class`` has them."""
    if isinstance(item, Mapping) and "class_path" in item:
        return short_class(item)
    if isinstance(item, list | tuple):
        return f"[{', '.join(map(_short, item))}]"
    return str(item)


def class_name(value: Mapping[str, Any]) -> str:
    """The bare class name of a ``{class_path, init_args}`` mapping."""
    return str(value["class_path"]).rsplit(".", 1)[-1]


def network_name(node: Mapping[str, Any]) -> str:
    """The class name of a network's ``{class_path, init_args}``, with its depth if it has one."""
    depth = node.get("init_args", {}).get("depth")
    return class_name(node) if depth is None else f"{class_name(node)}-{depth}"


def method_name(results: Mapping[str, Any]) -> str:
    """The gradient method's class; on a network that decides nothing, that it is FGM there."""
    name = class_name(results["method"])
    if results.get("gates", 1) or name == "FGM":
        return name
    return f"{name}, which is FGM on a network without gates"


def title(results: Mapping[str, Any]) -> str:
    """The attack, the victim and the method."""
    attack, victim = (class_name(results[part]) for part in ("attack", "victim"))
    return f"{attack} on {victim} under {method_name(results)}"


def cost_rows(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the attack took, as (name, value) rows; none in runs that did not count it."""
    if "cost" not in results:
        return []
    gradients, answers = (
        results["cost"][f"{name}_per_sample"] for name in ("gradients", "answers")
    )
    words = f"{gradients:.2f} gradients and {answers:.2f} answers of the victim per sample, counted"
    return [("cost", words)]


def noted_rows(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the attack noted of the samples, and how often; none of most attacks."""
    return [
        (name, ", ".join(f"{word}: {count:,}" for word, count in words.items()) or "none")
        for name, words in results.get("noted", {}).items()
    ]


def gradients(results: Mapping[str, Any]) -> str:
    """Gradients per sample that a run took, as text; – where they were not counted."""
    return f"{results['cost']['gradients_per_sample']:.2f}" if "cost" in results else "–"


def setting_rows(results: Mapping[str, Any], task: Task[Any]) -> list[tuple[str, str]]:
    """How the numbers were made, as (name, value) rows."""
    data = results["data"]
    return [
        ("victim", short_class(results["victim"])),
        ("gradient method", short_class(results["method"])),
        ("attack", short_class(results["attack"])),
        ("threat", task.threat_words(results["threat"])),
        ("data", f"{data['dataset']} {data['split']}, {data['count']:,} {task.inputs}"),
        ("surrogate precision", results["precision"]),
        *_code_row(results),
        ("attack time", f"{results['wall_s']:.1f} s, summed over batches and processes"),
        ("versions", ", ".join(f"{name} {value}" for name, value in results["versions"].items())),
        ("digest", results["digest"]),
    ]


def _code_row(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Modules outside installed packages that decide the numbers, with their digests."""
    code = results.get("code", {})
    own = own_modules(code)
    words = [f"{name} {digest}" for name, digest in own.items()]
    if ours := len(code) - len(own):
        words.append(f"{ours} modules of leadgrad")
    return [("code", ", ".join(words))] if words else []


def check_lines(results: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """One row per sanity check: number, name, value, threshold, samples, verdict."""
    return [
        (
            check["id"],
            check["name"],
            check["value"],
            check["threshold"],
            str(check["n"] or ""),
            check["verdict"],
        )
        for check in results["checks"]
    ]


def remedies(results: Mapping[str, Any]) -> list[str]:
    """What to do about each check that failed or warned."""
    return [f"{check['id']}: {check['remedy']}" for check in results["checks"] if check["remedy"]]


def print_run(results: Mapping[str, Any], task: Task[Any], report: Path, file: IO[str]) -> None:
    """Prints one run: the checks that did not pass, and below what was measured, to be read last.

    Args:
        results: Content of results.json.
        task: Its kind of data.
        report: Its page, which has all checks.
        file: Where to.
    """
    console = Console(file=file)
    if not console.is_terminal:
        console.width = 200  # a log has no edge
    for line in (*_doubts(results), _summary(results, report)):
        console.print(line, highlight=False, soft_wrap=True)
    table = Table(title=title(results), show_header=False)
    for row in (*setting_rows(results, task)[:6], *task.rows(results)):
        table.add_row(*map(escape, row))
    console.print(table)
    if bad := failed(results["checks"]):
        console.print(f"Not trustworthy: {', '.join(bad)} failed.", style="red")


def _doubts(results: Mapping[str, Any]) -> Iterator[Text]:
    """Each check that failed or warned, with its remedy."""
    for check in results["checks"]:
        if check["remedy"]:
            said = f" {check['id']} {check['name']}: {check['value']}; passes: {check['threshold']}"
            verdict = check["verdict"]
            yield Text.assemble((verdict, VERDICT_COLOURS[verdict]), said)
            yield Text(f"  remedy: {check['remedy']}")


def _summary(results: Mapping[str, Any], report: Path) -> Text:
    """How many checks passed."""
    level = results["checks_level"]
    if level == "off":
        return Text("Sanity checks were off (--checks fast|full).")
    count = Counter(check["verdict"] for check in results["checks"])
    skipped = count["SKIP"]
    passed = f"{count['PASS']} of {count.total() - skipped} pass"
    unmade = f", {skipped} not made" if skipped else ""
    return Text(f"{level} checks: {passed}{unmade}; {report} has all")
