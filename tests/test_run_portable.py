"""Commands in cards and on pages name no path of the machine that ran them."""

import pytest

from leadgrad.pipelines.runs.portable import portable


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["leadgrad", "fit", "--config", "a/b.yaml"], "leadgrad fit --config a/b.yaml"),
        (["--data.root", "/far/away/cifar10"], "--data.root cifar10"),
        (["--data.root=/far/away/cifar10"], "--data.root=cifar10"),
        (["--data.root", "/far/my data/cifar 10"], "--data.root 'cifar 10'"),
        (
            ["--victims", "[/far/a.safetensors,b/c.safetensors]"],
            "--victims '[a.safetensors,b/c.safetensors]'",
        ),
        (
            ["--network={file: '/far/own.py', depth: 2}"],
            """'--network={file: '"'"'own.py'"'"', depth: 2}'""",
        ),
        (["--data.url", "https://host/some/file.tar"], "--data.url https://host/some/file.tar"),
        (["--cells", '["*/lgm*","a/b"]'], """--cells '["*/lgm*","a/b"]'"""),
        (["--model", "leadgrad.victims.SkipNet"], "--model leadgrad.victims.SkipNet"),
    ],
)
def test_absolute_paths_are_shortened(words, line):
    assert portable(words) == line


def test_paths_below_the_working_directory_are_relative_to_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inside = tmp_path / "runs" / "fit"
    assert portable(["--run_dir", str(inside)]) == "--run_dir runs/fit"
    assert portable([f"--victims=[{inside},{tmp_path.parent / 'b'}]"]) == "'--victims=[runs/fit,b]'"
