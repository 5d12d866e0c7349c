"""Token halting: the family's contract, its margins and costs, and its training under a budget."""

import itertools
import math

import pytest
import torch
import vit_reference
from family_contract import FamilyContract
from lightning.pytorch import Trainer
from tiny_images import CLASSES, train_loader, validation_loader
from vit_reference import randomised

from leadgrad.victims import (
    LGM,
    Sigmoid,
    gradient_method,
    record_decisions,
    record_occupancies,
)
from leadgrad.victims.networks.token_halting import TokenHalting
from leadgrad.victims.training.adam import AdamOneCycle
from leadgrad.victims.training.budgeted import BudgetedClassifier

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:GPU available but not used"),
]

SIZES = {"image_size": 8, "patch": 2, "width": 16, "depth": 4, "heads": 2}


class TestTokenHalting(FamilyContract):
    """16 tokens, four blocks, three gates."""

    def network(self):
        return randomised(TokenHalting(**SIZES, num_classes=4, gamma=2.0, beta=1.0))

    def reference(self, w, image):
        x = vit_reference.block(w, 0, vit_reference.embed(w, image), 2)
        spent, decisions = torch.zeros(16, dtype=torch.float64), []
        for number in (1, 2, 3):
            spent = spent + torch.sigmoid(2 * x[1:, 0] - 1)
            decisions.append(spent < 0.99)
            x = vit_reference.block_on(w, number, x, 2, decisions[-1])
        return vit_reference.classify(w, x), decisions


def test_no_decision_is_near_its_boundary_and_what_has_halted_stays_so():
    contract = TestTokenHalting()
    made = contract.network()
    with record_decisions(made) as decisions:
        made(contract.images())
    for decision in decisions:
        assert float(decision.margin.detach().abs().min()) > 1e-6
    for before, behind in itertools.pairwise(decisions):
        assert not bool((behind.hard & ~before.hard).any())
        assert bool((behind.margin < before.margin).all())


def test_relaxed_occupancies_fall_along_the_depth():
    contract = TestTokenHalting()
    made = contract.network()
    with gradient_method(made, LGM(Sigmoid(3.0))), record_decisions(made) as decisions:
        made(contract.images())
    for before, behind in itertools.pairwise(decisions):
        assert bool((behind.occupancy < before.occupancy).all())


def test_hardly_a_token_halts_before_training():
    torch.manual_seed(0)
    made = TokenHalting(image_size=8, patch=4, width=48, depth=4)
    with record_occupancies(made) as record:
        made(torch.rand(50, 3, 8, 8))
    assert float(torch.stack(record).double().mean()) > 0.95


def test_where_none_halts_every_token_is_paid_for():
    made = TokenHalting(**SIZES, beta=1e3)
    with record_occupancies(made) as record:
        made(torch.rand(2, 3, 8, 8))
    assert made.conditional_macs(record).tolist() == [made.conditional_macs_total()] * 2


def test_costs_are_those_of_the_tokens_in_the_blocks_behind_a_gate():
    made = TestTokenHalting().network()
    assert made.unit_costs() == (float(12 * 16**2 + 2 * 17 * 16),) * 3
    with record_occupancies(made) as record:
        made(TestTokenHalting().images())
    passed = sum(units.sum(1) for units in record)
    assert made.conditional_macs(record).tolist() == (passed * made.token_macs()).tolist()
    assert made.conditional_macs_total() == 3 * 16 * made.token_macs()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 1}, "depth must be at least 2, got 1; no gate"),
        ({"gamma": 0.0}, "gamma must be finite and above 0, got 0.0; 5 is published"),
        ({"gamma": math.inf}, "got inf"),
        ({"beta": math.nan}, "beta must be finite, got nan; 10 is published"),
        ({"eps": 0.0}, r"eps must lie in \(0, 1\), got 0.0"),
        ({"eps": 1.0}, "got 1.0; 0.01 is published"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TokenHalting(**{**SIZES, **settings})


def test_training_holds_the_budget_and_learns(tmp_path):
    torch.manual_seed(0)
    network = TokenHalting(**{**SIZES, "patch": 4, "depth": 3}, num_classes=CLASSES, beta=2.0)
    module = BudgetedClassifier(network, AdamOneCycle(5e-3), budget=0.5, budget_weight=20)
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=tmp_path,
        max_epochs=10,
    )
    trainer.fit(module, train_loader(120), validation_loader())
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert metrics["val_accuracy"] > 80
    assert metrics["train/executed_share"] == pytest.approx(0.5, abs=0.2)
    assert 0 < metrics["val_executed_share"] < 1
