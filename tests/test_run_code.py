"""One's own code is part of a run: edited between a kill and the resume, the run is refused."""

import json
import sys
import types

import pytest
import torch
from run_config import arguments, attack, attack_config, fit_config, node
from torch import nn

from leadgrad.attacks import FGSM, PixelLinf
from leadgrad.pipelines.cli import main
from leadgrad.pipelines.config.instantiate import imported
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.pipelines.runs.sources import UNKNOWN, code_digests, essence, own_modules
from leadgrad.victims import FGM, SkipNet

NETWORK = '''
import torch
from torch import nn
from leadgrad.victims import Gate
from {helper} import scale


class Gated(nn.Module):
    """Of my own."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.score, self.gate, self.head = nn.Linear(3, 1), Gate(), nn.Linear(3, 2)

    def forward(self, x):
        from {lazy} import shift

        x = scale(x.mean((2, 3))) + shift(x)
        return self.head(x * self.gate(self.score(x)))
'''
HELPER = """
from {settings} import FACTOR


def scale(x):
    return FACTOR * x  # whatever
"""
SETTINGS = """
FACTOR = 2
"""
LAZY = """
import {package}.deep


def shift(x):
    return {package}.deep.SHIFT
"""
ATTACK = """
from dataclasses import dataclass
from torch import Tensor
from leadgrad.attacks import IFGSM
from leadgrad.attacks.losses import margin


def loss(logits: Tensor, classes: Tensor) -> Tensor:
    return margin(logits, classes)


@dataclass(frozen=True)
class Mine(IFGSM):
    def direction(self, gradient, velocity):
        return gradient.sign(), velocity
"""
METHOD = """
from dataclasses import dataclass
from leadgrad.victims import Surrogate


@dataclass(frozen=True)
class Cut(Surrogate):
    def __call__(self, margin):
        return margin.clamp(0, 1)
"""
RECIPE = """
from dataclasses import dataclass
from leadgrad.victims.training.recipe import SGDOneCycle


@dataclass(frozen=True)
class Mine(SGDOneCycle):
    def lr_at(self, step, total_steps):
        return 0.1
"""


class Files:
    """Modules in a folder of their own, as a user's beside a configuration."""

    def __init__(self, folder, name):
        self.folder = folder
        parts = {"net": NETWORK, "helper": HELPER, "attack": ATTACK, "method": METHOD}
        parts |= {"settings": SETTINGS, "lazy": LAZY}
        self.modules = {part: f"{name}_{part}" for part in (*parts, "recipe")}
        for part, text in {**parts, "recipe": RECIPE}.items():
            for other in ("helper", "settings", "lazy"):
                text = text.replace(f"{{{other}}}", self.modules[other])
            path = folder / f"{self.modules[part]}.py"
            path.write_text(text.replace("{package}", f"{name}_package"))
        package = folder / f"{name}_package"
        package.mkdir()
        (package / "__init__.py").write_text("")
        (package / "deep.py").write_text("from .deeper import SHIFT\n")
        (package / "deeper.py").write_text("SHIFT = 0\n")
        parts = ("", ".deep", ".deeper")
        self.modules |= {f"package{part}": f"{name}_package{part}" for part in parts}

    def edit(self, part, old, new):
        path = self.folder / f"{self.modules[part].replace('.', '/')}.py"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        self.forget()

    def forget(self):
        """As a new process would: imported anew."""
        for module in self.modules.values():
            sys.modules.pop(module, None)

    def config(self):
        surrogate = node(f"{self.modules['method']}.Cut")
        return attack_config(
            model__network=node(f"{self.modules['net']}.Gated"),
            model__attack=node(
                f"{self.modules['attack']}.Mine",
                threat=node("leadgrad.attacks.PixelLinf", eps_255=8),
                loss=f"{self.modules['attack']}.loss",
                steps=2,
            ),
            model__method=node("leadgrad.victims.LGM", surrogate=surrogate),
        )


@pytest.fixture
def files(tmp_path, monkeypatch, request):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # or an edit within a second goes unseen
    made = Files(tmp_path, f"mine{abs(hash(request.node.name))}")
    yield made
    made.forget()


EDITS = {
    "network": ("net", "x * self.gate", "3 * x * self.gate"),
    "a function that it calls": ("helper", "FACTOR * x", "2 * FACTOR * x"),
    "a number that that one imports": ("settings", "FACTOR = 2", "FACTOR = 4"),
    "a module imported when it runs": ("lazy", ".deep.SHIFT", ".deep.SHIFT + 1"),
    "a number of a package of one's own": ("package.deeper", "SHIFT = 0", "SHIFT = 1"),
    "attack": ("attack", "gradient.sign()", "-gradient.sign()"),
    "loss, a function": ("attack", "return margin(", "return -margin("),
    "surrogate": ("method", "clamp(0, 1)", "clamp(0, 2)"),
}


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_before_the_resume_is_refused_by_name(files, tmp_path, what, capsys):
    run_dir = tmp_path / "run"
    part = arguments("attack", files.config(), run_dir, "--trainer.limit_predict_batches=1")
    assert main(part) == 1
    assert "1 of 3 batches" in capsys.readouterr().err
    edited, old, new = EDITS[what]
    files.edit(edited, old, new)
    assert main(arguments("attack", files.config(), run_dir)) == 1
    message = capsys.readouterr().err
    assert f"(code.{files.modules[edited]}: '" in message
    assert message.count("code.") == 1
    assert len(RunDirectory(run_dir).finished()) == 1
    files.edit(edited, new, old)
    assert main(arguments("attack", files.config(), run_dir)) == 0


