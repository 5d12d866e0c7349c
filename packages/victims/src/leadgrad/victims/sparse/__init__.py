"""Sparse convolution in plain PyTorch, on any device: tensors, kernel maps, functions, layers.

Imports point one way: coordinates, kernel_map, functional, geometry, layers. ``minkowski``, which
nothing here imports, convolves with MinkowskiEngine instead.
"""

from leadgrad.victims.sparse.coordinates import CoordinateSet, unique_coordinates
from leadgrad.victims.sparse.functional import sparse_conv
from leadgrad.victims.sparse.geometry import Geometry, soft_or
from leadgrad.victims.sparse.kernel_map import KernelMap, hybrid_offsets, hypercube_offsets
from leadgrad.victims.sparse.layers import (
    DownConv,
    PointwiseConv,
    SparseBatchNorm,
    SparseConv,
    SubmanifoldConv,
    UpConv,
)
from leadgrad.victims.sparse.tensor import SparseTensor

__all__ = [
    "CoordinateSet",
    "DownConv",
    "Geometry",
    "KernelMap",
    "PointwiseConv",
    "SparseBatchNorm",
    "SparseConv",
    "SparseTensor",
    "SubmanifoldConv",
    "UpConv",
    "hybrid_offsets",
    "hypercube_offsets",
    "soft_or",
    "sparse_conv",
    "unique_coordinates",
]
