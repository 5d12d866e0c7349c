"""What the README shows runs as printed."""

import re
from pathlib import Path

import torch

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_example_of_an_own_network_runs():
    (code,) = re.findall(r"```python\n(import torch\n.*?)```", README, flags=re.DOTALL)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    moved = (names["adv"] - names["x"]).abs()
    assert 0 < float(moved.max()) <= 8 / 255 + 1e-7
    assert torch.equal(names["adv"], names["adv"].clamp(0, 1))


def test_every_configuration_it_names_exists():
    named = set(re.findall(r"configs/\w+/\w+\.yaml", README))
    assert named
    assert all((Path(__file__).parents[1] / path).is_file() for path in named)
