"""``leadgrad table defences``: ways at equal cost, and the table of a small network of exits."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import yaml
from matplotlib.axes import Axes
from run_config import QUIET, arguments
from test_early_exit_pipeline import CONFIG, NETWORK

from leadgrad.attacks import PixelLinf
from leadgrad.pipelines.attack.task import Difference
from leadgrad.pipelines.cli import main
from leadgrad.pipelines.paper.defences import FROZEN, LED, UNLED, WORST, beside, ways
from leadgrad.pipelines.paper.defences_figure import gaps_figure
from leadgrad.pipelines.paper.defences_table import parser
from leadgrad.pipelines.paper.ways import Measured, Victim, Way, cell, states
from leadgrad.victims import FGM, STANDARD, FixedExits, MultiExit, Unled, save_weights

ZOO = Path(__file__).parents[1] / "zoo"
NODE = {"class_path": "leadgrad.victims.MultiExit", "init_args": {"depth": 14}}


def all_ways(**settings):
    victim = Victim("some", NODE, **settings)
    return victim, ways(victim, PixelLinf(8), evaluations=40, budget=100, slope=4.0)


def test_every_way_but_the_standard_has_the_same_gradients():
    _, made = all_ways(exits=4)
    spent = {}
    for way in made:
        attack = way.attack
        if hasattr(attack, "budget"):
            continue
        once = attack.schedule()[0]
        a_step = 2 if type(attack).__name__ == "Midpoint" else 1
        first = 1 if type(attack).__name__ == "APGD" else 0
        spent[way.name] = (once * a_step + first) * len(way.method.candidates())
    assert set(spent.values()) == {40}
    assert len(spent) == 9


def test_what_leads_nothing_leads_nothing():
    _, made = all_ways(exits=4)
    for way in made:
        if way.kind == "unled":
            assert not way.method.leads, way.name
    (led,) = (way for way in made if way.kind == LED)
    (unled,) = (way for way in made if isinstance(way.method, Unled))
    assert unled.method.method == led.method
    assert unled.attack == led.attack
    (frozen,) = (way for way in made if way.kind == FROZEN)
    (worst,) = (way for way in made if way.kind == WORST)
    assert not frozen.method.leads
    assert frozen.attack == worst.attack
    assert worst.method.candidates() == STANDARD


def test_networks_without_exits_or_gates_have_fewer_ways():
    _, gated = all_ways()
    assert not any(isinstance(each.method, FixedExits) for each in gated)
    assert {way.kind for way in gated} == {"unled", LED, FROZEN, WORST}
    _, static = all_ways(gated=False)
    assert all(way.method == FGM() for way in static)
    victim, made = all_ways(exits=4)
    assert len({cell(victim, way).path for way in made}) == len(made)


def test_states_of_the_code_are_counted_by_module():
    def run(**code):
        return Measured(None, None, {"code": code}, None)

    assert states([]) == []
    assert states([run(a="1"), run(a="1", b="1"), run(b="1", c="7")]) == []
    (said,) = states([run(a="1", b="1"), run(a="2"), run(a="3"), run(b="2")])
    assert "but 3;" in said


class Left:
    """An outcome of which only the number is known."""

    interval = (0.0, 100.0)
    interval_words = "0–100"

    def __init__(self, value):
        self.value = value

    def minus(self, other):
        return Difference(self.value - other.value, -1.0, 1.0, 0.5)


def test_victims_stand_beside_each_other():
    standard = Way("Standard", None, None, WORST)
    found = [
        Measured(Victim(name, NODE), standard, {}, Left(value))
        for name, value in (("a", 10.0), ("b", 25.0), ("c", 5.0))
    ]
    found.append(Measured(Victim("c", NODE), Way("other", None, None, LED), {}, Left(1.0)))
    differences = [line[2].split(" ")[0] for line in beside(found).lines]
    assert differences == ["", "+15.00", "-20.00"]
    assert beside(found[:1]).lines == []


def test_the_picture_shows_the_strongest_of_each_kind(monkeypatch):
    drawn = []
    monkeypatch.setattr(Axes, "errorbar", lambda *args, **named: drawn.append((args[1:], named)))
    given = [("a", UNLED, 30.0), ("a", UNLED, 20.0), ("b", UNLED, 40.0), ("b", LED, 10.0)]
    found = [
        Measured(Victim(name, NODE), Way("", None, None, kind), {}, Left(left))
        for name, kind, left in given
    ]
    gaps_figure(found)
    assert [values for (values, _), _ in drawn] == [[20.0, 40.0], [10.0], [], []]
    assert [[round(row) for row in rows] for (_, rows), _ in drawn] == [[0, 1], [1], [], []]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Of a network of exits that was trained for two epochs: folder and exit status."""
    folder = tmp_path_factory.mktemp("defences")
    config = yaml.safe_load(CONFIG.read_text())
    config["model"]["init_args"]["network"]["init_args"] = NETWORK
    config["trainer"] = {**QUIET, "max_epochs": 2, "log_every_n_steps": 10}
    assert main(arguments("fit", config, folder / "fit")) == 0
    target = folder / "exits.safetensors"
    assert main(["publish", str(folder / "fit"), str(target), "--device", "a test's CPU"]) == 0
    line = f"table defences --victims [{target}] --data leadgrad.data.Digits --limit 24"
    line += " --evaluations 12 --budget 20 --eps_255 6 --checks off --accelerator cpu"
    line += f" --out {folder}/out"
    line += f" --publish {folder}/published/table"
    assert main(line.split()) == 0
    return folder, line


