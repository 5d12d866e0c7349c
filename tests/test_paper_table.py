"""``leadgrad tune`` and ``leadgrad table 1`` on two tiny published victims."""

import csv
import json
import re
from pathlib import Path

import pytest
import torch
from run_config import SMALL, arguments, fit_config, node

from leadgrad.attacks import PixelLinf, Standard, TargetShift
from leadgrad.pipelines.api import node_of
from leadgrad.pipelines.attack.results import wilson
from leadgrad.pipelines.checks import TuningRecord
from leadgrad.pipelines.cli import main
from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.pipelines.paper.layout import OWN_STEP, TABLES, Row
from leadgrad.pipelines.paper.plan import Tuned
from leadgrad.pipelines.paper.render import failed_checks
from leadgrad.pipelines.paper.tuning import Grid, Tuning
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.pipelines.tasks.images.outcome import right_after
from leadgrad.pipelines.tasks.images.paired import mcnemar

RESULTS = Path(__file__).parents[1] / "docs" / "results"
DATA = node("leadgrad.data.FakeCIFAR10", train_size=32, eval_size=12, **SMALL)


def published(folder, name, module, network):
    config = fit_config(
        model=node(
            module,
            network=network,
            recipe=node("leadgrad.victims.training.recipe.SGDOneCycle"),
        )
    )
    assert main(arguments("fit", config, folder / name)) == 0
    target = folder / f"{name}.safetensors"
    assert main(["publish", str(folder / name), str(target), "--device", "CPU"]) == 0
    return str(target)


@pytest.fixture(scope="module")
def victims(tmp_path_factory):
    """Options that name two adaptive victims and their data."""
    folder = tmp_path_factory.mktemp("victims")
    skipnet = published(
        folder,
        "skip",
        "leadgrad.victims.training.skipnet.SkipNetClassifier",
        node("leadgrad.victims.SkipNet", depth=8, num_classes=2),
    )
    dynconv = published(
        folder,
        "dyn",
        "leadgrad.victims.training.dynconv.DynConvClassifier",
        node("leadgrad.victims.DynConv", depth=8, num_classes=2),
    )
    return [
        f"--victims={json.dumps({'SkipNet': skipnet, 'DynConv': dynconv})}",
        f"--data={json.dumps(DATA)}",
    ]


@pytest.fixture(scope="module")
def static(victims, tmp_path_factory):
    target = published(
        tmp_path_factory.mktemp("static"),
        "res",
        "leadgrad.victims.training.classifier.Classifier",
        node("leadgrad.victims.ResNet", depth=8, num_classes=2),
    )
    return [f"--static=[{target}]", "--accelerator=cpu", "--batch_size=6", "--checks=off"]


TUNE = ["--rows=[FGSM-8-100,IFGSM-8-20]", "--slopes=[0.1,5]"]


@pytest.fixture(scope="module")
def tuned(victims, tmp_path_factory):
    out = tmp_path_factory.mktemp("tune")
    assert main(["tune", *victims, *TUNE, "--step_sizes_255=[1,2]", f"--out={out}"]) == 0
    return out


def test_a_sweep_looks_at_validation_images_and_gives_both_methods_the_same_tries(tuned):
    tuning = Tuning.read(tuned / "tuning.json")
    assert tuning.data["split"] == "validation"
    tries = {(s.victim, s.row, s.method): len(s.tries) for s in tuning.sweeps}
    for victim in ("skip", "dyn"):
        assert tries[victim, "IFGSM-8-20", "FGM"] == tries[victim, "IFGSM-8-20", "LGM"] == 4
        assert tries[victim, "FGSM-8-100", "LGM"] == 2
        assert tries[victim, "FGSM-8-100", "FGM"] == 1, "FGSM's only step is the budget"
    assert (tuned / "tuning.png").stat().st_size > 1000


