"""The staged estimator where all captions can be enumerated (Gu et al. 2018, eq. 11 to 15)."""

import pytest
import torch
from toy import batch, every_caption, gradients, toy_clips, toy_policy

from captionrl.decoding.distribution import log_probabilities
from captionrl.objectives.stagewise import staged_advantage, staged_loss


@pytest.fixture(params=["stack-cap", "stack-cap-star"])
def world(request):
    """A policy, the log-probability [C, 3] of every caption as every stage's, and a reward of each [C]."""
    policy, captions = toy_policy(request.param), every_caption()
    memory = policy.encode(batch(toy_clips(4))).select(torch.zeros(len(captions), dtype=torch.long))
    hidden, places = policy.teacher_forced_hidden(captions, memory)
    words = captions.flatten()[places]
    columns = []
    for logits in policy.predictions(hidden):
        log_p = log_probabilities(logits).gather(1, words[:, None])[:, 0]
        columns.append(log_p.new_zeros(captions.numel()).index_add(0, places, log_p).view(captions.shape).sum(1))
    reward = torch.rand(len(captions), generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return policy, torch.stack(columns, 1), reward


def gradient(policy, scalar):
    return torch.cat([each.flatten() for each in gradients(scalar, policy)])


@pytest.mark.parametrize(("relative_to", "times"), [("both", 2), ("greedy", 1), ("stage-before", 1)])
def test_its_expectation_is_the_gradient_of_the_expected_reward_once_a_bracket(world, relative_to, times):
    policy, log_p, reward = world
    p = log_p.detach().exp()
    captions = len(reward)
    best = reward[torch.tensor([3, 7])].expand(captions**3, 2)  # whatever the greedy captions earn
    which = torch.cartesian_prod(*[torch.arange(captions)] * 3)  # a sample of every stage
    advantage = staged_advantage(reward[which], best, relative_to)
    drawn = log_p.detach()[which, torch.arange(3)].requires_grad_()
    (per_draw,) = torch.autograd.grad(staged_loss(drawn[:, 1:], advantage) * len(which), drawn)
    weighted = per_draw * p[which, torch.arange(3)].prod(1, keepdim=True)
    per_caption = torch.zeros_like(p)
    for stage in range(3):
        per_caption[:, stage].index_add_(0, which[:, stage], weighted[:, stage])
    estimated = gradient(policy, (per_caption * log_p).sum())
    exact = gradient(policy, -(log_p[:, 1:].exp() * reward[:, None]).sum())  # eq. 11
    assert exact.abs().max() > 1e-3
    torch.testing.assert_close(estimated, times * exact, atol=1e-10, rtol=1e-8)


def test_a_stage_that_says_what_it_would_and_what_the_one_before_said_learns_nothing():
    rewards = torch.tensor([[0.7, 0.7, 0.7], [0.1, 0.4, 0.3]])
    greedy = torch.tensor([[0.7, 0.7], [0.2, 0.3]])
    advantage = staged_advantage(rewards, greedy)
    assert (advantage[0] == 0).all()
    torch.testing.assert_close(advantage[1], torch.tensor([0.2 + 0.3, 0.0 - 0.1]))
    parts = [staged_advantage(rewards, greedy, part) for part in ("greedy", "stage-before")]
    torch.testing.assert_close(parts[0][1], torch.tensor([0.2, 0.0]))
    torch.testing.assert_close(sum(parts), advantage)


def test_it_is_summed_over_stages_and_averaged_over_the_batch():
    log_probs = torch.zeros(2, 2, requires_grad=True)
    staged_loss(log_probs, torch.ones(2, 2)).backward()
    assert torch.equal(log_probs.grad, torch.full((2, 2), -0.5))
