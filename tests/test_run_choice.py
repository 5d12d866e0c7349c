"""A network that chooses experts, through an attack, its checks and its numbers."""

from dataclasses import replace

import pytest
import torch
from checks_subjects import DATA, SAMPLES, network, subject
from torch import nn

from leadgrad.attacks import FGSM, PixelLinf
from leadgrad.pipelines.attack_module import AttackModule
from leadgrad.pipelines.checks.gating import connection, consistency
from leadgrad.pipelines.checks.truth import truth_of_frozen, truth_of_method
from leadgrad.pipelines.metrics import ArchitectureChange
from leadgrad.pipelines.records import BatchRecord, RecordError
from leadgrad.victims import LGM, Choice, Gate, RelativeSigmoid, Sigmoid


class Experts(nn.Module):
    """Every position goes through two of four convolutions; a gate follows for all channels."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.router, self.choice = nn.Conv2d(3, 4, 3, padding=1, bias=False), Choice(2)
        self.experts = nn.ModuleList(nn.Conv2d(3, 6, 3, padding=1) for _ in range(4))
        self.gate, self.classes = Gate(), nn.Linear(6, 4)
        self.router.weight.data *= 5

    def forward(self, images):
        occupancy = self.choice(self.router(images).movedim(1, -1))
        x = sum(
            occupancy[:, None, :, :, number] * expert(images).tanh()
            for number, expert in enumerate(self.experts)
        )
        x = x.mean((2, 3))
        return self.classes(x + self.gate(x) * x)


METHODS = [LGM(Sigmoid(1.0)), LGM(RelativeSigmoid(2.0)), LGM(Sigmoid(1.0), "hard")]


@pytest.mark.parametrize("method", METHODS)
def test_choices_pass_the_checks_of_gates(method):
    checked = subject(Experts(), method=method)
    expected = "SKIP" if method.forward == "hard" else "PASS"
    assert truth_of_method(checked).verdict == expected
    assert connection(checked).verdict == "PASS"
    assert consistency(checked).verdict == "PASS"
    assert truth_of_frozen(checked).verdict == "PASS"


@pytest.fixture(scope="module")
def attacked():
    images = DATA.split("test").images.float() / 255
    module = AttackModule(Experts(), FGSM(PixelLinf(8), skip_misclassified=False), METHODS[0])
    batch = {
        "image": images,
        "label": module.logits(images).argmax(1),
        "index": torch.arange(SAMPLES),
    }
    return module, module.attack_images(batch)


def test_a_changed_choice_counts_once(attacked):
    module, record = attacked
    metric = ArchitectureChange(module.network, module.attack)
    metric.update(record)
    value = metric.compute()["decisions/all"]
    clean, adv = (record.decisions(side) for side in (record.clean_units, record.adv_units))
    entered = int((adv[0] & ~clean[0]).sum())
    flipped = int((adv[1] != clean[1]).sum())
    assert entered > 0
    assert value["changed"] == entered + flipped
    assert value["units"] == SAMPLES * (16 * 16 * 2 + 6)
    on_and_off = value["switched_on_percent"] + value["switched_off_percent"]
    assert on_and_off == pytest.approx(100 * flipped / value["units"])


def test_records_keep_how_many_are_chosen(attacked, tmp_path):
    _, record = attacked
    assert record.chosen == [2, None]
    path = tmp_path / "record"
    path.write_bytes(record.to_bytes())
    assert BatchRecord.read(path).chosen == [2, None]
    path.write_bytes(replace(record, chosen=[2]).to_bytes())
    with pytest.raises(RecordError, match="1 gates"):
        BatchRecord.read(path)


def test_records_of_gates_alone_are_as_before():
    checked = subject(network())
    batch = {"image": checked.images, "label": checked.labels, "index": checked.index}
    record = checked.module.attack_images(batch)
    assert record.unit_shapes
    assert record.chosen is None
    assert b"chosen" not in record.to_bytes()
