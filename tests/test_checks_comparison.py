"""C5 and C21: what others wrote down, and what contradicts it."""

import json

import pytest
from checks_subjects import DATA, SAMPLES, network, reported, subject

from leadgrad.pipelines.checks import (
    TuningError,
    TuningRecord,
    card_accuracy,
    fair_comparison,
    run_checks,
)
from leadgrad.pipelines.checks.comparison import above_chance, against_card

MANIFEST = DATA.manifest()


@pytest.fixture
def weights(tmp_path):
    return tmp_path / "net.safetensors"


def card(weights, split="test", **entry):
    weights.with_suffix(".json").write_text(json.dumps({"accuracy": {split: entry}}))


@pytest.mark.parametrize(("right", "verdict"), [(SAMPLES, "PASS"), (SAMPLES - 1, "FAIL")])
def test_c5_counts(weights, right, verdict):
    card(weights, right=right, count=SAMPLES, percent=0)
    check = against_card(reported(weights=weights))
    assert check.verdict == verdict
    assert check.value == f"16 right, {right} on the card, of 16"


def test_c5_nothing_to_compare_with(weights):
    assert against_card(reported()).value == "no weights file given"
    assert card_accuracy(weights, "test") is None
    card(weights, split="validation", right=1, count=SAMPLES)
    assert "that counts right answers on test" in against_card(reported(weights=weights)).value
    card(weights, right=1, count=10_000)
    assert "16 samples attacked, the card counts 10000" in (
        against_card(reported(weights=weights)).value
    )
    weights.with_suffix(".json").write_text("{")
    check = against_card(reported(weights=weights))
    assert check.verdict == "SKIP"


@pytest.mark.parametrize(
    ("right", "verdict"), [(4, "WARN"), (7, "WARN"), (9, "PASS"), (16, "PASS"), (0, "WARN")]
)
def test_c5_no_better_than_chance(right, verdict):
    check = above_chance(reported(right=right), 4)
    assert (check.id, check.verdict) == ("C5", verdict), check.value
    assert f"{right} of 16 right" in check.value


def test_c5_tells_how_a_victim_gets_better_than_chance(weights):
    """Weights that were given are not asked for again first."""
    asked = above_chance(reported(right=3), 4).remedy
    assert asked.startswith("give the victim's weights (--model.weights), classes in the order")
    asked = above_chance(reported(right=3, weights=weights), 4).remedy
    assert asked.startswith("train the victim longer, or give other weights (--model.weights)")


def test_c5_asks_for_chance_without_a_card():
    told = []
    checks = run_checks(subject(network()), "fast", reported(right=3), told.append)
    computed = {check.id for check in checks} - {"C6", "C21"}  # those are only read
    assert computed <= set(told), "each is told of before it is made"
    (check,) = [check for check in checks if check.name == "clean accuracy above chance"]
    assert check.verdict == "WARN"


def record(split="validation", sha256="0" * 64, **tries):
    return TuningRecord(split, sha256, tries or {"FGM": 3, "LGM": 3})


@pytest.mark.parametrize(
    ("tuning", "verdict", "words"),
    [
        (None, "SKIP", "no tuning record given"),
        (record(), "PASS", "on validation; tries: FGM 3, LGM 3"),
        (record(split="test"), "WARN", "tuned on the samples it is reported on"),
        (record(sha256=MANIFEST["sha256"]), "WARN", "tuned on the samples it is reported on"),
        (record(FGM=1, LGM=3), "WARN", "unequal tries; on validation; tries: FGM 1, LGM 3"),
    ],
)
def test_c21_lambda_tuned_on_test(tuning, verdict, words):
    check = fair_comparison(tuning, MANIFEST)
    assert check.verdict == verdict
    assert words in check.value


def test_a_tuning_record_is_read(tmp_path):
    path = tmp_path / "tuning.json"
    path.write_text(json.dumps(record().as_json()))
    assert TuningRecord.read(path) == record()


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        '{"split": 1, "sha256": "0", "tries": {"FGM": 1}}',
        '{"split": "a", "sha256": "0", "tries": {}}',
        '{"split": "a", "sha256": "0", "tries": {"FGM": 0}}',
        '{"split": "a", "sha256": "0", "tries": {"FGM": "3"}}',
    ],
)
def test_no_tuning_record(tmp_path, content):
    path = tmp_path / "tuning.json"
    path.write_text(content)
    with pytest.raises(TuningError, match="no tuning record"):
        TuningRecord.read(path)
    with pytest.raises(TuningError, match="no tuning record"):
        TuningRecord.read(tmp_path / "none.json")
