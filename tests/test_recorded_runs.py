"""Committed results of small attacks come out again, bit for bit; old runs are still verified."""

import shutil

import pytest
from recorded_runs import RECORDS, RUNS, arithmetic, recorded, results_of

from leadgrad.pipelines.api.verifying import verify
from leadgrad.pipelines.runs.directory import RunDirectory, flatten

OLD_RUNS = sorted(path for path in (RECORDS / "finished").iterdir())


@pytest.mark.parametrize("name", RUNS)
def test_a_recorded_run_comes_out_again(name, tmp_path):
    before = recorded(name)
    now, then = flatten(results_of(name, tmp_path)), flatten(before["results"])
    assert then.keys() <= now.keys(), "a number may be added, but none be lost"
    if arithmetic() != before["arithmetic"]:
        pytest.skip("recorded on a processor that rounds otherwise")
    assert {key: now[key] for key in then} == then


def test_every_run_is_recorded():
    assert {path.stem for path in RECORDS.glob("*.json")} == set(RUNS)


@pytest.mark.parametrize("name", [path.name for path in OLD_RUNS])
def test_a_run_of_version_0_1_is_verified(name, tmp_path):
    run = tmp_path / name
    shutil.copytree(RECORDS / "finished" / name, run)
    findings = verify(RunDirectory(run))
    assert {finding.name: finding.problems for finding in findings if finding.problems} == {}
