"""Every configuration of the repository parses, and says all that a run needs but its directory."""

import dataclasses
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest
import yaml

import leadgrad
from leadgrad.attacks import Untargeted
from leadgrad.data import s3dis, scannet
from leadgrad.pipelines.cli import main
from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.victims.training.recipe import SGDOneCycle, SGDPolynomial

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
    assert_classes_have_their_own_defaults(
        yaml.safe_load(path.read_text()), yaml.safe_load(printed.out)
    )


def assert_classes_have_their_own_defaults(written: object, parsed: object) -> None:
    """What a configuration does not say of a class is as that class has it, not as another one."""
    if not (isinstance(written, dict) and isinstance(parsed, dict)):
        return
    if "class_path" in written:
        module, name = written["class_path"].rsplit(".", 1)
        cls = getattr(importlib.import_module(module), name)
        said, arguments = written.get("init_args", {}), parsed.get("init_args", {})
        for name, parameter in inspect.signature(cls).parameters.items():
            if name in arguments and name not in said:
                value, default = arguments[name], parameter.default
                plain = isinstance(default, int | float | str | None)
                assert not plain or value == default, (written["class_path"], name, value)
    for name in written:
        assert_classes_have_their_own_defaults(written[name], parsed.get(name))


def test_a_class_chosen_on_the_command_line_has_its_own_defaults(tmp_path, capsys):
    options = [
        "--model=leadgrad.victims.training.dynconv.DynConvClassifier",
        "--model.network=leadgrad.victims.DynConv",
        "--model.recipe=leadgrad.victims.training.recipe.SGDOneCycle",
        "--data=leadgrad.data.Digits",
        f"--run_dir={tmp_path}",
    ]
    with pytest.raises(SystemExit):
        main(["fit", *options, "--print_config"])
    recipe = yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]["recipe"]["init_args"]
    assert recipe == dataclasses.asdict(SGDOneCycle())


def test_no_constructor_hands_its_default_on_to_another_class():
    """jsonargparse keeps a default instance's values when another class is chosen."""
    modules = [
        importlib.import_module(found.name)
        for found in pkgutil.walk_packages(leadgrad.__path__, "leadgrad.")
        if "minkowski" not in found.name  # which needs MinkowskiEngine
    ]
    members = {
        member
        for module in modules
        for member in vars(module).values()
        if inspect.isclass(member)
        and member.__module__.startswith("leadgrad.")
        and not issubclass(member, Exception)
    }
    defaults = [
        (cls, parameter.default)
        for cls in members
        if cls.__init__ is not object.__init__
        for parameter in inspect.signature(cls).parameters.values()
        if type(parameter.default).__module__.startswith("leadgrad.")
    ]
    assert Untargeted in {type(default) for _, default in defaults}, "the search finds defaults"
    handed = [
        (cls, default) for cls, default in defaults if inspect.signature(type(default)).parameters
    ]
    assert handed == [], "use None, and choose inside"


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
