"""Early exits: the answer by hand, its gradients, who is reached, what it costs, its training."""

import math

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from tiny_images import CLASSES, train_loader, validation_loader, whole_batch

from leadgrad.victims import (
    FGM,
    LGM,
    Constant,
    ResNet,
    Sigmoid,
    deciding_as,
    executed_share,
    gradient_method,
    load_published,
    prepare_for_attack,
    record_decisions,
    record_occupancies,
)
from leadgrad.victims.networks.early_exit import EarlyExit, EarlyExitClassifier
from leadgrad.victims.networks.exits import mixture
from leadgrad.victims.training.classifier import Classifier
from leadgrad.victims.training.recipe import SGDOneCycle
from leadgrad.victims.weights.backbone import load_backbone

pytestmark = [
    # Lightning 2.6.6 under torch 2.15
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:GPU available but not used"),
]

SOFT = LGM(Sigmoid(2.0))
STRAIGHT = LGM(Sigmoid(2.0), forward="hard")


def network(threshold=0.5, seed=0):
    """Of random weights, with heads grown until a third of the samples leave at each exit."""
    torch.manual_seed(seed)
    made = EarlyExit(14, 4, exits=(1, 3), threshold=threshold, image_size=16).eval().double()
    with torch.no_grad():
        for k, (head, share) in enumerate(zip(made.heads, (1 / 3, 2 / 3), strict=True)):
            while made.margin(made.exit_logits(images())[k]).quantile(share) > 0:
                head.weight.mul_(1.3)
    return made


def images(count=24):
    generator = torch.Generator().manual_seed(1)
    scale = torch.linspace(0.1, 1, count, dtype=torch.float64).view(-1, 1, 1, 1)
    return scale * torch.rand(count, 3, 16, 16, generator=generator, dtype=torch.float64)


def by_hand(made, x):
    """The exact answer, and the number of the exit that gives it."""
    logits = made.exit_logits(x)
    answers, taken = [], []
    for row in range(len(x)):
        sure = [float(own[row].detach().softmax(0).max()) >= made.threshold for own in logits[:-1]]
        k = sure.index(True) if True in sure else len(sure)
        answers.append(logits[k][row].log_softmax(0))
        taken.append(k)
    return torch.stack(answers), taken


def test_the_first_sure_exit_answers():
    made, x = network(), images()
    with record_decisions(made) as decisions, record_occupancies(made) as record:
        answer = made(x)
    expected, taken = by_hand(made, x)
    assert torch.equal(answer, expected)
    assert set(taken) == {0, 1, 2}, "each exit answers some"
    assert made.answered_by(record).tolist() == taken
    for k, decision in enumerate(decisions):
        assert decision.reached.tolist() == [exit_ >= k for exit_ in taken]
        assert decision.hard.tolist() == [exit_ > k for exit_ in taken]
        assert decision.margin.shape == (len(x),)


def test_the_margin_is_the_threshold_less_the_certainty():
    made, logits = network(0.7), torch.randn(5, 4, dtype=torch.float64)
    greatest = logits.softmax(1).amax(1)
    torch.testing.assert_close(made.margin(logits), math.log(0.7 / 0.3) - torch.logit(greatest))
    sure = torch.tensor([[300.0, 0.0, 0.0, 0.0], [2e4, -2e4, 0.0, 0.0]], requires_grad=True)
    margin = made.margin(sure)  # whose probability is 1 in float32
    assert margin.tolist() == pytest.approx([math.log(7 / 9) - 300 + math.log(9), -2e4], rel=1e-3)
    (gradient,) = torch.autograd.grad(margin.sum(), sure)
    assert gradient[0].tolist() == pytest.approx([-1, 1 / 3, 1 / 3, 1 / 3])


@pytest.mark.parametrize("method", [SOFT, LGM(Constant(0.3))])
def test_relaxed_exits_mix_probabilities(method):
    made, x = network(), images()
    with gradient_method(made, method), record_decisions(made) as decisions:
        answer = made(x)
    first, second = (decision.occupancy[:, None] for decision in decisions)
    a, b, c = (logits.softmax(1) for logits in made.exit_logits(x))
    mixed = (1 - first) * a + first * ((1 - second) * b + second * c)
    torch.testing.assert_close(answer, mixed.log())
    torch.testing.assert_close(answer.exp().sum(1), torch.ones(len(x)).double())
    with record_occupancies(made) as record:
        made(x)
    assert all(torch.equal(each.hard, own) for each, own in zip(decisions, record, strict=True))


