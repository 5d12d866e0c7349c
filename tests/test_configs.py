"""Every configuration of the repository parses, and says all that a run needs but its directory."""

from pathlib import Path

import pytest

from leadgrad.pipelines.cli import main

CONFIGS = Path(__file__).parents[1] / "configs"


@pytest.mark.parametrize(
    "path", sorted(CONFIGS.glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_a_configuration_parses(path, tmp_path, capsys):
    command = {"attack": "attack", "train": "fit"}[path.parent.name]
    with pytest.raises(SystemExit) as stop:
        main([command, f"--config={path}", f"--run_dir={tmp_path}", "--print_config"])
    printed = capsys.readouterr()
    assert stop.value.code == 0, printed.err
    assert "network" in printed.out
