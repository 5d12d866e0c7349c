"""``leadgrad sweep``: many attacks on one victim, in one process, as a table with its plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from lightning.pytorch import LightningDataModule
from rich.console import Console

from leadgrad.pipelines.api.cells import Campaign
from leadgrad.pipelines.api.sweeping import Sweep, cells
from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.config.parsing import Parser
from leadgrad.pipelines.runs.portable import portable


def sweep_parser() -> Parser:
    """The options; what is not about the sweep is as of ``leadgrad attack``."""
    parser = Parser(prog="leadgrad sweep", description="Attacks compared", default_env=False)
    parser.add_argument("--config", action="config", help="As of leadgrad attack")
    parser.add_class_arguments(AttackModule, "model", sub_configs=True)
    parser.add_subclass_arguments(LightningDataModule, "data", required=True)
    parser.add_argument("--trainer", type=dict[str, Any], default={})
    parser.add_argument("--seed_everything", type=int, default=0)
    parser.add_argument("--run_dir", type=str, required=True)
    parser.add_argument("--eps", type=list[float], default=[])
    parser.add_argument("--attacks", type=list[Any], default=[])
    parser.add_argument("--methods", type=list[Any], default=["FGM", "LGM"])
    parser.add_argument("--slopes", type=list[float], default=[])
    parser.add_argument("--checks", type=Literal["full", "fast", "off"], default="fast")
    return parser


def main(args: Sequence[str]) -> int:
    """Runs the command."""
    parser = sweep_parser()
    options = parser.parse_args(list(args))
    content = yaml.safe_load(parser.dump(options, skip_unset=False))
    model, methods = content["model"], [*content["methods"], *map(_sloped, options.slopes)]
    if model["method"] is not None and model["method"]["class_path"].rsplit(".", 1)[-1] != "FGM":
        methods.append(model["method"])
    campaign = Campaign(
        Path(options.run_dir),
        content["data"],
        options.checks,
        options.trainer,
        seed=options.seed_everything,
        prepare=model["prepare"],
        surrogate_precision=model["surrogate_precision"],
        execution=model["execution"],
    )
    chosen = list(cells(model["attack"], options.eps, content["attacks"], methods))
    made = Sweep(campaign, model["network"], model["weights"], chosen)
    console = Console()
    campaign.run(made.jobs(), console)
    sheet = made.sheet(portable(["leadgrad", "sweep", *args]))
    sheet.present(campaign.directory, "sweep", console)
    return 0


def _sloped(slope: float) -> dict[str, Any]:
    surrogate = {"class_path": "leadgrad.victims.Sigmoid", "init_args": {"slope": slope}}
    return {"class_path": "leadgrad.victims.LGM", "init_args": {"surrogate": surrogate}}
