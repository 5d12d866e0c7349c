"""Results on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from leadgrad.pipelines.checks import failed
from leadgrad.pipelines.sources import own_modules

VERDICT_COLOURS = {"PASS": "green", "WARN": "yellow", "FAIL": "red", "SKIP": "dim"}


def short_class(value: Mapping[str, Any]) -> str:
    """A ``{class_path, init_args}`` mapping as it would be written in Python, defaults included."""
    name = str(value["class_path"]).rsplit(".", 1)[-1]
    arguments = []
    for key, item in value.get("init_args", {}).items():
        if isinstance(item, Mapping) and "class_path" in item:
            item = short_class(item)
        if item is not None:
            arguments.append(f"{key}={item}")
    return f"{name}({', '.join(arguments)})"


def class_name(value: Mapping[str, Any]) -> str:
    """The bare class name of a ``{class_path, init_args}`` mapping."""
    return str(value["class_path"]).rsplit(".", 1)[-1]


def method_name(results: Mapping[str, Any]) -> str:
    """The gradient method's class; on a network that decides nothing, that it is FGM there."""
    name = class_name(results["method"])
    if results.get("gates", 1) or name == "FGM":
        return name
    return f"{name}, which is FGM on a network without gates"


def threat_words(threat: Mapping[str, Any]) -> str:
    """A pixel budget in words; any other threat model as it would be written in Python."""
    if class_name(threat) != "PixelLinf":
        return short_class(threat)
    arguments = threat["init_args"]
    return (
        f"L∞, ε = {arguments['eps_255']:g} units, convention {arguments['convention']}, "
        f"{100 * arguments['valid_ratio']:g} % valid pixels"
    )


def amount(value: float) -> str:
    """A mean per sample, with as many digits as tell 0.963 from 1."""
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3f}"


def with_interval(results: Mapping[str, Any], name: str) -> str:
    """A percentage with its 95 % interval."""
    low, high = results["intervals"][name]
    return f"{results[name]:.2f} % [{low:.2f}, {high:.2f}]"


def result_rows(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a reader wants first, as (name, value) rows for terminal and page alike."""
    counts = results["counts"]
    change = results["architecture_change"]
    used = change["countings"][change["paper_counting"]]
    units, macs = results["compute"]["executed_units"], results["compute"]["conditional_macs"]
    rows = [
        ("samples", f"{results['samples']:,}, of them {counts['eligible']:,} worth attacking"),
        ("clean accuracy", with_interval(results, "clean_accuracy")),
        ("adversarial accuracy", with_interval(results, "adversarial_accuracy")),
        ("robust accuracy", with_interval(results, "robust_accuracy")),
        ("attack success rate", with_interval(results, "attack_success_rate")),
        (
            "architecture change",
            f"{used['percent']:.2f} % [{used['low']:.2f}, {used['high']:.2f}] "
            f"({used['switched_on_percent']:.2f} on, {used['switched_off_percent']:.2f} off; "
            f"counting {change['paper_counting']})",
        ),
        (
            "executed units",
            f"{amount(units['clean'])} → {amount(units['adversarial'])} per sample",
        ),
    ]
    share = results["compute"].get("executed_share")
    if share is not None:
        words = f"{share['clean']:.2f} % → {share['adversarial']:.2f} % of what all units cost"
        rows.append(("executed share", words))
    rows += cost_rows(results)
    if results["precision_effect"] is not None:
        effect = results["precision_effect"]
        rows.append(
            (
                "bfloat16 alone",
                f"clean accuracy {effect['bfloat16_clean_accuracy']:.2f} %, "
                f"{effect['bfloat16_agreement']:.2f} % of answers as in float32",
            )
        )
    if macs["all_executed"] is not None:
        full = macs["all_executed"]
        of_all = [100 * macs[side] / full for side in ("clean", "adversarial")]
        rows.append(
            (
                "conditional MACs",
                f"{amount(macs['clean'] / 1e6)} M → {amount(macs['adversarial'] / 1e6)} M per "
                f"sample ({of_all[0]:.2f} % → {of_all[1]:.2f} % of all)",
            )
        )
    return rows


def cost_rows(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the attack took, as (name, value) rows; none in runs that did not count it."""
    if "cost" not in results:
        return []
    gradients, answers = (
        results["cost"][f"{name}_per_sample"] for name in ("gradients", "answers")
    )
    words = f"{gradients:.2f} gradients and {answers:.2f} answers of the victim per sample, counted"
    return [("cost", words)]


def setting_rows(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How the numbers were made, as (name, value) rows."""
    data = results["data"]
    return [
        ("victim", short_class(results["victim"])),
        ("gradient method", short_class(results["method"])),
        ("attack", short_class(results["attack"])),
        ("threat", threat_words(results["threat"])),
        ("data", f"{data['dataset']} {data['split']}, {data['count']:,} samples"),
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


def print_checks(results: Mapping[str, Any], file: IO[str]) -> None:
    """Prints the sanity checks of one run, or that there were none."""
    console = Console(file=file)
    if not console.is_terminal:
        console.width = 200  # a log has no edge: one line for each check
    if results["checks_level"] == "off":
        console.print("Sanity checks were off (--checks fast|full).")
        return
    table = Table(
        "check",
        "what",
        "value",
        "passes",
        "n",
        "verdict",
        title=f"{results['checks_level']} checks",
    )
    for *row, verdict in check_lines(results):
        cells = [escape(cell) for cell in row]
        table.add_row(*cells, f"[{VERDICT_COLOURS[verdict]}]{verdict}[/]")
    console.print(table)
    for line in remedies(results):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if bad := failed(results["checks"]):
        console.print(f"Not trustworthy: {', '.join(bad)} failed.", style="red")


def print_results(results: Mapping[str, Any], file: IO[str]) -> None:
    """Prints one run."""
    table = Table(
        title=f"{class_name(results['attack'])} on {class_name(results['victim'])} "
        f"under {method_name(results)}",
        show_header=False,
    )
    for row in (*setting_rows(results)[:6], *result_rows(results)):
        table.add_row(*row)
    Console(file=file).print(table)
