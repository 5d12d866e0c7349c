"""Block gating: the family's contract, its costs, and its training under a budget."""

import pytest
import torch
import torch.nn.functional as F
from family_contract import FamilyContract
from lightning.pytorch import Trainer
from tiny_images import CLASSES, train_loader, validation_loader

from leadgrad.victims import FGM, ResNet, record_decisions, record_occupancies
from leadgrad.victims.networks.gumbel_gating import GumbelGating
from leadgrad.victims.training.budgeted import BudgetedClassifier
from leadgrad.victims.training.noisy import NoisyStraightThrough
from leadgrad.victims.training.recipe import SGDOneCycle
from leadgrad.victims.weights.backbone import load_backbone

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:GPU available but not used"),
]


def norm(w, name, x):
    shape = (-1, 1, 1)
    mean, var = w[f"{name}.running_mean"].view(shape), w[f"{name}.running_var"].view(shape)
    scale, bias = w[f"{name}.weight"].view(shape), w[f"{name}.bias"].view(shape)
    return (x - mean) / (var + 1e-5).sqrt() * scale + bias


class TestGumbelGating(FamilyContract):
    """Depth 8: three blocks, two of which change the map's shape."""

    def network(self):
        torch.manual_seed(0)
        made = GumbelGating(8, 4, image_size=self.size).double().eval()
        with torch.no_grad():
            for chooser in made.choosers:
                chooser[4].weight.mul_(8)
                with record_decisions(made) as decisions:
                    made(self.images())
                number = list(made.choosers).index(chooser)
                margins = decisions[number].margin.sort().values
                # Between two samples, none of which lies on the decision
                chooser[4].bias[1] -= margins[2:4].mean()
        return made

    def reference(self, w, image):
        mean = torch.tensor([0.4914, 0.4822, 0.4465]).view(-1, 1, 1)
        std = torch.tensor([0.2023, 0.1994, 0.2010]).view(-1, 1, 1)
        x = ((image - mean) / std)[None]
        x = norm(w, "bn1", F.conv2d(x, w["conv1.weight"], padding=1)).relu()
        decisions = []
        for number in range(3):
            block, gate = f"layer{number + 1}.0", f"choosers.{number}"
            hidden = norm(
                w, f"{gate}.2", F.conv2d(x.mean((2, 3), keepdim=True), w[f"{gate}.1.weight"])
            )
            logits = F.conv2d(hidden.relu(), w[f"{gate}.4.weight"], w[f"{gate}.4.bias"]).flatten()
            execute = logits[1] > logits[0]
            decisions.append(execute)
            stride = 2 if number else 1
            y = x
            if stride == 2:
                y = norm(
                    w,
                    f"{block}.downsample.1",
                    F.conv2d(x, w[f"{block}.downsample.0.weight"], stride=2),
                )
            if execute:
                inner = F.conv2d(x, w[f"{block}.conv1.weight"], stride=stride, padding=1)
                inner = norm(w, f"{block}.bn1", inner).relu()
                y = y + norm(
                    w, f"{block}.bn2", F.conv2d(inner, w[f"{block}.conv2.weight"], padding=1)
                )
            x = y.relu()
        return w["fc.weight"] @ x.mean((0, 2, 3)) + w["fc.bias"], decisions


def test_costs_are_the_macs_of_the_blocks_convs():
    made, x = GumbelGating(14, image_size=16).double().eval(), torch.rand(1, 3, 16, 16).double()
    counted = {}

    def count(module, _, out):
        counted[module] = out[0, 0].numel() * module.weight.numel()

    for block in made.blocks():
        for conv in (block.conv1, block.conv2):
            conv.register_forward_hook(count)
    for chooser in made.choosers:
        chooser[4].bias.data[1] = 100.0  # all execute
    with record_occupancies(made) as record:
        made(x)
    assert (
        sum(counted.values()) == made.conditional_macs_total() == int(made.conditional_macs(record))
    )
    assert made.unit_costs() == tuple(
        float(counted[block.conv1] + counted[block.conv2]) for block in made.blocks()
    )


