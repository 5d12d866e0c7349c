"""The same attack gives the same bits, however it is cut into processes, workers and sessions."""

import shutil
from pathlib import Path

import pytest
from run_config import arguments, attack, attack_config, node, threat
from run_processes import PATIENCE, Command, start_ranks, start_script

from leadgrad.pipelines.cli import main
from leadgrad.pipelines.runs.directory import RunDirectory

BATCHES = 5


def config(**changes):
    """Two iterations under LGM from random starts on 18 images in 5 batches, the last one short."""
    pgd = node("leadgrad.attacks.PGD", threat=threat(), steps=2, restarts=2)
    settings = {"model__attack": pgd, "data__init_args__eval_size": 18, **changes}
    return attack_config(**settings)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("unbroken") / "run"
    attack(config(), run_dir)
    return run_dir


def finished_part(unbroken: Path, run_dir: Path, batches: set[int]) -> None:
    """A run directory as an interrupted run leaves it, with these batches finished."""
    shutil.copytree(unbroken, run_dir)
    for name in ("results.json", "report.html"):
        (run_dir / name).unlink()
    for file in (run_dir / "batches").iterdir():
        if int(file.stem) not in batches:
            file.unlink()


def assert_same(run_dir: Path, unbroken: Path) -> None:
    results, expected = RunDirectory(run_dir).results(), RunDirectory(unbroken).results()
    for name in ("digest", "counts", "architecture_change", "compute", "samples"):
        assert results[name] == expected[name]
    for batch in range(BATCHES):
        file = f"batches/{batch:06d}.safetensors"
        assert (run_dir / file).read_bytes() == (unbroken / file).read_bytes()


def test_a_second_run_is_the_same(unbroken, tmp_path):
    attack(config(), tmp_path / "run")
    assert_same(tmp_path / "run", unbroken)


def test_another_seed_is_not_the_same(unbroken, tmp_path):
    results = attack(config(model__attack__init_args__seed=1), tmp_path / "run")
    assert results["digest"] != RunDirectory(unbroken).results()["digest"]


def test_random_numbers_belong_to_samples_not_to_batches(tmp_path):
    """Without gradients, whose last bits follow the batch, not even the batch size matters."""
    noise = node("leadgrad.attacks.RandomNoise", threat=threat(), corners=False)
    noise["init_args"]["skip_misclassified"] = False
    digests = {
        attack(config(model__attack=noise, data__init_args__batch_size=size), tmp_path / str(size))[
            "digest"
        ]
        for size in (4, 6, 18)
    }
    assert len(digests) == 1


def test_loader_workers_change_nothing(unbroken, tmp_path):
    # In a process of its own: forking this one, which has threads, is deprecated from Python 3.12
    settings = config(data__init_args__num_workers=2)
    args = arguments("attack", settings, tmp_path / "run")
    assert Command.start(args, tmp_path / "log").wait() == 0
    assert_same(tmp_path / "run", unbroken)


def test_inference_mode_changes_nothing(unbroken, tmp_path):
    """Lightning's default; under gloo it would quietly be replaced by no_grad."""
    attack(config(), tmp_path / "run", "--trainer.inference_mode", "true")
    assert_same(tmp_path / "run", unbroken)


@pytest.mark.parametrize("batches", [set(), {0}, {1, 3}, {0, 1, 2, 3}, set(range(BATCHES))])
def test_a_resumed_run_is_the_same(unbroken, tmp_path, batches):
    finished_part(unbroken, tmp_path / "run", batches)
    kept = {batch: (tmp_path / f"run/batches/{batch:06d}.json").stat() for batch in batches}
    attack(config(), tmp_path / "run")
    assert_same(tmp_path / "run", unbroken)
    for batch, stat in kept.items():
        assert (tmp_path / f"run/batches/{batch:06d}.json").stat().st_ino == stat.st_ino


def test_a_finished_run_is_left_alone(unbroken, tmp_path):
    shutil.copytree(unbroken, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.*s*")}
    assert attack(config(), tmp_path / "run") == RunDirectory(unbroken).results()
    for path, time in before.items():
        if path.name != "victim.safetensors":
            assert path.stat().st_mtime_ns == time, path


def test_another_root_or_run_directory_is_the_same_run(unbroken, tmp_path):
    """Directories, devices and workers may change between the sessions of one run."""
    finished_part(unbroken, tmp_path / "moved", {0, 2})
    attack(config(data__init_args__num_workers=0), tmp_path / "moved", "--trainer.devices", "1")
    assert_same(tmp_path / "moved", unbroken)


@pytest.mark.ddp
@pytest.mark.parametrize("world", [2, 3])
def test_several_processes_change_nothing(unbroken, tmp_path, world):
    args = arguments("attack", config(), tmp_path / "run")
    ranks = start_ranks(args, world, tmp_path / "log")
    assert [rank.wait() for rank in ranks] == [0] * world
    assert_same(tmp_path / "run", unbroken)
    assert main(["verify", str(tmp_path / "run")]) == 0


@pytest.mark.ddp
@pytest.mark.parametrize(
    "finished", [{0, 1, 2, 4}, {1, 3}], ids=["one batch left", "one stripe left"]
)
def test_a_process_without_any_batch_does_not_hang(unbroken, tmp_path, finished):
    """Batch k is rank k mod 2's: rank 0 or rank 1 finds nothing to do."""
    finished_part(unbroken, tmp_path / "run", finished)
    args = arguments("attack", config(), tmp_path / "run")
    ranks = start_ranks(args, 2, tmp_path / "log")
    assert [rank.wait() for rank in ranks] == [0, 0]
    assert_same(tmp_path / "run", unbroken)


@pytest.mark.ddp
@pytest.mark.slow
def test_an_idle_process_waits_longer_than_the_strategy_would(tmp_path):
    """Rank 0 has no batch, and rank 1 one that outlasts the timeout of Lightning's own barrier."""
    settings = config(
        model__network=node("own_victims.SlowGated", num_classes=2), data__init_args__eval_size=8
    )
    run = RunDirectory(tmp_path / "run")
    args = arguments("attack", settings, run.path)
    assert main([*args, "--trainer.limit_predict_batches=1"]) == 1
    strategy = ("=DDPStrategy", ".timeout=0:01:00")
    ranks = start_ranks(args, 2, tmp_path / "log", strategy=strategy, SLOW_SECONDS="8")
    assert [rank.wait() for rank in ranks] == [0, 0]
    assert run.results()["samples"] == 8


@pytest.mark.ddp
def test_more_processes_than_batches_and_none_left_to_do(unbroken, tmp_path):
    settings = config(data__init_args__limit=4)
    args = arguments("attack", settings, tmp_path / "run")
    for _ in range(2):  # the second time the run is finished already
        ranks = start_ranks(args, 2, tmp_path / "log")
        assert [rank.wait() for rank in ranks] == [0, 0]
        assert RunDirectory(tmp_path / "run").results()["samples"] == 4
    first = "batches/000000.safetensors"
    assert (tmp_path / "run" / first).read_bytes() == (unbroken / first).read_bytes()


@pytest.mark.ddp
def test_the_command_starts_its_own_processes(unbroken, tmp_path):
    """The console script, and Lightning's launcher, which starts it again for the second one."""
    options = ["--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.accelerator=cpu"]
    args = arguments("attack", config(), tmp_path / "run", *options)
    process = start_script(args)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert_same(tmp_path / "run", unbroken)
    assert out.count("adversarial accuracy") == 1
