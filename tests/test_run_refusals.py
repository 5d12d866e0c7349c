"""What an attack does with a directory that is not, or not quite, its own."""

import shutil
from pathlib import Path

import pytest
import torch
from run_config import LGM, arguments, attack, attack_config, fit_config, node

from leadgrad.pipelines.cli import main
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.victims import SkipNet, save_weights


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("original") / "run"
    attack(attack_config(), run_dir)
    return run_dir


@pytest.fixture
def run(original, tmp_path):
    shutil.copytree(original, tmp_path / "run")
    return RunDirectory(tmp_path / "run")


def content(folder: Path) -> dict[str, bytes]:
    """All files of a run, but for TensorBoard's."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if "tensorboard" not in path.parts
    }


def refusal(capsys) -> str:
    """The one line that says why, without the hint at the traceback."""
    line, hint = capsys.readouterr().err.splitlines()[-2:]
    assert line.startswith("error: ")
    assert "LEADGRAD_TRACEBACK" in hint
    return line


THREAT, SURROGATE = "model__attack__init_args__threat", "model__method__init_args__surrogate"
CHANGES = [
    ({f"{THREAT}__init_args__eps_255": 4}, "threat.init_args.eps_255: 8.0 there, 4.0 now"),
    ({"model__attack__init_args__seed": 1}, "model.attack.init_args.seed: 0 there, 1 now"),
    ({"model__attack__class_path": "leadgrad.attacks.IFGSM"}, "model.attack.class_path: 'leadgrad"),
    ({"model__method": node("leadgrad.victims.FGM")}, "model.method.class_path: 'leadgrad"),
    ({f"{SURROGATE}__init_args__slope": 2.0}, "surrogate.init_args.slope: 5.0 there, 2.0 now"),
    ({"model__surrogate_precision": "bfloat16"}, "model.surrogate_precision: 'float32' there"),
    ({"model__prepare": False}, "model.prepare: True there, False now"),
    ({"data__init_args__batch_size": 6}, "data.batch_size: 4 there, 6 now"),
    ({"data__init_args__limit": 8}, "data.count: 12 there, 8 now"),
    ({"data__init_args__data_seed": 1}, "data.sha256: '"),
    ({"data__init_args__attack_split": "heldout"}, "data.split: 'test' there, 'heldout' now"),
    ({"seed_everything": 1}, "weights_sha256: '"),
]


@pytest.mark.parametrize(("changes", "words"), CHANGES, ids=[words for _, words in CHANGES])
def test_another_configuration(original, run, capsys, changes, words):
    assert main(arguments("attack", attack_config(**changes), run.path)) == 1
    message = refusal(capsys)
    assert f"{run.path} holds another run (" in message
    assert words in message
    assert "give another --run_dir" in message
    assert content(run.path) == content(original)


def test_only_the_differing_keys_are_named(run, capsys):
    main(arguments("attack", attack_config(data__init_args__batch_size=6), run.path))
    assert refusal(capsys).count(" there, ") == 1


@pytest.mark.parametrize("library", ["leadgrad", "torch"])
def test_another_version(run, capsys, monkeypatch, library):
    if library == "torch":
        monkeypatch.setattr(torch, "__version__", "9.9")
    else:
        versions = {**run.run()["versions"], "leadgrad": "9.9"}
        monkeypatch.setattr("leadgrad.pipelines.api.attacking.versions", lambda: versions)
    assert main(arguments("attack", attack_config(), run.path)) == 1
    assert f"{library}: " in refusal(capsys)


def test_other_weights_from_a_file(original, run, tmp_path, capsys):
    """The same configuration but for the file's content, whose path is not compared."""
    args = arguments("attack", attack_config(), run.path)
    same = ["--model.weights", str(original / "victim.safetensors")]
    assert main([*args, *same]) == 0
    torch.manual_seed(99)
    save_weights(SkipNet(8, num_classes=2), tmp_path / "other.safetensors")
    assert main([*args, "--model.weights", str(tmp_path / "other.safetensors")]) == 1
    assert "weights_sha256" in refusal(capsys)


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b'{"fingerprint": 1}', b"\x00", b'{"a": '])
def test_a_damaged_record_of_the_run(run, capsys, damage):
    (run.path / "run.json").write_bytes(damage)
    before = content(run.path)
    assert main(arguments("attack", attack_config(), run.path)) == 1
    message = refusal(capsys)
    assert f"{run.path / 'run.json'} is damaged" in message
    assert "restore it, or give another --run_dir" in message
    assert content(run.path) == before


