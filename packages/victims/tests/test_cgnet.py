"""Channel gating: the family's contract, its costs, and its training under a budget."""

import pytest
import torch
import torch.nn.functional as F
from family_contract import FamilyContract
from lightning.pytorch import Trainer
from tiny_images import CLASSES, train_loader, validation_loader
from torch import nn

from leadgrad.victims import ResNet, prepare_for_attack, record_decisions, record_occupancies
from leadgrad.victims.networks.cgnet import CGNet
from leadgrad.victims.training.budgeted import BudgetedClassifier
from leadgrad.victims.training.recipe import SGDOneCycle
from leadgrad.victims.weights.backbone import load_backbone

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:GPU available but not used"),
]


def scattered(network):
    """With norms that are not the identity, and different thresholds."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2.0)
            if module.affine:
                module.weight.data.uniform_(0.5, 1.5)
                module.bias.data.normal_(std=0.3)
    for conv in network.convs():
        conv.threshold.data.normal_(std=0.5)
    return network


def norm(w, name, x):
    shape = (-1, 1, 1)
    mean, var = w[f"{name}.running_mean"].view(shape), w[f"{name}.running_var"].view(shape)
    x = (x - mean) / (var + 1e-5).sqrt()
    if f"{name}.weight" not in w:
        return x
    return x * w[f"{name}.weight"].view(shape) + w[f"{name}.bias"].view(shape)


def gated_conv(w, name, x, stride):
    """The sum over the other channels at the executed places alone; and which these are."""
    weight, base = w[f"{name}.weight"], x.shape[1] // 4
    partial = F.conv2d(x[:, :base], weight[:, :base], stride=stride, padding=1)
    score = norm(w, f"{name}.norm", partial) - w[f"{name}.threshold"].view(-1, 1, 1)
    executed = score[0] > 0
    seen = F.unfold(x[:, base:], 3, padding=1, stride=stride)[0]
    channel, place = executed.flatten(1).nonzero(as_tuple=True)
    result = partial[0].flatten(1).clone()
    result[channel, place] += (weight[channel, base:].flatten(1) * seen[:, place].T).sum(1)
    return result.view_as(partial), executed


class TestCGNet(FamilyContract):
    """Depth 8: three blocks, hence six gates."""

    def network(self):
        torch.manual_seed(0)
        return scattered(CGNet(8, 4, image_size=self.size).double().eval())

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
            inner, first = gated_conv(w, f"{block}.conv1", x, stride)
            inner = norm(w, f"{block}.bn1", inner).relu()
            inner, second = gated_conv(w, f"{block}.conv2", inner, 1)
            decisions += [first, second]
            x = (y + norm(w, f"{block}.bn2", inner)).relu()
        return w["fc.weight"] @ x.mean((0, 2, 3)) + w["fc.bias"], decisions

    def test_each_channel_and_pixel_decides(self):
        made = self.network()
        with record_decisions(made) as decisions:
            made(self.images(2))
        shapes = [(2, 16, 8, 8)] * 2 + [(2, 32, 4, 4)] * 2 + [(2, 64, 2, 2)] * 2
        assert [tuple(each.margin.shape) for each in decisions] == shapes
        assert min(float(each.margin.detach().abs().min()) for each in decisions) > 1e-6


def test_gated_convs_keep_their_norms_when_it_is_prepared():
    torch.manual_seed(0)
    made = prepare_for_attack(scattered(CGNet(8, 4)))
    norms = {name for name, each in made.named_modules() if isinstance(each, nn.BatchNorm2d)}
    # Of what is folded, the stem's and the projections' are gone
    assert norms == {
        f"layer{layer}.0.{name}"
        for layer in (1, 2, 3)
        for name in ("bn1", "bn2", "conv1.norm", "conv2.norm")
    }


@pytest.mark.parametrize("groups", [2, 4, 16])
def test_costs_are_the_macs_of_the_convs_beyond_the_base_path(groups):
    made = CGNet(14, image_size=15, groups=groups).double().eval()
    x = torch.rand(1, 3, 15, 15).double()
    counted = []

    def count(module, _, out):
        counted.append(out[0].numel() * module.weight[0].numel())

    for conv in made.convs():
        conv.register_forward_hook(count)
        conv.threshold.data.fill_(-100.0)  # all execute
    with record_occupancies(made) as record:
        made(x)
    conditional = sum(counted) * (groups - 1) // groups
    assert conditional == made.conditional_macs_total() == int(made.conditional_macs(record))
    assert made.unit_costs() == tuple(
        float(macs * (groups - 1) // groups / units[0].numel())
        for macs, units in zip(counted, record, strict=True)
    )
    for conv in made.convs():
        conv.threshold.data.fill_(100.0)
    with record_occupancies(made) as record:
        made(x)
    assert int(made.conditional_macs(record)) == 0


def test_with_all_gates_open_it_is_its_static_twin():
    torch.manual_seed(0)
    twin = ResNet(14, 4, shortcut="B").double().eval()
    made = CGNet(14, 4, threshold=-100).double().eval()
    load_backbone(made, twin.state_dict())
    x = torch.rand(2, 3, 16, 16).double()
    torch.testing.assert_close(made(x), twin(x))


def test_training_holds_the_budget_and_learns(tmp_path):
    torch.manual_seed(0)
    module = BudgetedClassifier(
        CGNet(8, CLASSES), SGDOneCycle(0.05, warmup=0.2), budget=0.25, budget_weight=50
    )
    before = [conv.threshold.detach().clone() for conv in module.network.convs()]
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
    assert metrics["train/executed_share"] == pytest.approx(0.25, abs=0.1)
    assert metrics["val_executed_share"] == pytest.approx(0.25, abs=0.1)
    for conv, old in zip(module.network.convs(), before, strict=True):
        assert not torch.equal(conv.threshold, old)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"groups": 1}, r"at least 2, got 1; take 2, 4, 8 or 16"),
        ({"groups": 3}, r"must divide the 16 channels .* got 3"),
        ({"groups": 4.0}, r"groups must divide .* got 4.0"),
        ({"threshold": float("nan")}, "threshold must be a finite number .* got nan"),
        ({"num_classes": 0}, "num_classes must be a whole number of at least 1, got 0"),
        ({"image_size": 0}, "image_size must be a whole number of at least 1, got 0"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        CGNet(8, **arguments)