def test_a_sweep_goes_on_where_it_was(tuned, victims, capsys):
    record = tuned / "tuning.json"
    content = json.loads(record.read_bytes())
    whole = json.dumps(content)
    content["sweeps"][-1]["tries"].pop()
    record.write_text(json.dumps(content))
    assert main(["tune", *victims, *TUNE, "--step_sizes_255=[1,2]", f"--out={tuned}"]) == 0
    assert json.loads(record.read_bytes()) == json.loads(whole)


def test_a_record_of_other_images_is_not_mixed_with_these(tuned, victims, capsys):
    assert main(["tune", *victims, *TUNE, "--split=test", f"--out={tuned}"]) == 1
    assert "give another --out" in capsys.readouterr().err


@pytest.fixture(scope="module")
def table(victims, static, tuned, tmp_path_factory):
    out = tmp_path_factory.mktemp("table")
    options = [
        *("table", "1", *victims, *static, f"--out={out}", f"--tuning={tuned / 'tuning.json'}"),
        *("--rows=[FGSM-8-100,IFGSM-8-20]", "--ablations=[hard,constant,pair,mid,twice,masks]"),
    ]
    assert main(options) == 0
    return out, options


def test_every_cell_is_a_run_of_held_out_images(table):
    out, _ = table
    runs = [path.parent for path in out.rglob("results.json")]
    # per adaptive victim: FGSM 8 methods; I-FGSM 8, and 4 more masks of 2; static: 2
    assert len(runs) == 2 * (8 + 8 + 8) + 2
    for run in runs:
        results = RunDirectory(run).results()
        assert results["data"]["split"] == "heldout"
        assert results["threat"]["init_args"]["convention"] == "doubled"


