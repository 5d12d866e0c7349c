"""The functions behind the commands: the same runs, from objects."""

import json
import logging
import warnings

import pytest
import torch
from run_config import QUIET, arguments, attack_config, fit_config, node, threat
from run_config import attack as attack_command
from torch import nn

from leadgrad.attacks import IFGSM, PixelLinf, margin
from leadgrad.pipelines.api import attack, fit, node_of, verify
from leadgrad.pipelines.commands.fit import fit as fit_command
from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.pipelines.runs.directory import RunDirectory, RunError
from leadgrad.pipelines.runs.quiet import LIBRARIES, quiet
from leadgrad.victims import FGM, LGM, BestOf, RelativeSigmoid, Sigmoid

NETWORK = node("leadgrad.victims.SkipNet", depth=14, num_classes=2)
DATA = attack_config()["data"]
ATTACK = IFGSM(PixelLinf(2, valid_ratio=0.2), steps=3)


def run(run_dir, method=LGM(Sigmoid(5.0)), **more):  # noqa: B008 - a frozen value
    return attack(
        NETWORK,
        DATA,
        ATTACK,
        method,
        run_dir=run_dir,
        **{"checks": "off", "trainer": QUIET, **more},
    )


def test_the_command_makes_the_same_run(tmp_path):
    results = run(tmp_path / "function")
    config = attack_config(
        model__network=NETWORK,
        model__attack=node(
            "leadgrad.attacks.IFGSM", threat=threat(eps_255=2, valid_ratio=0.2), steps=3
        ),
        model__method=node(
            "leadgrad.victims.LGM", surrogate=node("leadgrad.victims.Sigmoid", slope=5.0)
        ),
    )
    command = attack_command(config, tmp_path / "command")
    volatile = ("wall_s",)
    kept = {name: value for name, value in results.numbers.items() if name not in volatile}
    assert kept == {name: value for name, value in command.items() if name not in volatile}
    runs = [RunDirectory(tmp_path / name).run() for name in ("function", "command")]
    assert runs[0]["fingerprint"] == runs[1]["fingerprint"]
    assert runs[0]["config"] == runs[1]["config"]


def test_its_configuration_is_a_commands(tmp_path):
    """What is written beside the run lets the command go on with it."""
    from leadgrad.pipelines.cli import main

    results = run(tmp_path / "run")
    args = RunDirectory(tmp_path / "run").run()["command"].split()[1:]
    assert args[:2] == ["attack", "--config"]
    assert main(args) == 0
    assert RunDirectory(tmp_path / "run").results() == results.numbers
    assert [finding.problems for finding in verify(results.run)] == [[]] * len(verify(results.run))


def test_another_attack_in_the_same_directory_is_refused(tmp_path):
    run(tmp_path / "run")
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    before = [path.read_bytes() for path in files]
    assert tmp_path / "run" / "config.yaml" in files
    with pytest.raises(RunError, match="holds another run"):
        run(tmp_path / "run", FGM())
    assert [path.read_bytes() for path in files] == before
    assert [finding.problems for finding in verify(str(tmp_path / "run"))] == [[]] * 7


@pytest.mark.parametrize(
    "value",
    [
        ATTACK,
        IFGSM(PixelLinf(8), loss=margin),
        LGM(),
        LGM(RelativeSigmoid(3.0), forward="hard"),
        BestOf((FGM(), LGM(Sigmoid(1.0)))),
    ],
)
def test_values_come_back_from_their_nodes(value):
    made = node_of(value)
    assert json.loads(json.dumps(made)) == made
    assert node_of(instantiate(made)) == made


@pytest.mark.parametrize("processes", [0, -1])
def test_no_processes_are_refused(tmp_path, processes):
    with pytest.raises(ValueError, match=f"processes must be at least 1, got {processes}; leave"):
        run(tmp_path / "run", processes=processes)
    assert not (tmp_path / "run").exists()


def test_an_object_that_does_not_tell_its_arguments_is_refused(tmp_path):
    with pytest.raises(TypeError, match="Linear does not tell the arguments"):
        node_of({"network": nn.Linear(1, 1)})
    with pytest.raises(TypeError, match="Tensor does not tell"):
        node_of(torch.zeros(1))


@pytest.fixture
def remarks():
    """What Lightning's loggers say, as loud as its import makes them."""
    said = []
    handler = logging.Handler()
    handler.emit = said.append
    loggers = [logging.getLogger(name) for name in LIBRARIES]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
    yield said
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
        logger.removeHandler(handler)


def test_programs_are_not_told_what_they_cannot_act_on(tmp_path, remarks):
    config = fit_config()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        run(tmp_path / "attack")
        fit(config["model"], config["data"], run_dir=tmp_path / "fit", trainer=config["trainer"])
    assert ([record.getMessage() for record in remarks], warned) == ([], [])
    assert {logging.getLogger(name).level for name in LIBRARIES} == {logging.INFO}, "as before"


def test_real_warnings_are_heard(remarks):
    with quiet():
        with pytest.warns(UserWarning, match="of a network"):
            warnings.warn("of a network", stacklevel=1)
        logging.getLogger(LIBRARIES[0]).warning("of Lightning")
    assert [record.getMessage() for record in remarks] == ["of Lightning"]


def test_fits_are_the_commands_too(tmp_path):
    config = fit_config()
    trainer = dict(config["trainer"])
    weights = fit(config["model"], config["data"], run_dir=tmp_path / "function", trainer=trainer)
    assert fit_command(arguments("fit", config, tmp_path / "command")[1:]).exists()
    runs = [RunDirectory(tmp_path / name).run() for name in ("function", "command")]
    assert runs[0]["fingerprint"] == runs[1]["fingerprint"]
    assert weights.read_bytes() == (tmp_path / "command" / weights.name).read_bytes()
    args = runs[0]["command"].split()[2:]
    assert fit_command(args) == weights, "the command goes on with it"
