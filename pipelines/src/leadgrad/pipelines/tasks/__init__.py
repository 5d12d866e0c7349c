"""The kinds of data that come with leadgrad: images to classify, and point clouds to segment."""

from leadgrad.pipelines.tasks.images.task import ImageClassification
from leadgrad.pipelines.tasks.scenes.task import PointSegmentation

__all__ = ["ImageClassification", "PointSegmentation"]
