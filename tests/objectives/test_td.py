"""What a value network learns from: targets by hand, and by Bellman's equation where all captions can be enumerated."""

import pytest
import torch
from torch.nn.functional import mse_loss
from toy import actor_critic_toy, batch, every_caption, rollout_of, toy_clips, toy_policy, true_values, word_log_probs

from captionrl.objectives.actor_critic import actor_loss, prefix_mask, td_targets
from captionrl.text.vocabulary import PAD

EXACT = {"atol": 1e-10, "rtol": 0}
STEPS = (1, 2, 3, None)

# A caption of three words and one of two, the rewards of which are 1 and 0.5; values before and after every word.
REWARD = torch.tensor([1.0, 0.5])
LENGTHS = torch.tensor([3, 2])
VALUES = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.6, 0.7, 0.8, 99.0]])
TARGETS = {  # the longer caption's, and the shorter one's: of all beginnings, the whole caption last
    1: ([0.2, 0.3, 1.0, 1.0], [0.7, 0.5, 0.5]),
    2: ([0.3, 1.0, 1.0, 1.0], [0.5, 0.5, 0.5]),
    3: ([1.0, 1.0, 1.0, 1.0], [0.5, 0.5, 0.5]),
    None: ([1.0, 1.0, 1.0, 1.0], [0.5, 0.5, 0.5]),
}


@pytest.mark.parametrize("steps", STEPS)
def test_targets_by_hand(steps):
    targets = td_targets(REWARD, VALUES, LENGTHS, steps)
    longer, shorter = TARGETS[steps]
    torch.testing.assert_close(targets[0], torch.tensor(longer))
    torch.testing.assert_close(targets[1, :3], torch.tensor(shorter))


@pytest.mark.parametrize("steps", [3, 4, 100])
def test_as_many_steps_as_a_caption_has_words_are_monte_carlo(steps):
    there = prefix_mask(LENGTHS, 3)
    assert torch.equal(
        td_targets(REWARD, VALUES, LENGTHS, steps)[there], td_targets(REWARD, VALUES, LENGTHS, None)[there]
    )


def test_beginnings_are_the_empty_one_the_whole_caption_and_all_between():
    assert prefix_mask(LENGTHS, 3).int().tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]


@pytest.mark.parametrize("steps", STEPS)
def test_no_gradient_goes_through_targets(steps):
    values, reward = VALUES.clone().requires_grad_(), REWARD.clone().requires_grad_()
    assert not td_targets(reward, values, LENGTHS, steps).requires_grad


def test_the_actor_critics_loss_by_hand():
    """TD(0): the advantage of a word is what the value rises by, of the last one, the reward minus the value before."""
    policy, captions = toy_policy("actor-critic"), torch.tensor([[4, 5, 2], [6, 2, PAD]])
    memory = policy.encode(batch(toy_clips(4, 1)))
    rollout = rollout_of(policy, memory, captions)
    values, log_p = VALUES.double(), rollout.log_probs
    targets = td_targets(REWARD.double(), values, rollout.lengths, 1)
    loss = actor_loss(rollout, targets, values)
    longer = 0.1 * log_p[0, 0] + 0.1 * log_p[0, 1] + 0.7 * log_p[0, 2]
    shorter = 0.1 * log_p[1, 0] - 0.2 * log_p[1, 1]
    torch.testing.assert_close(loss, -(longer + shorter) / 2)
    there = prefix_mask(rollout.lengths, 3)
    squares = [0.1**2, 0.1**2, 0.7**2, 0.6**2, 0.1**2, 0.2**2, 0.3**2]
    assert mse_loss(values[there], targets[there]).item() == pytest.approx(sum(squares) / 7)


@pytest.fixture
def world():
    """Every caption [C, T] of the toy, its probability, and a reward for each [C]."""
    policy, captions = actor_critic_toy("actor-critic"), every_caption()
    memory = policy.encode(batch(toy_clips(4))).select(torch.zeros(len(captions), dtype=torch.long))
    probability = word_log_probs(policy, memory, captions).sum(1).exp().detach()
    reward = torch.rand(len(captions), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return captions, probability, reward


def expectations(targets, captions, probability):
    """The mean target [C, T + 1] of each beginning, over all captions that begin so."""
    columns = [true_values(captions, probability, column)[:, t] for t, column in enumerate(targets.unbind(1))]
    return torch.stack(columns, 1)


@pytest.mark.parametrize("steps", STEPS)
def test_true_values_are_what_every_target_is_on_average(world, steps):
    """Bellman's equation, for the toy's captions that end and those that are cut."""
    captions, probability, reward = world
    lengths, values = (captions != PAD).sum(1), true_values(*world)
    targets = td_targets(reward, values, lengths, steps)
    there = prefix_mask(lengths, captions.shape[1])
    assert values[:, 0].std() < 1e-12
    assert values[:, 1].std() > 1e-2
    torch.testing.assert_close(expectations(targets, captions, probability)[there], values[there], **EXACT)


def test_of_wrong_values_only_monte_carlo_is_right_on_average(world):
    captions, probability, reward = world
    lengths, wrong = (captions != PAD).sum(1), true_values(*world) + 0.1
    off = {
        steps: (expectations(td_targets(reward, wrong, lengths, steps), captions, probability) - wrong + 0.1)[:, 0]
        for steps in STEPS
    }
    assert off[1].abs().min() > 1e-3
    assert off[2].abs().min() > 1e-4
    assert off[1].abs().max() > off[2].abs().max()
    assert off[None].abs().max() < 1e-10
