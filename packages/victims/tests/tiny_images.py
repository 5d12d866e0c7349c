"""An easy image set in memory: the label is the brightest channel. Child processes import it."""

import torch
from torch.utils.data import DataLoader, Dataset

CLASSES, SIZE = 3, 8


class BrightChannel(Dataset):
    """Samples as the batch table has them; sample i depends on i alone."""

    def __init__(self, count, first=0):
        self.count, self.first = count, first

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        index = self.first + i
        generator = torch.Generator().manual_seed(index)
        image = 0.6 * torch.rand(3, SIZE, SIZE, generator=generator)
        image[index % CLASSES] += 0.3
        return {"image": image, "label": torch.tensor(index % CLASSES), "index": torch.tensor(i)}


def train_loader(count=36, batch_size=12):
    return DataLoader(BrightChannel(count), batch_size)


def validation_loader(count=18, batch_size=6):
    return DataLoader(BrightChannel(count, first=1000), batch_size)


def whole_batch(loader):
    """All samples of a loader as one batch."""
    samples = [loader.dataset[i] for i in range(len(loader.dataset))]
    return {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}