def test_frozen_exits_have_the_gradient_of_the_one_that_answers():
    made, x = network(), images().requires_grad_()
    labels = torch.arange(len(x)) % 4
    (gradient,) = torch.autograd.grad(F.cross_entropy(made(x), labels), x)
    expected, taken = by_hand(made, x)
    (alone,) = torch.autograd.grad(F.cross_entropy(expected, labels), x)
    torch.testing.assert_close(gradient, alone)
    heads = [*made.heads, made.fc]
    for k, head in enumerate(heads):
        one = torch.tensor([taken.index(k)])
        (own,) = torch.autograd.grad(made(x[one])[0, 0], head.weight, retain_graph=True)
        assert own.any()
        others = [other.weight for other in heads if other is not head]
        for other in torch.autograd.grad(made(x[one])[0, 0], others):
            assert not other.any(), "no trace of an exit that does not answer"


@pytest.mark.parametrize("weights", [[0.2, 0.5, 0.3], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
def test_the_mixtures_gradient_is_its_derivative_at_weights_of_0_too(weights):
    weights = torch.tensor([weights], dtype=torch.float64, requires_grad=True)
    log_p = torch.randn(1, 3, 4, dtype=torch.float64).log_softmax(2).requires_grad_()

    def plain(w, lp):
        return (w[..., None] * lp.exp()).sum(1).log()

    for made, expected in zip(mixture(weights, log_p)[0], plain(weights, log_p)[0], strict=True):
        torch.testing.assert_close(made, expected)
        got = torch.autograd.grad(made, (weights, log_p), retain_graph=True)
        wanted = torch.autograd.grad(expected, (weights, log_p), retain_graph=True)
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("method", [FGM(), SOFT, STRAIGHT, LGM(Sigmoid(1e6)), LGM(Sigmoid(0.0))])
def test_no_gradient_is_ever_nan(method):
    """Exits that contradict each other, each as sure as float32 can tell and beyond."""
    made, x = network().float(), images().float().requires_grad_()
    with torch.no_grad():
        for number, head in enumerate((*made.heads, made.fc)):
            head.bias[number] += 10.0 ** (number + 2)
    for threshold in (0.5, 1 - 1e-9):
        made.threshold = threshold
        with gradient_method(made, method):
            logits = made(x)
        assert bool(logits.isfinite().all())
        for target in range(4):
            loss = F.cross_entropy(logits.double(), torch.full((len(x),), target))
            (gradient,) = torch.autograd.grad(loss, x, retain_graph=True)
            assert bool(gradient.isfinite().all())


def test_straight_through_keeps_the_value_and_leads():
    made, x = network(), images().requires_grad_()
    exact = made(x)
    with gradient_method(made, STRAIGHT), record_decisions(made) as decisions:
        answer = made(x)
    assert torch.equal(answer, exact)
    loss = F.cross_entropy(answer, torch.zeros(len(x), dtype=torch.long))
    for gradient in torch.autograd.grad(loss, [decision.margin for decision in decisions]):
        assert gradient.any()


def test_a_foreseen_decision_is_the_one_of_the_other_place():
    made, x = network(), images()
    there = x.flip(0)
    taken = by_hand(made, there)[1]
    with deciding_as(made, lambda: made(there)):
        answer = made(x)
    logits = torch.stack(made.exit_logits(x), 1)
    rows = torch.arange(len(x))
    assert torch.equal(answer, logits[rows, torch.tensor(taken)].log_softmax(1))


def test_a_sample_does_not_depend_on_its_batch():
    made, x = network(), images()
    for method in (FGM(), SOFT):
        with gradient_method(made, method):
            whole = made(x)
            alone = torch.cat([made(x[row : row + 1]) for row in range(len(x))])
        torch.testing.assert_close(whole, alone)


@pytest.mark.parametrize("size", [16, 30, 33])
def test_costs_are_the_macs_of_what_runs_behind_each_exit(size):
    made = EarlyExit(14, 4, exits=(1, 3), image_size=size).eval().double()
    counted = []

    def count(module, _, out):
        positions = out[0, 0].numel() if out.ndim == 4 else 1
        counted.append(positions * module.weight.numel())

    for module in made.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(count)
    with record_occupancies(made) as record:
        made(torch.rand(3, 3, size, size, dtype=torch.float64))
    # Stem, one block, head; two blocks of which the second projects, head; three blocks, head
    parts = [counted[:4], counted[4:10], counted[10:]]
    assert made.unit_costs() == tuple(float(sum(part)) for part in parts[1:])
    assert made.conditional_macs_total() == sum(made.unit_costs())
    spent = made.conditional_macs(record)
    assert spent.dtype == torch.int64
    share = executed_share(made, [units.double() for units in record])
    torch.testing.assert_close(share, spent.double() / made.conditional_macs_total())


def test_compute_leads_through_the_gates_that_are_reached():
    made, x = network(), images().requires_grad_()
    taken = by_hand(made, x)[1]
    with gradient_method(made, SOFT), record_decisions(made) as decisions:
        made(x)
    share = executed_share(made, [decision.executed for decision in decisions])
    margins = [decision.margin for decision in decisions]
    first, second = torch.autograd.grad(share.sum(), margins)
    assert bool((first > 0).all())
    assert (second > 0).tolist() == [exit_ >= 1 for exit_ in taken]


def test_it_starts_from_its_static_twin(tmp_path):
    twin, made = ResNet(14, 4, shortcut="B").double().eval(), network()
    load_backbone(made, twin.state_dict())
    assert torch.equal(made.exit_logits(images())[-1], twin(images()))


def test_it_is_prepared_as_the_other_families():
    made = network()
    for block in made.blocks():
        block.bn1.running_mean.normal_()
    prepared = prepare_for_attack(made)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in prepared.modules())
    torch.testing.assert_close(prepared(images()), made(images()))


def test_it_compiles():
    torch._dynamo.reset()
    made, x = network(), images(3)
    compiled = torch.compile(made, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), made(x))
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"exits": ()}, r"exits must .* from 1 to 5, got \[\]"),
        ({"exits": (3, 1)}, r"ascending .* got \[3, 1\]"),
        ({"exits": (2, 2)}, r"got \[2, 2\]"),
        ({"exits": (2, 6)}, r"got \[2, 6\]"),
        ({"threshold": 0.1}, "threshold must lie between 1 / num_classes = 0.1 and 1, got 0.1"),
        ({"threshold": 1.0}, "got 1.0"),
        ({"threshold": math.nan}, "got nan"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        EarlyExit(14, **settings)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    torch.manual_seed(0)
    network = EarlyExit(8, CLASSES, threshold=0.8)
    module = EarlyExitClassifier(network, SGDOneCycle(0.05, warmup=0.2), channels_last=True)
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path_factory.mktemp("fit"),
        enable_checkpointing=False,
        max_epochs=6,
    )
    trainer.fit(module, train_loader(), validation_loader())
    return module, trainer


