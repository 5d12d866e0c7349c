"""``leadgrad publish``: a fit's weights with a card whose numbers are the attack's own."""

import json
import re
from dataclasses import replace

import pytest
import torch
from rich.console import Console
from run_config import QUIET, arguments, attack, attack_config, fit_config

from leadgrad.attacks import FGSM, PixelLinf
from leadgrad.pipelines import api
from leadgrad.pipelines.api.cells import Campaign, Cell
from leadgrad.pipelines.attack.task import Task
from leadgrad.pipelines.cli import main
from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.pipelines.runs.zoo import Card, CardError
from leadgrad.pipelines.tasks.images.clean import answered
from leadgrad.victims import FGM, DynConv, SkipNet, load_published, record_occupancies
from leadgrad.victims.weights.checkpoints import read_state

SPLITS = {"train", "validation", "heldout", "test"}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo")
    assert main(arguments("fit", fit_config(), folder / "fit")) == 0
    target = folder / "small.safetensors"
    assert main(["publish", str(folder / "fit"), str(target), "--device", "a test's CPU"]) == 0
    return target


def test_the_card_says_what_it_is_and_how_it_came(zoo):
    card = Card.read(zoo)
    fit = RunDirectory(zoo.parent / "fit")
    assert card.content["network"]["class_path"] == "leadgrad.victims.SkipNet"
    assert card.content["network"]["init_args"]["depth"] == 8
    assert set(card.content["accuracy"]) == SPLITS
    command = card.content["command"]
    assert command.startswith("leadgrad fit --config")
    assert str(zoo.parent) not in command
    assert str(zoo.parent) in fit.run()["command"], "which the run itself keeps"
    assert card.content["training"]["epochs"] == 4
    assert card.content["training"]["wall_s"] > 0
    assert card.content["training"]["device"] == "a test's CPU"
    assert card.content["bytes"] == zoo.stat().st_size
    assert card.content["cost"]["gates"] == 2
    assert {manifest["sha256"] for manifest in card.content["data"].values()} != {None}


def test_what_is_printed_has_names_and_units(zoo, capsys):
    target = zoo.parent / "printed.safetensors"
    assert main(["publish", str(zoo.parent / "fit"), str(target), "--device", "a test's CPU"]) == 0
    cost = Card.read(target).content["cost"]
    printed = " ".join(re.sub("[│\\n]", " ", capsys.readouterr().out).split())
    assert f"executed share {cost['executed_share_percent']:.2f} % of what all units" in printed
    assert f"conditional MACs {100 * cost['conditional_cost']:.2f} % of all" in printed
    assert f"gates 2, of them {cost['varying_gates']} vary with the image" in printed
    assert "{" not in printed


def test_a_kind_of_data_of_ones_own_prints_its_cost_plainly():
    assert Task.cost_rows(None, {"joules": 2.5}) == [("joules", "2.5")]


def test_an_attack_of_a_published_victim_starts_from_the_cards_count(zoo, tmp_path):
    card = Card.read(zoo)
    data = fit_config()["data"]
    config = attack_config(data=data, model__network=card.content["network"])
    results = attack(config, tmp_path / "run", f"--model.weights={zoo}")
    assert (results["counts"]["clean"], results["counts"]["samples"]) == card.right("test")


def test_altered_weights_are_refused_wherever_they_are_configured(zoo, tmp_path, capsys):
    altered = tmp_path / zoo.name
    data = bytearray(zoo.read_bytes())
    data[-5] ^= 1
    altered.write_bytes(data)
    altered.with_suffix(".json").write_bytes(zoo.with_suffix(".json").read_bytes())
    args = arguments("attack", attack_config(), tmp_path / "run", f"--model.weights={altered}")
    assert main(args) == 1
    assert "SHA-256" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_card_without_a_digest_is_refused(zoo, tmp_path, capsys):
    (tmp_path / zoo.name).write_bytes(zoo.read_bytes())
    (tmp_path / zoo.name).with_suffix(".json").write_text("{}")
    args = arguments(
        "attack", attack_config(), tmp_path / "run", f"--model.weights={tmp_path / zoo.name}"
    )
    assert main(args) == 1
    assert "gives no sha256" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "[]", json.dumps({"network": {}})])
