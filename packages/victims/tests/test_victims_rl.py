"""Hybrid reinforcement learning: returns per sample, a policy gradient that is one, DDP's needs."""

import pytest
import torch
import torch.nn.functional as F

from leadgrad.victims import SkipNet, gradient_method, record_decisions
from leadgrad.victims.training.skipnet_rl import HybridRLClassifier, SampledActions, policy_loss


def returns_by_hand(actions, cross_entropy, alpha):
    gates, samples = actions.shape
    result = torch.zeros(gates, samples)
    for b in range(samples):
        for k in range(gates):
            skipped = sum(1 - float(actions[j, b]) for j in range(k, gates))
            result[k, b] = alpha / gates * skipped - float(cross_entropy[b])
    return result


def test_the_gradient_is_each_samples_return_times_its_own_score():
    torch.manual_seed(0)
    margins = torch.randn(3, 4, requires_grad=True)
    actions = (torch.rand(3, 4) < 0.5).float()
    cross_entropy = torch.rand(4)
    (gradient,) = torch.autograd.grad(
        policy_loss(margins, actions, cross_entropy, alpha=0.3), margins
    )
    # d log pi(a) / dq = a - sigmoid(q) of a Bernoulli policy
    wanted = -returns_by_hand(actions, cross_entropy, 0.3) * (actions - margins.sigmoid()) / 4
    torch.testing.assert_close(gradient, wanted.detach())


def test_the_expected_gradient_is_that_of_the_expected_return():
    """Enumerates all actions of two gates: REINFORCE without sampling is an exact derivative."""
    margins = torch.tensor([[0.3], [-0.8]], dtype=torch.float64, requires_grad=True)
    cost = {(0, 0): 1.1, (0, 1): 0.4, (1, 0): 0.7, (1, 1): 0.2}
    alpha, expected, estimate = 0.5, torch.zeros((), dtype=torch.float64), 0
    for path, cross_entropy in cost.items():
        actions = torch.tensor([[float(path[0])], [float(path[1])]], dtype=torch.float64)
        log_p = -F.binary_cross_entropy_with_logits(margins, actions, reduction="none").sum()
        reward = alpha / 2 * float((1 - actions).sum()) - cross_entropy
        expected = expected + log_p.exp() * reward
        loss = policy_loss(margins, actions, torch.tensor([cross_entropy]), alpha=alpha)
        (gradient,) = torch.autograd.grad(loss, margins)
        estimate = estimate - log_p.exp().detach() * gradient
    (exact,) = torch.autograd.grad(expected, margins)
    torch.testing.assert_close(estimate, exact, rtol=1e-6, atol=1e-7)


def test_returns_carry_no_gradient_to_the_cross_entropy():
    margins = torch.randn(2, 3, requires_grad=True)
    cross_entropy = torch.rand(3, requires_grad=True)
    policy_loss(margins, torch.ones(2, 3), cross_entropy, alpha=0.1).backward()
    assert cross_entropy.grad is None


def test_actions_follow_their_probability():
    torch.manual_seed(0)
    margin = torch.full((20_000,), 0.7)
    share = float(SampledActions().occupancy(margin, margin > 0).mean())
    assert abs(share - float(torch.sigmoid(torch.tensor(0.7)))) < 0.015


def test_every_trained_parameter_gets_a_gradient_though_no_block_is_executed():
    torch.manual_seed(0)
    network = SkipNet(8)
    torch.nn.init.constant_(network.control.proj.bias, -50.0)  # no action executes anything
    module = HybridRLClassifier(network)
    batch = {"image": torch.rand(4, 3, 32, 32), "label": torch.arange(4)}
    loss, terms = module.training_loss(batch)
    loss.backward()
    assert float(terms["computation_percent"]) == pytest.approx(100 / 3)
    missing = [
        name
        for name, parameter in network.named_parameters()
        if parameter.requires_grad and parameter.grad is None
    ]
    assert missing == []


def test_a_sampled_path_is_what_the_network_executed():
    torch.manual_seed(0)
    network = SkipNet(14).eval()
    torch.nn.init.constant_(network.control.proj.bias, 0.0)
    images = torch.rand(8, 3, 32, 32)
    with (
        torch.no_grad(),
        gradient_method(network, SampledActions()),
        record_decisions(network) as decisions,
    ):
        network(images)
    actions = torch.stack([decision.occupancy for decision in decisions])
    assert set(actions.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("wrong", [{"alpha": -0.1}, {"rl_weight": float("nan")}])
def test_bad_settings_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        HybridRLClassifier(SkipNet(8), **wrong)
