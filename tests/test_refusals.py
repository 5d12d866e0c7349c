"""A refusal of the parser in one line: which key, which class, what is wrong, what to do."""

from pathlib import Path

import pytest

from leadgrad.pipelines.cli import main
from leadgrad.pipelines.config.refusals import one_line

GIVEN = ["attack", "--run_dir=x", "--data=leadgrad.data.Digits"]
NETWORK = ["--model.network=leadgrad.victims.SkipNet", "--model.network.depth=14"]
ATTACK = [
    "--model.attack=leadgrad.attacks.FGSM",
    "--model.attack.threat=leadgrad.attacks.PixelLinf",
]
# Command line, what is said
REFUSED = [
    (
        ["--model.network=leadgrad.victims.SkipNett", *ATTACK],
        "model.network: There is no class 'leadgrad.victims.SkipNett'; the nearest valid one is "
        "'leadgrad.victims.SkipNet'",
    ),
    (
        ["--model.network=leadgrad.victims.SkipNet", "--model.network.dept=14", *ATTACK],
        "model.network (leadgrad.victims.SkipNet): There is no key 'dept'; the nearest valid one "
        "is 'depth'",
    ),
    (
        [*NETWORK, *ATTACK, "--model.attack.threat.eps=1"],
        "model.attack.threat (leadgrad.attacks.PixelLinf): There is no key 'eps'; the nearest "
        "valid one is 'eps_255'",
    ),
    (
        [*NETWORK, *reversed(ATTACK)],
        "model.attack: leadgrad.attacks.Attack is a base alone; give --model.attack CLASS, before "
        "its arguments",
    ),
    (
        [*NETWORK, *ATTACK, "--model.method=LGMM"],
        "model.method: LGMM is no class; the nearest valid one is 'LGM'",
    ),
    (
        [*ATTACK, "--model.network=leadgrad.attacks.FGSM"],
        "model.network: leadgrad.attacks.FGSM is no Module; give a class that is one",
    ),
    (
        [*NETWORK, *ATTACK, "--data=leadgrad.attacks.FGSM"],
        "data: leadgrad.attacks.FGSM is no LightningDataModule; give a class that is one",
    ),
    (
        [*NETWORK, *ATTACK, "--model.attack.threat.convention=pixels"],
        "model.attack.threat.convention (leadgrad.attacks.PixelLinf): pixels is none of pixel, "
        "doubled",
    ),
    (
        [*NETWORK, *ATTACK, "--model.attack.threat.eps_255=8/255"],
        "model.attack.threat.eps_255 (leadgrad.attacks.PixelLinf): 8/255 is no number",
    ),
    (
        ["--model.network=leadgrad.victims.SkipNet", "--model.network.depth=ten", *ATTACK],
        "model.network.depth (leadgrad.victims.SkipNet): ten is no whole number",
    ),
]


@pytest.mark.parametrize(("options", "said"), REFUSED)
def test_a_refusal_is_one_line(options, said, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*GIVEN, *options])
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"error: {said}\n(--help lists the options)\n"


WAYS = "--victims [zoo/digits_dynconv14.safetensors] --data Digits"
OF_OTHERS = [
    (f"table defences {WAYS}x", "data: Digitsx is no class; the nearest valid one is 'Digits'"),
    (f"table defences {WAYS} --evaluations 10.5", "evaluations: 10.5 is no whole number\n"),
    (f"table defences {WAYS} --limit 2.5", "limit: 2.5 is no whole number\n"),
    (f"table defences {WAYS} --checks maybe", "checks: maybe is none of off, fast, full\n"),
    (f"table defences {WAYS} --thresholds 0.2", "thresholds: 0.2 is no list; give [0.2]\n"),
    (f"table defences {WAYS} --cells [*/a]", "argument --cells: got [*/a], expected one text, or "),
    (f"table families {WAYS} words", "unrecognized arguments: words; 'words' is no option; give "),
    ("table 1 --victims {} --static [] --data Digits --limit x", "limit: x is no whole number\n"),
    ("table 3 --data Digits", "data: "),
    ("tune --victims {} --data Digits --slopes 3", "slopes: 3 is no list; give [3]\n"),
    ("figure 2 --images x", "images: x is no whole number\n"),
    ("board --add [] --data Digits --checks off", "checks: off is none of fast, full\n"),
]


@pytest.mark.parametrize(("line", "said"), OF_OTHERS)
def test_every_command_refuses_in_one_line(line, said, capsys, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[1])  # of the zoo
    with pytest.raises(SystemExit) as stop:
        main(line.split())
    assert stop.value.code == 2
    lines = capsys.readouterr().err.splitlines(keepends=True)
    assert lines[0].startswith(f"error: {said}")
    assert lines[1:] == ["(--help lists the options)\n"]


def test_what_is_one_line_stays():
    assert one_line("required: run_dir") == "required: run_dir"


def test_a_file_that_is_not_there_is_said_where_nothing_else_was_meant():
    said = "  - Expected a path but my.yaml either not accessible or invalid"
    assert one_line(f'Parser key "model":\n\n{said}') == "model: there is no file my.yaml"
