"""Token pruning: the family's contract, the choice among those present, its costs and training."""

import math

import pytest
import torch
import vit_reference
from family_contract import FamilyContract
from lightning.pytorch import Trainer
from tiny_images import CLASSES, train_loader, validation_loader
from vit_reference import randomised

from leadgrad.victims import (
    FGM,
    LGM,
    RelativeSigmoid,
    Sigmoid,
    gradient_method,
    record_decisions,
    record_occupancies,
)
from leadgrad.victims.networks.token_pruning import TokenPruning, among
from leadgrad.victims.occupancy.choice import Choice
from leadgrad.victims.training.adam import AdamOneCycle
from leadgrad.victims.training.budgeted import BudgetedClassifier
from leadgrad.victims.training.noisy import NoisyStraightThrough

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:GPU available but not used"),
]

SIZES = {"image_size": 8, "patch": 2, "width": 16, "depth": 3, "heads": 2, "stages": (1, 2)}


class TestTokenPruning(FamilyContract):
    """16 tokens, of which 11 and then 8 are kept."""

    varies = False

    def network(self):
        return randomised(TokenPruning(**SIZES, num_classes=4), gain=1.5)

    def reference(self, w, image):
        x = vit_reference.block(w, 0, vit_reference.embed(w, image), 2)
        present, decisions = torch.ones(16, dtype=torch.bool), []
        for number, kept in ((1, 11), (2, 8)):
            name, alive = f"predictors.{number - 1}", present.nonzero().flatten()
            hidden = vit_reference.norm(w, f"{name}.0", x[1:][alive], eps=1e-5)
            hidden = vit_reference.gelu(vit_reference.linear(w, f"{name}.1", hidden))
            scores = vit_reference.linear(w, f"{name}.3", hidden)[:, 0]
            present = torch.zeros(16, dtype=torch.bool)
            present[alive[scores.argsort(descending=True)[:kept]]] = True
            decisions.append(present)
            x = vit_reference.block_on(w, number, x, 2, present)
        return vit_reference.classify(w, x), decisions


def recorded(made, images, method):
    with gradient_method(made, method), record_decisions(made) as decisions:
        made(images)
    return decisions


def test_no_decision_is_near_its_boundary():
    contract = TestTokenPruning()
    for decision in recorded(contract.network(), contract.images(), FGM()):
        assert float(decision.margin.detach().abs().min()) > 1e-6


@pytest.mark.parametrize("method", [FGM(), LGM(Sigmoid(2.0), "hard"), NoisyStraightThrough()])
def test_none_that_is_pruned_comes_back(method):
    torch.manual_seed(0)
    contract = TestTokenPruning()
    for seed in range(5):
        torch.manual_seed(seed)
        first, second = (
            each.occupancy.bool()
            for each in recorded(contract.network(), contract.images(), method)
        )
        assert first.sum(1).tolist() == [11] * 6
        assert second.sum(1).tolist() == [8] * 6
        assert not bool((second & ~first).any())


def test_only_those_present_are_chosen_however_they_score():
    scores = torch.tensor([[9.0, 5.0, -4.0, -1e30, 1.0]])
    present = torch.tensor([[0.0, 1.0, 1.0, 1.0, 0.0]])
    assert Choice(2)(among(scores, present)).tolist() == [[0, 1, 1, 0, 0]]
    assert torch.equal(among(scores, present)[present == 1], scores[present == 1])


def test_the_relaxed_choice_tends_to_the_exact_one_with_its_slope():
    torch.manual_seed(0)
    first, second = (torch.randn(200, 10, dtype=torch.float64) for _ in range(2))
    exact = Choice(4)(among(second, Choice(7)(first)))
    distances = []
    for slope in (1.0, 10.0, 100.0, 1e9):
        before, behind = Choice(7), Choice(4)
        before.method = behind.method = LGM(Sigmoid(slope))
        relaxed = behind(among(second, before(first)))
        torch.testing.assert_close(relaxed.sum(1), torch.full((200,), 4.0).double())
        distances.append(float((relaxed - exact).abs().mean()))
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 1e-6


@pytest.mark.parametrize("slope", [0.1, 5.0, 300.0, 1e6])
@pytest.mark.parametrize("forward", ["soft", "hard"])
@pytest.mark.parametrize("surrogate", [Sigmoid, RelativeSigmoid])
def test_gradients_are_finite_at_any_slope(slope, forward, surrogate):
    torch.manual_seed(0)
    first, second = (torch.randn(50, 16).requires_grad_() for _ in range(2))
    before, behind = Choice(11), Choice(8)
    before.method = behind.method = LGM(surrogate(slope), forward)
    weights = torch.arange(16.0).sin()
    loss = (behind(among(second, before(first))) * weights).sum()
    for gradient in torch.autograd.grad(loss, (first, second)):
        assert bool(gradient.isfinite().all())


def test_costs_are_those_of_a_token_until_the_next_stage():
    made = TokenPruning(**{**SIZES, "depth": 6, "stages": (0, 2, 3)}, keep=0.5)
    token = 12 * 16**2 + 2 * 17 * 16
    assert made.kept == (8, 4, 2)
    assert made.unit_costs() == (2.0 * token, 1.0 * token, 3.0 * token)
    assert made.conditional_macs_total() == 16 * 6 * token
    with record_occupancies(made) as record:
        made(torch.rand(2, 3, 8, 8))
    assert made.conditional_macs(record).tolist() == [(8 * 2 + 4 + 2 * 3) * token] * 2


def test_the_default_keeps_seven_tenths_thrice():
    assert TokenPruning(width=12).kept == (45, 31, 22)  # of 64


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stages": ()}, r"ascending numbers of blocks from 0 to 2, got \[\]; name at least one"),
        ({"stages": (2, 1)}, r"got \[2, 1\]"),
        ({"stages": (1, 1)}, r"got \[1, 1\]"),
        ({"stages": (1, 3)}, r"got \[1, 3\]"),
        ({"keep": 1.0}, r"must lie in \(0, 1\), got 1.0"),
        ({"keep": math.nan}, "got nan"),
        ({"keep": 0.99}, "leaves 16 of 16 tokens at a stage, .* choose another keep"),
        ({"keep": 0.1}, "leaves 0 of 2 tokens"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TokenPruning(**{**SIZES, **settings})


def test_it_learns(tmp_path):
    torch.manual_seed(0)
    network = TokenPruning(**SIZES, num_classes=CLASSES)
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
    assert metrics["val_executed_share"] == pytest.approx((11 + 8) / 32)
    assert "train/budget_loss" not in metrics
