"""Numbers of an attack on images as rows of tables, for the terminal and the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leadgrad.pipelines.report.words import class_name, cost_rows, noted_rows, short_class
from leadgrad.pipelines.tasks.images.slowdown import slowdown_rows


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


def success_rate(results: Mapping[str, Any]) -> str:
    """With its interval; a dash where no sample could be won."""
    if results["counts"]["eligible"] and results.get("winnable", True):
        return with_interval(results, "attack_success_rate")
    return "–"


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
        ("attack success rate", success_rate(results)),
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
    rows += slowdown_rows(results["compute"])
    rows += [*cost_rows(results), *noted_rows(results)]
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
