"""What the three packages have to agree on, checked where they meet: here, and only here.

``data`` promises batches, ``victims`` promise models, ``attacks`` promise to need nothing else.
"""

import inspect
import json

import numpy as np
import pytest
import scene_contracts as scenes
import torch
from own_victims import OwnGated
from PIL import Image
from torch import nn

import leadgrad.attacks
import leadgrad.data
import leadgrad.victims
from leadgrad.attacks import (
    APGD,
    FGSM,
    IFGSM,
    MIFGSM,
    NIFGSM,
    PGD,
    AnnealedPGD,
    Attack,
    CarliniWagner,
    Midpoint,
    Nearest,
    PixelLinf,
    RandomNoise,
    Square,
    Standard,
    TwoTries,
    dlr,
)
from leadgrad.data import (
    CIFAR10,
    Digits,
    FakeCIFAR10,
    ImageArrays,
    ImageDataModule,
    ImageFolder,
    ImageNet,
    SceneDataModule,
    check_batch,
)
from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.tasks import ImageClassification
from leadgrad.pipelines.tasks.images.records import BatchRecord
from leadgrad.victims import (
    FGM,
    LGM,
    DynConv,
    DynConvImageNet,
    FromTimm,
    Gate,
    GatedNetwork,
    MultiExit,
    ResNet,
    Sigmoid,
    SkipNet,
    SkipNetImageNet,
)

# Every method is to work on a network without gates too, where one that leads warns
pytestmark = pytest.mark.filterwarnings("ignore:(ResNet|FromTimm) decides nothing")

DATA = {
    "FakeCIFAR10": lambda root: FakeCIFAR10(batch_size=8, eval_size=20, train_size=40),
    "Digits": lambda root: Digits(batch_size=8, limit=20),
    "CIFAR10": lambda root: CIFAR10(small_cifar10(root), batch_size=8, limit=20),
    "ImageArrays": lambda root: image_arrays(),
    "ImageFolder": lambda root: small_folder(root, ("cat", "dog")),
    "ImageNet": lambda root: small_imagenet(root),
}
VICTIMS = {
    "SkipNet": lambda: SkipNet(8),
    "DynConv": lambda: DynConv(8),
    "MultiExit": lambda: MultiExit(8),
    "ResNet": lambda: ResNet(8),
    "SkipNetImageNet": lambda: SkipNetImageNet((1, 2), 10, width=8, image_size=32),
    "DynConvImageNet": lambda: DynConvImageNet((1, 2), 10, width=8, image_size=32),
    "FromTimm": lambda: FromTimm("resnet10t", num_classes=10),
    "own module": OwnGated,
}
METHODS = {"FGM": FGM(), "LGM": LGM(Sigmoid(2.0)), "LGM hard": LGM(Sigmoid(2.0), forward="hard")}
ANY = FGSM(PixelLinf(8))
ATTACKS = {
    "FGSM": FGSM(PixelLinf(8)),
    "IFGSM": IFGSM(PixelLinf(8), steps=2),
    "PGD": PGD(PixelLinf(8), steps=2, restarts=2),
    "MIFGSM": MIFGSM(PixelLinf(8), steps=2),
    "NIFGSM": NIFGSM(PixelLinf(8), steps=2),
    "Midpoint": Midpoint(PixelLinf(8), steps=2),
    "APGD": APGD(PixelLinf(8), dlr, steps=4, restarts=2),
    "AnnealedPGD": AnnealedPGD(PixelLinf(8), steps=3),
    "CarliniWagner": CarliniWagner(PixelLinf(8), steps=2),
    "Square": Square(PixelLinf(8), queries=8),
    "Standard": Standard(PixelLinf(8), budget=10),
    "Nearest": Nearest(PixelLinf(8), attack=FGSM(PixelLinf(8)), resolution_255=4),
    "RandomNoise": RandomNoise(PixelLinf(8)),
    "TwoTries": TwoTries(PixelLinf(8)),
}


