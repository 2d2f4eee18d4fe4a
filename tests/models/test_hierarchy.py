"""The order of critic, manager and worker within a step, and what is held between boundaries."""

import pytest
import torch
from torch import Tensor
from toy import batch, every_caption, toy_clips, toy_policy

from captionrl.models.hrl import HRL
from captionrl.models.policy import shift
from captionrl.text.vocabulary import EOS, PAD

CAPTIONS = torch.tensor([[4, 5, 6, 4, 5, EOS], [6, 6, 5, 4, 4, EOS], [5, 4, 4, 6, 6, EOS]])


@pytest.fixture(params=["current", "previous"])
def policy(request) -> HRL:
    return toy_policy("hrl", critic_input=request.param)


def walk(policy: HRL, tokens: Tensor = CAPTIONS, noise: Tensor | None = None) -> tuple[list, list]:
    """States after, and extras of, each step of writing `tokens`."""
    memory = policy.encode(batch(toy_clips(4, 2, 3)))
    state, states, extras = policy.start(memory, noise), [], []
    for words in shift(tokens).unbind(1):
        step = policy.step(words, state, memory)
        state = step.state
        states.append(state)
        extras.append(step.extras)
    return states, extras


def test_a_segment_begins_with_the_caption_and_after_every_boundary_of_the_critic(policy):
    _, extras = walk(policy)
    segment_start = torch.stack([extra.segment_start for extra in extras], 1)
    ends = policy.boundary_critic(CAPTIONS) > 0
    assert segment_start[:, 0].all()
    assert torch.equal(segment_start[:, 1:], ends[:, :-1])
    assert segment_start[:, 1:].any()
    assert not segment_start[:, 1:].all()


def test_state_and_goal_of_the_manager_are_held_between_boundaries_and_move_at_them(policy):
    states, extras = walk(policy)
    for t in range(1, len(states)):
        for name in ("manager", "manager_cell", "manager_attention"):
            before, after = getattr(states[t - 1], name), getattr(states[t], name)
            same = (before == after).all(-1)
            assert torch.equal(same, ~extras[t].segment_start), name
        assert torch.equal((extras[t - 1].goal == extras[t].goal).all(-1), ~extras[t].segment_start)


def test_noise_is_added_to_the_goal_of_its_segment(policy):
    noise = torch.randn(3, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    states, extras = walk(policy, noise=noise)
    for state, extra in zip(states, extras, strict=True):
        clean = policy.manager.goal(extra.manager)
        for row, number in enumerate(state.segment.tolist()):
            added = noise[row, number - 1] if number <= 4 else torch.zeros(2, dtype=torch.float64)
            torch.testing.assert_close(extra.goal[row], clean[row] + added)


def test_given_boundaries_replace_the_critics(policy):
    captions = torch.tensor([[5, EOS, PAD, PAD, PAD, PAD], [6, 6, 5, EOS, PAD, PAD], [4, 5, 6, 4, 5, EOS]])
    memory = policy.encode(batch(toy_clips(4, 2, 3)))
    ends = policy.boundary_critic(captions) > 0
    given, own = policy.teacher_forced_hidden(captions, memory, ends), policy.teacher_forced_hidden(captions, memory)
    torch.testing.assert_close(given, own)
    others, _ = policy.teacher_forced_hidden(captions, memory, ~ends)
    assert not torch.allclose(others, own[0])


def test_the_critic_reads_the_word_itself_or_only_those_before_it():
    """HRL eq. 9 against eq. 10."""
    captions = every_caption()
    for reads, depends in (("current", True), ("previous", False)):
        first = toy_policy("hrl", critic_input=reads).boundary_critic(captions)[:, 0]
        assert (first.std() > 1e-3) == depends


def test_teaching_freezes_the_others(policy):
    def learning() -> set[str]:
        return {name.split(".")[0] for name, parameter in policy.named_parameters() if parameter.requires_grad}

    everything = {name.split(".")[0] for name, _ in policy.named_parameters()}
    policy.set_trainable("worker")
    assert learning() == everything - {"manager", "boundary_critic"}
    policy.set_trainable("manager")
    assert learning() == {"manager"}
    policy.set_trainable("both")
    assert learning() == everything - {"boundary_critic"}
