"""bfloat16 where the processor has none: attacks work, and say before that they are slow."""

import pytest
import torch
from run_config import arguments, attack_config, node
from run_processes import PATIENCE, start_script

from leadgrad.pipelines.attack.bfloat16 import native_bfloat16, slow_bfloat16

OLD = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
CPU = torch.device("cpu")


def dynconv():
    return attack_config(
        model__network=node("leadgrad.victims.DynConv", depth=8, num_classes=2),
        model__surrogate_precision="bfloat16",
    )


def test_lgm_in_bfloat16_on_an_old_processor(tmp_path):
    process = start_script(arguments("attack", dynconv(), tmp_path / "run"), **OLD)
    _, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, error
    assert error.count("which this processor only emulates (PyTorch uses ") == 1
    assert "several times as long as in float32" in error


@pytest.mark.parametrize("limit", ["AVX2", "avx512_core", "AVX512_CORE_VNNI"])
def test_a_limit_of_onednn_counts_like_an_old_processor(monkeypatch, limit):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert not native_bfloat16()
    assert f"ONEDNN_MAX_CPU_ISA={limit.upper()}" in slow_bfloat16("bfloat16", CPU)


def test_nothing_is_said_where_bfloat16_is_not_slow_or_not_asked_for(monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert slow_bfloat16("float32", CPU) is None
    assert slow_bfloat16("bfloat16", torch.device("cuda")) is None
    monkeypatch.setattr("leadgrad.pipelines.attack.bfloat16.native_bfloat16", lambda: True)
    assert slow_bfloat16("bfloat16", CPU) is None
