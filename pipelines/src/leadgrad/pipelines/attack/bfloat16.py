"""Whether a processor computes in bfloat16 itself; where it does not, float32 is faster."""

from __future__ import annotations

import os
import platform

import torch

# oneDNN's names of the instruction sets that have no bfloat16 products
_LIMITS = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")


def native_bfloat16() -> bool:
    """Whether PyTorch multiplies bfloat16 with instructions of this processor.

    oneDNN decides; a limit set by ``ONEDNN_MAX_CPU_ISA`` counts like an older processor.
    """
    supported = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if platform.machine().lower() in ("x86_64", "amd64"):
        # AVX-512 alone passes oneDNN's test, and emulates them
        supported &= torch.cpu._is_avx512_bf16_supported() and _limit() not in _LIMITS
    return supported


def slow_bfloat16(precision: str, device: torch.device) -> str | None:
    """What to say before gradients are taken in this precision on this device; None if nothing."""
    if precision != "bfloat16" or device.type != "cpu" or native_bfloat16():
        return None
    limit = f", ONEDNN_MAX_CPU_ISA={_limit()}" if _limit() else ""
    return (
        "warning: surrogate_precision is bfloat16, which this processor only emulates (PyTorch "
        f"uses {torch.backends.cpu.get_cpu_capability()}{limit}): gradients take several times as "
        "long as in float32; use float32, a GPU, or a processor with AVX512-BF16 or AMX"
    )


def _limit() -> str:
    return os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
