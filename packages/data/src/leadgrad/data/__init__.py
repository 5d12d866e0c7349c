"""Image sets and point clouds as LightningDataModules whose batches say which samples they hold."""

from leadgrad.data.base import ImageDataModule, check_batch
from leadgrad.data.cifar10 import CIFAR10
from leadgrad.data.digits import Digits
from leadgrad.data.fake import FakeCIFAR10
from leadgrad.data.image_arrays import ImageArrays
from leadgrad.data.image_folder import ImageFolder
from leadgrad.data.imagenet import ImageNet
from leadgrad.data.rooms import SyntheticRooms
from leadgrad.data.s3dis import S3DIS
from leadgrad.data.scannet import ScanNet
from leadgrad.data.scene_arrays import SceneArrays
from leadgrad.data.scene_batch import check_scene_batch
from leadgrad.data.scene_folder import SceneFolder
from leadgrad.data.scenes import SceneDataModule
from leadgrad.data.semantickitti import SemanticKITTI
from leadgrad.data.streets import SyntheticStreets
from leadgrad.data.striping import StripedBatchSampler

__all__ = [
    "CIFAR10",
    "S3DIS",
    "Digits",
    "FakeCIFAR10",
    "ImageArrays",
    "ImageDataModule",
    "ImageFolder",
    "ImageNet",
    "ScanNet",
    "SceneArrays",
    "SceneDataModule",
    "SceneFolder",
    "SemanticKITTI",
    "StripedBatchSampler",
    "SyntheticRooms",
    "SyntheticStreets",
    "check_batch",
    "check_scene_batch",
]