def test_the_files_say_what_the_runs_say(table):
    out, _ = table
    with (out / "table1.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 50
    for line in lines:
        assert float(line["accuracy %"]) == pytest.approx(
            100 * int(line["right"]) / int(line["samples"]), abs=0.005
        )
    lgm = [line for line in lines if line["method"] == "LGM"]
    assert all(line["how λ was chosen"] == "best of 4 on 12 validation images" for line in lgm[2:])
    markdown = (out / "table1.md").read_text()
    assert all(line["accuracy %"] in markdown for line in lines)
    assert markdown.count("| 5 |") == 4, "five masks of two methods on two victims"
    page = (out / "table1.html").read_text()
    assert page.count("data:image/png;base64") == 3, "budget, beside FGM, slopes"
    assert "http" not in page.replace("http-equiv", ""), "self-contained"


def test_iterative_cells_take_the_tuned_steps_and_say_so(table, tuned):
    out, _ = table
    sweeps = {
        (sweep.victim, sweep.method): sweep.best().step_size_255
        for sweep in Tuning.read(tuned / "tuning.json").sweeps
        if sweep.row == "IFGSM-8-20"
    }
    for victim, name in (("SkipNet", "skip"), ("DynConv", "dyn")):
        runs = {
            path.parent.name.split("-")[0]: RunDirectory(path.parent).run()
            for path in (out / "cells" / victim / "IFGSM-8-20").rglob("results.json")
            if "default" not in path.parent.name
        }
        steps = {
            method: run["config"]["model"]["attack"]["init_args"]["step_size_255"]
            for method, run in runs.items()
        }
        assert steps["FGM"] == sweeps[name, "FGM"]
        assert steps["LGM"] == steps["LGMhard"] == sweeps[name, "LGM"]
        assert steps["constant0.5"] == 1
    markdown = (out / "table1.md").read_text()
    assert f"| SkipNet | FGM, step {sweeps['skip', 'FGM']:g} |" in markdown
    assert "- λ, and the steps of FGM and LGM where they are named, tuned on" in markdown


def test_check_c21_hears_how_a_step_of_fgm_was_tuned():
    record = TuningRecord("validation", "ab" * 32, {"FGM": 4, "LGM": 4})
    tuned = Tuned(0.5, "best of 4", lgm_step_255=2, fgm_step_255=1, record=record)
    assert tuned.fgm().tuning == tuned.lgm()[0].tuning == record
    slope_alone = Tuned(0.5, "best of 4", record=record)
    assert slope_alone.fgm().tuning is None
    assert slope_alone.lgm()[0].tuning == record


def test_the_pair_is_as_strong_as_both_and_stands_beside_the_default(table):
    out, _ = table

    def right(victim, method):
        return right_after(RunDirectory(out / "cells" / victim / "FGSM-8-100" / method))

    text = (out / "table1.md").read_text()
    for victim in ("SkipNet", "DynConv"):
        pair, led = right(victim, "FGMorconstant0.5"), right(victim, "LGM-default")
        assert torch.equal(pair, right(victim, "FGM") & right(victim, "constant0.5"))
        unled, leading = (f"{100 * float(each.double().mean()):.2f}" for each in (pair, led))
        line = next(
            line
            for line in text.splitlines()
            if f"FGSM ε 8 | {victim} | FGM or ô = 0.5 | {unled}" in line
        )
        assert line.split(" | ")[5] == leading
    assert "Failed checks" not in text, "these cells were run without"
    assert "What leading adds" in (out / "table1.html").read_text()


@pytest.mark.parametrize(("row", "single"), [("FGSM-8-100", 1), ("IFGSM-8-20", 10)])
def test_every_cell_says_how_many_gradients_it_took(table, row, single):
    out, _ = table

    def took(victim, method):
        folder = out / "cells" / victim / row
        # A tuned step, and the mask where it is the paper's, follow the method's name
        found = [
            path
            for path in folder.iterdir()
            if path.is_dir() and path.name.split("-step")[0] == method
        ]
        return RunDirectory(found[0]).results()["cost"]["gradients_per_sample"]

    for victim in ("SkipNet", "DynConv"):
        assert took(victim, "FGM") == single
        assert took(victim, "FGMhalf-way") == took(victim, "FGMtwicethesteps") == 2 * single
        assert single <= took(victim, "LGM-default") <= 2 * single
        assert single <= took(victim, "FGMorconstant0.5") <= 2 * single
    text = (out / "table1.md").read_text()
    assert f"|  | {2 * single:.2f} |" in text


def test_the_standard_stands_beside_any_row(victims, static, tmp_path):
    options = ["--rows=[FGSM-8-100]", "--ablations=[standard]", f"--out={tmp_path}"]
    cells = '--cells=["*/FGM","*/Standard100"]'
    assert main(["table", "1", *victims, *static, *options, cells]) == 0
    with (tmp_path / "table1.csv").open() as file:
        lines = {(line["victim"], line["method"]): line for line in csv.DictReader(file)}
    assert {method for _, method in lines} == {"FGM", "Standard 100"}
    assert len(lines) == 2 * 3, "of the static network too"
    for (victim, method), line in lines.items():
        assert int(line["right"]) <= int(lines[victim, "FGM"]["right"])
        assert float(line["gradients"]) <= (1 if method == "FGM" else 100)


def test_the_standard_has_the_goal_and_the_budget_of_its_row():
    made = Row("PGD", 4, 0.05, "dlr", target_shift=1).make("doubled", control="standard")
    assert made == Standard(PixelLinf(4, "doubled", 0.05), budget=100, goal=TargetShift(1))


def test_controls_are_what_they_are_called():
    fgsm, iterated = Row("FGSM", 8), Row("IFGSM", 8, 0.2)
    assert fgsm.control("mid", None) == ("Midpoint", {"steps": 1, "step_size_255": 8})
    assert fgsm.control("twice", None) == ("IFGSM", {"steps": 2, "step_size_255": 4})
    assert iterated.control("mid", 2.0) == ("Midpoint", {"steps": 10, "step_size_255": 2.0})
    assert iterated.control("twice", None) == ("IFGSM", {"steps": 20, "step_size_255": 1.0})
    with pytest.raises(ValueError, match="PGD-8-5 has no control 'mid'"):
        Row("PGD", 8, 0.05).control("mid", None)


def test_a_published_page_has_no_link_that_leads_nowhere(table, tmp_path):
    out, options = table
    assert main([*options, f"--publish={tmp_path / 'table1'}"]) == 0
    linked, page = ((folder / "table1.html").read_text() for folder in (out, tmp_path))
    targets = re.findall(r'href="([^"#]*)"', linked)
    assert targets
    assert all((out / target).is_file() for target in targets)
    assert "href=" not in page
    assert (tmp_path / "table1.md").read_text() == (out / "table1.md").read_text()
    pictures = re.findall(r"\]\((table1[-0-9]*\.png)\)", (out / "table1.md").read_text())
    assert pictures
    assert all((out / name).read_bytes() == (tmp_path / name).read_bytes() for name in pictures)


@pytest.mark.parametrize("page", sorted(RESULTS.glob("*.html")), ids=lambda page: page.name)
def test_committed_pages_have_no_link_that_leads_nowhere(page):
    targets = re.findall(r'href="([^"#]*)"', page.read_text())
    assert all((page.parent / target).is_file() for target in targets)


def test_finished_cells_are_not_run_again(table):
    out, options = table
    before = {path: path.stat().st_mtime_ns for path in out.rglob("results.json")}
    assert main(options) == 0
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("results.json")}


