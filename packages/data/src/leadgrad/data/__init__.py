"""Image sets as LightningDataModules whose batches say which samples they hold."""

from leadgrad.data.base import ImageDataModule, check_batch
from leadgrad.data.cifar10 import CIFAR10
from leadgrad.data.digits import Digits
from leadgrad.data.fake import FakeCIFAR10
from leadgrad.data.striping import StripedBatchSampler

__all__ = [
    "CIFAR10",
    "Digits",
    "FakeCIFAR10",
    "ImageDataModule",
    "StripedBatchSampler",
    "check_batch",
]
