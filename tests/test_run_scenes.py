"""``leadgrad attack`` and ``verify`` on scenes, from the configuration to the report."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from run_config import arguments, node
from run_processes import start_ranks
from scene_config import (
    FGM,
    NETWORK,
    published_voxel_network,
    random_voxel_network,
    scene_config,
    threat,
)
from tampering import edit, tensors

from leadgrad.attacks import PointIFGSM, PointLinf, confusion
from leadgrad.data import SyntheticRooms
from leadgrad.data.ply import read_vertices
from leadgrad.pipelines.api.verifying import verify
from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.cli import main
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.pipelines.tasks import PointSegmentation
from leadgrad.pipelines.tasks.images.records import RecordError
from leadgrad.pipelines.tasks.scenes.close_up import close_ups, most_changed
from leadgrad.pipelines.tasks.scenes.pictures import class_colours, render, view
from leadgrad.pipelines.tasks.scenes.records import SceneBatch, SceneRecord, scenes_of
from leadgrad.pipelines.tasks.scenes.scores import (
    Displacement,
    class_ious,
    mean_class_iou,
)
from leadgrad.victims import MinkUNet, Sigmoid, VoxelLGM
from leadgrad.victims.occupancy.change import voxel_changes


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "victim.pt"
    torch.save(random_voxel_network().state_dict(), path)
    return str(path)


def attacked(run_dir, config, status=0):
    assert main(arguments("attack", config, run_dir)) == status
    return RunDirectory(run_dir)


@pytest.fixture(scope="module")
def run(tmp_path_factory, weights):
    path = tmp_path_factory.mktemp("scenes") / "run"
    return attacked(path, scene_config(model__weights=weights))


def test_results(run):
    results = run.results()
    records = list(scenes_of(run))
    assert (results["scenes"], results["points"]) == (2, sum(len(r.label) for r in records))
    # The best iterate is no better for the victim than any that it was shown, the clean one first
    for record in records:
        shown = record.iterate_miou
        assert len(shown) == 4
        clean, adv = (
            mean_class_iou(record.confusion(a)) for a in (record.clean_answers, record.adv_answers)
        )
        assert float(shown[0]) == pytest.approx(clean)
        assert float(shown.min()) == pytest.approx(adv)
        assert float(shown[-1]) == pytest.approx(mean_class_iou(record.last_counts))
    assert results["adversarial_miou"] < results["clean_miou"]
    assert results["adversarial_miou"] <= results["last_miou"] + 1e-9
    assert 0 < results["displacement"]["max_axis_m"] <= 0.1 + 1e-6
    assert results["candidate_ratio"] > 1
    assert results["names"] == ["test_0000", "test_0001"]
    change = results["architecture_change"]
    assert set(change["strides"]) == {"1", "2", "4", "8", "16"}
    assert 0 < change["percent"] < 100


def test_dataset_miou_is_of_all_points_together(run):
    labels, answers = [], []
    for record in scenes_of(run):
        labels.append(record.label.numpy())
        answers.append(record.adv_answers.numpy())
    label, answer = np.concatenate(labels), np.concatenate(answers)
    kept = label != 255
    label, answer = label[kept], answer[kept]
    ious = [
        100 * ((label == c) & (answer == c)).sum() / ((label == c) | (answer == c)).sum()
        for c in sorted(set(label.tolist()))
    ]
    results = run.results()
    assert results["adversarial_miou"] == pytest.approx(np.mean(ious))
    told = [value for value in results["class_iou"]["adversarial"] if value is not None]
    assert told == pytest.approx(ious)
    assert results["point_accuracy"]["adversarial"] == pytest.approx(100 * (label == answer).mean())


def test_report(run):
    page = (run.path / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 1 + 2 * (
        5 + 9
    )  # the chart, and the views of each
    assert "test_0001" in page
    assert "bookshelf" in page
    assert re.search(r"mIoU <b>\d+\.\d\d %</b> before", page)


def test_figure_9(run, tmp_path, capsys):
    out = tmp_path / "new" / "scene.png"
    assert main(["figure", "9", str(run.path), "--scene", "1", "--out", str(out)]) == 0
    with Image.open(out) as picture:
        assert min(picture.size) > 800
    assert main(["figure", "9", str(run.path), "--out", str(tmp_path / "scene.pdf")]) == 0
    assert (tmp_path / "scene.pdf").read_bytes().startswith(b"%PDF-")
    assert main(["figure", "9", str(run.path), "--out", str(tmp_path / "scene.csv")]) == 1
    assert "scene.csv ends in .csv, which is no format of a picture" in capsys.readouterr().err
    assert main(["figure", "9", str(run.path), "--scene", "2"]) == 1
    assert "has no scene 2; choose from 0 to 1" in capsys.readouterr().err
    assert main(["figure", "8"]) == 2
    assert "there is no figure 8; give one of 2, 6, 7, 9" in capsys.readouterr().err


def test_a_close_up_is_where_the_answers_changed_most():
    x = torch.linspace(0, 9.9, 100)
    coords = torch.stack([x, torch.zeros(100), torch.zeros(100)], 1)
    label = torch.zeros(100, dtype=torch.uint8)
    after = label.clone()
    after[70:74] = 1  # lost
    after[:3] = 1
    label[:3] = 1  # won
    label[20:30] = 255
    after[20:30] = 2  # of no label
    record = SceneRecord(
        index=torch.tensor([0]),
        label=label,
        features=torch.zeros(100, 1),
        clean_inputs=coords,
        adv_inputs=coords,
        clean_answers=torch.zeros_like(label),
        adv_answers=after,
        last_counts=torch.zeros(3, 3, dtype=torch.int64),
        iterate_miou=torch.empty(0),
        voxels=torch.zeros(1, 3, dtype=torch.int64),
        candidates=torch.zeros(2, dtype=torch.int64),
    )
    window = most_changed(record)
    assert bool(window.holds(coords)[70:74].all())
    assert window.edge_m == pytest.approx(9.9 / 5)
    rows = close_ups(record, [[0, 0, 0], [255, 0, 0], [0, 255, 0]])
    assert [len(row) for _, row in rows] == [3] * 4
    red = [bool((picture == (255, 0, 0)).all(2).any()) for picture in rows[1][1]]
    assert red == [False, False, True], "close, only the answers after hold the other class"


def test_verify_passes_and_needs_no_data(run, capsys):
    assert main(["verify", str(run.path)]) == 0
    out = capsys.readouterr().out
    assert out.count("PASS") == 7
    assert "C26" in out


def test_a_voxel_network_of_ones_own_is_attacked_and_verified(tmp_path):
    own = attacked(tmp_path / "run", scene_config(model__network=node("own_victims.OwnVoxels")))
    change = own.results()["architecture_change"]
    assert set(change["strides"]) == {"1", "2"}
    assert 0 < change["strides"]["2"]["percent"] < change["strides"]["1"]["percent"] < 100
    assert not failing(own)


def copied(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "copy")
    return RunDirectory(tmp_path / "copy")


def failing(run):
    return {(f.check, f.name) for f in verify(RunDirectory(str(run.path))) if f.problems}


TAMPERED = [
    ("adv_inputs", lambda x: x + 0.2, ("C26", "budget of the saved points, exactly")),
    ("adv_inputs", lambda x: x * torch.nan, ("C26", "budget of the saved points, exactly")),
    ("clean_inputs", lambda x: x + 1e-3, ("C28", "points, features and labels of the data set")),
    ("features", lambda x: 255 - x, ("C28", "points, features and labels of the data set")),
    ("label", lambda x: x.roll(1), ("C28", "points, features and labels of the data set")),
    ("adv_answers", lambda x: x.roll(1), ("C27", "answers to the saved points, and voxels")),
    ("clean_answers", lambda x: x.roll(1), ("C27", "answers to the saved points, and voxels")),
    ("voxels", lambda x: x + 1, ("C27", "answers to the saved points, and voxels")),
    ("last_counts", lambda x: x + 1, ("C27", "every number of results.json")),
    ("iterate_miou", lambda x: x[:2], ("C27", "every number of results.json")),
    ("index", lambda x: x + 1, ("C23", "every scene once")),
]


@pytest.mark.parametrize(("name", "change", "check"), TAMPERED)
def test_verify_finds_what_was_tampered_with(run, tmp_path, name, change, check):
    copy = copied(run, tmp_path)
    edit(copy, 1, name, change)
    assert check in failing(copy)


def test_verify_says_what_other_answers_may_come_of(run, tmp_path):
    copy = copied(run, tmp_path)
    edit(copy, 1, "adv_answers", lambda x: x.roll(1))
    problems = [line for found in verify(RunDirectory(str(copy.path))) for line in found.problems]
    assert any(
        "adv answers differ; if the files are as the attack wrote them" in line for line in problems
    )


def test_verify_finds_changed_results(run, tmp_path):
    copy = copied(run, tmp_path)
    results = copy.results()
    results["class_iou"]["adversarial"][0] += 1
    (copy.path / "results.json").write_text(json.dumps(results))
    assert failing(copy) == {("C27", "every number of results.json")}


def test_a_lost_scene_is_attacked_again_to_the_same_bits(run, tmp_path, weights):
    copy = copied(run, tmp_path)
    before = run.results()["digest"]
    (copy.batches / "000001.safetensors").unlink()
    (copy.path / "results.json").unlink()
    attacked(copy.path, scene_config(model__weights=weights))
    assert copy.results()["digest"] == before


def test_scenes_of_one_batch_are_attacked_as_each_alone(run, tmp_path, weights):
    config = scene_config(model__weights=weights, data__init_args__batch_size=2)
    pair = attacked(tmp_path / "pair", config)
    assert len(list(pair.records())) == 1
    # The whole batch's products are summed in blocks of their own, so roundings may differ
    for one, other in zip(scenes_of(run), scenes_of(pair), strict=True):
        torch.testing.assert_close(one.adv_inputs, other.adv_inputs, atol=1e-4, rtol=0)
        torch.testing.assert_close(one.iterate_miou, other.iterate_miou, atol=0.5, rtol=0)
        assert torch.equal(one.clean_answers, other.clean_answers)
        for name in ("label", "features", "clean_inputs", "index"):
            assert torch.equal(getattr(one, name), getattr(other, name))
    alone, together = run.results(), pair.results()
    assert together["scenes"] == 2
    assert together["adversarial_miou"] == pytest.approx(alone["adversarial_miou"], abs=0.5)
    assert together["cost"] == alone["cost"]
    assert [each["index"] for each in together["per_scene"]] == [0, 1]
    assert not failing(pair)
    edit(pair, 0, "1.adv_answers", lambda x: x.roll(1))
    assert ("C27", "answers to the saved points, and voxels") in failing(pair)
    assert main(["export-ply", str(pair.path), "--out", str(tmp_path / "ply")]) == 0
    assert len(list((tmp_path / "ply").iterdir())) == 2


@pytest.mark.ddp
def test_two_processes_save_the_same_bits(run, tmp_path, weights):
    args = arguments("attack", scene_config(model__weights=weights), tmp_path / "two")
    ranks = start_ranks(args, 2, tmp_path / "log")
    assert [rank.wait() for rank in ranks] == [0, 0]
    assert RunDirectory(tmp_path / "two").results()["digest"] == run.results()["digest"]


def test_methods_and_noise_differ(run, tmp_path, weights):
    results = {"LGM": run.results()}
    frozen = scene_config(model__weights=weights, model__method=FGM)
    noise = node("leadgrad.attacks.PointNoise", threat=threat())
    random = scene_config(model__weights=weights, model__attack=noise)
    for name, config in (("FGM", frozen), ("random", random)):
        results[name] = attacked(tmp_path / name, config).results()
    assert len({each["digest"] for each in results.values()}) == 3
    assert results["FGM"]["candidate_ratio"] == 1
    assert results["random"]["candidate_ratio"] is None  # no gradient was asked for
    assert len({each["clean_miou"] for each in results.values()}) == 1


ERRORS = [
    (
        {
            "model__attack": node(
                "leadgrad.attacks.FGSM", threat=node("leadgrad.attacks.PixelLinf", eps_255=8)
            )
        },
        "scenes need a budget in metres",
    ),
    (
        {"model__network": node("leadgrad.victims.SkipNet", depth=8, num_classes=20)},
        "SkipNet has 0 partitions",
    ),
    (
        {
            "model__network": node("leadgrad.victims.SkipNet", depth=8),
            "model__method": None,
            "data": node("leadgrad.data.FakeCIFAR10", eval_size=4),
        },
        "moves the points of scenes, but FakeCIFAR10 has images",
    ),
    (
        {"data": node("leadgrad.data.FakeCIFAR10", eval_size=4)},
        "MinkUNet takes the points of scenes, but FakeCIFAR10 has images",
    ),
]


@pytest.mark.parametrize(("changes", "message"), ERRORS)
def test_what_does_not_fit_is_named(tmp_path, capsys, changes, message):
    assert main(arguments("attack", scene_config(**changes), tmp_path / "run")) == 1
    assert message in capsys.readouterr().err


def test_all_checks_are_made_of_scenes(tmp_path):
    """Of an untrained network: none fails, and those that need no gate are made."""
    weights = published_voxel_network(tmp_path)
    config = scene_config(model__weights=str(weights))
    args = arguments("attack", config, tmp_path / "run", "--checks=full")
    assert main(args) == 0
    run = RunDirectory(tmp_path / "run")
    checks = run.results()["checks"]
    verdicts = {check["id"]: check["verdict"] for check in checks}
    assert list(verdicts) == [f"C{number}" for number in range(1, 22)]
    assert "FAIL" not in verdicts.values()
    skipped = {number for number, verdict in verdicts.items() if verdict == "SKIP"}
    assert skipped <= {"C5", "C7", "C11", "C18", "C19", "C21"}
    values = {check["name"]: check["value"] for check in checks}
    assert "points in" in values["inputs are what the table of batches says"]
    assert "sanity checks" in (run.path / "report.html").read_text().lower()
    assert verify(run)[0].problems == []


def test_another_precision_is_refused(tmp_path, capsys):
    config = scene_config(model__surrogate_precision="bfloat16")
    assert main(arguments("attack", config, tmp_path / "run")) == 1
    assert "scenes are attacked in float32" in capsys.readouterr().err


def test_a_damaged_record_is_named(tmp_path):
    path = tmp_path / "scene.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(RecordError, match="is no record of scenes"):
        SceneBatch.read(path)


def test_records_come_back_as_they_were(run):
    content, _ = tensors(run, 0)
    record = run.record(0)
    (scene,) = record.scenes
    assert all(torch.equal(getattr(scene, name), value) for name, value in content.items())
    again = SceneBatch.read(run.batches / "000000.safetensors")
    assert again.to_bytes() == record.to_bytes()


def test_a_network_that_answers_with_nan_is_refused():
    network = MinkUNet(**NETWORK["init_args"])
    network.final.bias.data.fill_(torch.nan)
    attack = PointIFGSM(PointLinf(0.1), steps=2)
    module = AttackModule(network, attack, VoxelLGM(Sigmoid(10.0)))
    module.task = PointSegmentation()
    batch = next(iter(SyntheticRooms(points=1000).test_dataloader()))
    with pytest.raises(
        ValueError, match="logits of 1 samples are not finite, the first is sample 0"
    ):
        module.predict_step(batch)


def test_ious_by_hand():
    counts = torch.tensor([[3, 1, 0], [2, 4, 0], [0, 0, 0]])
    assert class_ious(counts).tolist()[:2] == pytest.approx([100 * 3 / 6, 100 * 4 / 7])
    assert class_ious(counts)[2].isnan()
    assert mean_class_iou(counts) == pytest.approx(50 * (3 / 6 + 4 / 7))
    labels = torch.tensor([0, 0, 1, 255], dtype=torch.uint8)
    answers = torch.tensor([0, 1, 1, 1], dtype=torch.uint8)
    assert confusion(answers, labels, 2).tolist() == [[1, 1], [0, 1]]


def test_voxel_changes_against_sets():
    generator = torch.Generator().manual_seed(0)
    clouds = [
        torch.cat([torch.zeros(90, 1), torch.randint(-9, 9, (90, 3), generator=generator)], 1)
        .long()
        .unique(dim=0)
        for _ in range(2)
    ]
    changes = voxel_changes(*clouds, levels=4)
    for level, row in enumerate(changes.tolist()):
        before, after = (
            {tuple(c // 2**level for c in cell[1:]) for cell in cloud.tolist()} for cloud in clouds
        )
        assert row == [len(after - before), len(before - after), len(before | after)]


def test_displacement_against_brute_force():
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(60, 3, generator=generator) + 100
    adv = clean + 0.02 * (torch.rand(60, 3, generator=generator) - 0.5)
    moved = (adv.double() - clean.double()).norm(dim=1)
    distances = torch.cdist(
        adv.double(), clean.double(), compute_mode="donot_use_mm_for_euclid_dist"
    )
    there, back = distances.amin(1), distances.amin(0)
    got = Displacement.of(clean, adv)
    assert got.mean_m == pytest.approx(float(moved.mean()))
    assert got.max_m == pytest.approx(float(moved.max()))
    assert got.chamfer_m == pytest.approx(float((there.mean() + back.mean()) / 2))
    assert got.hausdorff_m == pytest.approx(float(torch.maximum(there.max(), back.max())))
    still = Displacement.of(clean, clean)
    assert (still.chamfer_m, still.outlier_ratio) == (0, 1)
    assert np.isnan(Displacement.of(clean[:5], adv[:5]).outlier_ratio)


def test_the_nearest_point_is_drawn():
    coords = torch.tensor([(0.0, 0, 0), (0, 0, 2), (1, 0, 0)])
    seen = view(coords, turn_deg=0, tilt_deg=90)  # from straight above
    colours = class_colours(torch.tensor([0, 1, 255], dtype=torch.uint8), [[9, 0, 0], [0, 9, 0]])
    image = render(seen, colours, width=20, dot=1)
    shown = {tuple(pixel) for pixel in image.reshape(-1, 3).tolist()}
    assert (0, 9, 0) in shown
    assert (9, 0, 0) not in shown
    assert (205, 205, 208) in shown


def test_scenes_as_ply_files(run, tmp_path):
    assert main(["export-ply", str(run.path), "--out", str(tmp_path / "ply")]) == 0
    records = list(scenes_of(run))
    names = run.results()["names"]
    assert sorted(path.name for path in (tmp_path / "ply").iterdir()) == sorted(
        f"{name}.ply" for name in names
    )
    for name, record in zip(names, records, strict=True):
        rows = read_vertices(tmp_path / "ply" / f"{name}.ply", ("x", "y", "z"))
        for column, axis in enumerate("xyz"):
            assert np.array_equal(rows[axis], record.adv_inputs[:, column])
            assert np.array_equal(rows[f"clean_{axis}"], record.clean_inputs[:, column])
        assert np.array_equal(rows["adv_answer"], record.adv_answers)
        assert np.array_equal(rows["blue"], record.features[:, 2])
        assert 0 < rows["displacement_m"].max() <= 3**0.5 * 1.001 * threat_m(run)


def threat_m(run):
    return run.run()["config"]["model"]["attack"]["init_args"]["threat"]["init_args"]["eps_m"]


def test_an_attack_under_several_methods_keeps_the_worst_and_counts_them_all(tmp_path, weights):
    def both(*methods):
        return node("leadgrad.victims.BestOf", methods=list(methods))

    runs = {
        name: attacked(
            tmp_path / name, scene_config(model__weights=weights, model__method=method)
        ).results()
        for name, method in (("fgm", FGM), ("lgm", scene_config()["model"]["method"]))
    }
    pair = both(FGM, scene_config()["model"]["method"])
    worst = attacked(tmp_path / "pair", scene_config(model__weights=weights, model__method=pair))
    results = worst.results()
    for scene, fgm, lgm in zip(
        results["per_scene"], runs["fgm"]["per_scene"], runs["lgm"]["per_scene"], strict=True
    ):
        assert scene["adversarial_miou"] == min(fgm["adversarial_miou"], lgm["adversarial_miou"])
    # Four evaluations, hence three gradients, of each; the victim then sees each result once more
    assert runs["fgm"]["cost"] == {"gradients_per_sample": 3.0, "answers_per_sample": 4.0}
    assert results["cost"] == {"gradients_per_sample": 6.0, "answers_per_sample": 10.0}
