"""``leadgrad table 3 | 4 | 6 | 7`` on a small voxel network and made-up rooms."""

import csv
import json

import pytest
import torch
from run_config import node
from scene_config import published_voxel_network

from leadgrad.pipelines.cli import main
from leadgrad.pipelines.paper.printed import printed
from leadgrad.pipelines.paper.scene_cells import SceneCell
from leadgrad.pipelines.paper.scene_layout import (
    CONTROL,
    CORNERS,
    DEFAULT,
    FGM,
    LGM,
    SETTINGS,
    SURFACE,
    TABLES,
    paper_classes,
)
from leadgrad.pipelines.paper.scene_table import class_block
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.pipelines.runs.zoo import Card
from leadgrad.pipelines.tasks.scenes import outcome
from leadgrad.pipelines.tasks.scenes.outcome import DRAWS, Measured
from leadgrad.pipelines.tasks.scenes.scores import mean_class_iou

DATA = node("leadgrad.data.SyntheticRooms", points=1500, test_rooms=3)


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    return published_voxel_network(tmp_path_factory.mktemp("zoo"))


@pytest.fixture(scope="module")
def table(card, tmp_path_factory):
    out = tmp_path_factory.mktemp("tables")
    options = [
        *(f"--victim={card}", f"--data={json.dumps(DATA)}", "--limit=3", "--steps=3"),
        *("--accelerator=cpu", f"--out={out}"),
    ]
    methods = '--methods=["Random","FGM","FGM, LGM\'s settings","LGM"]'
    assert main(["table", "3", *options, "--budgets=[0.5]", methods]) == 0
    return out, options


def lines_of(out, name):
    with (out / f"table{name}.csv").open() as file:
        return list(csv.DictReader(file))


def test_table_3_says_what_the_runs_say(table):
    out, _ = table
    lines = lines_of(out, "3")
    methods = ["before attack", "Random", "FGM", CONTROL, LGM]
    assert [line["method"] for line in lines] == methods
    cells = out / "cells/small/eps-0.5-voxels"
    for method, name in {"FGM": "FGM-3steps", LGM: "LGM-3steps", "Random": "Random-3steps"}.items():
        results = RunDirectory(cells / name).results()
        (line,) = [line for line in lines if line["method"] == method]
        assert float(line["mIoU %"]) == pytest.approx(results["adversarial_miou"], abs=0.005)
        assert results["threat"]["init_args"]["eps_m"] == pytest.approx(0.15)
    paper = {line["method"]: line["paper"] for line in lines}
    assert paper == {
        "before attack": "72.22",
        "Random": "70.07",
        FGM: "55.51",
        CONTROL: "–",
        LGM: "11.51",
    }
    assert lines[-1]["minus FGM, points"].count(",") == 1
    page = (out / "table3.html").read_text()
    assert page.count("data:image/png;base64,") == 1
    assert "| FGM, LGM's settings |" in (out / "table3.md").read_text()


def test_settings_reach_the_attack(table):
    out, _ = table
    cells = out / "cells/small/eps-0.5-voxels"
    attack = {
        name: RunDirectory(cells / f"{name}-3steps").results()
        for name in ("FGM", "LGM", "FGM-LGMs-settings")
    }
    slopes = {
        name: results["method"]["init_args"]["input"]["init_args"]["slope"]
        for name, results in attack.items()
    }
    assert slopes == {"FGM": 20, "LGM": 10, "FGM-LGMs-settings": 10}
    assert attack["LGM"]["attack"]["init_args"]["step_size_m"] == pytest.approx(0.15)
    assert attack["FGM"]["candidate_ratio"] == 1 < attack["LGM"]["candidate_ratio"]


def test_table_6_takes_the_runs_of_table_3(table):
    out, options = table
    before = {path: path.stat().st_mtime_ns for path in out.rglob("results.json")}
    assert main(["table", "6", *options]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("results.json")}
    lines = lines_of(out, "6")
    results = RunDirectory(out / "cells/small/eps-0.5-voxels/LGM-3steps").results()
    wall = next(line for line in lines if line["class"] == "wall")
    assert float(wall["LGM %"]) == pytest.approx(results["class_iou"]["adversarial"][0], abs=0.05)
    assert len(lines) == sum(iou is not None for iou in results["class_iou"]["clean"])
    assert wall["paper"] == paper_classes("LGM")[0], "the rooms have ScanNet's classes"
    assert "classes of ScanNet; measured on SyntheticRooms" in (out / "table6.md").read_text()


class Other(RunDirectory):
    """A run on data with other classes."""

    def run(self):
        return {**super().run(), "classes": [f"thing {number}" for number in range(20)]}


