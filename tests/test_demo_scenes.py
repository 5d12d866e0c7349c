"""The demo's classes, and its 3D part on a small network and rooms of few points."""

import re

import pytest
from rich.console import Console
from scene_config import published_voxel_network

from leadgrad.pipelines.config.instantiate import imported
from leadgrad.pipelines.demo import scenes as demo_scenes
from leadgrad.pipelines.demo.command import TRAINED
from leadgrad.pipelines.demo.report import DemoReport
from leadgrad.pipelines.demo.scenes import METHODS, run_scenes
from leadgrad.victims.training import VictimTraining


def test_what_the_demo_trains_with_can_be_imported():
    assert all(issubclass(imported(victim.trainer), VictimTraining) for victim in TRAINED)


@pytest.fixture
def found(tmp_path, monkeypatch):
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # as the command line does
    monkeypatch.setattr(demo_scenes, "POINTS", 1500)
    weights = published_voxel_network(tmp_path)
    return tmp_path, run_scenes(tmp_path, str(weights), Console(), short=True)


def test_every_method_has_its_line_and_run(found, capsys):
    directory, demo = found
    assert [line.method for line in demo.lines] == list(METHODS)
    assert demo.eps_m == pytest.approx(0.15)  # half of the network's voxels of 0.3 m
    for line in demo.lines:
        assert (directory / line.path).exists()
        assert line.miou <= demo.clean + 1e-9 or line.method == "Random"
    demo.print(Console())
    assert "before attack" in capsys.readouterr().out


def test_the_report_shows_it(found):
    directory, demo = found
    report = DemoReport(directory, (), {"static": 1.0, "SkipNet": 1.0, "DynConv": 1.0})
    without = report.write().read_text()
    report.scenes = demo
    page = report.write().read_text()
    assert "Points that change voxels" in page
    assert "Points that change voxels" not in without
    pictures = re.findall(r'<img alt="[^"]*" src="data:image/png', page)
    assert len(pictures) == 3 + len(METHODS)
    assert all(f'href="{line.path}"' in page for line in demo.lines)