def test_a_fit_learns_and_says_which_exit_answers(fitted):
    module, trainer = fitted
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    batch = whole_batch(validation_loader())
    expected, taken = by_hand(module.eval().network, batch["image"])
    right = (expected.argmax(1) == batch["label"]).double().mean().item()
    assert right > 0.8, metrics
    assert metrics["val_accuracy"] == pytest.approx(100 * right)
    for k in range(3):
        share = 100 * taken.count(k) / len(taken)
        assert metrics[f"val_exit{k + 1}_percent"] == pytest.approx(share)
    exits = {f"train/cross_entropy_exit{k}" for k in (1, 2, 3)}
    assert exits < set(metrics)
    mean = sum(metrics[name] for name in exits) / 3
    assert metrics["train/loss"] == pytest.approx(mean, rel=1e-5)


def test_the_loss_reaches_every_parameter_whatever_the_gates(fitted):
    module, _ = fitted
    module.train()
    batch = whole_batch(train_loader())
    for threshold in (0.5, 0.999999):
        module.network.threshold = threshold
        loss, _ = module.training_loss(batch)
        gradients = torch.autograd.grad(loss, list(module.network.parameters()))
        assert all(gradient.any() for gradient in gradients)


def test_a_checkpoint_holds_the_weights_alone(fitted):
    module, _ = fitted
    state = module.state_dict()
    assert all(name.startswith("network.") for name in state)
    load_published(EarlyExit(8, CLASSES), {"state_dict": state})


def test_the_training_is_a_classifiers():
    assert issubclass(EarlyExitClassifier, Classifier)
    with pytest.raises(ValueError, match="label_smoothing"):
        EarlyExitClassifier(EarlyExit(8), label_smoothing=2.0)