@pytest.mark.ddp
def test_a_cell_on_two_processes_is_the_same_run(table, victims, static, tmp_path):
    options = ["--cells=[DynConv/FGSM-8-100/FGM]", "--rows=[FGSM-8-100]", "--processes=2"]
    assert main(["table", "1", *victims, *static, *options, f"--out={tmp_path}"]) == 0
    cell = "cells/DynConv/FGSM-8-100/FGM"
    one, two = (RunDirectory(folder / cell).results() for folder in (table[0], tmp_path))
    assert two["digest"] == one["digest"]


def test_some_cells_leave_the_others_named_as_missing(victims, static, tmp_path):
    options = ["table", "1", *victims, *static, f"--out={tmp_path}", "--rows=FGSM-8-100"]
    assert main([*options, "--cells=DynConv/FGSM-8-100/FGM", "--limit=6"]) == 0
    text = (tmp_path / "table1.md").read_text()
    assert "Not run: SkipNet/FGSM-8-100/FGM" in text
    assert len(list(tmp_path.rglob("results.json"))) == 1


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--cells=[nothing/*]", "matches no cell"),
        ("--rows=[FGSM-3-100]", "has a row 'FGSM-3-100'"),
        ("--ablations=[soft]", "no ablation 'soft'"),
    ],
)
def test_what_there_is_not_is_named(victims, static, tmp_path, capsys, option, says):
    assert main(["table", "1", *victims, *static, f"--out={tmp_path}", option]) == 1
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--static=[{res},{res}]", "would have ResNet-8/FGSM-8-100/FGM twice; give it once"),
        ("--publish={folder}/file/x", "file/x cannot be written (File exists); give a path in a"),
        ("--processes=0", "processes must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_shown_is_refused_before_any_attack(
    victims, static, tmp_path, capsys, option, says
):
    (tmp_path / "file").touch()
    res = static[0].removeprefix("--static=[").removesuffix("]")
    options = [*victims, *static, f"--out={tmp_path}", "--rows=FGSM-8-100"]
    assert main(["table", "1", *options, option.format(res=res, folder=tmp_path)]) == 1
    assert says in capsys.readouterr().err.splitlines()[-2]
    assert not (tmp_path / "cells").exists()


def test_slopes_tuned_on_the_reported_images_are_refused(victims, static, tmp_path, capsys):
    tune = ["tune", *victims, "--split=heldout", "--rows=[FGSM-8-100]", "--slopes=[1]"]
    assert main([*tune, f"--out={tmp_path}"]) == 0
    options = ["table", "1", *victims, *static, f"--out={tmp_path}", "--rows=[FGSM-8-100]"]
    assert main([*options, f"--tuning={tmp_path / 'tuning.json'}"]) == 1
    assert "the very images" in capsys.readouterr().err


ROWS = dict.fromkeys(row for table in TABLES.values() for row in table.rows)


@pytest.mark.parametrize("row", ROWS, ids=Row.slug)
def test_a_rows_attack_is_the_same_when_a_run_is_built_again(row):
    made = row.make("doubled", step_size_255=None if row.attack in OWN_STEP else 0.5)
    assert node_of(instantiate(node_of(made))) == node_of(made)


def test_the_table_of_stronger_attacks(victims, static, tmp_path):
    row = "APGD-8-5-target1"  # DLR needs more than these victims' two classes
    options = ["table", "strong", *victims, *static, f"--out={tmp_path}", f"--rows=[{row}]"]
    assert main([*options, "--cells=[DynConv/*]", "--limit=6"]) == 0
    text = (tmp_path / "tablestrong.md").read_text()
    assert "APGD ε 8, 5 % pixels, targeted" in text


def test_table_2_on_other_data_has_the_papers_numbers_and_says_what_is_not_documented(
    victims, static, tmp_path
):
    options = ["table", "2", *victims, *static, "--limit=6", f"--out={tmp_path}"]
    rows = "--rows=[FGSM-16-100,IFGSM-16-0.5]"
    assert main([*options, rows, "--cells=[DynConv/*,ResNet-8/*]"]) == 0
    text = (tmp_path / "table2.md").read_text()
    assert text.startswith("# Table II: ImageNet; measured on FakeCIFAR10\n")
    assert "of FakeCIFAR10's validation split" in text
    for said in ("ImageNet's validation images", "is documented nowhere", "takes 10 (D2)"):
        assert said in text
    with (tmp_path / "table2.csv").open() as file:
        lines = {(line["attack"], line["method"]): line for line in csv.DictReader(file)}
    single, iterated = "FGSM ε 16", "I-FGSM ε 16, 0.5 % pixels"
    assert lines[single, "LGM"]["paper"] == "2.54"
    assert lines[single, "LGM"]["λ"] == "0.001"
    assert (iterated, "LGM") not in lines, "no λ is documented"
    assert lines[iterated, "LGM()"]["paper"] == "–"
    (path,) = tmp_path.glob("cells/DynConv/IFGSM-16-0.5/FGM")
    attack = instantiate(RunDirectory(path).run()["config"]["model"]["attack"])
    assert attack.schedule() == (20, 1)
    assert attack.threat.valid_ratio == 0.005


@pytest.mark.parametrize("number", ["1", "2"])
def test_a_column_that_the_paper_lacks_is_refused_at_once(number, victims, tmp_path, capsys):
    given, *more = victims
    options = [given.replace('"DynConv"', '"DinConv"'), *more, f"--out={tmp_path / 'out'}"]
    assert main(["table", number, *options]) == 1
    assert (
        "There is no victim column 'DinConv'; the nearest valid one is 'DynConv'; --victims takes "
        "SkipNet, DynConv\n" in capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()


def test_table_2_is_the_papers():
    table = TABLES["2"]
    assert [row.eps_255 for row in table.rows] == [1, 2, 4, 8, *[16] * 5]
    assert [row.valid_ratio for row in table.rows[5:]] == [1, 0.02, 0.01, 0.005]
    assert (table.accuracy("SkipNet"), table.accuracy("ResNet-101")) == (77.02, 77.31)
    for row in table.rows:
        for victim in ("SkipNet", "DynConv"):
            assert None not in (table.accuracy(victim, row, m) for m in ("FGM", "LGM"))
            assert (table.slope(row, victim) is None) == (row.attack == "IFGSM")
        assert table.accuracy("ResNet-101", row, "FGM") is not None


def test_an_unknown_table_is_answered_with_those_there_are(capsys):
    assert main(["table", "9"]) == 2
    assert "there is no table 9; give one of 1, 2" in capsys.readouterr().err


def test_a_victim_may_be_left_out(victims, static, tmp_path):
    options = ["table", "1", *victims, "--victims.SkipNet=null", *static, f"--out={tmp_path}"]
    assert main([*options, "--rows=[FGSM-8-100]", '--cells=["*/*/FGM"]', "--limit=6"]) == 0
    text = (tmp_path / "table1.md").read_text()
    assert "DynConv" in text
    assert "| SkipNet |" not in text
    assert len(list(tmp_path.rglob("results.json"))) == 2


def test_the_authors_slopes_cover_table_1():
    slopes = {
        (v, row): TABLES["1"].slope(row, v)
        for row in TABLES["1"].rows
        for v in ("SkipNet", "DynConv")
    }
    assert slopes["DynConv", Row("FGSM", 8)] == 0.0001
    assert slopes["SkipNet", Row("IFGSM", 8, 0.05)] == 5.0


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    # By hand: 2·(1 + 6)/2⁶, no discordant sample, 2·(1 + 10)/2¹⁰
    [(1, 5, 2 * 7 / 64), (0, 0, 1.0), (9, 1, 2 * 11 / 1024)],
)
def test_mcnemars_exact_test(only_first, only_second, p):
    first = torch.tensor([False] * only_first + [True] * only_second + [True] * 4)
    second = torch.tensor([True] * only_first + [False] * only_second + [True] * 4)
    paired = mcnemar(first, second)
    assert paired.p == pytest.approx(p)
    assert paired.points == pytest.approx(100 * (only_first - only_second) / len(first))
    assert paired.low <= paired.points <= paired.high
    assert paired.low < paired.high, "never certain"


