"""What is not finite decides nothing, and is told; an infinite margin decides."""

import math

import pytest
import torch
from golden_fill import fill
from torch import nn

from leadgrad.victims import (
    FGM,
    LGM,
    Constant,
    DynConv,
    Gate,
    MarginError,
    MinkUNet,
    RelativeSigmoid,
    Sigmoid,
    SkipNet,
    VoxelFGM,
    gradient_method,
    record_decisions,
    record_occupancies,
)
from leadgrad.victims.occupancy.reach import Reach
from leadgrad.victims.occupancy.voxelize import Voxelizer
from leadgrad.victims.training.classifier import Classifier
from leadgrad.victims.training.segmentation import SceneSegmenter

METHODS = [FGM(), LGM(Sigmoid(1.0)), LGM(Sigmoid(1.0), "hard"), LGM(Constant())]
BROKEN = {
    SkipNet: ("group2_gate0.1.weight", "gates.1"),
    DynConv: ("layer2.0.masker.maskconv.conv.weight", "layer2.0.masker.gate"),
}


def broken(family):
    network = fill(family(8)).float()
    name, gate = BROKEN[family]
    with torch.no_grad():
        network.get_parameter(name).flatten()[0] = math.nan
    return network, gate


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", [SkipNet, DynConv])
def test_a_nan_in_a_gates_weights_is_an_error_that_names_the_gate(family, method):
    network, gate = broken(family)
    images = torch.rand(2, 3, 8, 8)
    message = f"at gate '{gate}' of {family.__name__}, .* margins .* are NaN"
    with pytest.raises(MarginError, match=message), gradient_method(network, method):
        network(images.requires_grad_())
    for record in (record_decisions, record_occupancies):
        with pytest.raises(MarginError, match=message), torch.no_grad(), record(network):
            network(images)
    with pytest.raises(MarginError, match=r"at a gate, [0-9]+ of"):
        network(images)


def test_the_outermost_network_tells_where_the_gate_is():
    network, gate = broken(SkipNet)
    outer = nn.Sequential(network)
    with (
        pytest.raises(MarginError, match=f"at gate '0.{gate}' of Sequential"),
        gradient_method(outer, FGM()),
        record_occupancies(network),
    ):
        outer(torch.rand(2, 3, 8, 8))


@pytest.mark.parametrize("method", METHODS[:3])
@pytest.mark.parametrize("family", [SkipNet, DynConv])
def test_a_nan_reaches_the_logits_of_a_compiled_network(family, method):
    torch._dynamo.reset()
    network, _ = broken(family)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    with gradient_method(network, method):
        assert compiled(torch.rand(2, 3, 8, 8)).isnan().all(1).all()
    torch._dynamo.reset()


@pytest.mark.parametrize("surrogate", [Sigmoid(2.0), RelativeSigmoid(5.0), Constant(0.5)])
def test_an_infinite_margin_is_a_clear_decision(surrogate):
    gate = Gate()
    margin = torch.tensor([[-math.inf, 1.0, -3.0, math.inf]], requires_grad=True)
    assert gate(margin).tolist() == [[0, 1, 0, 1]]
    for forward in ("soft", "hard"):
        with gradient_method(gate, LGM(surrogate, forward)):
            occupancy = gate(margin)
        assert occupancy.isfinite().all()
        if isinstance(surrogate, Constant):
            continue
        assert occupancy[0, ::3].tolist() == [0, 1]
        (gradient,) = torch.autograd.grad(occupancy.sum(), margin)
        assert gradient[0, ::3].tolist() == [0, 0]
        assert (gradient[0, 1:3] > 0).all()


def test_masked_units_play_no_part_in_the_size_of_the_others():
    margin = torch.tensor([[1.0, -3.0, 0.5, -math.inf, -math.inf]])
    relaxed = RelativeSigmoid(5.0)
    torch.testing.assert_close(relaxed(margin)[:, :3], relaxed(margin[:, :3]))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_features_and_clean_positions_have_to_be_finite(value):
    coords, color = torch.rand(3, 3), torch.rand(3, 3)
    color[1, 2] = value
    voxelizer = Voxelizer(0.05)
    with pytest.raises(ValueError, match="features must be finite, those of point 1"):
        voxelizer(coords, color)
    with (
        gradient_method(voxelizer, VoxelFGM(), Reach(0.0, 0.0, coords)),
        pytest.raises(ValueError, match="features must be finite"),
    ):
        voxelizer(coords, color)
    with pytest.raises(ValueError, match="origin holds positions that are not finite"):
        Reach(0.0, 0.0, color)


class Answering(nn.Module):
    """Logits of which one is NaN: its greatest would be class 0."""

    def forward(self, *inputs):
        logits = torch.rand(len(inputs[0]), 4)
        logits[0, 3] = math.nan
        return logits


def test_nan_logits_are_no_right_answer_in_validation():
    label = torch.zeros(2, dtype=torch.int64)
    batch = {"image": torch.rand(2, 3, 8, 8), "label": label, "index": label}
    with pytest.raises(ValueError, match="1 of 2 validation logits are not finite in epoch 0"):
        Classifier(Answering()).validation_step(batch, 0)


def test_nan_logits_are_no_answers_for_scenes():
    network = MinkUNet(3, 0.3, encoder=(4,) * 4, decoder=(4,) * 4, blocks=(1,) * 8, stem=4)
    with torch.no_grad():
        network.final.kernel[0, 0] = math.nan
    label = torch.zeros(20, dtype=torch.int64)
    batch = {
        "coords": torch.rand(20, 3),
        "features": torch.rand(20, 3),
        "scene": label,
        "label": label,
        "index": label[:1],
    }
    with pytest.raises(ValueError, match="20 of 20 validation logits are not finite"):
        SceneSegmenter(network.eval()).validation_step(batch, 0)
