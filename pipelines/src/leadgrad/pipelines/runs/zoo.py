"""Published victims: a weights file and, beside it, a card that says what it is and how it came."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.pipelines.config.moved import present
from leadgrad.victims import load_published, prepare_for_attack
from leadgrad.victims.weights.checkpoints import card_path


class CardError(ValueError):
    """A card that is missing, damaged or incomplete."""


@dataclass(frozen=True)
class Card:
    """A published victim.

    Args:
        weights: Path of the ``.safetensors`` file; the card has the same name with ``.json``.
        content: Of the card.
    """

    weights: Path
    content: dict[str, Any]

    @classmethod
    def read(cls, weights: str | os.PathLike[str]) -> Card:
        """Reads the card beside a weights file.

        Raises:
            CardError: If there is none, or it lacks what every card has.
        """
        path = card_path(Path(weights))
        try:
            content = json.loads(path.read_bytes())
            if not isinstance(content, dict):
                raise TypeError(f"a {type(content).__name__}, expected an object")
            for key in ("network", "sha256", "accuracy"):
                content[key]
            content["network"] = present(content["network"])
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise CardError(
                f"{path} is no card of a published victim ({type(error).__name__}: {error}); "
                "leadgrad publish writes one"
            ) from error
        return cls(Path(weights), content)

    @property
    def name(self) -> str:
        """Of the files, without suffix."""
        return self.weights.stem

    @property
    def whole_sha256(self) -> str:
        """SHA-256 of the weights as a run saves them; the file's own where it is not of float16."""
        return str(self.content.get("whole_sha256", self.content["sha256"]))

    def load(self) -> nn.Module:
        """The victim with its weights, in evaluation mode and prepared for attack.

        Raises:
            CheckpointError: If the weights are not those of the card, or of another network.
        """
        network: nn.Module = instantiate(self.content["network"])
        load_published(network, self.weights, sha256=self.content["sha256"])
        return prepare_for_attack(network.eval())

    def right(self, split: str) -> tuple[int, int] | None:
        """Rows that the victim got right, and their number: of images, or of labelled points.

        None if the card does not tell.
        """
        counted = self.content["accuracy"].get(split)
        if counted is None or "right" not in counted:
            return None
        return int(counted["right"]), int(counted["count"])
