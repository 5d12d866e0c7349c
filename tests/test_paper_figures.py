"""``leadgrad figure 2 | 6 | 7``."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from run_config import SMALL, attack_config, class_path, node
from run_config import attack as attack_command
from torch import nn

from leadgrad.data import FakeCIFAR10
from leadgrad.pipelines.cli import main
from leadgrad.pipelines.paper.class_groups import class_groups
from leadgrad.pipelines.paper.execution_rates import Panel, components
from leadgrad.pipelines.paper.figure6 import value_and_gradient
from leadgrad.pipelines.paper.gate_line import POINTS, candidates, opposed, pieces, trace
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.victims import Gate, Sigmoid, save_weights
from leadgrad.victims.occupancy.relations import BilinearInterpolation

ROOT = Path(__file__).parents[1]

# Figure 7

FGM = node("leadgrad.victims.FGM")
ATTACKED = ("SkipNet", "DynConv")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Directories of a run under FGM and one under LGM, by victim."""
    folder, made = tmp_path_factory.mktemp("runs"), {}
    for victim in ATTACKED:
        network = node(f"leadgrad.victims.{victim}", depth=8, num_classes=2)
        for method in ("FGM", "LGM"):
            changes = {"model__method": FGM} if method == "FGM" else {}
            config = attack_config(model__network=network, **changes)
            attack_command(config, folder / f"{victim}-{method}")
        made[victim] = [folder / f"{victim}-{method}" for method in ("FGM", "LGM")]
    return made


def right_before(run_dir):
    """Labels, predictions after, and decisions before and after, of images right before."""
    for record in RunDirectory(run_dir).records():
        sides = [record.decisions(units) for units in (record.clean_units, record.adv_units)]
        for number in range(len(record.index)):
            if record.clean_logits[number].argmax() != record.label[number]:
                continue
            before, after = ([float(g[number].double().mean()) for g in side] for side in sides)
            yield int(record.label[number]), int(record.adv_logits[number].argmax()), before, after


@pytest.mark.parametrize("victim", ATTACKED)
def test_the_numbers_are_means_over_the_images_that_were_right(runs, victim, tmp_path, capsys):
    out = tmp_path / "new" / "seven.png"
    assert main(["figure", "7", *map(str, runs[victim]), "--out", str(out)]) == 0
    assert f"figure: {out}" in capsys.readouterr().out
    with out.with_suffix(".csv").open() as file:
        lines = {(line["panel"], int(line["class"])): line for line in csv.DictReader(file)}
    assert len(lines) == 5 * 2
    samples = [list(right_before(run)) for run in runs[victim]]
    of = {"a": (0, 0, 2), "b": (0, 0, 3), "c": (0, 1, 3), "d": (1, 0, 3), "e": (1, 1, 3)}
    for (panel, number), line in lines.items():
        run, row, shares = of[panel]
        own = [each[shares] for each in samples[run] if each[row] == number]
        assert int(line["images"]) == len(own)
        rates = [line[name] for name in line if name.startswith("gate ")]
        if own:
            assert [float(rate) for rate in rates] == pytest.approx(np.mean(own, 0), abs=1e-6)
        else:
            assert set(rates) == {""}
    maps = out.with_name("seven-maps.png")
    assert maps.exists() == (victim == "DynConv")
    for picture in (out, maps) if victim == "DynConv" else (out,):
        with Image.open(picture) as image:
            assert min(image.size) > 400


def test_runs_that_cannot_stand_beside_each_other(runs, tmp_path, capsys):
    skipnet, dynconv = (list(map(str, runs[victim])) for victim in ATTACKED)

    def said(*args):
        assert main(["figure", "7", *args, f"--out={tmp_path / 'x.png'}"]) == 1
        return capsys.readouterr().err

    assert "differ in the victim's weights" in said(skipnet[0], dynconv[1])
    for runs_ in ((skipnet[0], skipnet[0]), skipnet[::-1]):
        assert "give the run under FGM first, then the one under LGM" in said(*runs_)
    assert "there is no file nowhere.yaml" in said(*skipnet, "--groups=nowhere.yaml")
    assert not list(tmp_path.iterdir())


