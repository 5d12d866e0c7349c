"""``LGM()``: no slope to choose, and never weaker than any surrogate it stands for."""

import pytest
import torch
from run_config import attack, attack_config, node

from leadgrad.attacks import FGSM, IFGSM, PixelLinf
from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.pipelines.tasks import ImageClassification
from leadgrad.pipelines.tasks.images.outcome import right_after
from leadgrad.victims import FGM, LGM, DynConv, Sigmoid, gradient_method
from leadgrad.victims.occupancy.surrogates import DEFAULT


@pytest.mark.parametrize("attacks", [FGSM, IFGSM])
def test_it_wins_wherever_one_of_its_surrogates_wins(attacks):
    torch.manual_seed(0)
    network = DynConv(8, num_classes=3)
    images, ids = torch.rand(24, 3, 16, 16), torch.arange(24)
    made = attacks(PixelLinf(eps_255=4))

    def lost(method):
        module = AttackModule(network, made, method)
        module.task = ImageClassification()
        labels = network.eval()(images).argmax(1)
        attempt = module.attempt({"image": images, "label": labels, "index": ids})
        adv, _ = attempt.adversarial(attempt.logits)
        return attempt.logits(adv).argmax(1) != labels

    alone = torch.stack([lost(LGM(surrogate)) for surrogate in DEFAULT])
    assert torch.equal(lost(LGM()), alone.any(0))
    assert 0 < int(alone.any(0).sum()) < 24, "else this shows nothing"


def test_methods_with_one_surrogate_are_their_own_candidate():
    assert FGM().candidates() == (FGM(),)
    assert LGM(Sigmoid(2.0)).candidates() == (LGM(Sigmoid(2.0)),)
    hard = LGM(forward="hard").candidates()
    assert [method.forward for method in hard] == ["hard"] * len(DEFAULT)


def test_one_forward_has_one_surrogate():
    network = DynConv(8)
    with gradient_method(network, LGM()), pytest.raises(ValueError, match="candidates"):
        network(torch.rand(1, 3, 32, 32))


def test_from_the_command_line(tmp_path):
    method = node("leadgrad.victims.LGM")
    config = attack_config(model__method=method)
    results = attack(config, tmp_path / "run", "--checks=off")
    assert results["method"]["init_args"]["surrogate"] is None
    sloped = []
    for surrogate in DEFAULT:
        class_path = f"leadgrad.victims.{type(surrogate).__name__}"
        one = node("leadgrad.victims.LGM", surrogate=node(class_path, slope=surrogate.slope))
        directory = tmp_path / f"{type(surrogate).__name__}"
        attack(attack_config(model__method=one), directory, "--checks=off")
        sloped.append(right_after(RunDirectory(directory)))
    assert torch.equal(right_after(RunDirectory(tmp_path / "run")), torch.stack(sloped).all(0))
