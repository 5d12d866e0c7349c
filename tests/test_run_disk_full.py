"""A full disk at every single write of an attack: a named error, no half file, resumable."""

import errno
import json
import os
from types import SimpleNamespace

import pytest
from run_config import arguments, attack, attack_config

from leadgrad.pipelines.cli import main
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.pipelines.tasks.images.records import BatchRecord

# In order: the kept weights, run.json, a record and a note for each of 3 batches, report, results
WRITES = 10
NAMES = [
    "victim.safetensors",
    "run.json",
    *(f"batches/{batch:06d}.{kind}" for batch in range(3) for kind in ("safetensors", "json")),
    "report.html",
    "results.json",
]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return attack(attack_config(), tmp_path_factory.mktemp("unbroken") / "run")


class Disk:
    """Counts calls of one function of ``os`` and refuses one of them, or all from it on."""

    def __init__(self, monkeypatch, name: str, refused: int) -> None:
        self.calls, self.refused, self.function = 0, refused, getattr(os, name)
        monkeypatch.setattr(os, name, self)

    def __call__(self, *args):
        self.calls += 1
        if self.calls >= self.refused:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.function(*args)


def test_every_write_is_counted(tmp_path, monkeypatch):
    """Should an attack come to write more files, the tests below must know them."""
    disk = Disk(monkeypatch, "fsync", refused=1000)
    attack(attack_config(), tmp_path / "run")
    assert disk.calls == WRITES == len(NAMES)


@pytest.mark.parametrize("write", range(1, WRITES + 1), ids=NAMES)
def test_a_full_disk(unbroken, tmp_path, capsys, write):
    run_dir = tmp_path / "run"
    args = arguments("attack", attack_config(), run_dir)
    with pytest.MonkeyPatch.context() as patched:
        Disk(patched, "fsync", refused=write)
        assert main(args) == 1
    message = capsys.readouterr().err
    assert "No space left on device" in message
    if write > 1:  # the first is the victims package's, which knows no run directory
        assert f"bytes are needed for {run_dir / NAMES[write - 1]}" in message
    assert_readable(RunDirectory(run_dir))
    assert not (run_dir / NAMES[write - 1]).exists()
    assert main(args) == 0
    assert RunDirectory(run_dir).results()["digest"] == unbroken["digest"]
    assert not [path for path in run_dir.rglob(".*") if path.is_file()]


def assert_readable(run: RunDirectory) -> None:
    """Every file that has its final name is whole."""
    for path in run.path.rglob("*.json"):
        json.loads(path.read_bytes())
    for path in run.batches.glob("*.safetensors"):
        BatchRecord.read(path)
    for batch in run.numbers(".json"):
        assert run.problem(batch) is None
    leftovers = [path.name for path in run.path.rglob(".*") if path.is_file()]
    assert not leftovers


@pytest.mark.parametrize("write", [2, 3, 9])
def test_a_rename_that_is_refused(unbroken, tmp_path, capsys, write):
    run_dir = tmp_path / "run"
    args = arguments("attack", attack_config(), run_dir)
    with pytest.MonkeyPatch.context() as patched:
        Disk(patched, "replace", refused=write)
        assert main(args) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert_readable(RunDirectory(run_dir))
    assert main(args) == 0
    assert RunDirectory(run_dir).results()["digest"] == unbroken["digest"]


def test_another_reason_is_named_as_it_is(tmp_path, monkeypatch, capsys):
    def refuse(**_):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    args = arguments("attack", attack_config(), tmp_path / "run")
    monkeypatch.setattr("leadgrad.victims.weights.atomic.tempfile", SimpleNamespace(mkstemp=refuse))
    assert main(args) == 1
    message = capsys.readouterr().err
    assert "Permission denied" in message
    assert "make room or give access" in message
