"""What the Tab key offers: by the scripts themselves, in the shells that are installed."""

import shutil
import subprocess

import pytest

from leadgrad.pipelines.cli import COMMANDS, main
from leadgrad.pipelines.commands.completion import commands, offers, script

ASK = """
source {file}
COMP_WORDS=({words} "{last}")
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_leadgrad
echo "${{COMPREPLY[@]}}"
"""
TYPED = [
    (("leadgrad",), "ta", ["table"]),
    (("leadgrad", "table"), "fam", ["families"]),
    (("leadgrad", "table", "families"), "--vi", ["--victims"]),
    (("leadgrad", "attack"), "--model.w", ["--model.weights"]),
    (("leadgrad", "prepare"), "sc", ["scannet"]),
    (("leadgrad", "verify-data"), "--k", ["--kind"]),
    (("leadgrad", "figure", "2"), "--victim", ["--victim"]),
    (("leadgrad", "completion"), "z", ["zsh"]),
    (("leadgrad", "verify", "runs/mine"), "--nothing", []),
]


def test_every_command_is_offered():
    assert set(commands()) == set(COMMANDS)
    assert all(offers()[name] for name in COMMANDS)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash is installed")
@pytest.mark.parametrize(("words", "last", "offered"), TYPED)
def test_bash_offers_what_fits(words, last, offered, tmp_path):
    file = tmp_path / "leadgrad.bash"
    file.write_text(script("bash"))
    asked = ASK.format(file=file, words=" ".join(words), last=last)
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.split() == offered
    assert not done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_can_read_their_scripts(shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} is installed")
    file = tmp_path / "leadgrad"
    file.write_text(script(shell))
    subprocess.run([shell, "-n", str(file)], check=True)


def test_the_command_prints_it(capsys):
    assert main(["completion", "fish"]) == 0
    assert "complete -c leadgrad -n __fish_use_subcommand -f -a attack" in capsys.readouterr().out