def test_the_interval_is_bonett_and_prices():
    # By hand: (0 + 1)/202 - (4 + 1)/202 ± 1.96·√((6/202 - (4/202)²)/202)
    first = torch.tensor([True] * 200)
    second = torch.tensor([False] * 4 + [True] * 196)
    paired = mcnemar(first, second)
    assert paired.points == -2.0
    assert paired.low == pytest.approx(-4.341, abs=1e-3)
    assert paired.high == pytest.approx(0.381, abs=1e-3)
    assert paired.p == pytest.approx(0.125)


@pytest.mark.parametrize("trials", [3, 10, 250, 300, 500, 1000, 5000])
def test_wilsons_interval_begins_and_ends_exactly(trials):
    assert wilson(0, trials)[0] == 0.0
    assert wilson(trials, trials)[1] == 100.0
    assert wilson(0, trials)[1] == pytest.approx(100 - wilson(trials, trials)[0])


def test_fgm_gets_as_many_step_sizes_as_lgm_gets_tries():
    grid = Grid((0.1, 1.0, 10.0), (1.0, 2.0))
    row = Row("IFGSM", 8)
    points = grid.points(row, "FGM")
    assert len(points) == len(grid.points(row, "LGM")) == 6
    assert points[0] == (None, 0.5)
    assert points[-1] == (None, 4.0)


