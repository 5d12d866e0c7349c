"""Gradients of an attack's objective with respect to its inputs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from leadgrad.attacks.models import Model, foresees
from leadgrad.attacks.output import Answer, Output


def input_gradient(
    surrogate: Model, objective: Callable[[Answer, Tensor], Tensor], x: Tensor, labels: Tensor
) -> Tensor:
    """Gradient of the summed objective with respect to the inputs; no parameter gets a ``.grad``.

    Args:
        surrogate: Whose answer is judged.
        objective: Answer and labels to values of any shape.
        x: Inputs. Shape: (R, ...).
        labels: Shape: (R,).

    Raises:
        ValueError: If the gradient is not finite, or the answer does not depend on the inputs.
    """
    x = x.detach().requires_grad_()
    answer = surrogate(x)
    value = objective(answer, labels).sum()
    if not value.requires_grad:
        if isinstance(answer, Output) and answer.logits.requires_grad:
            raise ValueError(
                "what the network executes has no gradient: its decisions are frozen (FGM), or it "
                "decides nothing; attack compute under a method that leads, such as LGM"
            )
        raise ValueError(
            "the surrogate's logits carry no gradient; run it with gradients enabled and without "
            "detaching its inputs"
        )
    (gradient,) = torch.autograd.grad(value, x)
    if not bool(gradient.isfinite().all()):
        raise ValueError(
            f"{int((~gradient.isfinite()).sum())} values of the input gradient are not finite; "
            "check the weights, the precision and the surrogate's slope"
        )
    return gradient


def led_gradient(
    surrogate: Model,
    objective: Callable[[Answer, Tensor], Tensor],
    x: Tensor,
    labels: Tensor,
    propose: Callable[[Tensor], Tensor],
) -> Tensor:
    """``input_gradient`` of a surrogate that may look ahead, at twice the cost where it does.

    Args:
        surrogate: Likewise.
        objective: Likewise.
        x: Likewise.
        labels: Likewise.
        propose: Gradient at ``x`` to the next iterate that it leads to, in the inputs' shape.
    """
    gradient = input_gradient(surrogate, objective, x, labels)
    if not foresees(surrogate):
        return gradient
    proposed = propose(gradient)
    at = x if surrogate.taken == 0 else x + surrogate.taken * (proposed - x)
    return input_gradient(surrogate.ahead(proposed), objective, at, labels)
