"""MinkowskiEngine 0.5.4 behind the interface of our own engine: a second opinion on the processor.

With ``network.geometry = MinkowskiGeometry`` a ``MinkUNet`` is the same network with the same
weights, whose neighbours and products are MinkowskiEngine's; configurations name
``minkunet_minkowski.MinkUNetMinkowski``. Levels, occupancies and the order of rows stay ours.
"""

from __future__ import annotations

import collections
import collections.abc
import importlib
import os
import warnings
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from leadgrad.victims.sparse.functional import check_operands
from leadgrad.victims.sparse.geometry import Geometry
from leadgrad.victims.sparse.kernel_map import hypercube_offsets


class MinkowskiMissingError(ImportError):
    """MinkowskiEngine cannot be imported here."""


def _load() -> ModuleType:
    """Imports MinkowskiEngine, and takes back what that changes for everybody else.

    Raises:
        MinkowskiMissingError: If it is not installed, or was built against another PyTorch.
    """
    aliased = not hasattr(collections, "Sequence")
    threads = os.environ.get("OMP_NUM_THREADS")
    # Its 0.5.4 looks for Sequence where Python had it before 3.10, and beyond 16 cores it sets the
    # variable for later processes unless it is set
    if aliased:
        vars(collections)["Sequence"] = collections.abc.Sequence
    os.environ["OMP_NUM_THREADS"] = str(torch.get_num_threads())
    try:
        with warnings.catch_warnings():
            # It warns that it was built for the processor alone, which is all that is used here
            warnings.filterwarnings("ignore", "The MinkowskiEngine was compiled with CPU_ONLY")
            return importlib.import_module("MinkowskiEngine")
    except ImportError as error:
        raise MinkowskiMissingError(
            f"MinkowskiEngine cannot be imported ({error}); it has to be compiled against the "
            "installed torch, which the nox session minkowski does, into an environment of its own "
            "(extra: leadgrad-victims[minkowski])"
        ) from error
    finally:
        if aliased:
            del vars(collections)["Sequence"]
        if threads is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = threads


_engine = _load()
_backend = importlib.import_module("MinkowskiEngineBackend._C")