def test_batches_of_unknown_origin(run, capsys):
    """Without run.json nothing tells which attack they are of."""
    (run.path / "run.json").unlink()
    assert main(arguments("attack", attack_config(), run.path)) == 1
    assert "holds batches, but without run.json" in refusal(capsys)


def test_the_directory_of_a_fit(tmp_path, capsys):
    settings = fit_config(trainer__max_epochs=1)
    assert main(arguments("fit", settings, tmp_path / "run")) == 0
    before = content(tmp_path / "run")
    assert main(arguments("attack", attack_config(), tmp_path / "run")) == 1
    assert "holds another run" in refusal(capsys)
    assert content(tmp_path / "run") == before


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)


def removed(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [cut, emptied, flipped, removed])
@pytest.mark.parametrize("kind", ["safetensors", "json"])
def test_a_damaged_batch_is_attacked_again(original, run, damage, kind):
    damage(run.batches / f"000001.{kind}")
    (run.path / "results.json").write_text("{}")
    kept = (run.batches / "000000.safetensors").stat().st_ino
    attack(attack_config(), run.path)
    assert run.results()["digest"] == RunDirectory(original).results()["digest"]
    assert (run.batches / "000000.safetensors").stat().st_ino == kept
    assert main(["verify", str(run.path)]) == 0


def test_lost_batches_are_attacked_again(original, run):
    shutil.rmtree(run.batches)
    assert attack(attack_config(), run.path)["digest"] == RunDirectory(original).results()["digest"]


@pytest.mark.parametrize("name", ["results.json", "report.html", "victim.safetensors"])
def test_what_follows_from_the_batches_is_written_again(original, run, name):
    (run.path / name).unlink()
    attack(attack_config(), run.path)
    if name != "results.json":  # which says when it was made, in its versions and times
        assert (run.path / name).read_bytes() == (original / name).read_bytes()
    assert main(["verify", str(run.path)]) == 0


def test_what_a_killed_writer_left_is_swept_away(run):
    left = [run.batches / ".000001.safetensors.a1b2c3d4", run.path / ".report.html.a1b2c3d4"]
    for path in left:
        path.write_text("half of it")
    (run.path / "results.json").unlink()
    attack(attack_config(), run.path)
    assert not any(path.exists() for path in left)


def test_damaged_kept_weights_are_replaced(original, run):
    flipped(run.weights)
    assert main(["verify", str(run.path)]) == 1
    attack(attack_config(), run.path)
    assert run.weights.read_bytes() == (original / "victim.safetensors").read_bytes()
    assert main(["verify", str(run.path)]) == 0


def test_damaged_results_say_what_to_do(run, capsys):
    cut(run.path / "results.json")
    assert main(arguments("attack", attack_config(), run.path)) == 1
    assert "results.json is damaged" in (message := refusal(capsys))
    assert "delete it and start the attack's command again" in message


@pytest.mark.parametrize("limit", ["--trainer.limit_predict_batches=2", "--trainer.fast_dev_run=2"])
def test_a_limited_run_reports_no_numbers(original, tmp_path, capsys, limit):
    run = RunDirectory(tmp_path / "run")
    args = arguments("attack", attack_config(), run.path)
    assert main([*args, limit]) == 1
    assert "has 2 of 3 batches; start the same command again, without a limit" in refusal(capsys)
    assert not (run.path / "results.json").exists()
    assert main(["verify", str(run.path)]) == 1
    assert "has no results.json" in refusal(capsys)
    assert main(args) == 0
    assert run.results()["digest"] == RunDirectory(original).results()["digest"]


@pytest.mark.parametrize(("network", "data", "words"), [(10, 4, "10 logits"), (3, 10, "3 logits")])
def test_another_number_of_classes(tmp_path, capsys, network, data, words):
    settings = attack_config(
        model__network=node("leadgrad.victims.SkipNet", depth=8, num_classes=network),
        data__init_args__num_classes=data,
    )
    assert main(arguments("attack", settings, tmp_path / "run")) == 1
    message = refusal(capsys)
    assert f"the network answers with {words}, but FakeCIFAR10 has {data} classes" in message
    assert f"num_classes={data}" in message
    assert not (tmp_path / "run").exists()


def test_another_surrogate_is_another_run(tmp_path):
    """Nothing of the method is left out of the fingerprint."""
    constant = node("leadgrad.victims.LGM", surrogate=node("leadgrad.victims.Constant", value=0.5))
    for number, method in enumerate([LGM, constant]):
        attack(attack_config(model__method=method), tmp_path / str(number))
    one, other = (RunDirectory(tmp_path / name).run()["fingerprint"] for name in ("0", "1"))
    assert one["model"]["method"] != other["model"]["method"]
