"""Training and recomputation of the ImageNet networks: schedules, sharpening, returns, memory."""

import copy
import math

import pytest
import torch
from golden_fill import fill
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from tiny_images import CLASSES, train_loader, validation_loader
from torch.utils.checkpoint import checkpoint

from leadgrad.victims import (
    FGM,
    LGM,
    DynConvImageNet,
    FromTimm,
    Sigmoid,
    SkipNetImageNet,
    gradient_method,
    record_decisions,
)
from leadgrad.victims.training.averaging import TailAverage
from leadgrad.victims.training.classifier import Classifier
from leadgrad.victims.training.dynconv import DynConvClassifier
from leadgrad.victims.training.recipe import SGDOneCycle
from leadgrad.victims.training.skipnet import SkipNetClassifier
from leadgrad.victims.training.skipnet_rl import HybridRLClassifier, policy_loss

RECIPE = SGDOneCycle(0.05, warmup=0.2)
FAMILIES = pytest.mark.parametrize("family", [SkipNetImageNet, DynConvImageNet])


def tiny(family, seed=0):
    torch.manual_seed(seed)
    return family((1, 2), CLASSES, width=8, image_size=32)


class Seen(Callback):
    """Collects a value of the module at every training batch."""

    def __init__(self, look):
        self.look, self.values = look, []

    def on_train_batch_start(self, trainer, module, *_):
        self.values.append(self.look(module))


def fit(module, folder, resume=None, **settings):
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **{"max_epochs": 8, "enable_checkpointing": False, "num_sanity_val_steps": 0, **settings},
    )
    trainer.fit(module, train_loader(), validation_loader(), ckpt_path=resume)
    return trainer


MAKERS = {
    "skipnet": lambda: SkipNetClassifier(tiny(SkipNetImageNet), RECIPE, channels_last=True),
    "skipnet-rl": lambda: HybridRLClassifier(
        tiny(SkipNetImageNet), RECIPE, alpha=0.01, rl_weight=0.01, scaled_end=True, sharpening=20.0
    ),
    "dynconv": lambda: DynConvClassifier(
        tiny(DynConvImageNet),
        RECIPE,
        temperature=(5.0, 2.5, 1.0),
        temperature_milestones=(0.3, 0.6),
        channels_last=True,
    ),
    "static": lambda: Classifier(FromTimm("resnet10t", num_classes=CLASSES), RECIPE),
}


@pytest.mark.parametrize("kind", list(MAKERS))
def test_a_fit_learns_with_mixed_precision_accumulation_and_averaging(tmp_path, kind):
    module = MAKERS[kind]()
    trainer = fit(
        module,
        tmp_path,
        max_epochs=16,
        precision="bf16-mixed",
        accumulate_grad_batches=2,
        callbacks=[TailAverage(start=0.7)],
    )
    assert float(trainer.callback_metrics["val_accuracy"]) > 60
    assert trainer.global_step == 16 * 2


def test_temperatures_follow_the_epochs(tmp_path):
    seen = Seen(lambda module: module.straight_through)
    fit(MAKERS["dynconv"](), tmp_path, max_epochs=10, callbacks=[seen])
    per_epoch = seen.values[::3]
    taus = [5.0] * 3 + [2.5] * 3 + [1.0] * 4
    assert per_epoch == [LGM(Sigmoid(1 / tau), "hard") for tau in taus]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": (5.0, 1.0)}, "2 temperatures need 1 milestones"),
        ({"temperature": 5.0, "temperature_milestones": (0.5,)}, "1 temperatures need 0"),
        ({"temperature": (5.0, 0.0), "temperature_milestones": (0.5,)}, "must be above 0"),
        ({"temperature": (5.0, 1.0), "temperature_milestones": (30,)}, "shares of the run"),
    ],
)
def test_wrong_temperatures_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        DynConvClassifier(tiny(DynConvImageNet), **settings)


def test_scores_are_sharpened_once_before_the_first_step(tmp_path):
    module = MAKERS["skipnet-rl"]()
    torch.nn.init.constant_(module.network.control.proj.bias, 0.2)
    before = copy.deepcopy(module.network.control.proj.state_dict())
    scores = Seen(
        lambda m: {n: p.detach().clone() for n, p in m.network.control.proj.named_parameters()}
    )
    trainer = fit(module, tmp_path, max_epochs=1, callbacks=[scores])
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    for name, value in before.items():
        torch.testing.assert_close(scores.values[0][name], 20 * value)
    again = MAKERS["skipnet-rl"]()
    seen = Seen(lambda m: m.network.control.proj.bias.item())
    fit(again, tmp_path, resume=tmp_path / "last.ckpt", max_epochs=2, callbacks=[seen])
    assert seen.values[0] == pytest.approx(module.network.control.proj.bias.item())


def test_imagenets_return_scales_the_cross_entropy():
    torch.manual_seed(0)
    margins = torch.randn(3, 4, requires_grad=True)
    actions = (torch.rand(3, 4) < 0.5).float()
    cross_entropy = torch.rand(4, requires_grad=True)
    loss = policy_loss(margins, actions, cross_entropy, alpha=0.3, end_weight=0.3 / 3)
    (gradient,) = torch.autograd.grad(loss, margins)
    wanted = torch.zeros(3, 4)
    for b in range(4):
        for k in range(3):
            skipped = sum(1 - float(actions[j, b]) for j in range(k, 3))
            the_return = 0.1 * skipped - 0.1 * cross_entropy[b].item()
            wanted[k, b] = -the_return * (float(actions[k, b]) - margins[k, b].sigmoid().item()) / 4
    torch.testing.assert_close(gradient, wanted)


def test_skipnets_controller_starts_xavier_normal_without_bias():
    weights = [SkipNetImageNet((1,), 2, width=1).control.rnn.weight_ih_l0 for _ in range(40)]
    assert torch.stack(weights).std().item() == pytest.approx(math.sqrt(2 / 50), rel=0.02)
    control = SkipNetImageNet((1,), 2, width=1).control
    assert not any(p.any() for n, p in control.named_parameters() if "bias" in n)


def blockwise(network, reentrant):
    """Makes the residual branches again in the backward pass: most of the memory."""
    for block in network.blocks():
        branch = block.residual
        block.residual = lambda x, branch=branch: checkpoint(branch, x, use_reentrant=reentrant)
    return network


@FAMILIES
@pytest.mark.parametrize("method", [FGM(), LGM(Sigmoid(2.0)), LGM(Sigmoid(2.0), "hard")])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kind", ["whole", "blocks", "blocks, reentrant"])
def test_recomputation_gives_the_same_gradient(family, method, layout, kind):
    network = fill(family((1, 2, 1), 10, width=4, image_size=32)).to(memory_format=layout)
    x = torch.rand(2, 3, 32, 32, dtype=torch.double).to(memory_format=layout).requires_grad_()

    def run(forward):
        with gradient_method(network, method), record_decisions(network) as decisions:
            logits = forward(x)
        # Outside, as an attack's loop may have it
        x.grad = None
        logits[:, 3].sum().backward()  # reentrant ones refuse autograd.grad
        return x.grad, len(decisions)

    expected, gates = run(network)
    if kind == "whole":
        found, again = run(lambda x: checkpoint(network, x, use_reentrant=False))
    else:
        found, again = run(blockwise(network, kind != "blocks"))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    assert again == gates
