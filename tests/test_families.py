"""``leadgrad table families``: ways at equal cost, and the table of a published network."""

import csv
import re
from pathlib import Path

import pytest

from leadgrad.attacks import APGD, FGSM, PixelLinf
from leadgrad.pipelines.cli import main
from leadgrad.pipelines.paper.families import GOALS, accuracy_ways, compute_ways
from leadgrad.pipelines.paper.ways import Victim, cell
from leadgrad.victims import FGM, Unled

ZOO = Path(__file__).parents[1] / "zoo"
NODE = {"class_path": "leadgrad.victims.MultiExit", "init_args": {"depth": 14}}


def test_iterated_ways_have_the_same_gradients():
    made = accuracy_ways(PixelLinf(1), evaluations=20, budget=100, slope=4.0)
    spent = {}
    for way in made:
        attack = way.attack
        if isinstance(attack, FGSM) or hasattr(attack, "budget"):
            continue
        a_step = 2 if way.method.looks_ahead or type(attack).__name__ == "Midpoint" else 1
        first = a_step if type(attack).__name__ == "APGD" else 0
        spent[way.name] = attack.schedule()[0] * a_step + first
    assert spent.pop("FGSM, half-way under FGM") == 2
    assert set(spent.values()) == {20}
    assert len(spent) == 8
    controls = [way.method for way in made if isinstance(way.method, Unled)]
    assert {each.method for each in controls} == {
        way.method for way in made if way.method.leads and "LGM" in way.name
    }


def test_compute_has_every_goal_and_each_loss_of_the_literature():
    some, exits = Victim("some", NODE), Victim("exits", NODE, exits=4)
    names = [way.name for way in compute_ways(some, PixelLinf(8), 50, 4.0)]
    assert len(names) == len(set(names)) == 2 * len(GOALS) + 3
    assert {name.split(" under ")[0] for name in names} == {*GOALS, "up, APGD"}
    more = [way.name for way in compute_ways(exits, PixelLinf(8), 50, 4.0)]
    assert set(more) - set(names) == {f"{goal} under DeepSloth's loss" for goal in GOALS}
    assert all(way.method.leads for way in compute_ways(exits, PixelLinf(8), 50, 4.0))
    ways = [*accuracy_ways(PixelLinf(1), 20, 100, 4.0), *compute_ways(exits, PixelLinf(8), 50, 4.0)]
    assert len({cell(exits, way).path for way in ways}) == len(ways)


@pytest.mark.parametrize(
    ("name", "fixed"),
    [("gumbel32", False), ("fbs32", True), ("multi_exit14_robust", False), ("resnet32", False)],
)
def test_compute_is_attacked_where_it_can_change(name, fixed):
    victim = Victim.published(str(ZOO / f"{name}.safetensors"))
    assert victim.fixed == fixed
    assert bool(compute_ways(victim, PixelLinf(8), 50, 4.0)) == (victim.gated and not fixed)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("families")
    line = (
        f"table families --victims [{ZOO}/digits_dynconv14.safetensors] --data leadgrad.data.Digits"
    )
    line += " --split test --limit 32 --eps_255 16 --compute_eps_255 16 --evaluations 4"
    line += " --compute_evaluations 6 --budget 12 --checks off --accelerator cpu"
    line += f" --out {folder}/out --publish {folder}/published/table"
    assert main(line.split()) == 0
    return folder


def test_the_table_has_every_way(table):
    text = (table / "out" / "table-families.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == 14
    left = {(row["attack"], row["method"]): float(row["robust %"]) for row in rows}
    assert len(set(left.values())) > 2, "attacks that differ"
    for row in rows:
        if row["method"] == "FGM":
            assert row["minus FGM, points"] == ""
        elif row["attack"] != "Standard":
            difference = float(row["minus FGM, points"].split()[0])
            own = left[row["attack"], row["method"]] - left[row["attack"], "FGM"]
            assert difference == pytest.approx(own, abs=0.02)


def test_the_page_has_compute_in_the_measures_of_the_literature(table):
    text = (table / "published" / "table.md").read_text()
    rows = [line.split(" | ") for line in text.splitlines() if " | up | " in line]
    assert [(row[2], row[3]) for row in rows] == [
        ("AnnealedPGD", "LGM"),
        ("AnnealedPGD", "ILFO's loss to 0.2"),
        ("AnnealedPGD", "ILFO's loss"),
        ("AnnealedPGD", "GradMDM's loss"),
        ("APGD", "LGM"),
    ]
    for row in rows:
        before, after = (float(each) for each in re.findall(r"[\d.]+", row[5]))
        assert float(row[7]) == pytest.approx(after, abs=0.05)
        assert float(row[6]) == pytest.approx(100 * (after - before) / (100 - before), abs=0.5)
    assert any(float(row[6]) > 0 for row in rows)
    html = (table / "published" / "table.html").read_text()
    assert all(word in html for word in ("Families", "Accuracy", "Compute"))


def test_attacks_on_compute_alone_are_a_table_too(tmp_path):
    """As where accuracy is finished already: frozen decisions would have no gradient of compute."""
    line = (
        f"table families --victims [{ZOO}/digits_dynconv14.safetensors] --data leadgrad.data.Digits"
        f" --split test --limit 4 --compute_evaluations 2 --checks off --accelerator cpu"
        f" --cells */up-under-lgm --out {tmp_path}"
    )
    assert main(line.split()) == 0
    assert [path.name for path in tmp_path.glob("cells/*/*")] == ["up-under-lgm"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("--victims []", "give --victims"),
        ("--victims [{zoo}/digits_dynconv14.safetensors] --evaluations 5", "even number"),
        ("--victims [{zoo}/resnet32.safetensors]", "decides nothing"),
        ("--victims [{zoo}/fbs32.safetensors,{zoo}/fbs32.safetensors]", "have fbs32 twice; give"),
    ],
)
def test_what_cannot_be_measured_is_refused(more, words, capsys):
    line = f"table families --data leadgrad.data.Digits {more.format(zoo=ZOO)}"
    assert main(line.split()) == 1
    assert words in capsys.readouterr().err


def test_attacks_on_compute_have_the_same_gradients():
    ways = compute_ways(Victim("exits", NODE, exits=4), PixelLinf(8), 50, 4.0)
    spent = {type(way.attack).__name__: set() for way in ways}
    for way in ways:
        first = 1 if isinstance(way.attack, APGD) else 0
        spent[type(way.attack).__name__].add(way.attack.schedule()[0] + first)
    assert spent == {"AnnealedPGD": {50}, "APGD": {50}}


def test_frozen_decisions_have_no_row_of_compute():
    ways = compute_ways(Victim("exits", NODE, exits=4), PixelLinf(8), 50, 4.0)
    assert FGM() not in [way.method for way in ways]