def small_cifar10(root):
    """CIFAR-10's binary layout with 20 images a file."""
    made = np.random.default_rng(0)
    folder = root / "cifar-10-batches-bin"
    folder.mkdir()
    for name in (*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"):
        records = made.integers(0, 256, (20, 3073), dtype=np.uint8)
        records[:, 0] = np.arange(20) % 10
        records.tofile(folder / name)
    names = "airplane automobile bird cat deer dog frog horse ship truck"
    (folder / "batches.meta.txt").write_text(names.replace(" ", "\n"))
    return folder


def small_folder(root, classes, **settings):
    """Ten photographs of each of two classes and splits."""
    made = np.random.default_rng(1)
    for split in ("train", "val"):
        for number in range(20):
            folder = root / split / classes[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            pixels = made.integers(0, 256, (30, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.JPEG")
    kind = settings.pop("kind", ImageFolder)
    return kind(root, batch_size=8, image_size=24, resize=27, **settings)


def small_imagenet(root):
    (root / "classes.csv").write_text("class_index,wnid\n3,n00000003\n900,n00000900\n")
    return small_folder(root, ("n00000003", "n00000900"), kind=ImageNet)


def image_arrays():
    """The made-up images as arrays, 20 of each split."""
    made = FakeCIFAR10(eval_size=60).split("test")
    splits = {
        name: np.arange(60) % 3 == k for k, name in enumerate(("train", "validation", "test"))
    }
    return ImageArrays(made.images, made.labels, num_classes=10, splits=splits, batch_size=8)


def public(module, base) -> set[str]:
    """Names of the concrete classes of a package below ``base``."""
    found = {name: getattr(module, name) for name in module.__all__}
    return {
        name
        for name, cls in found.items()
        if inspect.isclass(cls) and issubclass(cls, base) and not inspect.isabstract(cls)
    }


def test_the_tables_of_this_file_are_complete():
    assert public(leadgrad.data, ImageDataModule) == set(DATA)
    networks = public(leadgrad.victims, nn.Module) - {"Choice", "Gate", "GatedNetwork"}
    assert networks - set(scenes.VICTIMS) == set(VICTIMS) - {"own module"}
    bases = {"Attack", "SignGradientAttack", "RandomRestarts"}
    assert public(leadgrad.attacks, Attack) - bases - set(scenes.ATTACKS) == set(ATTACKS)
    assert public(leadgrad.data, SceneDataModule) == set(scenes.DATA)


@pytest.fixture(params=DATA)
def data(request, tmp_path) -> ImageDataModule:
    return DATA[request.param](tmp_path)


def test_attacked_batches_are_what_a_run_needs(data):
    batches = list(data.predict_dataloader())
    for batch in batches:
        check_batch(batch)
        assert int(batch["label"].max()) < data.num_classes == len(data.class_names)
        assert batch["image"].shape[2:] == (data.image_size, data.image_size)
    assert len(batches) == data.num_attack_batches() == 3
    index = torch.cat([batch["index"] for batch in batches])
    assert torch.equal(index, torch.arange(20))
    for number, batch in enumerate(batches):  # how a run numbers its files
        assert int(batch["index"][0]) // data.batch_size == number


def test_images_are_whole_levels_and_stay_so_in_a_record(data, tmp_path):
    batch = next(iter(data.predict_dataloader()))
    logits = torch.zeros(8, data.num_classes), torch.ones(8, data.num_classes)
    record = BatchRecord.of(batch, batch["image"].clone(), logits, ([], []))
    (tmp_path / "record").write_bytes(record.to_bytes())
    assert torch.equal(BatchRecord.read(tmp_path / "record").clean_inputs, batch["image"])
    images, _ = data.split(data.attack_split).read(torch.arange(8))
    assert torch.equal(images.float() / 255, batch["image"])


def test_finished_batches_are_left_out(data):
    data.finished_batches = {0, 2}
    (batch,) = data.predict_dataloader()
    assert batch["index"].tolist() == list(range(8, 16))


def test_the_manifest_tells_the_attacked_samples(data):
    manifest = data.manifest()
    assert json.loads(json.dumps(manifest)) == manifest
    assert manifest["count"] == 20
    assert {"dataset", "split", "count", "sha256"} <= manifest.keys()


def test_training_and_validation_batches(data):
    for loader in (data.train_dataloader(), data.val_dataloader()):
        batch = next(iter(loader))
        check_batch(batch)
        assert batch["image"].shape[2:] == (data.image_size, data.image_size)


@pytest.fixture(params=VICTIMS)
def network(request) -> nn.Module:
    torch.manual_seed(0)
    return VICTIMS[request.param]().eval()


@pytest.fixture
def images() -> torch.Tensor:
    return FakeCIFAR10(eval_size=6).split("test").images.float() / 255


def images_attempt(images, *arguments):
    """An attack on images whose labels play no part."""
    module = AttackModule(*arguments)
    module.task = ImageClassification()
    rows = torch.arange(len(images))
    return module.attempt({"image": images, "label": rows, "index": rows})


def decide(attempt, images):
    made = attempt.tried(images)
    return made.logits, made.hard


def test_a_victim_is_a_model(network, images):
    """Inputs (N, 3, H, W) in [0, 1] to finite logits (N, K), not probabilities, of any N."""
    logits = network(images)
    assert logits.shape == (6, 10)
    assert logits.dtype == torch.float32
    assert bool(logits.isfinite().all())
    assert not torch.allclose(logits.sum(1), torch.ones(6))
    assert torch.equal(network(images), logits), "deterministic"


def test_a_sample_does_not_depend_on_its_batch(network, images):
    """Check C6: predictions and decisions alone are those inside the batch."""
    attempt = images_attempt(images, network, ANY)
    logits, decisions = decide(attempt, images)
    for row in range(len(images)):
        alone, own = decide(attempt, images[row : row + 1])
        torch.testing.assert_close(alone[0], logits[row], atol=1e-4, rtol=1e-4)
        assert all(torch.equal(a[0], b[row]) for a, b in zip(own, decisions, strict=True))


@pytest.mark.parametrize("method", METHODS)
def test_a_surrogate_has_a_gradient(network, images, method):
    attempt = images_attempt(images, network, ANY, METHODS[method])
    images = images.requires_grad_()
    (gradient,) = torch.autograd.grad(attempt.surrogate(images).sum(), images)
    assert bool(gradient.isfinite().all())
    assert bool((gradient.flatten(1) != 0).any(1).all())


@pytest.mark.parametrize("method", METHODS)
def test_methods_change_gradients_only_where_there_are_gates(network, images, method):
    gated = any(isinstance(module, Gate) for module in network.modules())
    gradients = []
    for used in (FGM(), METHODS[method]):
        x = images.clone().requires_grad_()
        logits = images_attempt(images, network, ANY, used).surrogate(x)
        gradients.append(torch.autograd.grad(logits.sum(), x)[0])
    differs = not torch.equal(*gradients)
    assert differs == (gated and method != "FGM")


def test_methods_do_not_change_decisions(network, images):
    """What the victim decides is the same whatever leads the gradient."""
    decided = [
        decide(images_attempt(images, network, ANY, method), images) for method in METHODS.values()
    ]
    for logits, units in decided[1:]:
        assert torch.equal(logits, decided[0][0])
        assert all(torch.equal(a, b) for a, b in zip(units, decided[0][1], strict=True))


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_needs_no_more_than_a_model(network, images, name):
    attempt, attack = images_attempt(images, network, ANY, METHODS["LGM"]), ATTACKS[name]
    labels = attempt.logits(images).argmax(1)
    adv = attack(attempt.surrogate, images, labels, victim=attempt.logits)
    attack.threat.check(adv, images)
    assert not adv.requires_grad
    assert bool((adv != images).flatten(1).any(1).all())


@pytest.mark.parametrize("network", ["SkipNet", "DynConv"], indirect=True)
def test_what_a_gated_network_tells_fits_its_decisions(network, images):
    """Dependents and MACs are of the recorded decisions, one of each per sample."""
    assert isinstance(network, GatedNetwork)
    _, decisions = decide(images_attempt(images, network, ANY), images)
    assert all(unit.dtype == torch.bool and len(unit) == 6 for unit in decisions)
    for unit in network.dependent_units(decisions):
        assert unit.dtype == torch.bool
        assert len(unit) == 6
    spent, total = network.conditional_macs(decisions), network.conditional_macs_total()
    assert spent.dtype == torch.int64
    assert spent.shape == (6,)
    assert 0 <= int(spent.min()) <= int(spent.max()) <= total
    everything = [torch.ones_like(unit) for unit in decisions]
    assert torch.equal(network.conditional_macs(everything), torch.full((6,), total))
