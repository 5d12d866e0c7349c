"""Every configuration of the repository parses, and says all that a run needs but its directory."""

from pathlib import Path

import pytest
import yaml

from leadgrad.data import s3dis, scannet
from leadgrad.pipelines.cli import main
from leadgrad.pipelines.instantiate import instantiate
from leadgrad.victims.recipe import SGDPolynomial

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


@pytest.mark.parametrize(
    ("name", "parameters"), [("scannet_minkunet34c", 37_856_052), ("s3dis_minkunet34", 57_164_941)]
)
def test_the_published_scene_victims(name, parameters):
    """Parameter counts of the released weights, and the data's classes, recipe and voxels."""
    config = yaml.safe_load((CONFIGS / "train" / f"{name}.yaml").read_text())
    victim = config["model"]["init_args"]
    network = instantiate(victim["network"])
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert instantiate(victim["recipe"]) == SGDPolynomial()
    data = instantiate(config["data"])
    assert data.num_classes == victim["network"]["init_args"]["num_classes"]
    home = {scannet.ScanNet: scannet, s3dis.S3DIS: s3dis}[type(data)]
    assert network.voxelizer.voxel_m == home.VOXEL_SIZE_M
    epochs = config["trainer"]["max_epochs"]
    assert epochs % config["trainer"]["check_val_every_n_epoch"] == 0, "the last one is measured"
