"""The network of a committed run. Its code is part of that run: never to be changed."""

import torch
from torch import Tensor, nn

from leadgrad.victims import Gate


class Recorded(nn.Module):
    """One branch that runs for some images, and one that runs at some positions of theirs."""

    def __init__(self, width: int = 4, num_classes: int = 2) -> None:
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