def test_a_cells_checks_know_how_its_slope_was_chosen(victims, static, tuned, tmp_path):
    options = [*victims, *static[:3], f"--tuning={tuned / 'tuning.json'}", f"--out={tmp_path}"]
    assert main(["table", "1", *options, "--rows=[IFGSM-8-20]", "--cells=[DynConv/*]"]) == 0
    (path,) = tmp_path.rglob("LGM-[0-9]*/results.json")
    checks = RunDirectory(path.parent).results()["checks"]
    (fair,) = (check for check in checks if check["id"] == "C21")
    assert fair["verdict"] == "PASS"
    assert "FGM 4, LGM 4" in fair["value"]


def test_failed_checks_head_the_table():
    def entry(*verdicts):
        checks = [{"id": id_, "verdict": verdict} for id_, verdict in verdicts]
        return {"checks": checks}

    sound = entry(("C7", "PASS"), ("C8", "WARN"))
    faulty = entry(("C8", "FAIL"), ("C8", "FAIL"), ("C9", "PASS"))
    assert failed_checks([sound]) == ""
    said = failed_checks([sound, faulty])
    assert said.startswith("Failed checks: C8 in 1 of 2 cells")


def test_outcomes_are_in_the_datas_order(table):
    out, _ = table
    run = RunDirectory(out / "cells" / "DynConv" / "FGSM-8-100" / "FGM")
    assert int(right_after(run).sum()) == run.results()["counts"]["both"]
