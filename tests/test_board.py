"""``leadgrad board``: an entry is made by running, and taken only if it can be trusted."""

import json
import shutil
from pathlib import Path

import pytest

from leadgrad.pipelines.cli import main
from leadgrad.pipelines.paper.board import BoardError, Entry, merged, read

ZOO = Path(__file__).parents[1] / "zoo"
LINE = "board --data leadgrad.data.Digits --limit 24 --evaluations 10 --budget 20 --eps_255 16"
LINE += " --accelerator cpu"


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """Folder of a board with the zoo's small DynConv."""
    folder = tmp_path_factory.mktemp("board")
    for suffix in ("safetensors", "json"):
        shutil.copy(ZOO / f"digits_dynconv14.{suffix}", folder)
    assert main(line(folder)) == 0
    return folder


def line(folder, weights="digits_dynconv14.safetensors"):
    more = ["--add", str(folder / weights), "--board", str(folder / "board")]
    return [*LINE.split(), *more, "--out", str(folder / "runs")]


def test_an_entry_holds_what_was_measured(board):
    (entry,) = read(board / "board.json")
    card = json.loads((board / "digits_dynconv14.json").read_text())
    assert entry.sha256 == card["sha256"]
    assert entry.family == "DynConv"
    assert entry.worst <= entry.frozen <= entry.clean
    results = [
        json.loads(path.read_text()) for path in sorted((board / "runs").rglob("results.json"))
    ]
    assert [own["digest"] for own in results] == entry.digests
    assert [round(own["adversarial_accuracy"], 3) for own in results] == [entry.frozen, entry.worst]
    assert entry.data["count"] == 24
    page = (board / "board.md").read_text()
    assert "digits_dynconv14" in page
    assert f"{entry.worst:.2f}" in page
    assert "overstated" in (board / "board.html").read_text()


def test_adding_again_replaces(board, capsys):
    before = read(board / "board.json")
    assert main(line(board)) == 0
    assert [each.place for each in read(board / "board.json")] == [each.place for each in before]
    assert main(["board", "--board", str(board / "board")]) == 0, "the page alone"
    assert read(board / "board.json") == before


def test_fewer_gradients_or_no_checks_take_no_place(board, capsys):
    before = (board / "board.json").read_text()
    fewer = [*line(board)[:-1], str(board / "fewer"), "--budget=10"]
    assert main(fewer) == 1
    assert (
        "the board has it with 10 and 20 gradients, more than 10 and 10" in capsys.readouterr().err
    )
    with pytest.raises(SystemExit):
        main([*line(board), "--checks=off"])
    assert (board / "board.json").read_text() == before
    assert not (board / "fewer").exists(), "refused before anything was run"


def test_runs_of_other_settings_are_no_entry(board, capsys):
    before = (board / "board.json").read_text()
    assert main([*line(board), "--budget=30"]) == 1
    said = capsys.readouterr().err
    assert "holds cells of other settings: digits_dynconv14" in said
    assert "/worst (other attack); give another --out" in said
    assert (board / "board.json").read_text() == before


def test_a_card_that_claims_another_accuracy_is_not_taken(board, capsys):
    for suffix in ("safetensors", "json"):
        shutil.copy(ZOO / f"digits_dynconv14.{suffix}", board / f"claims.{suffix}")
    card = json.loads((board / "claims.json").read_text())
    for split in card["accuracy"].values():
        split["right"] -= 3
    (board / "claims.json").write_text(json.dumps(card))
    status = main([*line(board, "claims.safetensors"), "--limit", "null"])
    assert status == 1
    assert "claims is not taken: C5" in capsys.readouterr().err
    assert {each.name for each in read(board / "board.json")} == {"digits_dynconv14"}


def test_a_damaged_board_is_named(tmp_path, capsys):
    (tmp_path / "board.json").write_text("[{}]")
    assert main(["board", "--board", str(tmp_path / "board")]) == 1
    assert "is no board" in capsys.readouterr().err
    assert (tmp_path / "board.json").read_text() == "[{}]"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            "--board {0}/typo",
            "there is no board {0}/typo.json; give the path of one without suffix",
        ),
        (
            "--board {0}/x --add [] --data Digits",
            "there is no board {0}/x.json; give the path of one without",
        ),
        ("--board {0}/board --limit 3", "--limit is about attacks, and no victim is added; give "),
        ("--board {0}/board --data Digits", "--data is about attacks, and no victim is added"),
        ("--board {0}/page.json", "there is no board {0}/page.json.json; give the path of one wi"),
        ("{1} --board {0}/page.json", "page.json' is no path without suffix; give one such as {0}"),
        ("{1} --board {0}/board.json/b", "board.json/b cannot be written (File exists); give a "),
        ("{1} --board {0}/new --evaluations=1", "evaluations must be at least 10 gradients, got 1"),
        ("{1} --board {0}/new --processes=-1", "processes must be at least 1, got -1"),
    ],
)
def test_what_no_board_can_be_of_is_refused_before_any_attack(
    board, tmp_path, capsys, options, said
):
    before = {path.name for path in board.iterdir()}
    add = f"{LINE.removeprefix('board ')} --out {tmp_path}/runs --add {board}/digits_dynconv14"
    line = f"board {options}".format(board, f"{add}.safetensors")
    assert main(line.split()) == 1
    assert said.format(board) in capsys.readouterr().err.splitlines()[-2]
    assert {path.name for path in board.iterdir()} == before
    assert not (tmp_path / "runs" / "cells").exists()


def test_a_damaged_victim_is_refused_before_the_one_before_it(board, tmp_path, capsys):
    for suffix in ("safetensors", "json"):
        shutil.copy(ZOO / f"digits_dynconv14.{suffix}", tmp_path / f"bad.{suffix}")
    (tmp_path / "bad.safetensors").write_bytes(b"1234")
    added = f"[{board}/digits_dynconv14.safetensors,{tmp_path}/bad.safetensors]"
    args = [*LINE.split(), "--add", added, "--board", str(tmp_path / "b"), "--out", str(tmp_path)]
    assert main(args) == 1
    assert "bad.safetensors" in capsys.readouterr().err
    assert not (tmp_path / "cells").exists()


def test_one_entry_per_weights_images_and_budget():
    def made(**changes):
        values = dict.fromkeys(Entry.__dataclass_fields__, "")
        values |= {
            "evaluations": 10,
            "budget": 20,
            "sha256": "a",
            "data": {"sha256": "d"},
            "eps_255": 8.0,
            "worst": 10.0,
        }
        return Entry(**{**values, **changes})

    old = [made(), made(sha256="b", worst=30.0)]
    assert merged(old, [made(worst=20.0)]) == [old[1], made(worst=20.0)]
    assert len(merged(old, [made(eps_255=4.0)])) == 3
    assert len(merged(old, [made(budget=30)])) == 2
    with pytest.raises(BoardError, match="more than 10 and 19"):
        merged(old, [made(budget=19)])
