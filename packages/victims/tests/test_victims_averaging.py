"""Averaged weights: the mean by hand, BN statistics that fit it, and fits that are resumed."""

import copy

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from tiny_images import CLASSES, train_loader, validation_loader, whole_batch

from leadgrad.victims import DynConv, ResNet, SkipNet, load_published
from leadgrad.victims.training.averaging import TailAverage
from leadgrad.victims.training.classifier import Classifier
from leadgrad.victims.training.dynconv import DynConvClassifier
from leadgrad.victims.training.recipe import SGDOneCycle
from leadgrad.victims.training.skipnet import SkipNetClassifier

pytestmark = [
    # Lightning 2.6.6 under torch 2.15
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:GPU available but not used"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]

RECIPE = SGDOneCycle(0.05, warmup=0.2, end_share=0.2)
EPOCHS, STEPS = 4, 12  # three steps an epoch

MAKERS = {
    "static": lambda: Classifier(ResNet(8, CLASSES), RECIPE),
    "skipnet": lambda: SkipNetClassifier(SkipNet(8, CLASSES), RECIPE, gumbel_noise=True),
    "dynconv": lambda: DynConvClassifier(DynConv(8, CLASSES), RECIPE),
}
EACH = pytest.mark.parametrize("kind", list(MAKERS))


class Steps(Callback):
    """Keeps the weights after each step."""

    def __init__(self):
        self.weights = []

    def on_train_batch_end(self, trainer, module, *_):
        self.weights.append(copy.deepcopy(dict(module.network.named_parameters())))


def fitted(kind, callbacks, folder, **settings):
    torch.manual_seed(0)
    module = MAKERS[kind]()
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        max_epochs=EPOCHS,
        callbacks=callbacks,
    )
    trainer.fit(module, train_loader(), validation_loader(), weights_only=True, **settings)
    return module, trainer


@EACH
@pytest.mark.parametrize("start", [0.0, 0.5, 0.7])
def test_a_fit_ends_with_the_mean_of_its_last_steps(tmp_path, kind, start):
    plain, averaged = Steps(), Steps()
    fitted(kind, [plain], tmp_path)
    module, trainer = fitted(kind, [averaged, TailAverage(start)], tmp_path)
    assert len(plain.weights) == STEPS
    first = int(start * STEPS)
    for name, value in module.network.named_parameters():
        tail = [weights[name] for weights in plain.weights[first:]]
        assert torch.allclose(value, torch.stack(tail).mean(0), rtol=1e-5, atol=1e-6), name
        for one, other in zip(plain.weights, averaged.weights, strict=True):
            assert torch.equal(one[name], other[name]), "averaging changed the training"
    batch = whole_batch(validation_loader())
    with torch.no_grad():
        right = module.eval()(batch["image"]).argmax(1) == batch["label"]
    accuracy = 100 * float(right.float().mean())
    assert float(trainer.callback_metrics["val_accuracy"]) == pytest.approx(accuracy, abs=1e-4)


def test_batch_norm_fits_the_mean(tmp_path):
    module, _ = fitted("static", [TailAverage(0.5, batches=2)], tmp_path)
    norm = module.network.bn1
    images = torch.cat([batch["image"] for batch, _ in zip(train_loader(), range(2), strict=False)])
    with torch.no_grad():
        x = module.network.conv1(module.network.normalize(images))
    assert torch.allclose(norm.running_mean, x.mean((0, 2, 3)), atol=1e-5)
    assert norm.num_batches_tracked == 2
    assert norm.momentum == 0.1


@EACH
@pytest.mark.parametrize("epoch", [0, 2, 3])
def test_a_resumed_fit_ends_with_the_bits_of_an_unbroken_one(tmp_path, kind, epoch):
    def callbacks():
        return [TailAverage(0.5), ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)]

    whole, _ = fitted(kind, callbacks(), tmp_path)
    torch.rand(7)  # the global stream's position must not matter
    checkpoint = tmp_path / f"epoch={epoch}.ckpt"
    resumed, _ = fitted(kind, callbacks(), tmp_path, ckpt_path=checkpoint)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    published = load_published(MAKERS[kind]().network, tmp_path / "epoch=3.ckpt")
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, published.state_dict()[name]), "a checkpoint has the mean too"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"start": 1.0}, r"start .* \[0, 1\), got 1.0"), ({"batches": 0}, "at least 1, got 0")],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        TailAverage(**arguments)
