"""Feature boosting and suppression: the family's contract, its costs, and its training."""

import pytest
import torch
import torch.nn.functional as F
from family_contract import FamilyContract
from lightning.pytorch import Trainer
from tiny_images import CLASSES, train_loader, validation_loader
from torch import nn

from leadgrad.victims import MarginError, ResNet, record_decisions, record_occupancies
from leadgrad.victims.networks.fbs import FBS
from leadgrad.victims.training.budgeted import BudgetedClassifier
from leadgrad.victims.training.recipe import SGDOneCycle
from leadgrad.victims.weights.backbone import load_backbone

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:GPU available but not used"),
]


def scattered(network):
    """With norms that are not the identity, and saliencies of either sign."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2.0)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(std=0.3)
        elif isinstance(module, nn.Linear):
            module.weight.data.normal_(std=0.5)
    return network


def norm(w, name, x, kept=slice(None)):
    """Of some channels."""
    mean, var, scale, bias = (
        w[f"{name}.{part}"][kept].view(-1, 1, 1)
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * scale + bias


def boosted_conv(w, block, number, x, stride):
    """The chosen channels' convs alone; and which these are."""
    means = x.abs().mean((0, 2, 3))
    score = w[f"{block}.saliency{number}.weight"] @ means + w[f"{block}.saliency{number}.bias"]
    chosen = score.argsort(descending=True)[: -(-3 * len(score) // 10)].sort().values
    weight = w[f"{block}.conv{number}.weight"][chosen]
    result = norm(w, f"{block}.bn{number}", F.conv2d(x, weight, None, stride, 1), chosen)
    whole = result.new_zeros(1, len(score), *result.shape[2:])
    whole[:, chosen] = score[chosen].clamp(0, 2).view(-1, 1, 1) * result
    return whole, torch.zeros(len(score), dtype=torch.bool).index_fill(0, chosen, True)


class TestFBS(FamilyContract):
    """Depth 8: three blocks, hence six choices, of 5 of 16, 10 of 32 and 20 of 64 channels."""

    varies = False

    def network(self):
        torch.manual_seed(0)
        return scattered(FBS(8, 4, density=0.3, image_size=self.size).double().eval())

    def reference(self, w, image):
        mean = torch.tensor([0.4914, 0.4822, 0.4465]).view(-1, 1, 1)
        std = torch.tensor([0.2023, 0.1994, 0.2010]).view(-1, 1, 1)
        x = ((image - mean) / std)[None]
        x = norm(w, "bn1", F.conv2d(x, w["conv1.weight"], padding=1)).relu()
        decisions = []
        for number in range(3):
            block, stride, y = f"layer{number + 1}.0", 2 if number else 1, x
            if stride == 2:
                y = F.conv2d(x, w[f"{block}.downsample.0.weight"], stride=2)
                y = norm(w, f"{block}.downsample.1", y)
            inner, first = boosted_conv(w, block, 1, x, stride)
            inner, second = boosted_conv(w, block, 2, inner.relu(), 1)
            decisions += [first, second]
            x = (y + inner).relu()
        return w["fc.weight"] @ x.mean((0, 2, 3)) + w["fc.bias"], decisions

    def test_k_channels_are_chosen_and_no_sample_is_at_a_tie(self):
        made = self.network()
        with record_decisions(made) as decisions:
            made(self.images())
        assert [each.choices for each in decisions] == [5, 5, 10, 10, 20, 20]
        for each in decisions:
            assert bool((each.hard.sum(1) == each.choices).all())
        assert min(float(each.margin.detach().abs().min()) for each in decisions) > 1e-6


@pytest.mark.parametrize("limit", [2.0, float("inf")])
def test_factors_are_limited_and_the_choice_is_not(limit):
    made = FBS(8, 4, density=0.25, limit=limit).double().eval()
    saliency = made.blocks()[0].saliency1
    saliency.weight.data.zero_()
    saliency.bias.data.copy_(torch.arange(16.0).flip(0))
    factor = saliency(torch.rand(1, 16, 4, 4).double()).flatten()
    expected = torch.zeros(16).double()
    expected[:4] = torch.tensor([15.0, 14, 13, 12]).clamp(max=limit)
    assert torch.equal(factor, expected)


def test_the_limit_keeps_deep_networks_finite():
    torch.manual_seed(0)
    x = torch.rand(4, 3, 8, 8)
    assert bool(FBS(20).eval()(x).isfinite().all())
    with pytest.raises(MarginError, match="NaN"):
        FBS(20, limit=float("inf")).eval()(x)


def test_chosen_channels_of_no_saliency_are_ranked_by_their_score():
    torch.manual_seed(0)
    made = FBS(8, 4, density=0.25).double().eval()
    saliency = made.blocks()[0].saliency1
    saliency.weight.data.zero_()
    saliency.bias.data.copy_(-torch.arange(16.0).flip(0))  # only the last is not below 0
    with record_decisions(saliency) as decisions:
        factor = saliency(torch.rand(1, 16, 4, 4).double())
    assert decisions[0].hard[0].nonzero().flatten().tolist() == [12, 13, 14, 15]
    assert not bool(factor.any())


def test_costs_are_the_macs_of_the_chosen_channels_convs():
    made = FBS(14, image_size=15, density=0.25).double().eval()
    counted = []

    def count(module, _, out):
        counted.append(out[0].numel() * module.weight[0].numel())

    for block in made.blocks():
        for conv in (block.conv1, block.conv2):
            conv.register_forward_hook(count)
    with record_occupancies(made) as record:
        made(torch.rand(2, 3, 15, 15).double())
    assert made.conditional_macs_total() == sum(counted)
    assert made.conditional_macs(record).tolist() == [sum(counted) // 4] * 2
    assert made.unit_costs() == tuple(
        macs / units[0].numel() for macs, units in zip(counted, record, strict=True)
    )


def test_with_all_channels_equally_salient_it_is_its_static_twin():
    torch.manual_seed(0)
    twin = ResNet(14, 4, shortcut="B").double().eval()
    made = FBS(14, 4, density=1.0).double().eval()
    load_backbone(made, twin.state_dict())
    for block in made.blocks():
        for saliency in (block.saliency1, block.saliency2):
            assert bool((saliency.bias == 1).all())
            saliency.weight.data.zero_()
    x = torch.rand(2, 3, 16, 16).double()
    torch.testing.assert_close(made(x), twin(x))


def test_it_learns(tmp_path):
    torch.manual_seed(0)
    module = BudgetedClassifier(FBS(8, CLASSES), SGDOneCycle(0.05, warmup=0.2), budget=None)
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
    assert metrics["val_executed_share"] == pytest.approx(0.5)
    assert "train/budget_loss" not in metrics


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"density": 0.0}, r"density .* must lie in \(0, 1\], got 0.0; 1 executes all"),
        ({"density": 1.5}, r"must lie in \(0, 1\], got 1.5"),
        ({"density": float("nan")}, r"must lie in \(0, 1\], got nan"),
        ({"limit": 0.5}, "limit is the greatest factor and must be at least 1, got 0.5"),
        ({"limit": float("nan")}, "must be at least 1, got nan"),
        ({"num_classes": 0}, "num_classes must be a whole number of at least 1, got 0"),
        ({"image_size": 0}, "image_size must be a whole number of at least 1, got 0"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        FBS(8, **arguments)
