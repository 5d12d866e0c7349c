"""Mixture of experts: the family's contract, its costs, its balancing loss, and its training."""

import math

import pytest
import torch
import torch.nn.functional as F
from family_contract import FamilyContract
from lightning.pytorch import Trainer
from tiny_images import CLASSES, train_loader, validation_loader, whole_batch

from leadgrad.victims import ResNet, record_decisions, record_occupancies
from leadgrad.victims.networks.mixture_of_experts import (
    MixtureClassifier,
    MixtureOfExperts,
    balance,
)
from leadgrad.victims.occupancy.choice import Choice
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


def images(count=6):
    return FamilyContract().images(count)


class TestMixtureOfExperts(FamilyContract):
    """Depth 8: three blocks, in each of which one of four experts runs."""

    varies = False
    top = 1

    def network(self):
        torch.manual_seed(0)
        made = MixtureOfExperts(8, 4, top=self.top, image_size=self.size).double().eval()
        with torch.no_grad():
            for number, block in enumerate(made.blocks()):
                with record_decisions(made) as decisions:
                    made(self.images())
                # Around the mean of the logits, so that no expert has every image
                margin = decisions[number].margin
                block.router.bias.sub_(margin.mean(0))
                block.router.weight.mul_(8)
                block.router.bias.mul_(8)
        return made

    def reference(self, w, image):
        mean = torch.tensor([0.4914, 0.4822, 0.4465]).view(-1, 1, 1)
        std = torch.tensor([0.2023, 0.1994, 0.2010]).view(-1, 1, 1)
        x = ((image - mean) / std)[None]
        x = norm(w, "bn1", F.conv2d(x, w["conv1.weight"], padding=1)).relu()
        decisions = []
        for stage in (1, 2, 3):
            block, stride = f"layer{stage}.0", 1 if stage == 1 else 2
            logits = w[f"{block}.router.weight"] @ x.mean((0, 2, 3)) + w[f"{block}.router.bias"]
            chosen = logits.argsort(descending=True)[: self.top]
            decisions.append(torch.zeros(4, dtype=torch.bool).index_fill(0, chosen, True))
            y = x
            if stride == 2:
                name = f"{block}.downsample"
                y = norm(w, f"{name}.1", F.conv2d(x, w[f"{name}.0.weight"], stride=2))
            for expert in chosen.tolist():
                name = f"{block}.experts.{expert}"
                inner = F.conv2d(x, w[f"{name}.conv1.weight"], stride=stride, padding=1)
                inner = norm(w, f"{name}.bn1", inner).relu()
                inner = norm(
                    w, f"{name}.bn2", F.conv2d(inner, w[f"{name}.conv2.weight"], padding=1)
                )
                y = y + logits.softmax(0)[expert] * inner
            x = y.relu()
        return w["fc.weight"] @ x.mean((0, 2, 3)) + w["fc.bias"], decisions


class TestTwoOfFour(TestMixtureOfExperts):
    """Two experts of each block run."""

    top = 2


@pytest.mark.parametrize("contract", [TestMixtureOfExperts(), TestTwoOfFour()])
def test_no_decision_is_near_its_boundary(contract):
    made = contract.network()
    with record_decisions(made) as decisions:
        made(images())
    for decision in decisions:
        assert float(decision.margin.detach().abs().min()) > 1e-6
        assert decision.hard.sum(1).tolist() == [contract.top] * 6


def test_an_idle_expert_is_not_computed():
    made = TestMixtureOfExperts().network()
    ran = []
    for number, block in enumerate(made.blocks()):
        for expert, branch in enumerate(block.experts):
            branch.conv1.register_forward_hook(lambda *_, at=(number, expert): ran.append(at))
    with record_occupancies(made) as record, torch.no_grad():
        made(images())
    assert ran == [
        (number, expert)
        for number, choice in enumerate(record)
        for expert in choice.any(0).nonzero().flatten().tolist()
    ]
    assert 3 < len(ran) < 12


