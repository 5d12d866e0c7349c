"""A mixture of experts, attacked, checked and verified; what a changed choice counts."""

import pytest
import torch
from run_config import attack, attack_config, class_path, node
from torch import nn

from leadgrad.pipelines.api.verifying import verify
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.victims import Choice

EXPERTS, K = 4, 2


class Experts(nn.Module):
    """Two of four linear experts on each of four patches."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.router, self.choice = nn.Linear(3, EXPERTS), Choice(K)
        self.experts, self.head = nn.Linear(3, 5 * EXPERTS), nn.Linear(5, 2)
        self.router.weight.data *= 20

    def forward(self, images):
        patches = torch.stack(images.chunk(4, 2), 1).mean((3, 4))  # (B, 4, 3)
        share = self.choice(self.router(patches))
        answers = self.experts(patches).unflatten(-1, (EXPERTS, 5)).relu()
        return self.head((share[..., None] * answers).sum((1, 2)))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("experts") / "run"
    network = node(class_path(Experts, "own_experts"))
    attack(
        attack_config(model__network=network), path, "--checks=fast", "--allow_failed_checks=true"
    )
    return RunDirectory(path)


def test_a_changed_choice_counts_once(run):
    counting = run.results()["architecture_change"]["countings"]["decisions/all"]
    entered = places = 0
    for record in run.records():
        before, after = (
            record.decisions(units)[0] for units in (record.clean_units, record.adv_units)
        )
        assert before.shape[1:] == (4, EXPERTS)
        assert bool((before.sum(-1) == K).all())
        entered += int((after & ~before).sum())
        places += before[..., 0].numel()
    assert entered > 0
    assert counting["changed"] == entered
    assert counting["units"] == places * K
    assert counting["switched_off_percent"] == 0


def test_it_is_checked_and_verified(run):
    verdicts = {check["id"]: check["verdict"] for check in run.results()["checks"]}
    assert [name for name in ("C3", "C6", "C7", "C8", "C10") if verdicts[name] == "FAIL"] == []
    assert verdicts["C10"] == "PASS"
    assert [finding for finding in verify(RunDirectory(run.path)) if finding.problems] == []
