"""``leadgrad sweep``: attacks, budgets and methods on images and on scenes, compared."""

import csv
import json

import pytest
from rich.console import Console
from run_config import attack_config, node, threat
from scene_config import published_voxel_network, scene_config

from leadgrad.attacks import IFGSM, PixelLinf
from leadgrad.pipelines.api import node_of
from leadgrad.pipelines.api.cells import Campaign, Cell
from leadgrad.pipelines.api.sweeping import cells, file_name
from leadgrad.pipelines.cli import main
from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.victims import FGM, LGM

BASE = node("leadgrad.attacks.FGSM", threat=threat(eps_255=2))


def rows(run_dir):
    with (run_dir / "sweep.csv").open() as file:
        return list(csv.DictReader(file))


def sweep(config, run_dir, *options):
    run_dir.mkdir(exist_ok=True)
    file = run_dir / "mine.json"
    file.write_text(json.dumps(config))
    args = ["sweep", "--config", str(file), "--run_dir", str(run_dir), "--checks=off", *options]
    return main(args)


def test_images(tmp_path):
    options = ["--eps=[1,4]", "--attacks=[FGSM,IFGSM]", "--methods=[FGM]", "--slopes=[0.5]"]
    network = node("leadgrad.victims.SkipNet", depth=8, num_classes=2)
    config = attack_config(model__network=network, model__attack=BASE, model__method=None)
    assert sweep(config, tmp_path / "sweep", *options) == 0
    found = rows(tmp_path / "sweep")
    assert [(row["attack"], row["ε"]) for row in found[::2]] == [
        ("FGSM", "1"),
        ("FGSM", "4"),
        ("IFGSM", "1"),
        ("IFGSM", "4"),
    ]
    for row in found:
        assert (row["p"] == "") == (row["method"] == "FGM()"), "compared with the first"
    runs = sorted((tmp_path / "sweep").rglob("results.json"))
    assert len(runs) == 8
    before = [path.stat().st_mtime_ns for path in runs]
    assert sweep(config, tmp_path / "sweep", *options) == 0
    assert [path.stat().st_mtime_ns for path in runs] == before, "finished runs stay"
    one = json.loads(runs[0].read_text())
    shown = {f"{json.loads(path.read_text())['adversarial_accuracy']:.2f}" for path in runs}
    assert {row["left %"] for row in found} == shown
    assert one["samples"] == 12
    page = (tmp_path / "sweep" / "sweep.html").read_text()
    assert page.count("report.html") == 8
    assert "data:image/png" in page


def test_nodes_and_the_models_other_settings(tmp_path):
    method = node("leadgrad.victims.LGM", surrogate=node("leadgrad.victims.Sigmoid", slope=0.5))
    iterated = node("leadgrad.attacks.IFGSM", steps=2)
    network = node("leadgrad.victims.SkipNet", depth=8, num_classes=2)
    config = attack_config(model__network=network, model__attack=BASE, model__method=None)
    options = [f"--methods={json.dumps(['FGM', method])}", f"--attacks={json.dumps([iterated])}"]
    assert sweep(config, tmp_path / "sweep", *options, "--model.prepare=false") == 0
    found = rows(tmp_path / "sweep")
    assert [row["attack"] for row in found] == ["IFGSM(steps=2)"] * 2
    assert "slope=0.5" in found[1]["method"]
    (path, *_) = (tmp_path / "sweep").rglob("run.json")
    assert json.loads(path.read_text())["config"]["model"]["prepare"] is False


def test_a_method_of_the_configuration_that_is_in_the_list_counts_once(tmp_path):
    network = node("leadgrad.victims.SkipNet", depth=8, num_classes=2)
    lgm = node("leadgrad.victims.LGM")
    config = attack_config(model__network=network, model__attack=BASE, model__method=lgm)
    options = ["--methods=[FGM,LGM]", "--slopes=[0.5]"]
    assert sweep(config, tmp_path / "sweep", *options) == 0
    names = [row["method"] for row in rows(tmp_path / "sweep")]
    assert names == ["FGM()", "LGM()", "LGM(surrogate=Sigmoid(slope=0.5))"]


def test_scenes(tmp_path):
    weights = published_voxel_network(tmp_path)
    config = scene_config(model__weights=str(weights), model__method=None, data__init_args__limit=3)
    assert sweep(config, tmp_path / "sweep", "--eps=[0.02,0.1]", "--methods=[FGM,LGM]") == 0
    found = rows(tmp_path / "sweep")
    assert [row["ε"] for row in found] == ["0.02", "0.02", "0.1", "0.1"]
    for row in found[1::2]:
        assert "[" in row["minus the first, points"]
        assert 0 < float(row["p"]) <= 1
    (path, *_) = sorted((tmp_path / "sweep").rglob("results.json"))
    assert RunDirectory(path.parent).results()["inputs"] == "scenes"