def test_every_expert_starts_as_the_twins_branch():
    """So that, of routers that weigh alike, a block is the twin's with its branch over E."""
    torch.manual_seed(0)
    twin = ResNet(8, 4, shortcut="B").double().eval()
    made = MixtureOfExperts(8, 4, experts=3, top=2).double().eval()
    routers = {name: value.clone() for name, value in made.state_dict().items() if "router" in name}
    load_backbone(made, twin.state_dict())
    own = made.state_dict()
    assert all(torch.equal(own[name], value) for name, value in routers.items())
    for block in made.blocks():
        torch.nn.init.zeros_(block.router.weight)
        torch.nn.init.zeros_(block.router.bias)
    for name, module in twin.named_modules():
        if name.endswith("bn2"):  # two of three experts run, each weighs a third
            module.weight.data *= 2 / 3
            module.bias.data *= 2 / 3
    x = torch.rand(2, 3, 16, 16).double()
    torch.testing.assert_close(made(x), twin(x))


def test_costs_are_the_macs_of_an_experts_convs():
    made, x = MixtureOfExperts(14, top=2, image_size=16).double().eval(), torch.rand(1, 3, 16, 16)
    counted = {}

    def count(module, _, out):
        counted[module] = out[0, 0].numel() * module.weight.numel()

    for block in made.blocks():
        for expert in block.experts:
            for conv in (expert.conv1, expert.conv2):
                conv.register_forward_hook(count)
    with record_occupancies(made) as record:
        made(x.double())  # of one image, only the chosen run
    assert int(made.conditional_macs(record)) == sum(counted.values())
    assert made.conditional_macs_total() == 4 * sum(made.unit_costs())
    assert int(made.conditional_macs(record)) == 2 * sum(made.unit_costs())


def balancing(logits, k):
    choice = Choice(k)
    with record_decisions(choice) as seen:
        choice(logits)
    return balance(seen[0])


@pytest.mark.parametrize("k", [1, 2])
def test_the_balancing_loss_is_switchs(k):
    torch.manual_seed(0)
    logits = torch.randn(30, 4, dtype=torch.float64, requires_grad=True)
    p = logits.softmax(1)
    f = torch.zeros(4, dtype=torch.float64)
    for row in logits:
        for expert in row.argsort(descending=True)[:k]:
            f[expert] += 1 / (30 * k)
    expected = 4 * sum(f[e] * p[:, e].mean() for e in range(4))
    made = balancing(logits, k)
    torch.testing.assert_close(made, expected)
    torch.testing.assert_close(*(torch.autograd.grad(loss, logits)[0] for loss in (made, expected)))


def test_the_balancing_loss_is_1_of_alike_and_greatest_of_one_alone():
    alike = torch.eye(4, dtype=torch.float64) * 1e-9
    assert float(balancing(alike, 1)) == pytest.approx(1)
    alone = torch.tensor([[50.0, 0, 0, 0]], dtype=torch.float64).expand(8, 4)
    assert float(balancing(alone, 1)) == pytest.approx(4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"experts": 1}, "top must be below experts = 1, got 1; with all"),
        ({"top": 4}, "top must be below experts = 4, got 4"),
        ({"top": 0}, "top must be a whole number of at least 1, got 0"),
        ({"experts": 2.5}, "experts must be a whole number of at least 1, got 2.5"),
        ({"depth": 9}, r"depth must be 6n \+ 2"),
        ({"image_size": 0}, "image_size must be a whole number"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        MixtureOfExperts(**{"depth": 8, **settings})


@pytest.mark.parametrize("weight", [-0.1, math.nan])
def test_a_negative_weight_is_refused(weight):
    with pytest.raises(ValueError, match=f"balance_weight must be at least 0, got {weight}"):
        MixtureClassifier(MixtureOfExperts(8), balance_weight=weight)


def test_it_learns_and_uses_its_experts(tmp_path):
    torch.manual_seed(0)
    network = MixtureOfExperts(8, CLASSES, experts=3)
    module = MixtureClassifier(network, SGDOneCycle(0.05, warmup=0.2), balance_weight=0.05)
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
    assert metrics["val_executed_share"] == pytest.approx(1 / 3)
    assert 0.04 < metrics["train/balance_loss"] < 0.15
    assert metrics["train/loss"] == pytest.approx(
        metrics["train/cross_entropy"] + metrics["train/balance_loss"], rel=1e-5
    )
    with record_occupancies(network) as record, torch.no_grad():
        network.eval()(whole_batch(validation_loader())["image"])
    assert all(int(choice.any(0).sum()) > 1 for choice in record)