def test_a_damaged_card_is_named(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(CardError, match=r"x\.json is no card"):
        Card.read(tmp_path / "x.safetensors")


def test_the_epoch_that_did_best_on_validation_can_be_published(zoo):
    fit, target = zoo.parent / "fit", zoo.parent / "best.safetensors"
    options = ["--device", "d", "--checkpoint", "best"]
    assert main(["publish", str(fit), str(target), *options]) == 0
    (kept,) = (fit / "checkpoints").glob("best-*.ckpt")
    training = Card.read(target).content["training"]
    assert f"epoch{training['published_epoch'] - 1}-" in kept.name
    assert training["chosen_by"] == "val_accuracy"
    validation = Card.read(target).content["accuracy"]["validation"]
    assert validation["percent"] == pytest.approx(training["val_accuracy"], abs=0.001)
    network = load_published(SkipNet(8, num_classes=2), target)
    expected = load_published(SkipNet(8, num_classes=2), kept)
    for name, value in network.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name]), name
    for checkpoint in (fit / "checkpoints").glob("best-*"):
        checkpoint.rename(checkpoint.with_name("moved.ckpt"))
    assert main(["publish", str(fit), str(target), *options]) == 1


def test_an_unfinished_fit_is_not_published(tmp_path, capsys):
    assert main(["publish", str(tmp_path), str(tmp_path / "x.safetensors"), "--device", "d"]) == 1
    assert "holds no finished fit" in capsys.readouterr().err


FACTORY = {
    "class_path": "own_factories.create_model",
    "init_args": {"name": "gated"},
    "dict_kwargs": {"num_classes": 2, "width": 6},
}


def factory_fit(network):
    config = fit_config(model__class_path="leadgrad.victims.training.classifier.Classifier")
    config["model"]["init_args"]["network"] = network
    return config


def test_a_network_of_a_function_with_kwargs_is_made_again_by_its_card(tmp_path):
    target = tmp_path / "gated.safetensors"
    assert main(arguments("fit", factory_fit(FACTORY), tmp_path / "fit")) == 0
    assert main(["publish", str(tmp_path / "fit"), str(target), "--device", "d"]) == 0
    card = Card.read(target)
    assert card.content["network"]["dict_kwargs"] == FACTORY["dict_kwargs"]
    network = card.load()
    assert (network.head.in_features, network.head.out_features) == (6, 2)
    attacked = (card, fit_config()["data"], FGSM(PixelLinf(4)))
    results = api.attack(*attacked, run_dir=tmp_path / "run", checks="off", trainer=QUIET)
    assert results["counts"]["clean"] == card.right("test")[0]


def test_a_victim_that_its_card_does_not_make_again_is_told(tmp_path, capsys):
    unsteady = {**FACTORY, "init_args": {"name": "unsteady"}}
    assert main(arguments("fit", factory_fit(unsteady), tmp_path / "fit")) == 0
    target = str(tmp_path / "x.safetensors")
    assert main(["publish", str(tmp_path / "fit"), target, "--device", "d"]) == 1
    assert "gives other logits than the network that was trained" in capsys.readouterr().err


def test_keyword_arguments_in_the_wrong_place_are_sent_to_the_right_one(tmp_path, capsys):
    wrong = {**FACTORY, "init_args": {"name": "gated", "num_classes": 2}}
    del wrong["dict_kwargs"]
    with pytest.raises(SystemExit):
        main(arguments("fit", factory_fit(wrong), tmp_path / "fit"))
    said = capsys.readouterr().err
    assert "'num_classes'" in said
    assert "further arguments as dict_kwargs: {num_classes: ...}, beside init_args" in said
    misspelt = fit_config()
    misspelt["model"]["init_args"]["network"]["init_args"]["dept"] = 8
    with pytest.raises(SystemExit):
        main(arguments("fit", misspelt, tmp_path / "fit"))
    said = capsys.readouterr().err
    assert "the nearest valid one is 'depth'" in said
    assert "dict_kwargs" not in said


