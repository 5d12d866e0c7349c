"""``leadgrad verify-data`` on SemanticKITTI's folders: the kind shows, every bad file is named."""

import numpy as np
import pytest

from leadgrad.pipelines.cli import main


@pytest.fixture(params=["", "dataset"])
def root(request, tmp_path):
    for scan in range(2):
        for name, array in (
            ("velodyne/%06d.bin", np.ones((5, 4), "<f4")),
            ("labels/%06d.label", np.full(5, 40, "<u4")),
        ):
            path = tmp_path / request.param / "sequences" / "08" / (name % scan)
            path.parent.mkdir(parents=True, exist_ok=True)
            array.tofile(path)
    return tmp_path


def verify(capsys, root, *options):
    status = main(["verify-data", str(root), *options])
    return status, capsys.readouterr().out


def test_a_whole_set(root, capsys):
    status, out = verify(capsys, root)
    assert status == 0
    assert "checked as semantickitti" in out
    assert "0 problems, 0 notes" in out


def test_every_bad_file_is_named(root, capsys):
    (scan,) = root.rglob("velodyne/000000.bin")
    (label,) = root.rglob("labels/000001.label")
    scan.write_bytes(scan.read_bytes()[:-1])
    label.unlink()
    status, out = verify(capsys, root, "--kind=semantickitti")
    assert status == 1
    assert f"problem: {scan}: has 79 bytes" in out
    assert f"problem: {label}: there is no such file" in out
    assert "2 problems" in out
