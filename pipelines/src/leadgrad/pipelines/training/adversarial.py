"""Adversarial training of any image victim: its own loss, on examples that any attack makes.

    min over weights of  E [ max over |δ| ≤ ε of the loss at x + δ ]            Madry et al. 2018

One random start and one step of 1.25 ε are "fast" training (Wong et al. 2020). It may overfit to
its own attack within an epoch: accuracy under that attack stays high and falls to 0 under others.
The guard is the monitor, accuracy on validation images under an attack that the training never
sees; ``leadgrad publish --checkpoint best`` takes the epoch where that was greatest.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchmetrics import MeanMetric

from leadgrad.attacks import PGD, Attack, strongest
from leadgrad.attacks.threat import PixelLinf
from leadgrad.pipelines.runs.directory import RunError
from leadgrad.victims import FGM, GradientMethod, gradient_method
from leadgrad.victims.training.base import Batch, VictimTraining
from leadgrad.victims.training.classifier import Classifier

EPOCHS_APART = 1 << 32
"""Added to a sample's id per epoch, so that its random start is another one."""


class AdversarialTraining(VictimTraining):
    """Trains as another training does, on attacked images.

    Examples are made of the network in evaluation mode, so that no noise moves its decisions, but
    with the batch's own BN statistics; what BN keeps is of the training's forwards alone.

    Logs ``train/…`` as the other training does, and per epoch ``val_loss`` and ``val_accuracy`` of
    clean images and ``val_robust_accuracy``, of the first ``validated`` ones under attack.

    Args:
        training: Of the network, with its loss and its recipe.
        attack: That makes the examples. Without ``skip_misclassified`` it saves a forward.
        method: That its gradients are taken under.
        validation_attack: Of the guard, under FGM; None: ten steps of PGD of a quarter of the same
            budget.
        validated: Number of validation images that it attacks.

    Raises:
        ValueError: If the method looks ahead, or the attack has no pixel budget to validate by.
    """

    monitor = "val_robust_accuracy"

    def __init__(
        self,
        training: Classifier,
        attack: Attack,
        method: GradientMethod | None = None,
        *,
        validation_attack: Attack | None = None,
        validated: int = 512,
    ) -> None:
        super().__init__(training.network, training.recipe)
        used = FGM() if method is None else method
        self.candidates = used.candidates()
        if any(candidate.looks_ahead for candidate in self.candidates):
            raise ValueError(
                f"examples for training cannot be made under {used}, which looks ahead; give FGM "
                "or a method that leads"
            )
        if validation_attack is None:
            if not isinstance(attack.threat, PixelLinf):
                raise ValueError(
                    f"{type(attack).__name__} has no budget in pixels to validate by; give "
                    "validation_attack"
                )
            if not attack.threat.eps_255:
                raise ValueError(
                    "eps_255=0 makes no adversarial examples; give a budget above 0, or train with "
                    f"{type(training).__name__} alone"
                )
            quarter = attack.threat.eps_255 / 4
            validation_attack = PGD(attack.threat, steps=10, step_size_255=quarter)
        if validated < 1:
            raise ValueError(f"validated must be at least 1 image, got {validated}")
        self.attack, self.validation_attack, self.validated = attack, validation_attack, validated
        self._training = (training,)  # in a tuple, or the weights would be in the state dict twice
        self.val_loss, self.val_accuracy = MeanMetric(), MeanMetric()
        self.val_robust_accuracy = MeanMetric()

    @property
    def of(self) -> Classifier:
        """The training whose loss it is."""
        return self._training[0]

    def setup(self, stage: str) -> None:
        """Lets the other training know the epoch."""
        self.of.trainer = self.trainer

    def prepare_step(self) -> None:
        """As the other training does."""
        self.of.prepare_step()

    def training_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The other training's loss and terms, of attacked images."""
        ids = batch["index"].cpu() + EPOCHS_APART * self.current_epoch
        with attacked_mode(self.network):
            adv = self._attacked(self.attack, self.candidates, batch, ids)
        return self.of.training_loss({**batch, "image": adv})

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Counts right answers."""
        logits, labels = self.network(batch["image"]), batch["label"]
        self.check_finite(logits)
        self.val_loss.update(nn.functional.cross_entropy(logits, labels, reduction="none"))
        self.val_accuracy.update(100.0 * (logits.argmax(1) == labels))
        self.log("val_loss", self.val_loss, on_step=False, on_epoch=True)
        self.log("val_accuracy", self.val_accuracy, on_step=False, on_epoch=True, prog_bar=True)

    def on_validation_batch_end(
        self, outputs: object, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Counts right answers under attack; here, as callbacks record what steps decide."""
        attacked = batch["index"] < self.validated
        if bool(attacked.any()):
            part = {name: batch[name][attacked] for name in ("image", "label", "index")}
            ids = part["index"].cpu()
            adv = self._attacked(self.validation_attack, (FGM(),), part, ids)
            answers = self.network(adv).argmax(1)
            self.val_robust_accuracy.update(100.0 * (answers == part["label"]))
        name = "val_robust_accuracy"
        self.log(name, self.val_robust_accuracy, on_step=False, on_epoch=True, prog_bar=True)

    def _attacked(
        self, attack: Attack, methods: tuple[GradientMethod, ...], batch: Batch, ids: Tensor
    ) -> Tensor:
        """A batch's images, attacked under each method."""

        def surrogate(images: Tensor, method: GradientMethod) -> Tensor:
            with gradient_method(self.network, method):
                logits: Tensor = self.network(images)
            return logits

        return strongest(
            attack,
            [partial(surrogate, method=method) for method in methods],
            batch["image"],
            batch["label"],
            victim=partial(surrogate, method=FGM()),
            sample_ids=ids,
        )


@contextmanager
def attacked_mode(network: nn.Module) -> Iterator[None]:
    """Evaluation mode with the batch's BN statistics; modes and buffers come back on leaving."""
    modes = {module: module.training for module in network.modules()}
    kept = {name: buffer.clone() for name, buffer in network.named_buffers()}
    try:
        for module in modes:
            module.training = isinstance(module, _BatchNorm)
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        with torch.no_grad():
            for name, buffer in network.named_buffers():
                buffer.copy_(kept[name])


def network_node(model: dict[str, object]) -> dict[str, object]:
    """The network's class path and arguments in a training's, which may hold another training's.

    Raises:
        RunError: If there is none.
    """
    arguments = model.get("init_args")
    if isinstance(arguments, dict):
        if isinstance(arguments.get("network"), dict):
            found: dict[str, object] = arguments["network"]
            return found
        if isinstance(arguments.get("training"), dict):
            return network_node(arguments["training"])
    raise RunError(f"{model.get('class_path')} names no network: expected init_args.network")