def test_groups_of_ones_own(runs, tmp_path, capsys):
    names = RunDirectory(runs["SkipNet"][0]).run()["classes"]
    groups, out = tmp_path / "groups.json", tmp_path / "x.png"
    args = ["figure", "7", *map(str, runs["SkipNet"]), f"--groups={groups}", f"--out={out}"]
    groups.write_text(json.dumps({"second": [names[1]], "first": "0"}))
    assert main(args) == 0
    with out.with_suffix(".csv").open() as file:
        assert {line["name"]: line["group"] for line in csv.DictReader(file)} == {
            names[0]: "first",
            names[1]: "second",
        }
    for content, words in (
        ({"one": [names[0]]}, "in no group"),
        ({"one": "0-1", "two": "1"}, "in two groups"),
        ({"one": "0-2"}, "but the data has 2 classes"),
        ({"one": 3}, "expected a list of classes"),
        ([], "expected groups of classes"),
    ):
        groups.write_text(json.dumps(content))
        assert main(args) == 1
        assert words in capsys.readouterr().err


def test_the_groups_of_imagenet_and_cifar():
    groups = class_groups([str(number + 5000) for number in range(1000)])
    sizes = [59, 127, 90, 45, 77, 63, 167, 72, 73, 64, 77, 61, 25]
    assert [len(members) for members in groups.values()] == sizes
    assert list(groups)[:2] == ["birds", "dogs"]
    assert sorted(one for members in groups.values() for one in members) == list(range(1000))
    from leadgrad.data import CIFAR10

    groups = class_groups(CIFAR10.class_names)
    assert [len(members) for members in groups.values()] == [6, 4]
    assert class_groups(["a", "b"]) == {"a": (0,), "b": (1,)}
    assert list(class_groups([str(n) for n in range(21)])) == ["all classes"]


def test_components_have_fixed_signs_and_leave_empty_rows_out():
    generator = np.random.default_rng(0)
    rates = generator.uniform(size=(6, 4))
    rates[2] = np.nan
    count = np.array([1, 2, 0, 3, 1, 1])
    found, shares = components(Panel("a", "", "", rates, count))
    assert np.isnan(found[2]).all()
    kept = rates[count > 0]
    values, vectors = np.linalg.eigh(np.cov(kept.T))
    for number in (0, 1):
        vector = vectors[:, -1 - number]
        vector = vector * np.sign(vector[np.abs(vector).argmax()])
        expected = (kept - kept.mean(0)) @ vector
        assert found[count > 0, number] == pytest.approx(expected)
        assert shares[number] == pytest.approx(values[-1 - number] / values.sum())


# Figure 2


class Stepped(nn.Module):
    """f = 2 + 3(m - 0.5) - 0.5·o of an image's mean m, o = 1 where m exceeds ``at``."""

    def __init__(self, at: float) -> None:
        super().__init__()
        self.at, self.gate = at, Gate()
        self.scale = nn.Parameter(torch.tensor(3.0))

    def forward(self, x):
        mean = x.mean((1, 2, 3))
        f = 2 + self.scale * (mean - 0.5) - 0.5 * self.gate(mean - self.at)
        return torch.stack([f, -f], 1)


@pytest.fixture(scope="module")
def data():
    return FakeCIFAR10(eval_size=12, **SMALL)


@pytest.fixture(scope="module")
def stepped(data):
    """A batch of right images, and a victim that decides otherwise 4 levels above the first."""
    batch = next(data.batches("test", 12))
    first = int((batch["label"] == 0).nonzero()[0])
    return batch, first, float(batch["image"][first].mean()) + 4 / 255


def test_a_line_is_what_is_computed_by_hand(stepped):
    batch, first, at = stepped
    images, labels = batch["image"], batch["label"]
    slope, step = 200.0, 8.0
    found = candidates(Stepped(at).eval(), images, labels, slope=slope, step_255=step)
    assert {one.image for one in found} == set((labels == 0).nonzero().flatten().tolist())
    one = next(each for each in found if each.image == first)
    soft = 1 / (1 + math.exp(slope * 4 / 255))
    led = (3 - 0.5 * slope * soft * (1 - soft)) / 255
    assert (one.fgm, one.lgm) == pytest.approx((3 / 255, led), rel=1e-3)
    assert one.after_fgm - one.now == pytest.approx(-8 * 3 / 255, abs=1e-4)
    assert led < 0, "over the decision the logit falls by half a unit"
    assert one.after_lgm - one.now == pytest.approx(8 * 3 / 255 - 0.5, abs=1e-4)
    line = trace(Stepped(at).eval(), images[first], labels[first], one, slope, step)
    assert line.crossings.tolist() == pytest.approx([4], abs=0.1)
    assert int(line.flips.sum()) == 1
    assert [len(range(POINTS)[piece]) for piece in pieces(line)] == [
        int((line.margin <= 0).sum()),
        int((line.margin > 0).sum()),
    ]