def test_comments_and_docstrings_may_be_edited(files, tmp_path):
    run_dir = tmp_path / "run"
    main(arguments("attack", files.config(), run_dir, "--trainer.limit_predict_batches=1"))
    files.edit("helper", "# whatever", "# nothing else\n    # and more")
    files.edit("net", "Of my own.", "Of my very own:\n\n    a docstring of several lines.")
    assert main(arguments("attack", files.config(), run_dir)) == 0


def test_the_report_states_the_code_and_verify_hears_of_edits(files, tmp_path, capsys):
    run_dir = tmp_path / "run"
    results = attack(files.config(), run_dir)
    own = own_modules(results["code"])
    helper = files.modules["helper"]
    assert set(own) == set(files.modules.values()) - {files.modules["recipe"]}
    page = (run_dir / "report.html").read_text()
    assert all(f"{name} {digest}" in page for name, digest in own.items())
    files.forget()
    assert main(["verify", str(run_dir)]) == 0
    capsys.readouterr()
    files.edit("helper", "FACTOR * x", "FACTOR * x + 0")
    assert main(["verify", str(run_dir)]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert f"the code of {helper} was {own[helper]}" in said


def test_a_fit_is_refused_too(files, tmp_path, capsys):
    recipe = node(f"{files.modules['recipe']}.Mine")
    config = fit_config(model__init_args__recipe=recipe)
    assert main(arguments("fit", config, tmp_path / "fit")) == 0
    files.edit("recipe", "return 0.1", "return 0.2")
    assert main(arguments("fit", config, tmp_path / "fit")) == 1
    assert f"code.{files.modules['recipe']}: '" in capsys.readouterr().err


def test_runs_of_versions_without_digests_still_verify(tmp_path):
    run_dir = tmp_path / "run"
    attack(attack_config(), run_dir)
    for name in ("run.json", "results.json"):
        content = json.loads((run_dir / name).read_text())
        content.get("fingerprint", content).pop("code")
        (run_dir / name).write_text(json.dumps(content))
    assert main(["verify", str(run_dir)]) == 0


def test_what_is_installed_has_no_digest():
    assert code_digests(nn.Linear(1, 1), torch.optim.SGD, json.dumps) == {}


def test_leadgrads_own_modules_are_named_where_they_are_a_working_copy():
    digests = code_digests(SkipNet(8), FGSM(PixelLinf(8)), FGM())
    for module in ("victims.networks.skipnet", "victims.occupancy.gates", "attacks.iterative"):
        assert len(digests[f"leadgrad.{module}"]) == 12
    assert not own_modules(digests)


def test_typed_in_code_is_said_to_have_no_source(monkeypatch):
    typed = types.ModuleType("__main__")
    exec("from torch import nn\nclass Typed(nn.Module):\n    pass", typed.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", typed)
    assert code_digests(typed.Typed())["__main__"] == UNKNOWN


LAZY_NETWORK = """
from torch import nn


class Net(nn.Module):
    def forward(self, x):
        import lazy_pack.inner

        return lazy_pack.inner.double(x)


if __name__ == "__main__":
    from lazy_script import main

    main()
"""


def test_what_is_imported_later_is_found_and_not_run(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "lazy_net.py").write_text(LAZY_NETWORK)
    (tmp_path / "lazy_script.py").write_text("raise RuntimeError('ran')")
    (tmp_path / "lazy_pack").mkdir()
    (tmp_path / "lazy_pack" / "__init__.py").write_text("FACTOR = 2\n")
    (tmp_path / "lazy_pack" / "inner.py").write_text("def double(x):\n    return 2 * x\n")
    digests = own_modules(code_digests(imported("lazy_net.Net")()))
    assert set(digests) == {"lazy_net", "lazy_pack", "lazy_pack.inner", "lazy_script"}
    assert not {"lazy_pack", "lazy_pack.inner", "lazy_script"} & set(sys.modules)
    (tmp_path / "lazy_pack" / "__init__.py").write_text("FACTOR = 3\n")
    edited = own_modules(code_digests(imported("lazy_net.Net")()))
    assert [name for name in digests if digests[name] != edited[name]] == ["lazy_pack"]
    sys.modules.pop("lazy_net")


SAME = [
    (b"x = 1  # one\n", b"x = 1\n"),
    (b"def f():\n    'doc'\n    return 1\n", b"def f():\n    return 1\n"),
    (b"a = 1\n\n\n\nb = 2   \n", b"a = 1\nb = 2\n"),
    (b'"""Module."""\na = 1\n"""Of a."""\n', b"a = 1\n"),
]
OTHER = [
    (b"x = '# one'\n", b"x = '# two'\n"),
    (b"x = '''a\nb'''\n", b"x = '''a\nc'''\n"),
    (b"def f():\n    return 'doc'\n", b"def f():\n    return 'cod'\n"),
    (b"'doc'; x = 1\n", b"'doc'; x = 2\n"),
    (b"def f(): 'doc'; return 1\n", b"def f(): 'doc'; return 2\n"),
    (b'"""long\ndoc"""; x = 1\n', b'"""long\ndoc"""; x = 2\n'),
    (b"if a:\n    b()\nc()\n", b"if a:\n    b()\n    c()\n"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_essence_is_without_words(one, other):
    assert essence(one) == essence(other)


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_the_essence_keeps_all_that_is_run(one, other):
    assert essence(one) != essence(other)
