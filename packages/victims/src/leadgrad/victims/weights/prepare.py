"""A network made ready to be attacked: evaluation mode, frozen, BN folded, channels_last.

An attack needs the gradient of the input alone, of a network that stays as it is. Freezing saves
the weight gradients, folding each BN into the conv before it saves a pass over every feature map,
and channels_last is the layout that CPU and GPU convolutions are fastest in.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Network = TypeVar("Network", bound=nn.Module)


def prepare_for_attack(network: Network, *, fold: bool = True) -> Network:
    """A copy of ``network`` for attacks; the original is left as it is.

    A module names the pairs that may be folded in a class attribute ``foldable``, as (conv, bn)
    names of its children; where no module has one, nothing is folded. Folded logits equal the
    original's up to rounding, so compute every number of one report on the same copy.

    Args:
        network: Images to logits. Its mode and gradients are not touched.
        fold: Whether to fold BN.
    """
    prepared = copy.deepcopy(network, _computed(network)).eval().requires_grad_(False)
    if fold:
        for module in list(prepared.modules()):
            for conv_name, bn_name in getattr(module, "foldable", ()):
                _fold(module, conv_name, bn_name)
    return prepared.to(memory_format=torch.channels_last)


def _computed(network: nn.Module) -> dict[int, Any]:
    """Copies, by identity, of the tensors that modules computed from their parameters.

    The hooks of ``torch.nn.utils.weight_norm`` and ``spectral_norm`` keep such a tensor as an
    attribute and compute it anew in each forward. It is part of a graph, hence ``deepcopy`` refuses
    it.
    """
    return {
        id(value): value.detach().clone()
        for module in network.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }


def _fold(module: nn.Module, conv_name: str, bn_name: str) -> None:
    conv, bn = module.get_submodule(conv_name), module.get_submodule(bn_name)
    if isinstance(bn, nn.Identity):
        return  # a module that is registered twice is met twice
    if not (isinstance(conv, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d)):
        raise TypeError(
            f"{type(module).__name__}.foldable names {conv_name!r}, {bn_name!r}, which are "
            f"{type(conv).__name__} and {type(bn).__name__}; expected Conv2d and BatchNorm2d"
        )
    setattr(module, conv_name, fuse_conv_bn_eval(conv, bn).requires_grad_(False))
    setattr(module, bn_name, nn.Identity().eval())
