"""``--save_decisions``: a run's decisions as files of their own."""

import pytest
import torch
from run_config import arguments, attack_config, node
from run_config import attack as attack_command
from safetensors.torch import load_file, save_file

from leadgrad.attacks import FGSM, PixelLinf
from leadgrad.pipelines.api import attack, verify
from leadgrad.pipelines.cli import main
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.victims import FGM

NETWORKS = {
    "SkipNet": node("leadgrad.victims.SkipNet", depth=8, num_classes=2),
    "DynConv": node("leadgrad.victims.DynConv", depth=8, num_classes=2),
}


def problems(run_dir):
    return [problem for finding in verify(run_dir) for problem in finding.problems]


@pytest.mark.parametrize("victim", NETWORKS)
def test_they_are_those_of_the_records(victim, tmp_path):
    config = attack_config(model__network=NETWORKS[victim])
    plain = attack_command(config, tmp_path / "plain")
    saved = attack_command(config, tmp_path / "saved", "--save_decisions=true")
    assert not (tmp_path / "plain" / "decisions").exists()
    assert saved["digest"] == plain["digest"]
    runs = [RunDirectory(tmp_path / name) for name in ("plain", "saved")]
    assert runs[0].run()["fingerprint"] == runs[1].run()["fingerprint"]
    files = sorted((tmp_path / "saved" / "decisions").iterdir())
    assert [path.name for path in files] == [f"{n:06d}.safetensors" for n in range(3)]
    for one, other, path in zip(*(run.records() for run in runs), files, strict=True):
        assert one.to_bytes() == other.to_bytes()
        found = load_file(path)
        assert torch.equal(found["index"], one.index)
        assert torch.equal(found["label"], one.label)
        assert torch.equal(found["clean_prediction"], one.clean_logits.argmax(1))
        assert torch.equal(found["adv_prediction"], one.adv_logits.argmax(1))
        for side in ("clean", "adv"):
            for number, gate in enumerate(one.decisions(getattr(one, f"{side}_units"))):
                assert torch.equal(found[f"{side}_gate_{number:03d}"].bool(), gate)
        shape = () if victim == "SkipNet" else (1, 16, 16)
        assert found["adv_gate_000"].shape == (4, *shape)
        assert found["adv_gate_000"].dtype == torch.uint8


def test_a_finished_run_gets_them_without_another_attack_and_damage_is_found(tmp_path):
    config, run_dir = attack_config(), tmp_path / "run"
    attack_command(config, run_dir)
    before = {path: path.stat().st_mtime_ns for path in (run_dir / "batches").iterdir()}
    attack_command(config, run_dir, "--save_decisions=true")
    assert before == {path: path.stat().st_mtime_ns for path in (run_dir / "batches").iterdir()}
    assert problems(run_dir) == []
    first, second, _ = sorted((run_dir / "decisions").iterdir())
    content = load_file(first)
    content["adv_gate_000"] = 1 - content["adv_gate_000"]
    save_file(content, first)
    second.unlink()
    (run_dir / "decisions" / ".000002.safetensors.abcdefgh").touch()
    found = problems(run_dir)
    assert len(found) == 2
    assert "does not hold the decisions of its batch; start the attack's command again" in found[0]
    assert "is missing or damaged" in found[1]
    attack_command(config, run_dir, "--save_decisions=true")
    assert problems(run_dir) == []
    assert len(list((run_dir / "decisions").iterdir())) == 3


def test_from_python(tmp_path):
    config = attack_config()
    made = attack(
        config["model"]["network"],
        config["data"],
        FGSM(PixelLinf(8)),
        FGM(),
        run_dir=tmp_path / "run",
        checks="off",
        trainer=config["trainer"],
        save_decisions=True,
    )
    assert len(list((made.run.path / "decisions").iterdir())) == 3
    assert "--save_decisions=true" in made.run.run()["command"]


def test_scenes_are_refused_before_the_attack(tmp_path, capsys):
    from scene_config import scene_config

    args = arguments("attack", scene_config(), tmp_path / "run", "--save_decisions=true")
    assert main(args) == 1
    assert "those of scenes do not; leave it out" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
