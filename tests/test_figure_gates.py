"""``leadgrad figure gates``: what attacks did to each gate, from their records."""

import numpy as np
import pytest
from PIL import Image
from run_config import attack as attack_command
from run_config import attack_config, node

from leadgrad.pipelines.cli import main
from leadgrad.pipelines.paper.figure_gates import GateShares, _goal, _told_apart, _whole, drawn
from leadgrad.pipelines.runs.directory import RunDirectory


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Directories of attacks: two on one DynConv, one on another network of other weights."""
    folder, made = tmp_path_factory.mktemp("runs"), {}
    for name, victim, changes in (
        ("fgm", "DynConv", {"model__method": node("leadgrad.victims.FGM")}),
        ("lgm", "DynConv", {}),
        ("static", "ResNet", {}),
    ):
        network = node(f"leadgrad.victims.{victim}", depth=8, num_classes=2)
        attack_command(attack_config(model__network=network, **changes), folder / name)
        made[name] = folder / name
    return made


def test_shares_are_those_of_the_records(runs):
    """Counted image by image, of those that were right."""
    run = RunDirectory(runs["fgm"])
    expected = []
    for record in run.records():
        for number in range(len(record.index)):
            if record.clean_logits[number].argmax() != record.label[number]:
                continue
            old, new = (
                [gate[number].numpy() for gate in record.decisions(units)]
                for units in (record.clean_units, record.adv_units)
            )
            pairs = zip(old, new, strict=True)
            expected.append([(a.mean(), b.mean(), (a != b).mean()) for a, b in pairs])
    before, after, changed = 100 * np.array(expected).mean(0).T
    shares = GateShares.of(run)
    np.testing.assert_allclose(shares.before, before)
    np.testing.assert_allclose(shares.after, after)
    np.testing.assert_allclose(shares.changed, changed)
    assert shares.changed.max() > 0
    assert shares.label == "FGSM, FGM, ε 8/255"


def test_the_picture_has_a_line_per_run(runs, tmp_path, capsys):
    path = tmp_path / "deep" / "gates.png"
    assert main(["figure", "gates", str(runs["fgm"]), str(runs["lgm"]), "--out", str(path)]) == 0
    assert str(path) in capsys.readouterr().out
    with Image.open(path) as picture:
        assert picture.size[0] > 500
    shares = [GateShares.of(RunDirectory(runs[name])) for name in ("fgm", "lgm")]
    above, below = drawn(shares, "both").axes
    for axes, part in ((above, "after"), (below, "changed")):
        for line, each in zip(axes.get_lines(), shares, strict=True):
            np.testing.assert_allclose(line.get_ydata(), getattr(each, part))
    assert [text.get_text() for text in below.get_legend().get_texts()] == [
        each.label for each in shares
    ]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["static"], "decides nothing; give runs on an adaptive one"),
        (["fgm", "static"], "differ in the victim"),
        (["fgm"] * 9, "one to 8 runs fit into the picture, got 9"),
    ],
)
def test_what_cannot_be_drawn_is_refused(runs, names, message, tmp_path, capsys):
    path = tmp_path / "x.png"
    assert main(["figure", "gates", *(str(runs[name]) for name in names), "--out", str(path)]) == 1
    assert message in capsys.readouterr().err
    assert not path.exists()


def test_labels_say_what_differs(runs, tmp_path):
    """Units of 2/255, some of the pixels, parts of a goal; two alike have their runs' names."""
    parts = [node("leadgrad.attacks.Compute"), node("leadgrad.attacks.Kept")]
    goal = node("leadgrad.attacks.AllOf", goals=parts, weights=[1.0, 1.0])
    threat = node("leadgrad.attacks.PixelLinf", eps_255=8, convention="doubled", valid_ratio=0.5)
    own = node("leadgrad.attacks.FGSM", threat=threat, goal=goal)
    network = node("leadgrad.victims.DynConv", depth=8, num_classes=2)
    attack_command(attack_config(model__network=network, model__attack=own), tmp_path / "both")
    label = GateShares.of(RunDirectory(tmp_path / "both")).label
    assert label.startswith(
        "FGSM on Compute + Kept, LGM, L∞, ε = 8 units, convention doubled, 50 %"
    )
    pair = [RunDirectory(runs["fgm"])] * 2
    alike = _told_apart([GateShares.of(run) for run in pair], pair)
    assert {each.label for each in alike} == {"FGSM, FGM, ε 8/255: fgm"}


def test_a_run_that_is_none_is_refused_at_once(runs, tmp_path, capsys):
    assert main(["figure", "gates", str(runs["fgm"]), str(tmp_path)]) == 1
    assert "has no run.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("goal", "words"),
    [
        (node("leadgrad.attacks.AllOf"), "Untargeted + Compute"),
        (node("leadgrad.attacks.AllOf", goals=None, weights=None), "Untargeted + Compute"),
        (node("leadgrad.attacks.Compute", direction="down"), "Compute"),
    ],
)
def test_a_goal_is_named_with_its_defaults(goal, words):
    assert _goal(_whole(goal)) == words
