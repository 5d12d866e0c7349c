"""What an attack asks of a victim and its data, tried on the first samples before any work."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from leadgrad.attacks import Answer, Apart, cost_of, logits_of
from leadgrad.data import ImageDataModule
from leadgrad.data.scenes import SceneDataModule
from leadgrad.pipelines.attack_module import AttackModule
from leadgrad.pipelines.scene_run import AttackedData, try_scenes
from leadgrad.pipelines.trial import OWN_PARTS, require_samples_first, try_copy
from leadgrad.victims.voxelize import Voxelizer

TRIED = 2  # samples: with one, a lost batch dimension goes unseen

UNANSWERED = (RuntimeError, IndexError, AttributeError)
"""What a network raises that is not made for such images."""


def check_classes(module: AttackModule, data: AttackedData) -> None:
    """Asks the victim for one answer, before anything is written.

    Raises:
        ValueError: If the network answers with another number of classes than the data has, or
            what ``try_images`` or ``try_scenes`` raises.
        TypeError: Likewise.
    """
    if isinstance(data, SceneDataModule):
        logits = try_scenes(module, data)
    else:
        if any(isinstance(part, Voxelizer) for part in module.victim.modules()):
            raise ValueError(
                f"{type(module.network).__name__} takes the points of scenes, but "
                f"{type(data).__name__} has images; give it a SceneDataModule"
            )
        logits = try_images(module, data)
    classes = len(data.class_names)
    if logits != classes:
        raise ValueError(
            f"the network answers with {logits} logits, but {type(data).__name__} has {classes} "
            f"classes; give a network of num_classes={classes}, or the data it was trained on"
        )


def try_images(module: AttackModule, data: ImageDataModule) -> int:
    """Asks for the victim's answers, the allowed region and the loss on the first images.

    Returns:
        Number of classes that the victim has logits for.

    Raises:
        ValueError: If the images are no images, the answers no finite logits of them, the attack's
            threat model, goal or loss does not suit them, or the decisions are not recorded as they
            are taken (``trial``).
        TypeError: If the victim returns something else than one tensor.
    """
    split = data.split(data.attack_split)
    count = min(TRIED, data.batch_size)
    images = split.images[:count].float() / 255
    labels = split.labels[:count].long()
    if images.ndim != 4 or not len(images):
        raise ValueError(
            f"{type(data).__name__} has images of shape {tuple(images.shape)}, expected at least "
            "one, (N, channels, height, width)"
        )
    answer = _answers(module, images)
    attack, classes = module.attack, logits_of(answer).shape[1]
    attack.threat.region(images)
    attack.objective(answer, labels.clamp(0, classes - 1))
    forwards = [try_copy(module.network, module.victim, lambda network: network(images.clone()))]
    if data.batch_size > count:
        forwards.append(module.tried(split.images[: count + 1].float() / 255))
    require_samples_first(type(module.network).__name__, forwards)
    if attack.goal.asks_cost:
        _require_led_cost(module, images)
    return classes


def _require_led_cost(module: AttackModule, images: Tensor) -> None:
    for method in module.candidates():
        with torch.enable_grad():
            cost = cost_of(module.surrogate(images.clone().requires_grad_(), method))
        if not cost.requires_grad:
            raise ValueError(
                f"under {method} what {type(module.network).__name__} executes has no gradient, "
                f"so that {module.attack.goal} cannot be attacked; give a method that leads, such "
                "as --model.method=leadgrad.victims.LGM"
            )


def _answers(module: AttackModule, images: Tensor) -> Answer:
    name = type(module.network).__name__
    try:
        with torch.no_grad():
            answer = Apart(module.exact)(images)
    except UNANSWERED as error:
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        if _can_answer(module.network, images):
            raise ValueError(
                f"an attack is on a copy of the network, and the copy of {name} cannot answer, "
                f"unlike {name} itself: {reason}; {OWN_PARTS}"
            ) from error
        raise ValueError(
            f"{name} cannot answer images of shape {tuple(images.shape)}: {reason}; it is called "
            "with one float tensor (N, channels, height, width) in [0, 1]"
        ) from error
    if not bool(logits_of(answer).isfinite().all()):
        raise ValueError(
            f"{name} answers the first images with logits that are not finite; check its weights, "
            "and that it takes images in [0, 1]"
        )
    return answer


def _can_answer(network: nn.Module, images: Tensor) -> bool:
    try:
        with torch.no_grad():
            network(images.clone())
    except UNANSWERED:
        return False
    return True
