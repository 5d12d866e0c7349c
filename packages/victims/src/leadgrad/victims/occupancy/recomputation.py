"""Forwards that are made again in a backward pass, as ``torch.utils.checkpoint`` does.

Such a forward has to see the gradient method of the first one, whose context has ended as a rule
when the backward pass runs. Every autograd node has a number that counts up as nodes are made. So
the number of the node for which a part is made again tells when the first forward was, and a
history of the method what it was then. This holds for every kind of recomputation, and needs
nothing of the network, of its outputs, or of who calls the backward pass.
"""

from __future__ import annotations

import sys
from collections import deque
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any, Generic, TypeVar

import torch
import torch.utils.checkpoint
from torch.autograd.function import BackwardCFunction

Setting = TypeVar("Setting")

LENGTH = 1024
CHECKPOINT = torch.utils.checkpoint.__file__


class RecomputationError(RuntimeError):
    """A forward in a backward pass of which it cannot be told what it repeats."""


def backward_pass() -> int:
    """Number of the backward pass that the caller runs in; -1 in none, and while compiling."""
    if torch.compiler.is_compiling():
        return -1
    return torch._C._current_graph_task_id()


def nodes_made() -> int:
    """How many autograd nodes this thread has made: the number that the next one gets."""
    number: int = torch._C._autograd._get_sequence_nr()
    return number


@dataclass(frozen=True)
class Piece(Generic[Setting]):
    """A setting from one moment on.

    Args:
        start: The moment, in nodes made.
        setting: What is set.
        entered: Backward pass that it was set in, -1 in none.
    """

    start: int
    setting: Setting
    entered: int


class History(Generic[Setting]):
    """What was set when, in one thread."""

    def __init__(self) -> None:
        self.pieces: deque[Piece[Setting]] = deque(maxlen=LENGTH)

    def change(self, before: Setting, after: Piece[Setting]) -> None:
        """Notes a change at this moment, from a setting that may have been made unseen."""
        if self.pieces:
            self.pieces[-1] = replace(self.pieces[-1], setting=before)
        else:
            self.pieces.append(Piece(0, before, -1))
        self.pieces.append(after)

    def repeated(self, present: Setting) -> Setting:
        """The setting of the forward that the caller repeats, in a backward pass.

        Args:
            present: What is set now.

        Raises:
            RecomputationError: If the first forward was too long ago, or this may be no repetition
                and the two differ.
        """
        if not self.pieces:
            return present
        nodes, certain = _asking()
        for node in nodes:
            piece = self._at(node._sequence_nr())
            if piece.entered >= 0:  # a whole attack inside of a backward pass
                break
        last = piece is self.pieces[-1]
        setting = present if last else piece.setting
        if setting != present and not (certain or torch.is_grad_enabled()):
            raise RecomputationError(
                f"a network runs in a backward pass, now under {present}, while the pass is of a "
                f"forward under {setting}; if a hook runs it, enter gradient_method in the hook"
            )
        return setting

    def _at(self, moment: int) -> Piece[Setting]:
        for piece in reversed(self.pieces):
            if piece.start <= moment:
                return piece
        raise RecomputationError(
            f"a forward of more than {LENGTH // 2} uses of gradient_method ago is made again; run "
            "its backward pass earlier"
        )


def _asking() -> tuple[list[Any], bool]:
    """Nodes that a part is made again for, the innermost first, and whether it surely is.

    A part that is made again inside of one that is made again has nodes of the backward pass; then
    the outermost tells the first forward's time.
    """
    nodes = [torch._C._current_autograd_node()]
    certain = False
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code is BackwardCFunction.apply.__code__:
            nodes.append(frame.f_locals["self"])
            certain = True
        certain |= frame.f_code.co_name == "unpack_hook" and frame.f_code.co_filename == CHECKPOINT
        frame = frame.f_back
    return nodes, certain