def test_figure_2(data, stepped, tmp_path, capsys):
    batch, first, at = stepped
    path = class_path(Stepped, "stepped_file")
    sha256 = save_weights(Stepped(at), tmp_path / "v.safetensors")
    card = {"network": node(path, at=at), "sha256": sha256, "accuracy": {}}
    (tmp_path / "v.json").write_text(json.dumps(card))
    small = json.dumps(node("leadgrad.data.FakeCIFAR10", eval_size=12, **SMALL))
    out = tmp_path / "new" / "two.png"
    args = ["figure", "2", f"--victim={tmp_path / 'v.safetensors'}", f"--data={small}"]
    args += ["--slope=100", "--step_255=8", f"--out={out}"]
    found = candidates(
        Stepped(at).eval(), batch["image"], batch["label"], slope=100.0, step_255=8.0
    )
    assert any(each.image == first for each in opposed(found))
    # FGM's step lowers this victim's logit too, so no line shows what the figure is about
    assert main(args) == 1
    assert "take more images, another --step_255 or --slope" in capsys.readouterr().err
    assert not out.exists()


def test_figure_2_of_a_published_victim(tmp_path, capsys):
    out = tmp_path / "two.png"
    victim = ROOT / "zoo" / "digits_dynconv14.safetensors"
    args = ["figure", "2", f"--victim={victim}", "--images=10", "--step_255=0.5"]
    assert main([*args, f"--out={out}"]) == 0
    said = capsys.readouterr().out
    assert "units near their decision" in said
    with Image.open(out) as image:
        assert min(image.size) > 500
    with out.with_suffix(".csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == POINTS
    assert float(lines[POINTS // 2]["t, pixel levels"]) == 0


# Figure 6


def test_figure_6(tmp_path, capsys):
    out = tmp_path / "new" / "six.png"
    assert main(["figure", "6", "--slopes=[1]", f"--out={out}"]) == 0
    assert f"figure: {out}" in capsys.readouterr().out
    with Image.open(out) as image:
        assert min(image.size) > 500
    for name, start in (("six.pdf", b"%PDF-"), ("six.SVG", b"<?xml")):
        assert main(["figure", "6", f"--out={out.with_name(name)}"]) == 0
        assert out.with_name(name).read_bytes().startswith(start)
    assert main(["figure", "6", "--slopes=[-1]", f"--out={out}"]) == 1
    assert "slope must be finite and at least 0, got -1" in capsys.readouterr().err


def test_suffixes_of_no_format_are_refused_before_the_work(runs, tmp_path, capsys):
    victim = ROOT / "zoo" / "digits_dynconv14.safetensors"
    for figure in (["2", f"--victim={victim}"], ["6"], ["7", *map(str, runs["SkipNet"])]):
        out = tmp_path / "new" / f"{figure[0]}.csv"
        assert main(["figure", *figure, f"--out={out}"]) == 1
        said = capsys.readouterr().err
        assert f"{out} ends in .csv, which is no format of a picture; end it in one of " in said
        assert ".pdf, " in said
        assert not out.parent.exists()


def test_gradients_of_relations_are_by_the_place():
    place = torch.tensor([-0.7, 0.2], dtype=torch.float64)
    values, gradients = value_and_gradient(BilinearInterpolation(), place, lambda u: 0.5 - u.abs())
    assert values.tolist() == pytest.approx([0.3, 0.8])
    assert gradients.tolist() == pytest.approx([1, -1])
    values, gradients = value_and_gradient(Sigmoid(4.0), place, lambda u: 0.5 - u.abs())
    assert gradients[0] == pytest.approx(float(4 * values[0] * (1 - values[0])))
