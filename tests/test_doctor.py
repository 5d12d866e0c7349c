"""``leadgrad doctor``: it names what is there, and what will be slow."""

from pathlib import Path

import pytest
import torch

from leadgrad.pipelines.cli import main
from leadgrad.pipelines.commands import doctor


def test_it_names_versions_devices_and_the_data_that_lies_there(tmp_path, capsys):
    (tmp_path / "cifar" / "cifar-10-batches-py").mkdir(parents=True)
    (tmp_path / "laser" / "sequences" / "00" / "velodyne").mkdir(parents=True)
    (tmp_path / "else").mkdir()
    assert main(["doctor", "--root", str(tmp_path)]) == 0
    printed = "".join(capsys.readouterr().out.split())
    assert torch.__version__ in printed
    assert "cores" in printed
    found = dict(doctor.data(tmp_path))
    assert found == {
        str(tmp_path / "cifar"): "cifar10",
        str(tmp_path / "laser"): "semantickitti",
    }
    assert "semantickitti" in printed


def test_a_part_of_a_data_set_is_not_listed_again(tmp_path):
    """CIFAR-10's batches beside raw scans, and ScanNet's scans in their own folder."""
    (tmp_path / "both" / "cifar-10-batches-py").mkdir(parents=True)
    (tmp_path / "both" / "laser" / "sequences" / "00" / "velodyne").mkdir(parents=True)
    (tmp_path / "scannet" / "scans" / "scene0000_00").mkdir(parents=True)
    root = tmp_path / "both"
    assert doctor.data(root) == [(str(root), "cifar10"), (str(root / "laser"), "semantickitti")]
    assert doctor.data(tmp_path / "scannet") == [(str(tmp_path / "scannet"), "scannet-raw")]


def test_a_folder_without_data_is_said():
    ((_, words),) = doctor.data(Path("/nowhere"))
    assert words.startswith("no data set")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("torch.cuda.is_available", False, "no CUDA device"),
        ("torch.backends.cpu.get_cpu_capability", "DEFAULT", "no AVX2"),
        ("leadgrad.pipelines.commands.doctor.native_bfloat16", False, "bfloat16 is emulated"),
        ("torch.get_num_threads", 4096, "OMP_NUM_THREADS"),
    ],
)
def test_what_will_be_slow_is_said(name, value, words, monkeypatch):
    monkeypatch.setattr(name, lambda: value)
    assert any(words in line for line in doctor.slow())


def test_a_fast_machine_hears_nothing(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr("leadgrad.pipelines.commands.doctor.native_bfloat16", lambda: True)
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    assert doctor.slow() == []
