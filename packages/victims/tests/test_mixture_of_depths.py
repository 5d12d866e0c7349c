"""Mixture of depths: the family's contract, its costs, and its training."""

import math

import pytest
import torch
import vit_reference
from family_contract import FamilyContract
from lightning.pytorch import Trainer
from tiny_images import CLASSES, train_loader, validation_loader
from vit_reference import randomised

from leadgrad.victims import record_decisions, record_occupancies
from leadgrad.victims.networks.mixture_of_depths import MixtureOfDepths
from leadgrad.victims.training.adam import AdamOneCycle
from leadgrad.victims.training.budgeted import BudgetedClassifier

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:GPU available but not used"),
]

SIZES = {"image_size": 8, "patch": 2, "width": 16, "depth": 4, "heads": 2}


class TestMixtureOfDepths(FamilyContract):
    """16 tokens, of which 5 pass the second and the fourth block."""

    varies = False

    def network(self):
        return randomised(MixtureOfDepths(**SIZES, num_classes=4, capacity=0.3))

    def reference(self, w, image):
        x, decisions = vit_reference.embed(w, image), []
        for number in range(4):
            if number % 2 == 0:
                x = vit_reference.block(w, number, x, 2)
                continue
            scores = vit_reference.linear(w, f"routers.{number // 2}", x[1:])[:, 0]
            passing = scores.argsort(descending=True)[:5]
            decisions.append(torch.zeros(16, dtype=torch.bool).index_fill(0, passing, True))
            rows = torch.cat([torch.zeros(1, dtype=torch.long), passing + 1])
            share = torch.cat([torch.ones(1), scores[passing].sigmoid()])[:, None]
            made = vit_reference.block(w, number, x[rows], 2)
            x = x.index_copy(0, rows, x[rows] + share * (made - x[rows]))
        return vit_reference.classify(w, x), decisions


def test_no_decision_is_near_its_boundary():
    contract = TestMixtureOfDepths()
    made = contract.network()
    with record_decisions(made) as decisions:
        made(contract.images())
    for decision in decisions:
        assert float(decision.margin.detach().abs().min()) > 1e-6
        assert decision.hard.sum(1).tolist() == [5] * 6


def test_costs_are_those_of_a_token_in_a_block_with_a_router():
    made = MixtureOfDepths(**{**SIZES, "depth": 7}, every=3)
    token = 12 * 16**2 + 2 * 17 * 16
    assert made.unit_costs() == (float(token),) * 2
    assert made.conditional_macs_total() == 2 * 16 * token
    with record_occupancies(made) as record:
        made(torch.rand(2, 3, 8, 8))
    assert made.conditional_macs(record).tolist() == [2 * 4 * token] * 2


def test_blocks_have_routers_in_their_turn():
    made = MixtureOfDepths(**SIZES, every=1)
    with record_occupancies(made) as record:
        made(torch.rand(1, 3, 8, 8))
    assert len(record) == len(made.routers) == 4


@pytest.mark.parametrize(("capacity", "passing"), [(0.125, 2), (0.13, 3), (0.25, 4), (1e-6, 1)])
def test_the_capacity_is_rounded_up(capacity, passing):
    assert MixtureOfDepths(**SIZES, capacity=capacity).choices[0].k == passing


def test_a_whole_number_is_not_rounded_up():
    made = MixtureOfDepths(image_size=20, patch=2, width=4, depth=2, heads=1, capacity=0.07)
    assert 0.07 * 100 > 7
    assert made.choices[0].k == 7


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"every": 0}, "every must be a whole number of at least 1, got 0"),
        ({"every": 5}, "every must be at most depth = 4, got 5; no block would have a router"),
        ({"capacity": 0.0}, r"must lie in \(0, 1\), got 0.0"),
        ({"capacity": math.nan}, "got nan"),
        ({"capacity": 0.95}, "capacity = 0.95 of 16 tokens, rounded up, lets all of them pass"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        MixtureOfDepths(**{**SIZES, **settings})


def test_it_learns(tmp_path):
    torch.manual_seed(0)
    network = MixtureOfDepths(**{**SIZES, "depth": 2}, num_classes=CLASSES)
    module = BudgetedClassifier(network, AdamOneCycle(5e-3), budget=None)
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=tmp_path,
        max_epochs=8,
    )
    trainer.fit(module, train_loader(120), validation_loader())
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert metrics["val_accuracy"] > 80
    assert metrics["val_executed_share"] == pytest.approx(0.25)
