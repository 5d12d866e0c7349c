"""k-WTA activations: the family's contract, maps of any size, and its training."""

import pytest
import torch
import torch.nn.functional as F
from family_contract import FamilyContract
from lightning.pytorch import Trainer
from tiny_images import CLASSES, train_loader, validation_loader
from torch import nn

from leadgrad.victims import ResNet, executed_share, record_decisions, record_occupancies
from leadgrad.victims.networks.kwta import KWTA, WinnersTakeAll
from leadgrad.victims.training.budgeted import BudgetedClassifier
from leadgrad.victims.training.classifier import Classifier
from leadgrad.victims.training.recipe import SGDOneCycle
from leadgrad.victims.weights.backbone import load_backbone

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:GPU available but not used"),
]

SHARE = 0.15


def norm(w, name, x):
    mean, var, scale, bias = (
        w[f"{name}.{part}"].view(-1, 1, 1)
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * scale + bias


def winners(x):
    """Copies the winners' values alone; and which these are."""
    ranked = x.flatten().argsort(descending=True)[: round(SHARE * x.numel())]
    result, kept = torch.zeros_like(x).flatten(), torch.zeros(x.numel(), dtype=torch.bool)
    result[ranked], kept[ranked] = x.flatten()[ranked], True
    return result.view_as(x), kept


class TestKWTA(FamilyContract):
    """Depth 8: three blocks, hence six choices."""

    varies = False

    def network(self):
        torch.manual_seed(0)
        made = KWTA(8, 4, share=SHARE, image_size=self.size).double().eval()
        for module in made.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(std=0.3)
                module.running_var.uniform_(0.5, 2.0)
                module.weight.data.uniform_(0.5, 1.5)
                module.bias.data.normal_(std=0.3)
        return made

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
            inner = F.conv2d(x, w[f"{block}.conv1.weight"], stride=stride, padding=1)
            inner, first = winners(norm(w, f"{block}.bn1", inner))
            inner = F.conv2d(inner, w[f"{block}.conv2.weight"], padding=1)
            x, second = winners(y + norm(w, f"{block}.bn2", inner))
            decisions += [first, second]
        return w["fc.weight"] @ x.mean((0, 2, 3)) + w["fc.bias"], decisions

    def test_no_sample_is_at_a_tie(self):
        made = self.network()
        with record_decisions(made) as decisions:
            made(self.images())
        assert min(float(each.margin.detach().abs().min()) for each in decisions) > 1e-6

    @pytest.mark.parametrize("size", [8, 11])
    def test_winners_are_the_same_share_of_any_map(self, size):
        made = self.network()
        with record_occupancies(made) as record:
            made(torch.rand(2, 3, size, size).double())
        maps = [16 * size**2, 32 * ((size + 1) // 2) ** 2, 64 * ((size + 3) // 4) ** 2]
        assert [own.sum(1).tolist() for own in record] == [
            [round(SHARE * units)] * 2 for units in maps for _ in range(2)
        ]
        # No compute is saved: all units count alike
        assert made.unit_costs() is None
        assert made.conditional_macs(record) is None
        share = executed_share(made, [own.double() for own in record])
        torch.testing.assert_close(share, torch.full_like(share, SHARE), atol=1e-3, rtol=0)


def test_winners_keep_their_value_of_either_sign():
    layer = WinnersTakeAll(0.5)
    x = torch.tensor([3.0, -1.0, -2.0, 0.5, -4.0, -1.5, -3.0, -5.0]).view(1, 2, 2, 2)
    assert layer(x).flatten().tolist() == [3.0, -1.0, 0, 0.5, 0, -1.5, 0, 0]
    assert layer(-x).flatten().tolist() == [0, 0, 2.0, 0, 4.0, 0, 3.0, 5.0]
    assert int(WinnersTakeAll(0.01)(x).count_nonzero()) == 1


@pytest.mark.parametrize("noisy", [False, True])
def test_it_learns(noisy, tmp_path):
    torch.manual_seed(0)
    network, recipe = KWTA(8, CLASSES, share=0.2), SGDOneCycle(0.05, warmup=0.2)
    if noisy:
        module = BudgetedClassifier(network, recipe, budget=None)
    else:
        module = Classifier(network, recipe)
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=tmp_path,
        max_epochs=12,
    )
    trainer.fit(module, train_loader(120), validation_loader())
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert metrics["val_accuracy"] > 80
    if noisy:
        assert metrics["val_executed_share"] == pytest.approx(0.2, abs=1e-3)
        assert "train/budget_loss" not in metrics


def test_with_nearly_all_winners_a_twin_whose_activations_are_positive_is_itself():
    torch.manual_seed(0)
    twin = ResNet(8, 4, shortcut="B").double().eval()
    for module in twin.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data.abs_()  # so that no ReLU but the stem's cuts off anything
    made = KWTA(8, 4, share=0.9999).double().eval()
    load_backbone(made, twin.state_dict())
    images = torch.rand(2, 3, 8, 8).double()
    torch.testing.assert_close(made(images), twin(images))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"share": 0.0}, "must lie between 0 and 1, got 0.0"),
        ({"share": 1.0}, "must lie between 0 and 1, got 1.0; .* take a smaller one, such as 0.1"),
        ({"share": float("nan")}, "must lie between 0 and 1, got nan"),
        ({"num_classes": 0}, "num_classes must be a whole number of at least 1, got 0"),
        ({"image_size": 0}, "image_size must be a whole number of at least 1, got 0"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        KWTA(8, **arguments)
