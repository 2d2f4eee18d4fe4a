"""The order of critic, manager and worker within a step, and what is held between boundaries."""

import pytest
import torch
from torch import Tensor, nn
from toy import batch, every_caption, gradients, toy_clips, toy_policy

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


def test_a_given_boundary_at_the_last_word_gives_eos_a_goal_only_if_the_caption_is_closed():
    ends = torch.tensor([[False, True, False, False, True, False]]).expand(3, -1)
    others = ends & (torch.arange(6) < 4)
    hidden = {}
    for closed in (True, False):
        policy = toy_policy("hrl", close_caption=closed)
        memory = policy.encode(batch(toy_clips(4, 2, 3)))
        hidden[closed] = [policy.teacher_forced_hidden(CAPTIONS, memory, given)[0] for given in (ends, others)]
        assert torch.equal(policy.boundary_critic.truth(ends, CAPTIONS), ends if closed else others)
    assert not torch.allclose(*hidden[True])
    torch.testing.assert_close(*hidden[False])


@pytest.mark.parametrize(
    ("length", "starts"), [(1, [1, 1, 1, 1, 1, 1]), (4, [1, 0, 0, 0, 1, 0]), (99, [1, 0, 0, 0, 0, 0])]
)
def test_segments_of_a_fixed_length_take_the_place_of_the_critics(length, starts):
    policy = toy_policy("hrl", segment_words=length)
    memory = policy.encode(batch(toy_clips(4, 2, 3)))
    _, extras = walk(policy)
    assert torch.stack([extra.segment_start for extra in extras], 1).int().tolist() == 3 * [starts]
    forced, places = policy.teacher_forced_hidden(CAPTIONS, memory, torch.ones_like(CAPTIONS).bool())
    stepped = torch.stack([extra.hidden for extra in extras], 1).flatten(0, 1)[places]
    torch.testing.assert_close(forced, stepped)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_without_goals_the_manager_changes_nothing():
    policy = toy_policy("hrl", goal=0)
    _, extras = walk(policy)
    nn.init.normal_(policy.manager.cell.weight_ih)
    for before, after in zip(extras, walk(policy)[1], strict=True):
        assert before.goal.shape == (3, 0)
        assert torch.equal(before.hidden, after.hidden)


def test_the_workers_gradient_passes_the_manager_unless_goals_are_given(policy):
    """HRL eq. 14: given, they are as constant as a list of numbers."""
    policy.set_trainable("worker")
    goal = policy.manager.goal

    def gradient(detach_goals: bool) -> tuple[list[Tensor], list[Tensor]]:
        memory = policy.encode(batch(toy_clips(4, 2, 3)))
        state, log_p, goals = policy.start(memory, detach_goals=detach_goals), [], []
        for words, target in zip(shift(CAPTIONS).unbind(1), CAPTIONS.unbind(1), strict=True):
            step = policy.step(words, state, memory)
            state = step.state
            log_p.append(step.logits.log_softmax(-1).gather(-1, target.unsqueeze(-1)))
            goals.append(step.extras.goal.detach())
        return list(gradients(torch.cat(log_p).sum(), policy)), goals

    whole, goals = gradient(detach_goals=False)
    given, _ = gradient(detach_goals=True)
    policy.manager.goal = Recorded(goals)
    constant, _ = gradient(detach_goals=False)
    policy.manager.goal = goal
    torch.testing.assert_close(given, constant)
    assert not all(torch.allclose(*pair) for pair in zip(whole, given, strict=True))


class Recorded(nn.Module):
    """What it gave once, whatever it is asked."""

    def __init__(self, goals: list[Tensor]) -> None:
        super().__init__()
        self.goals = iter(goals)

    def forward(self, _: Tensor) -> Tensor:
        return next(self.goals)


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