def test_the_table_has_every_way_and_its_paired_difference(table):
    folder, _ = table
    text = (folder / "out" / "table-defences.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["attack"] for row in rows] == [
        "FGM, PGD",
        "FGM, APGD",
        "FGM, APGD, DLR",
        "FGM, gradients half-way",
        "last exit, APGD",
        "mean of exits, APGD",
        "each exit in turn, APGD",
        "LGM's values unled, APGD",
        "LGM, APGD",
        "Standard, decisions frozen",
        "Standard",
    ]
    left = {row["attack"]: float(row["robust %"]) for row in rows}
    for row in rows[:-3]:
        difference = float(row["LGM minus this, points"].split()[0])
        assert difference == pytest.approx(left["LGM, APGD"] - left[row["attack"]], abs=0.02)
    assert all(float(row["gradients"]) <= 20 for row in rows)
    text = (folder / "published" / "table.md").read_text()
    assert "leadgrad table defences" in text
    assert "state of the code" not in text
    assert "](table.png)" in text
    assert (folder / "published" / "table.png").read_bytes()[1:4] == b"PNG"
    line = next(each for each in text.splitlines() if each.startswith("| exits |"))
    gap = float(line.split("|")[10].split()[0])
    wanted = left["Standard"] - left["Standard, decisions frozen"]
    assert gap == pytest.approx(wanted, abs=0.02)
    assert "What leading is worth" in (folder / "published" / "table.html").read_text()
    runs = sorted((folder / "out" / "cells").rglob("results.json"))
    assert len(runs) == 11
    assert main(["verify", str(runs[0].parent)]) == 0


def test_finished_cells_are_not_run_again(table, capsys):
    folder, line = table
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("results.json")}
    assert main([*line.split(), "--cells", '["*/lgm*"]']) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("results.json")} == written
    assert main([*line.split(), "--cells", '["*/nothing"]']) == 1
    assert "--cells picks none of" in capsys.readouterr().err
    page = (folder / "out" / "table-defences.md").read_text()
    (folder / "out" / "table-defences.md").unlink()
    assert main([*line.split(), "--cells", "[]"]) == 0
    again = (folder / "out" / "table-defences.md").read_text()
    assert again.splitlines()[3:] == page.splitlines()[3:], "the page without an attack"
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("results.json")} == written


