"""Victims as a user would write them in a file of their own: plain modules, some with gates."""

import os
import time

import torch
from torch import Tensor, nn

from leadgrad.victims import Gate
from leadgrad.victims.occupancy.voxelize import Voxelizer


class OwnGated(nn.Module):
    """One branch that runs for some images, and one that runs at some positions of theirs."""

    def __init__(self, width: int = 4, num_classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.image_score, self.position_score = nn.Linear(width, 1), nn.Conv2d(width, 1, 1)
        self.image_gate, self.position_gate = Gate(), Gate(inclusive=True)
        self.head = nn.Linear(width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = torch.relu(self.stem(images - 0.5))
        run = self.image_gate(self.image_score(x.mean((2, 3))).squeeze(1))
        x = x + run.view(-1, 1, 1, 1) * self.first(x)
        x = x + self.position_gate(self.position_score(x)) * self.second(x)
        return self.head(x.mean((2, 3)))


class NotFiniteOnBright(OwnGated):
    """NaN logits for images that are bright on average, as broken weights or a log of 0 give."""

    def forward(self, images: Tensor) -> Tensor:
        bright = images.mean((1, 2, 3)) > 0.5
        return torch.where(bright[:, None], torch.nan, super().forward(images))


class SlowGated(OwnGated):
    """Takes as many seconds for an answer as the environment says."""

    def forward(self, images: Tensor) -> Tensor:
        time.sleep(float(os.environ.get("SLOW_SECONDS", "0")))
        return super().forward(images)


class BrokenInLaterRanks(SlowGated):
    """Fails in every process of an attack but the first, once the processes have met."""

    def forward(self, images: Tensor) -> Tensor:
        if torch.distributed.is_initialized() and torch.distributed.get_rank():
            raise ValueError("broken on purpose")
        return super().forward(images)


class OwnVoxels(nn.Module):
    """Voxels' features to logits, neighbours unseen; counted at two strides."""

    def __init__(self, num_classes: int = 20) -> None:
        super().__init__()
        self.voxelizer = Voxelizer(0.3, levels=2)
        self.head = nn.Linear(3, num_classes)

    def forward(self, coords: Tensor, features: Tensor, scene: Tensor | None = None) -> Tensor:
        voxels = self.voxelizer(coords, features, scene)
        return voxels.readout(self.head(voxels.tensor.feats))
