"""What four distributions share: one version, which they ask of each other, and one license."""

import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PARTS = ["packages/victims", "packages/attacks", "packages/data", "pipelines"]


def project(part):
    return tomllib.loads((ROOT / part / "pyproject.toml").read_text())["project"]


def test_all_have_one_version_and_the_citation_names_it():
    versions = {project(part)["version"] for part in PARTS}
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]
    assert versions == {cited}
    assert f"## {cited} " in (ROOT / "CHANGELOG.md").read_text()


def test_the_command_asks_for_its_own_version_of_the_others():
    whole = project("pipelines")
    others = {each for each in whole["dependencies"] if each.startswith("leadgrad-")}
    assert others == {f"{project(part)['name']}=={whole['version']}" for part in PARTS[:3]}


@pytest.mark.parametrize("part", PARTS)
def test_each_carries_the_license_and_a_readme(part):
    assert (ROOT / part / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    for name in (project(part)["readme"], *project(part)["license-files"]):
        assert (ROOT / part / name).read_text().strip()
