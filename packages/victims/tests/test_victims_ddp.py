"""Training on two processes: every parameter gets its gradient, and metrics count each sample."""

import pytest
import torch
from lightning.pytorch import Trainer
from tiny_images import CLASSES, train_loader, validation_loader, whole_batch

from leadgrad.victims import DynConv, SkipNet, record_occupancies
from leadgrad.victims.training.dynconv import DynConvClassifier
from leadgrad.victims.training.recipe import SGDOneCycle
from leadgrad.victims.training.skipnet import SkipNetClassifier, computation_percent
from leadgrad.victims.training.skipnet_rl import HybridRLClassifier

pytestmark = [
    pytest.mark.ddp,
    pytest.mark.slow,
    # Lightning 2.6.6 under torch 2.15
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:GPU available but not used"),
]


@pytest.mark.parametrize(
    ("classifier", "family"),
    [
        (SkipNetClassifier, SkipNet),
        (HybridRLClassifier, SkipNet),
        (DynConvClassifier, DynConv),
    ],
)
def test_two_processes_train_and_count_together(tmp_path, classifier, family):
    torch.manual_seed(0)
    module = classifier(family(8, CLASSES), SGDOneCycle(0.05))
    before = {name: value.clone() for name, value in module.named_parameters()}
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp_spawn",
        max_epochs=3,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, train_loader(), validation_loader())
    for name, value in module.named_parameters():
        assert torch.equal(value, before[name]) != value.requires_grad, name
    batch = whole_batch(validation_loader())
    module.eval()
    with torch.no_grad(), record_occupancies(module.network) as record:
        right = module(batch["image"]).argmax(1) == batch["label"]
    metrics = trainer.callback_metrics
    assert float(metrics["val_accuracy"]) == pytest.approx(100 * right.double().mean().item())
    if family is SkipNet:
        expected = computation_percent(record).mean().item()
        assert float(metrics["val_computation_percent"]) == pytest.approx(expected)
