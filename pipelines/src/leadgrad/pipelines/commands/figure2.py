"""``leadgrad figure 2``: a logit across a gate's decision, and the steps of FGM and LGM there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml
from rich.console import Console

from leadgrad.data import ImageDataModule
from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.pipelines.config.plain import PlainParser
from leadgrad.pipelines.paper.figure2 import Settings, figure2
from leadgrad.pipelines.runs.zoo import Card


def main(args: Sequence[str]) -> int:
    """Runs the command; the first argument is the figure's name."""
    parser = PlainParser(prog="leadgrad figure 2")
    parser.add_argument("--victim", type=str, default="zoo/digits_dynconv14.safetensors")
    parser.add_subclass_arguments(
        ImageDataModule, "data", default={"class_path": "leadgrad.data.Digits"}
    )
    parser.add_argument("--split", type=str, default="test")
    parser.add_argument("--images", type=int, default=Settings.images)
    parser.add_argument("--slope", type=float, default=Settings.slope)
    parser.add_argument("--step_255", type=float, default=Settings.step_255)
    parser.add_argument("--out", type=str, default="figure2.png")
    options = parser.parse_args(list(args[1:]))
    settings = Settings(options.images, options.slope, options.step_255)
    data = instantiate(yaml.safe_load(parser.dump(options, skip_unset=False))["data"])
    console, path = Console(), Path(options.out)
    said = figure2(Card.read(options.victim), data, options.split, settings, path)
    console.print(said, soft_wrap=True)
    console.print(f"figure: {path}, numbers: {path.with_suffix('.csv')}", soft_wrap=True)
    return 0