def test_with_all_gates_open_it_is_its_static_twin():
    torch.manual_seed(0)
    twin, made = ResNet(14, 4, shortcut="B").double().eval(), GumbelGating(14, 4).double().eval()
    load_backbone(made, twin.state_dict())
    x = torch.rand(2, 3, 16, 16).double()
    for chooser in made.choosers:
        chooser[4].bias.data[1] = 100.0
    torch.testing.assert_close(made(x), twin(x))


@pytest.mark.parametrize("budget", [0.3, 0.8])
def test_training_holds_the_budget_and_learns(budget, tmp_path):
    torch.manual_seed(0)
    module = BudgetedClassifier(
        GumbelGating(14, CLASSES), SGDOneCycle(0.05, warmup=0.2), budget=budget, budget_weight=20
    )
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
    assert metrics["train/executed_share"] == pytest.approx(budget, abs=0.2)
    assert 0 <= metrics["val_executed_share"] <= 1
    assert metrics["train/budget_loss"] == pytest.approx(
        20 * (metrics["train/executed_share"] - budget) ** 2, abs=0.5
    )


def test_noise_tries_both_sides_and_the_gradient_is_the_relaxations():
    torch.manual_seed(0)
    margin = torch.linspace(-3, 3, 7, dtype=torch.float64).repeat(2000, 1).requires_grad_()
    made = NoisyStraightThrough(2.0).occupancy(margin, margin > 0)
    assert set(made.detach().unique().tolist()) == {0.0, 1.0}
    share = made.detach().mean(0)
    # The difference of two Gumbel numbers is logistic
    torch.testing.assert_close(share, torch.sigmoid(margin[0].detach()), atol=0.04, rtol=0)
    (gradient,) = torch.autograd.grad(made.sum(), margin)
    assert bool((gradient > 0).all())
    assert float(gradient.max()) <= 0.25 / 2.0 + 1e-9


def test_a_noisy_choice_takes_k_and_leads():
    torch.manual_seed(0)
    scores = torch.randn(500, 6, dtype=torch.float64).requires_grad_()
    made = NoisyStraightThrough().choice(scores, torch.zeros(500, 6, dtype=torch.bool), 2)
    assert bool((made.detach().round().sum(1) == 2).all())
    (gradient,) = torch.autograd.grad((made * torch.arange(6.0)).sum(), scores)
    assert bool(gradient.any())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"budget": 0.0}, r"must lie in \(0, 1\], got 0.0"),
        ({"budget_weight": -1.0}, "budget_weight must be at least 0"),
        ({"temperature": 0.0}, "temperature must be above 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        BudgetedClassifier(GumbelGating(8), **settings)


def test_gates_that_are_constant_pay_if_each_has_the_budget(monkeypatch):
    made = GumbelGating(14, CLASSES)
    for number, chooser in enumerate(made.choosers):  # three of six execute, for any image
        chooser[4].weight.data.zero_()
        chooser[4].bias.data[1] = 9.0 if number % 2 else -9.0
    monkeypatch.setattr(BudgetedClassifier, "straight_through", FGM())
    for each_gate in (False, True):
        module = BudgetedClassifier(made, budget=0.5, budget_weight=20, each_gate=each_gate)
        _, terms = module.training_loss(next(iter(train_loader(16))))
        off = float(terms["executed_share"]) - 0.5
        assert abs(off) < 0.1
        paid = 20 * (0.25 if each_gate else off**2)
        assert float(terms["budget_loss"]) == pytest.approx(paid, abs=1e-4)


@pytest.mark.parametrize("bias", [float("nan"), float("inf")])
def test_a_bias_that_is_no_margin_is_refused(bias):
    with pytest.raises(ValueError, match="bias must be a finite margin"):
        GumbelGating(8, bias=bias)
