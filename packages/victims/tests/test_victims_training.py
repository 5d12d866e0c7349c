"""Training modules: their losses by hand, and short real fits."""

import copy
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from tiny_images import CLASSES, train_loader, validation_loader, whole_batch

from leadgrad.victims import (
    LGM,
    Decision,
    DynConv,
    ResNet,
    Sigmoid,
    SkipNet,
    gradient_method,
    load_published,
    record_decisions,
    record_occupancies,
)
from leadgrad.victims.networks.dynconv import MaskUnit
from leadgrad.victims.training.classifier import Classifier
from leadgrad.victims.training.dynconv import DynConvClassifier, block_costs, sparsity_loss
from leadgrad.victims.training.recipe import SGDOneCycle, SGDSteps
from leadgrad.victims.training.skipnet import (
    GumbelStraightThrough,
    SkipNetClassifier,
    computation_percent,
)

pytestmark = [
    # Lightning 2.6.6 under torch 2.15
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:GPU available but not used"),
]

RECIPE = SGDOneCycle(0.05, warmup=0.2)

MAKERS = {
    "static": lambda: Classifier(ResNet(8, CLASSES), RECIPE),
    "skipnet": lambda: SkipNetClassifier(SkipNet(8, CLASSES), RECIPE, rate_weight=0.5),
    "skipnet-gumbel": lambda: SkipNetClassifier(
        SkipNet(8, CLASSES), RECIPE, rate_weight=0.5, gumbel_noise=True
    ),
    "dynconv": lambda: DynConvClassifier(DynConv(8, CLASSES), RECIPE, channels_last=True),
}
EACH = pytest.mark.parametrize("kind", list(MAKERS))


def trainer(folder, **settings):
    return Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **{"max_epochs": 4, "enable_checkpointing": False, **settings},
    )


def made(kind, seed=0):
    torch.manual_seed(seed)
    return MAKERS[kind]()


class Seen(Callback):
    """Collects a value of the module at every training batch."""

    def __init__(self, look):
        self.look, self.values = look, []

    def on_train_batch_end(self, trainer, module, *_):
        self.values.append(self.look(module))


@EACH
def test_a_fit_learns_and_logs(tmp_path, kind):
    module = made(kind)
    fit = trainer(tmp_path, max_epochs=8)
    fit.fit(module, train_loader(), validation_loader())
    metrics = {name: float(value) for name, value in fit.callback_metrics.items()}
    batch = whole_batch(validation_loader())
    module.eval()
    with torch.no_grad(), record_occupancies(module.network) as record:
        logits = module(batch["image"])
    right = (logits.argmax(1) == batch["label"]).double().mean().item()
    assert metrics["val_accuracy"] == pytest.approx(100 * right, abs=1e-4)
    assert metrics["val_loss"] == pytest.approx(F.cross_entropy(logits, batch["label"]).item())
    assert right > 0.8, metrics
    common = {"train/loss", "train/cross_entropy", "val_loss", "val_accuracy"}
    if kind == "static":
        assert set(metrics) == common
    elif kind.startswith("skipnet"):
        assert set(metrics) == common | {"train/computation_percent", "val_computation_percent"}
        expected = computation_percent(record).mean().item()
        assert metrics["val_computation_percent"] == pytest.approx(expected)
    else:
        assert set(metrics) == common | {
            "train/sparsity_loss",
            "train/cost_share",
            "val_cost_share",
        }
        spent = module.network.conditional_macs(record).double().mean().item()
        # The network counts for 32 pixels, these images have 8
        share = spent / (module.network.conditional_macs_total() / 16)
        assert metrics["val_cost_share"] == pytest.approx(share)