def test_half_of_the_bytes_are_of_the_rounded_victim(zoo, tmp_path):
    target = tmp_path / "half.safetensors"
    args = [str(zoo.parent / "fit"), str(target), "--device", "a test's CPU", "--half=true"]
    assert main(["publish", *args]) == 0
    assert target.stat().st_size < 0.7 * zoo.stat().st_size
    whole, half = read_state(zoo), read_state(target)
    for name, value in half.items():
        assert torch.equal(value, whole[name].half() if whole[name].dim() >= 2 else whole[name])
    loaded = Card.read(target).load().state_dict().values()
    assert not any(value.dtype == torch.float16 for value in loaded)


def test_a_table_knows_its_runs_on_half_of_the_bytes_again(zoo, tmp_path):
    target = tmp_path / "half.safetensors"
    args = [str(zoo.parent / "fit"), str(target), "--device", "a test's CPU", "--half=true"]
    assert main(["publish", *args]) == 0
    card = Card.read(target)
    assert card.whole_sha256 != card.content["sha256"]
    trainer = {"accelerator": "cpu", "enable_model_summary": False}
    campaign = Campaign(tmp_path / "table", fit_config()["data"], "off", trainer)
    cell = Cell("half/fgsm", card, FGSM(PixelLinf(8)), FGM())
    campaign.run([cell], Console(quiet=True))
    assert campaign.of(cell).run()["fingerprint"]["weights_sha256"] == card.whole_sha256
    campaign.require_own([cell])
    whole = replace(cell, network=Card.read(zoo))
    with pytest.raises(ValueError, match="other weights"):
        campaign.require_own([whole])
    node = card.content["network"]
    plain = {"depth": 8, "num_classes": 2}
    assert plain.items() < node["init_args"].items()
    unpublished = replace(cell, network={**node, "init_args": plain}, weights=target)
    campaign.require_own([unpublished])  # what is left out is the default
    with pytest.raises(ValueError, match="other network"):
        campaign.require_own([replace(unpublished, network={**node, "init_args": {"depth": 14}})])
    other = {**node, "init_args": {**node["init_args"], "image_size": 16}}
    with pytest.raises(ValueError, match="other network"):
        campaign.require_own(
            [replace(cell, network=Card(target, {**card.content, "network": other}))]
        )


def test_a_failed_half_leaves_what_was_published(zoo, tmp_path, monkeypatch, capsys):
    target = tmp_path / "half.safetensors"
    target.write_bytes(b"before")
    monkeypatch.setattr("leadgrad.pipelines.commands.publish.round_to_half", lambda network: None)
    args = [str(zoo.parent / "fit"), str(target), "--device", "a test's CPU", "--half=true"]
    assert main(["publish", *args]) == 1
    assert "call round_to_half first" in " ".join(capsys.readouterr().err.split())
    assert target.read_bytes() == b"before"


def test_the_card_counts_the_decisions_that_vary(zoo, monkeypatch):
    """Of masks, whose places count each, in batches that are not alike; beside a count by hand."""
    cost = Card.read(zoo).content["cost"]
    shown = round(100 * cost["varying_gates"] / cost["gates"], 2)  # a gate here is one unit
    assert cost["varying_decisions_percent"] == shown
    monkeypatch.setattr("leadgrad.pipelines.tasks.images.clean.BATCH", 5)
    torch.manual_seed(0)
    network, data = DynConv(8, 2).eval(), instantiate(fit_config()["data"])
    measured = answered(network, data, "heldout")
    images = torch.cat([batch["image"] for batch in data.batches("heldout", 250)])
    with torch.no_grad(), record_occupancies(network) as record:
        network(images)
    shares = torch.cat([unit.double().mean(0).flatten() for unit in record])
    assert measured.varying == pytest.approx(
        100 * float(((shares > 0) & (shares < 1)).double().mean())
    )
    assert 0 < measured.varying < 100
    by_hand = torch.stack([100 * unit.double().mean() for unit in record])
    torch.testing.assert_close(measured.executed, by_hand)
    priced = list(zip(network.unit_costs(), record, strict=True))
    spent = sum(cost * int(unit.sum()) for cost, unit in priced)
    whole = sum(cost * unit.numel() for cost, unit in priced)
    assert measured.share == pytest.approx(100 * spent / whole)
