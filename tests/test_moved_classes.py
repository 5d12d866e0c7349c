"""Runs and cards of former versions name classes where they were then."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from leadgrad.pipelines.config.instantiate import imported, instantiate
from leadgrad.pipelines.config.moved import MOVED, present
from leadgrad.pipelines.runs.zoo import Card
from leadgrad.victims import SkipNet, load_published, save_weights

CARDS = sorted((Path(__file__).parents[1] / "zoo").glob("*.safetensors"))


@pytest.mark.parametrize("former", MOVED)
def test_a_former_module_is_none_now_and_the_present_one_is_there(former):
    assert find_spec(former) is None
    assert find_spec(MOVED[former]) is not None


def test_nodes_within_nodes():
    former = {
        "class_path": "leadgrad.victims.skipnet_training.SkipNetClassifier",
        "init_args": {
            "network": {"class_path": "leadgrad.victims.skipnet.SkipNet", "init_args": {}},
            "several": [
                {"class_path": "leadgrad.victims.methods.FGM"},
                3,
                "methods.FGM",
            ],
        },
    }
    made = present(former)
    assert imported(made["class_path"]).__name__ == "SkipNetClassifier"
    assert made["init_args"]["network"]["class_path"] == "leadgrad.victims.networks.skipnet.SkipNet"
    assert made["init_args"]["several"][1:] == [3, "methods.FGM"]
    assert present(made) == made


def test_an_object_of_a_former_path():
    made = instantiate(
        {"class_path": "leadgrad.victims.skipnet.SkipNet", "init_args": {"depth": 8}}
    )
    assert isinstance(made, SkipNet)


@pytest.mark.parametrize("weights", CARDS, ids=lambda path: path.stem)
def test_every_published_victim_loads(weights):
    Card.read(weights).load()


@pytest.mark.parametrize("weights", CARDS, ids=lambda path: path.stem)
def test_a_card_has_the_digest_that_runs_keep(weights, tmp_path):
    """The file's own, or of one of half the bytes that of its weights saved whole."""
    card = Card.read(weights)
    network = load_published(instantiate(card.content["network"]), weights)
    assert save_weights(network, tmp_path / weights.name) == card.whole_sha256