@EACH
def test_a_checkpoint_holds_tensors_and_loads_strictly(tmp_path, kind):
    module = made(kind)
    saved = ModelCheckpoint(tmp_path, filename="{epoch}-{val_accuracy:.1f}", monitor="val_accuracy")
    fit = trainer(tmp_path, max_epochs=1, enable_checkpointing=True, callbacks=[saved])
    fit.fit(module, train_loader(), validation_loader())
    content = torch.load(saved.best_model_path, weights_only=True)
    assert all(name.startswith("network.") for name in content["state_dict"])
    fresh = made(kind, seed=1).network
    load_published(fresh, saved.best_model_path)
    for name, value in module.network.state_dict().items():
        assert torch.equal(value, fresh.state_dict()[name])


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
@EACH
def test_a_resumed_fit_ends_with_the_bits_of_an_unbroken_one(tmp_path, kind):
    def keep():
        kept = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
        return {"enable_checkpointing": True, "callbacks": [kept]}

    whole = made(kind)
    trainer(tmp_path, **keep()).fit(whole, train_loader(), validation_loader())
    resumed = made(kind)
    torch.rand(7)  # the global stream's position must not matter
    trainer(tmp_path, **keep()).fit(
        resumed,
        train_loader(),
        validation_loader(),
        ckpt_path=tmp_path / "epoch=1.ckpt",
        weights_only=True,
    )
    start = made(kind).state_dict()
    changed = 0
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
        changed += not torch.equal(value, start[name])
    assert changed > 10


@EACH
def test_fast_dev_run(tmp_path, kind):
    trainer(tmp_path, fast_dev_run=True, max_epochs=None).fit(
        made(kind), train_loader(), validation_loader()
    )


def test_the_rate_follows_the_recipe_step_by_step(tmp_path):
    seen = Seen(lambda module: module.optimizers().param_groups[0]["lr"])
    trainer(tmp_path, callbacks=[seen]).fit(made("static"), train_loader(), validation_loader())
    # A step's rate is seen after the scheduler has set the next one
    assert seen.values == pytest.approx([RECIPE.lr_at(step + 1, 12) for step in range(12)])


def test_label_smoothing_is_of_training_only(tmp_path):
    torch.manual_seed(0)
    module = Classifier(ResNet(8, CLASSES), label_smoothing=0.2).eval()
    batch = whole_batch(train_loader(12))
    logp = module(batch["image"]).log_softmax(1)
    target = torch.full_like(logp, 0.2 / CLASSES)
    target[torch.arange(12), batch["label"]] += 0.8
    loss, terms = module.training_loss(batch)
    torch.testing.assert_close(loss, -(target * logp).sum(1).mean())
    assert terms["cross_entropy"] is loss
    (result,) = trainer(tmp_path).validate(module, validation_loader(), verbose=False)
    held_out = whole_batch(validation_loader())
    plain = F.cross_entropy(module(held_out["image"]), held_out["label"]).item()
    assert result["val_loss"] == pytest.approx(plain)