def test_the_papers_classes_stand_beside_no_others(table):
    out, _ = table
    card = Card.read(table[1][0].removeprefix("--victim="))
    cell = SceneCell(card, "voxels", 0.1, TABLES["6"].row(0.5), "LGM", 3)
    found = class_block([(cell, Other(out / "cells/small/eps-0.5-voxels/LGM-3steps"))])
    assert {line[2] for line in found.lines} == {line[4] for line in found.lines} == {"–"}


def test_table_7_has_the_relation_functions(table):
    out, options = table
    assert main(["table", "7", *options, "--budgets=[0.5]"]) == 0
    found = {line["method"]: line["paper"] for line in lines_of(out, "7")}
    assert found == {
        "before attack": "72.22",
        "LGM, BI": "60.21",
        "LGM, RBF": "16.62",
        "LGM": "11.51",
    }
    run = RunDirectory(out / "cells/small/eps-0.5-voxels/LGM-RBF-3steps").results()
    assert run["method"]["init_args"]["surrogate"]["class_path"].endswith("RBF")


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--budgets=[0.3]", "has settings for budgets of 0.25, 0.5, 1, 2.5 voxels, got 0.3"),
        ("--methods=[PGD]", "there is no method 'PGD'"),
        ("--victim=nothing.safetensors", "no card of a published victim"),
        ("--methods=[FGM,FGM]", "/FGM-3steps twice; give it once"),
        ("--budgets=[0.5,0.5]", "twice; give it once"),
    ],
)
def test_what_there_is_not_is_named(table, capsys, option, says):
    _, options = table
    assert main(["table", "3", *options, option]) == 1
    assert says in capsys.readouterr().err


def test_the_papers_tables_are_whole():
    assert len(printed()) == 304
    for name, table in TABLES.items():
        for row in SETTINGS[table.settings]:
            for method in set(table.methods) - {CONTROL, CORNERS, SURFACE, DEFAULT}:
                assert table.paper(method, row.eps) is not None, name
            assert table.paper(CONTROL, row.eps) is None
    # Its last column, the mean, as far as one decimal of each class tells
    for method, mean in ((LGM, 11.5), (FGM, 55.5), (None, 72.2)):
        values = [float(value) for value in paper_classes(method)]
        assert len(values) == 20
        assert sum(values) / 20 == pytest.approx(mean, abs=0.1)


def test_every_setting_makes_an_attack():
    for table in TABLES.values():
        for row in SETTINGS[table.settings]:
            for method in table.methods:
                cell = SceneCell(None, table.unit, 0.02, row, method)
                assert cell.attack().threat.eps_m == pytest.approx(row.eps * 0.02)
                assert cell.gradient().leads == method.startswith("LGM")


def test_intervals_are_a_bootstrap_over_scenes():
    generator = torch.Generator().manual_seed(1)
    counts = torch.randint(0, 50, (5, 3, 3), generator=generator)
    own = Measured.of(counts)
    assert own.value == pytest.approx(mean_class_iou(counts.sum(0)))
    picks = torch.randint(0, 5, (DRAWS, 5), generator=torch.Generator().manual_seed(0))
    slow = [mean_class_iou(counts[pick].sum(0)) for pick in picks[:50]]
    torch.testing.assert_close(own.draws[:50], torch.tensor(slow, dtype=torch.float64))
    low, high = own.interval
    assert low < own.value < high
    assert own.minus(own) == (0, 0, 0, 1)
    worse = Measured.of(counts - torch.diag_embed(counts.diagonal(dim1=1, dim2=2) // 2))
    difference, low, high, p = worse.minus(own)
    assert low <= difference <= high < 0
    # Worse in each of five scenes: of 2⁵ ways to swap, the one that was seen and its opposite
    assert p == pytest.approx(2 / 32)
    few = Measured.of(counts[:2])
    assert (few.interval_words, few.minus(few).p) == ("–", None)


def test_a_level_of_checks_that_there_is_not_is_refused(table, capsys):
    with pytest.raises(SystemExit):
        main(["table", "3", *table[1], "--checks=ful"])
    assert "ful is none of off, fast, full" in capsys.readouterr().err


def test_scenes_without_a_label_tell_nothing():
    nothing = Measured.of(torch.zeros(5, 4, 4, dtype=torch.int64))
    assert nothing.minus(nothing).p is None


def test_tables_of_different_settings_have_different_directories():
    assert TABLES["3"].out == TABLES["6"].out == TABLES["7"].out
    assert len({TABLES[name].out for name in "345"}) == 3


def test_random_swaps_tell_what_all_swaps_tell(monkeypatch):
    generator = torch.Generator().manual_seed(2)
    one, other = torch.randint(0, 50, (2, 9, 3, 3), generator=generator)
    exact = Measured.of(one).minus(Measured.of(other)).p
    monkeypatch.setattr(outcome, "SWAPS", 500)
    assert Measured.of(one).minus(Measured.of(other)).p == pytest.approx(exact, abs=0.08)
