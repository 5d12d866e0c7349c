"""Accuracy at every budget, of an attack that notes the least one that is enough for each image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leadgrad.attacks.nearest import LEAST
from leadgrad.pipelines.attack.results import wilson
from leadgrad.pipelines.report.curves import Point, curves_figure
from leadgrad.pipelines.report.pictures import data_uri


def budget_curve(results: Mapping[str, Any]) -> list[Point]:
    """Images worth attacking that resist each budget, in percent of all; none of other attacks.

    Under ``Untargeted`` that is the accuracy. Budgets are those that were tried, from 0.

    Args:
        results: Content of results.json.
    """
    found = results.get("noted", {}).get(LEAST)
    if found is None:
        return []
    settings, samples = results["attack"]["init_args"], results["samples"]
    least = {float(budget): count for budget, count in found.items()}
    ends = sorted({0.0, *least, float(settings["threat"]["init_args"]["eps_255"])})
    left, points = results["counts"]["eligible"], []
    for eps_255 in ends:
        left -= least.get(eps_255, 0)
        points.append(Point(eps_255, 100 * left / samples, *wilson(left, samples)))
    return points


def budget_chart(results: Mapping[str, Any]) -> str | None:
    """The same as a picture, a data URI; None where there is no curve."""
    points = budget_curve(results)
    if not points:
        return None
    curves = {"found so far": points}
    return data_uri(curves_figure({"": curves}, budget="ε of 255", value="images that resist"))