def test_channels_last_changes_the_layout_alone():
    torch.manual_seed(0)
    network = ResNet(8, CLASSES).eval()
    x = torch.rand(2, 3, 8, 8)
    expected = network(x)
    module = Classifier(network, channels_last=True)
    assert module.network.layer2[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(module(x), expected)


def test_skipnet_trains_on_the_hard_forward_with_the_gates_own_gradient():
    torch.manual_seed(0)
    module = SkipNetClassifier(SkipNet(14, CLASSES)).eval()
    network, batch = module.network, whole_batch(train_loader(6))
    loss, terms = module.training_loss(batch)
    with record_occupancies(network) as record:
        exact = F.cross_entropy(network(batch["image"]), batch["label"])
    assert torch.equal(loss, exact)
    assert terms["cross_entropy"] is loss
    percent = 100 * (sum(hard.double().mean() for hard in record) + 1) / (len(record) + 1)
    assert terms["computation_percent"].item() == pytest.approx(percent.item())
    names = dict(network.named_parameters())
    trained = {name: value for name, value in names.items() if value.requires_grad}
    assert set(names) - set(trained) == {"group3_gate1.1.weight", "group3_gate1.1.bias"}
    gradients = torch.autograd.grad(loss, list(trained.values()))  # raises if one is unused
    with gradient_method(network, LGM(Sigmoid(1.0), "hard")):
        again = F.cross_entropy(network(batch["image"]), batch["label"])
    for got, expected in zip(
        gradients, torch.autograd.grad(again, list(trained.values())), strict=True
    ):
        assert torch.equal(got, expected)
    assert gradients[list(trained).index("control.proj.weight")].any()
    assert all(gate.method.__class__.__name__ == "FGM" for gate in network.gates)


def test_skipnets_rate_term_is_the_squared_distance_to_the_target():
    torch.manual_seed(0)
    network, batch = SkipNet(14, CLASSES).eval(), whole_batch(train_loader(6))
    plain, _ = SkipNetClassifier(network).training_loss(batch)
    closing = SkipNetClassifier(network, rate_weight=0.5, target_rate=0.0)
    opening = SkipNetClassifier(network, rate_weight=0.5, target_rate=1.0)
    with record_occupancies(network) as record:
        network(batch["image"])
    rates = torch.stack(record).float().mean(1)
    bias, gradients = network.control.proj.bias, []
    for module, target in ((closing, 0.0), (opening, 1.0)):
        loss, terms = module.training_loss(batch)
        torch.testing.assert_close(loss, plain + 0.5 * ((rates - target) ** 2).mean())
        torch.testing.assert_close(terms["cross_entropy"], plain)
        gradients.append(torch.autograd.grad(loss, bias)[0])
    assert gradients[0] > gradients[1], "a low target asks the gates to close"


def test_gumbel_straight_through_by_its_distribution():
    torch.manual_seed(0)
    margin = torch.tensor([-1.0, 0.0, 2.0], dtype=torch.double).repeat_interleave(40_000)
    margin.requires_grad_()
    occupancy = GumbelStraightThrough().occupancy(margin, margin > 0)
    assert set(occupancy.tolist()) == {0.0, 1.0}
    shares = occupancy.detach().view(3, -1).mean(1)
    expected = torch.sigmoid(torch.tensor([-1.0, 0.0, 2.0], dtype=torch.double))
    torch.testing.assert_close(shares, expected, atol=0.01, rtol=0)
    (gradient,) = torch.autograd.grad(occupancy.sum(), margin)
    assert ((gradient > 0) & (gradient <= 0.25)).all()
    assert gradient[occupancy > 0].mean() != gradient[occupancy == 0].mean()


def test_computation_percent_counts_the_first_block():
    on, off = torch.tensor([True, True, False]), torch.tensor([True, False, False])
    percent = computation_percent([on, off, on])
    assert percent.tolist() == pytest.approx([100, 75, 25])


@pytest.mark.parametrize(("all_on", "loss"), [(False, 0.0), (True, 5.0)])
def test_sparsity_loss_golden(all_on, loss):
    totals = torch.tensor([4.0, 8.0, 2.0])
    costs = totals if all_on else totals / 2
    got = sparsity_loss(costs, totals, budget=0.5, epoch=0, epochs=350)
    assert got.item() == pytest.approx(loss, abs=1e-6)


@pytest.mark.parametrize("epoch", [0, 1, 3, 9, 10, 30])
@pytest.mark.parametrize("budget", [0.25, 0.7, 1.0])
def test_sparsity_loss_by_hand(epoch, budget):
    costs, totals, epochs = [3.0, 1.0, 5.0, 0.0], [4.0, 8.0, 5.0, 2.0], 30
    done = min(max(epoch / (0.33 * epochs), 0), 1)
    progress = math.cos(math.pi / 2 * done) ** 2
    upper, lower = 1 - progress * (1 - budget), progress * budget
    blocks = 0.0
    for cost, total in zip(costs, totals, strict=True):
        blocks += max(0, cost / total - upper) ** 2 + max(0, lower - cost / total) ** 2
    network = (sum(costs) / sum(totals) - budget) ** 2
    got = sparsity_loss(
        torch.tensor(costs), torch.tensor(totals), budget=budget, epoch=epoch, epochs=epochs
    )
    assert got.item() == pytest.approx(10 * (network + blocks / 4), rel=1e-5)


def test_after_a_third_of_the_run_only_the_whole_network_counts():
    totals = torch.tensor([4.0, 4.0])
    uneven = sparsity_loss(torch.tensor([4.0, 0.0]), totals, budget=0.5, epoch=10, epochs=30)
    assert uneven.item() == pytest.approx(0, abs=1e-12)
    early = sparsity_loss(torch.tensor([4.0, 0.0]), totals, budget=0.5, epoch=0, epochs=30)
    assert early.item() == pytest.approx(10 * 0.25)


def test_block_costs_are_the_conditional_macs_and_lead_through_the_mask_alone():
    torch.manual_seed(0)
    network, images = DynConv(14, CLASSES, image_size=8).eval(), torch.rand(3, 3, 8, 8)
    with gradient_method(network, LGM(Sigmoid(1.0), "hard")), record_decisions(network) as made:
        network(images)
    costs, totals = block_costs(network.blocks(), made)
    spent = network.conditional_macs([decision.hard for decision in made]).sum()
    assert costs.sum().item() == spent
    assert totals.sum().item() == 3 * network.conditional_macs_total()
    apart = [replace(one, occupancy=one.occupancy.detach().requires_grad_()) for one in made]
    costs, _ = block_costs(network.blocks(), apart)
    gradients = torch.autograd.grad(costs.sum(), [decision.occupancy for decision in apart])
    for block, gradient in zip(network.blocks(), gradients, strict=True):
        assert (gradient == block.macs_per_position()[0]).all()


def test_half_precision_masks_are_counted_exactly():
    made = []
    for size in (32, 16, 8):
        on = torch.ones(80, 1, size, size, dtype=torch.float16)
        made.append(Decision(on, on > 0, on))
    costs, totals = block_costs(DynConv(8).blocks(), made)
    assert totals.tolist() == [80 * 1024 * 4608, 80 * 256 * 13_824, 80 * 64 * 55_296]
    assert torch.equal(costs, totals)


def test_dynconvs_loss_is_the_sum_of_its_terms(tmp_path):
    module = made("dynconv")
    seen = Seen(lambda m: {k: float(v) for k, v in m.trainer.callback_metrics.items()})
    trainer(tmp_path, max_epochs=2, callbacks=[seen]).fit(
        module, train_loader(), validation_loader()
    )
    for terms in seen.values:
        parts = terms["train/cross_entropy"] + terms["train/sparsity_loss"]
        assert terms["train/loss"] == pytest.approx(parts, rel=1e-5)
        assert 0 <= terms["train/cost_share"] <= 1


def test_temperature_is_the_inverse_slope():
    module = DynConvClassifier(DynConv(8), temperature=5.0)
    assert module.straight_through == LGM(Sigmoid(0.2), "hard")


def noise_flags(module):
    return {unit.noise for unit in module.network.modules() if isinstance(unit, MaskUnit)}


@pytest.mark.parametrize(
    "length", [{"max_epochs": 10}, {"max_epochs": -1, "max_steps": 30}, {"max_steps": 30}]
)
def test_noise_ends_after_four_fifths_of_the_epochs(tmp_path, length):
    seen = Seen(lambda module: (module.current_epoch, noise_flags(module)))
    trainer(tmp_path, callbacks=[seen], **{"max_epochs": None, **length}).fit(
        made("dynconv"), train_loader(), validation_loader()
    )
    assert seen.values == [(epoch, {epoch <= 8}) for epoch in range(10) for _ in range(3)]


def test_noise_belongs_to_the_step(tmp_path):
    module = made("dynconv")
    trainer(tmp_path, max_epochs=10, limit_train_batches=1).fit(
        module, train_loader(), validation_loader()
    )
    module = module.train()
    for unit in module.network.modules():
        if isinstance(unit, torch.nn.BatchNorm2d):
            unit.momentum = 0.0
    batch, state = whole_batch(train_loader()), torch.get_rng_state()

    def loss(batch_idx, seed=0):
        module.noise_seed = seed
        step = copy.deepcopy(module.network.state_dict())
        module._set_noise(True)
        module.log = module.log_dict = lambda *_, **__: None
        module._set_noise = lambda _: None
        value = module.training_step(batch, batch_idx).item()
        module.network.load_state_dict(step)
        return value

    assert loss(0) == loss(0)
    assert loss(0) != loss(1)
    assert loss(0) != loss(0, seed=1)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Classifier(ResNet(8), label_smoothing=1.5), "label_smoothing .* got 1.5"),
        (lambda: SkipNetClassifier(SkipNet(8), rate_weight=-1.0), "rate_weight .* got -1.0"),
        (lambda: SkipNetClassifier(SkipNet(8), target_rate=1.5), "target_rate .* got 1.5"),
        (lambda: DynConvClassifier(DynConv(8), budget=0.0), "budget .* got 0.0"),
        (lambda: DynConvClassifier(DynConv(8), temperature=0.0), "temperature .* got 0.0"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_run_without_end_is_refused(tmp_path):
    with pytest.raises(ValueError, match="finite max_epochs or max_steps"):
        trainer(tmp_path, max_epochs=-1).fit(
            Classifier(ResNet(8), SGDSteps()), train_loader(), validation_loader()
        )