def test_names_leave_defaults_out_in_one_order():
    full = node(
        "leadgrad.attacks.IFGSM",
        steps=2,
        goal=node("leadgrad.attacks.Untargeted"),
        loss="leadgrad.attacks.cross_entropy",
        threat=BASE["init_args"]["threat"],
    )
    short = node("leadgrad.attacks.IFGSM", steps=2)
    methods = ["LGM", node("leadgrad.victims.LGM", forward="soft"), LGM()]
    made = list(cells(BASE, [2], [full, short], methods))
    assert [cell.key() for cell in made] == ["IFGSM(steps=2)/eps-2/LGM()"] * 2, "LGM counts once"


def test_an_attack_that_is_named_is_as_the_base_where_it_can_be():
    base = node(
        "leadgrad.attacks.IFGSM",
        threat=threat(eps_255=2),
        steps=3,
        goal=node("leadgrad.attacks.TargetShift", shift=1),
    )
    (single,), (iterated,) = (list(cells(base, [], [name], ["FGM"])) for name in ("FGSM", "PGD"))
    goal = node("leadgrad.attacks.TargetShift")  # whose default is a shift of 1
    assert single.attack["init_args"] == {"threat": threat(eps_255=2), "goal": goal}
    assert iterated.attack["init_args"]["steps"] == 3


def test_what_the_base_has_by_default_is_left_to_the_named_attacks():
    base = node_of(IFGSM(PixelLinf(2)))  # every argument, as the command line has it
    assert "steps" in base["init_args"]
    for name in ("APGD", "PGD", "CarliniWagner"):
        (cell,) = cells(base, [], [name], ["FGM"])
        assert set(cell.attack["init_args"]) == {"threat"}, name
        instantiate(dict(cell.attack))


@pytest.mark.parametrize(
    ("base", "attacks", "message"),
    [
        (BASE, ["PixelLinf"], "is no attack"),
        (BASE, [node("leadgrad.attacks.PGD", threat=threat(eps_255=5))], "threat model of its own"),
        ({"class_path": "leadgrad.attacks.FGSM"}, [], "changes the one budget"),
    ],
)
def test_what_is_no_attack_of_a_sweep_is_refused(base, attacks, message):
    with pytest.raises(ValueError, match=message):
        list(cells(base, [1], attacks, ["FGM"]))


def test_mistakes_are_found_before_the_first_attack_runs(tmp_path, capsys):
    network = node("leadgrad.victims.SkipNet", depth=8, num_classes=2)
    config = attack_config(model__network=network, model__attack=BASE, model__method=None)
    assert sweep(config, tmp_path / "sweep", "--eps=[1,-2]", "--methods=[FGM]") == 1
    assert "-2" in capsys.readouterr().err
    assert not list(tmp_path.rglob("run.json"))


def test_long_names_fit_file_systems_and_stay_apart():
    long = node("leadgrad.victims.LGM", surrogate=node("leadgrad.victims.Sigmoid", slope=0.1))
    names = {file_name(f"{'x' * 300}{number}") for number in range(3)}
    assert len(names) == 3
    assert max(map(len, names)) < 140
    (cell,) = cells(BASE, [1.00000001], [], [long])
    (other,) = cells(BASE, [1.00000002], [], [long])
    assert cell.key() != other.key()


def test_different_attacks_of_one_name_are_refused(tmp_path):
    own = {"class_path": "leadgrad.attacks.IFGSM"}
    other = [Cell("FGSM/eps-1/FGM()", {}, attack, FGM()) for attack in (own, BASE)]
    victims = [Cell("FGSM/eps-1/FGM()", {"class_path": name}, BASE, FGM()) for name in "ab"]
    for both in (other, victims):
        with pytest.raises(ValueError, match="two different attacks would have the directory"):
            Campaign(tmp_path, {}).run(both, Console())


def test_what_cannot_be_swept_is_refused():
    bare = node("leadgrad.attacks.FGSM", threat=node("my_file.Anywhere"))
    with pytest.raises(ValueError, match="changes the one budget"):
        list(cells(bare, [1], [], ["FGM"]))
    with pytest.raises(ValueError, match="at least one method"):
        list(cells(BASE, [1], [], []))