def test_nothing_to_attack_is_said(capsys):
    assert main(["table", "defences", "--data", "leadgrad.data.Digits", "--victims", "[]"]) == 1
    assert "give --victims, --rdi_net or both" in capsys.readouterr().err
    assert json.dumps(parser().get_defaults().evaluations) == "100"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Folder: an RDI-Net without a card, a good victim, a damaged one, a file."""
    folder = tmp_path_factory.mktemp("weights")
    save_weights(MultiExit(38, threshold=0.8, rest="last"), folder / "rdi.safetensors")
    for name in ("good", "bad"):
        for suffix in ("safetensors", "json"):
            shutil.copy(ZOO / f"digits_dynconv14.{suffix}", folder / f"{name}.{suffix}")
    (folder / "bad.safetensors").write_bytes((folder / "good.safetensors").read_bytes()[:9000])
    (folder / "file").touch()
    return folder


GOOD = "--victims [{0}/good.safetensors]"
RDI = "--rdi_net {0}/rdi.safetensors"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (f"{GOOD} --thresholds [0.2]", "thresholds are [0.2], but there is no RDI-Net to have"),
        (f"{RDI} --thresholds [5.0]", "threshold of entropy must lie between 0 and 2.30259"),
        (f"{RDI} --thresholds [0.8]", "have RDI-Net, 0.8 nats twice; give it once"),
        (f"{RDI} --thresholds [0.2,0.2]", "have RDI-Net, 0.2 nats twice; give it once"),
        ("--victims [{0}/good.safetensors,{0}/good.safetensors]", "would have good twice; give"),
        ("--victims [{0}/good.safetensors,{0}/bad.safetensors]", "bad.safetensors"),
        (f"--rdi_net {{0}}/good.safetensors {GOOD}", "good.safetensors"),
        (f"{GOOD} --publish {{0}}/file/x", "file/x cannot be written (File exists); give a path"),
        (f"{GOOD} --publish {{0}}/x.html", "/x.html' is no path without suffix; give one such as"),
        (f"{GOOD} --publish=", "'.' is no path without suffix; give one such as table"),
        (f"{GOOD} --processes 0", "processes must be at least 1, got 0"),
        (f"{GOOD} --processes -2", "processes must be at least 1, got -2"),
        (f"{GOOD} --evaluations 9", "evaluations must be at least 10 gradients, got 9"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_any_attack(
    weights, tmp_path, capsys, more, said
):
    line = f"table defences --data Digits --limit 4 --accelerator cpu --out {tmp_path}/out "
    assert main((line + more.format(weights)).split()) == 1
    message = capsys.readouterr().err.splitlines()
    assert message[-2].startswith("error: ")
    assert said in message[-2]
    assert not (tmp_path / "out" / "cells").exists()


def test_a_victim_of_other_classes_is_refused_before_the_one_before_it(weights, tmp_path, capsys):
    line = f"table defences {GOOD} {RDI} --data leadgrad.data.FakeCIFAR10 --data.num_classes 2"
    line = f"{line} --limit 4 --accelerator cpu --out {tmp_path}".format(weights)
    assert main(line.split()) == 1
    assert "10 logits, but FakeCIFAR10 has 2 classes" in capsys.readouterr().err
    assert not (tmp_path / "cells").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("--evaluations 14", "exits/fgm--pgd (other attack); "),
        ("--limit 12", "exits/fgm--pgd (other images); "),
        ("--slope 3", "exits/lgm--apgd (other method)"),
    ],
)
def test_cells_of_other_settings_never_stand_in_one_table(table, capsys, change, said):
    folder, line = table
    page = (folder / "out" / "table-defences.md").read_text()
    changed = [*line.split(), *change.split(), "--cells", "*/last-exit*"]
    assert main(changed) == 1
    assert said in capsys.readouterr().err
    assert (folder / "out" / "table-defences.md").read_text() == page