class MinkowskiGeometry(Geometry):
    """A geometry whose convolutions are MinkowskiEngine's, for one forward, on the processor.

    Results and gradients are our engine's up to rounding, in float32 and float64; kernels may have
    any order of offsets, and are permuted to MinkowskiEngine's. Frozen weights cost no gradient:
    features' gradients alone are a convolution with the transposed kernel.

    Args:
        coords: Voxels of stride 1, each once, in any order. Shape: (M, 4), int32 or int64.
        occupancy: ô of each voxel in [0, 1], or None where every voxel is there. Shape: (M, 1).

    Raises:
        ValueError: As of ``Geometry``, and for coordinates on another device than the processor.
    """

    def __init__(self, coords: Tensor, occupancy: Tensor | None = None) -> None:
        if coords.device.type != "cpu":
            raise ValueError(
                f"MinkowskiGeometry computes on the processor, coords are on {coords.device}; move "
                "the network and its input there, or use Geometry"
            )
        super().__init__(coords, occupancy)
        # It sets the number of threads that it shares with torch: to what it is
        self._manager = _engine.CoordinateManager(
            D=3,
            num_threads=torch.get_num_threads(),
            coordinate_map_type=_engine.CoordinateMapType.CPU,
        )
        self._keys: dict[int, Any] = {}

    def submanifold_conv(
        self, feats: Tensor, kernel: Tensor, stride: int, offsets: Tensor
    ) -> Tensor:
        """Convolution of a level onto itself.

        Args:
            feats: Rows of the level. Shape: (M, Cin), float32 or float64.
            kernel: Shape: (K, Cin, Cout).
            stride: Of the level.
            offsets: Of the kernel's slices, a whole cube in any order. Shape: (K, 3).

        Returns:
            Shape: (M, Cout).

        Raises:
            ValueError: If the offsets are no cube, which MinkowskiEngine does not have, or shapes
                do not fit.
            TypeError: For another dtype.
        """
        size, order = _cube_order(offsets)
        step = _Step(self._manager, self._key(stride), self._key(stride), size, 1)
        return self._convolve(feats, kernel, step, stride, order)

    def down_conv(self, feats: Tensor, kernel: Tensor, stride: int) -> Tensor:
        """2³ convolution: (M, Cin) at level stride, (8, Cin, Cout), to (M_coarse, Cout)."""
        step = _Step(self._manager, self._key(stride), self._key(2 * stride), 2, 2)
        return self._convolve(feats, kernel, step, stride)

    def up_conv(self, feats: Tensor, kernel: Tensor, stride: int) -> Tensor:
        """Transposed 2³ convolution: (M_coarse, Cin) at level stride to (M, Cout) at stride / 2."""
        fine = self._key(stride // 2)
        step = _Step(self._manager, self._key(stride), fine, 2, 2, transposed=True)
        return self._convolve(feats, kernel, step, stride)

    def _convolve(
        self,
        feats: Tensor,
        kernel: Tensor,
        step: _Step,
        stride: int,
        order: list[int] | None = None,
    ) -> Tensor:
        check_operands(feats, kernel, len(self.voxels(stride)), step.size**3)
        if feats.dtype not in (torch.float32, torch.float64):
            raise TypeError(
                f"MinkowskiEngine convolves float32 and float64, got {feats.dtype}; convert the "
                "network or use Geometry"
            )
        out: Tensor = _Convolution.apply(feats, kernel if order is None else kernel[order], step)
        return out

    def _key(self, stride: int) -> Any:
        """MinkowskiEngine's name of a level, whose voxels it is given in our order."""
        if stride not in self._keys:
            coords = self.voxels(stride).coords.int().contiguous()
            key, (_, rows) = self._manager.insert_and_map(coords, stride)
            assert torch.equal(rows, torch.arange(len(coords))), "distinct voxels keep their order"
            self._keys[stride] = key
        return self._keys[stride]


@dataclass(frozen=True)
class _Step:
    """A convolution's way from level to level: all that MinkowskiEngine wants but the numbers."""

    manager: Any
    source: Any
    target: Any
    size: int
    stride: int
    transposed: bool = False

    def adjoint(self) -> _Step:
        """The way back."""
        turned = self.stride > 1 and not self.transposed
        return _Step(self.manager, self.target, self.source, self.size, self.stride, turned)

    def adjoint_kernel(self, kernel: Tensor) -> Tensor:
        """The kernel of the way back: transposed slices, and a cube's offsets are negated."""
        return (kernel.flip(0) if self.stride == 1 else kernel).transpose(1, 2)

    def forward(self, feats: Tensor, kernel: Tensor) -> Tensor:
        """Output rows."""
        out: Tensor = self._function("Forward")(
            feats.contiguous(),
            kernel.contiguous(),
            *self._region(),
            False,  # no new voxels
            *self._levels(),
        )
        return out

    def backward(self, feats: Tensor, grad: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients to features and kernel."""
        grads: tuple[Tensor, Tensor] = self._function("Backward")(
            feats.contiguous(),
            grad.contiguous(),
            kernel.contiguous(),
            *self._region(),
            *self._levels(),
        )
        return grads

    def _function(self, direction: str) -> Any:
        kind = "ConvolutionTranspose" if self.transposed else "Convolution"
        return getattr(_backend, f"{kind}{direction}CPU")

    def _region(self) -> tuple[Any, ...]:
        cube = _backend.RegionType.HYPER_CUBE
        return [self.size] * 3, [self.stride] * 3, [1] * 3, cube, torch.IntTensor()

    def _levels(self) -> tuple[Any, ...]:
        mode = _backend.ConvolutionMode.DEFAULT
        return mode, self.source, self.target, self.manager._manager


class _Convolution(torch.autograd.Function):
    """MinkowskiEngine's own autograd function keeps all inputs and always finds all gradients."""

    @staticmethod
    def forward(ctx: Any, feats: Tensor, kernel: Tensor, step: _Step) -> Tensor:
        kernel_needed = ctx.needs_input_grad[1]
        ctx.save_for_backward(feats if kernel_needed else None, kernel)
        ctx.step = step
        return step.forward(feats, kernel)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        feats, kernel = ctx.saved_tensors
        step: _Step = ctx.step
        if feats is None:
            return step.adjoint().forward(grad, step.adjoint_kernel(kernel)), None, None
        return *step.backward(feats, grad, kernel), None


def _cube_order(offsets: Tensor) -> tuple[int, list[int] | None]:
    """Size of the cube that the offsets are, and where each of its slices is among them.

    The order is None where it is that of MinkowskiEngine's cubes already.
    """
    given: list[list[int]] = offsets.tolist()
    size = round(len(given) ** (1 / 3))
    cube = hypercube_offsets(size).tolist() if size % 2 else []
    if sorted(given) != sorted(cube):
        raise ValueError(
            f"MinkowskiEngine convolves over whole cubes of an odd size, got {len(given)} offsets "
            "that are none; use Geometry"
        )
    return size, None if given == cube else [given.index(offset) for offset in cube]
