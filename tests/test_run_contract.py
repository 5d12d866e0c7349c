"""Victims and data that break the contract: said in one line before the work; or they just work."""

import pytest
import torch
from run_config import arguments, attack, attack_config, class_path, node, threat
from torch import nn

from leadgrad.data import ImageDataModule
from leadgrad.data.base import ImageSplit
from leadgrad.pipelines.cli import main
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.victims import Gate


class Plain(nn.Module):
    """No gate; a linear map of the mean colour."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(channels, 2)

    def forward(self, images):
        return self.head(images.mean((2, 3)))


class Tuple(Plain):
    def forward(self, images):
        return super().forward(images), images


class Dict(Plain):
    def forward(self, images):
        return {"logits": super().forward(images)}


class OneSample(Plain):
    def forward(self, images):
        return super().forward(images)[:1]


class WantsLast(Plain):
    def forward(self, images):
        return self.head(images.mean((1, 2)))


class NotFinite(Plain):
    def forward(self, images):
        return super().forward(images) / 0


class InPlace(Plain):
    """Normalises what it gets in place, and has a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate()

    def forward(self, images):
        images.sub_(0.5).div_(0.25)
        x = images.mean((2, 3))
        return self.head(x * self.gate(x[:, :1]))


class OldWeightNorm(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.more = nn.utils.weight_norm(nn.Linear(2, 2))

    def forward(self, images):
        return self.more(super().forward(images))


class Grey(ImageDataModule):
    """One channel."""

    split_names = ("test",)
    num_classes = 2
    class_names = ("dark", "bright")
    channels = 1

    def load_split(self, name):
        drawn = torch.Generator().manual_seed(0)
        shape = (12, self.channels, 8, 8)
        images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=drawn)
        return ImageSplit(images, torch.arange(12) % 2)


class FourChannels(Grey):
    channels = 4


BROKEN = {
    Tuple: "returned a tuple, expected logits as one tensor",
    Dict: "returned a dict",
    OneSample: "a row per input",
    WantsLast: "WantsLast cannot answer images of shape (2, 3, 16, 16): ",
    NotFinite: "logits that are not finite",
}


@pytest.mark.parametrize("victim", BROKEN, ids=lambda victim: victim.__name__)
def test_a_broken_victim_is_refused_before_anything_is_written(victim, tmp_path, capsys):
    config = attack_config(model__network=node(class_path(victim, "broken_victims")))
    assert main(arguments("attack", config, tmp_path / "run")) == 1
    assert BROKEN[victim] in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


UNSUITED = {
    "loss": (
        node("leadgrad.attacks.IFGSM", threat=threat(), loss="leadgrad.attacks.dlr"),
        "dlr needs at least 3 logits",
    ),
    "goal": (
        node(
            "leadgrad.attacks.FGSM",
            threat=threat(),
            goal=node("leadgrad.attacks.TargetClass", target=7),
        ),
        "target=7 is no class",
    ),
    "threat": (node("leadgrad.attacks.FGSM", threat=threat(valid_ratio=1e-4)), "is none"),
}


@pytest.mark.parametrize("what", UNSUITED)
def test_an_unsuited_attack_is_refused_before_anything_is_written(what, tmp_path, capsys):
    attacking, says = UNSUITED[what]
    assert main(arguments("attack", attack_config(model__attack=attacking), tmp_path / "run")) == 1
    assert says in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("data", "channels"), [(Grey, 1), (FourChannels, 4)])
def test_images_that_are_not_rgb_are_refused_before_anything_is_written(
    data, channels, tmp_path, capsys
):
    config = attack_config(
        model__network=node(class_path(Plain, "own_plain"), channels=channels),
        data=node(class_path(data, "own_data"), batch_size=4, attack_split="test"),
    )
    assert main(arguments("attack", config, tmp_path / "run")) == 1
    message = capsys.readouterr().err
    assert f"images must be (N, 3, H, W), got (12, {channels}, 8, 8)" in message
    assert ("use images.repeat(1, 3, 1, 1)" in message) is (channels == 1)
    assert not (tmp_path / "run").exists()


def test_a_run_without_its_report_has_not_finished(tmp_path, monkeypatch):
    def broken(*_):
        raise ValueError("cannot draw")

    monkeypatch.setattr("leadgrad.pipelines.api.attacking.write_report", broken)
    assert main(arguments("attack", attack_config(), tmp_path / "run")) == 1
    assert not (tmp_path / "run" / "results.json").exists()
    monkeypatch.undo()
    attack(attack_config(), tmp_path / "run")


def test_a_victim_that_works_in_place_moves_no_image(tmp_path):
    config = attack_config(model__network=node(class_path(InPlace, "in_place")))
    attack(config, tmp_path / "run", "--checks=full", "--allow_failed_checks=true")
    for record in RunDirectory(tmp_path / "run").records():
        assert float(record.clean_inputs.min()) >= 0
        assert float((record.adv_inputs - record.clean_inputs).abs().max()) <= 8 / 255 + 1e-6
    assert main(["verify", str(tmp_path / "run")]) == 0
    names = [check["name"] for check in RunDirectory(tmp_path / "run").results()["checks"]]
    assert not [name for name in names if "can be made" in name]


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_hooks_that_compute_a_weight_do_not_stop_the_copy(tmp_path):
    config = attack_config(model__network=node(class_path(OldWeightNorm, "weight_norm")))
    attack(config, tmp_path / "run")


def test_lgm_without_gates_is_one_attack_and_says_so(tmp_path, capsys):
    network = node(class_path(Plain, "own_plain"))
    config = attack_config(model__network=network, model__method=node("leadgrad.victims.LGM"))
    results = attack(config, tmp_path / "led", "--checks=fast")
    out, err = capsys.readouterr()
    assert "note: Plain has no gates, so LGM(" in err
    assert "LGM, which is FGM on a network without gates" in " ".join(out.split())
    assert results["cost"]["gradients_per_sample"] == 1
    assert "which is FGM" in (tmp_path / "led" / "report.html").read_text()
    frozen = node("leadgrad.victims.FGM")
    plain = attack(attack_config(model__network=network, model__method=frozen), tmp_path / "fgm")
    assert plain["digest"] == results["digest"]
    assert "no gates" not in capsys.readouterr().err


def test_fixed_exits_of_a_network_without_exits_say_so(tmp_path, capsys):
    method = node("leadgrad.victims.FixedExits", last=True)
    attack(attack_config(model__method=method), tmp_path / "run", "--checks=off")
    err = " ".join(capsys.readouterr().err.split())
    assert "note: SkipNet has no exits that leadgrad knows, so FixedExits(" in err
    both = node("leadgrad.victims.BestOf", methods=[method, node("leadgrad.victims.LGM")])
    attack(attack_config(model__method=both), tmp_path / "both", "--checks=off")
    assert "has no exits" not in capsys.readouterr().err
