"""Stack-Cap's stages: what each looks at, what each learns from, and whose words are written (Gu et al. 2018)."""

from functools import partial

import pytest
import torch
from torch import nn
from toy import batch, every_caption, toy_clips, toy_policy, word_log_probs

from captionrl.decoding.beam import beam_search
from captionrl.decoding.distribution import log_probabilities
from captionrl.decoding.rollout import greedy, sample
from captionrl.models.policy import shift
from captionrl.objectives.xe import xe_loss
from captionrl.text.vocabulary import EOS, PAD

CAPTIONS = torch.tensor([[4, 5, 6, 4, EOS], [6, EOS, PAD, PAD, PAD], [5, 4, EOS, PAD, PAD]])
MODELS = ("stack-cap", "stack-cap-star")


@pytest.fixture(params=MODELS)
def policy(request):
    return toy_policy(request.param)


def written_by_the_book(policy, frames, words):
    """Eq. 1 to 8 for one picture [N, D] and its input words [T], one at a time: hidden states [T, S, H], weights."""
    stages = len(policy.heads)
    hidden = [torch.zeros(1, policy.width, dtype=torch.float64) for _ in range(stages)]
    cell = list(hidden)
    states, maps = [], []
    for word in words:
        y = policy.embedding(word[None])
        before = list(hidden)
        hidden[0], cell[0] = policy.coarse(torch.cat([frames.mean(0)[None], before[-1], y], 1), (before[0], cell[0]))
        attended, weights_of_word = None, []
        for i in range(1, stages):
            layer, attention = policy.values[i - 1], policy.attention[i - 1]
            h_bar = hidden[i - 1].clone()
            if attended is not None and policy.stacked:
                h_bar = h_bar + attended  # eq. 8; of stage 1, alpha is zero
            a = torch.tanh(attention.key(frames) + attention.query(h_bar))  # eq. 7
            weights = attention.energy(a).squeeze(1).softmax(0)  # eq. 6
            attended = (weights[:, None] * layer(frames)).sum(0)[None]  # eq. 5
            hidden[i], cell[i] = policy.fine[i - 1](torch.cat([attended, hidden[i - 1], y], 1), (before[i], cell[i]))
            weights_of_word.append(weights)
        states.append(torch.cat(hidden))
        maps.append(torch.stack(weights_of_word))
    return torch.stack(states), torch.stack(maps)


def test_states_and_attention_are_those_of_the_equations(policy):
    (clip,), words = toy_clips(4), shift(CAPTIONS[:1])[0]
    states, maps = written_by_the_book(policy, clip, words)
    memory = policy.encode(batch([clip]))
    state = policy.start(memory)
    for t, word in enumerate(words):
        step = policy.step(word[None], state, memory)
        state = step.state
        torch.testing.assert_close(torch.cat(state.hidden), states[t])
        torch.testing.assert_close(step.extras.attentions[0], maps[t])


def test_attention_sums_to_one_over_the_regions_there_are_at_every_stage(policy):
    features = batch(toy_clips(4, 1, 3), extra=2, filler=1e6)
    rollout = greedy(policy, policy.encode(features), 4)
    maps = rollout.extras.attentions  # [B, T, F, N]
    torch.testing.assert_close(maps.sum(-1)[rollout.mask], torch.ones_like(maps.sum(-1)[rollout.mask]))
    assert (maps.masked_select(~features.mask[:, None, None, :]) == 0).all()


def test_stacked_or_not_the_first_fine_stage_is_the_same_and_the_second_is_not():
    one, other = (toy_policy(model) for model in MODELS)
    other.load_state_dict(one.state_dict())
    memory = one.encode(batch(toy_clips(4)))
    steps = [policy.step(memory.first_words(), policy.start(memory), memory) for policy in (one, other)]
    first, second = (step.extras.attentions for step in steps)
    assert torch.equal(first[:, 0], second[:, 0])
    assert not torch.allclose(first[:, 1], second[:, 1])


def test_stages_share_the_words_embedding_and_nothing_else(policy):
    """Every other parameter stands in one stage, and all are there: what a stage has of its own has one shape."""
    names = {name.split(".")[0] for name, _ in policy.named_parameters()}
    assert names == {"embedding", "coarse", "values", "attention", "fine", "intermediate", "head"}
    assert (len(policy.values), len(policy.attention), len(policy.fine), len(policy.heads)) == (2, 2, 2, 3)
    assert len(list(policy.named_parameters(remove_duplicate=False))) == len(list(policy.parameters()))


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_the_loss_of_each_stage_reaches_its_own_decoder_and_its_own_words(policy, stage):
    hidden, places = policy.teacher_forced_hidden(CAPTIONS, policy.encode(batch(toy_clips(4, 1, 3))))
    loss = nn.functional.cross_entropy(policy.predictions(hidden)[stage], CAPTIONS.flatten()[places])
    loss.backward()
    decoders = [policy.coarse, *policy.fine]
    assert decoders[stage].weight_ih.grad.abs().max() > 0
    for other, head in enumerate(policy.heads):
        assert (head[-1].weight.grad is not None) == (other == stage)


@pytest.mark.parametrize("feedback", [True, False])
def test_a_stages_loss_reaches_later_stages_only_through_the_state_that_is_fed_back(feedback):
    policy = toy_policy("stack-cap", feedback_gradients=feedback)
    memory = policy.encode(batch(toy_clips(4, 1, 3)))
    hidden, places = policy.teacher_forced_hidden(CAPTIONS, memory)
    for stage, logits in enumerate(policy.predictions(hidden)):
        loss = nn.functional.cross_entropy(logits, CAPTIONS.flatten()[places])
        reached = [
            any((grad != 0).any() for grad in grads if grad is not None)
            for grads in (
                torch.autograd.grad(loss, list(decoder.parameters()), retain_graph=True, allow_unused=True)
                for decoder in (policy.coarse, *policy.fine)
            )
        ]
        assert reached == [feedback or decoder <= stage for decoder in range(3)]


def test_cross_entropy_is_the_sum_over_stages(policy):
    features = batch(toy_clips(4, 1, 3))
    memory = policy.encode(features)
    expected = 0.0
    for stage in range(3):
        log_p = stage_log_probs(policy, memory, CAPTIONS, [stage] * 3, partial(torch.log_softmax, dim=-1))
        expected = expected - log_p.sum() / (CAPTIONS != PAD).sum()
    torch.testing.assert_close(xe_loss(policy, features, CAPTIONS)[0], expected)


def stage_log_probs(policy, memory, tokens, stages, normalise=log_probabilities):
    """Log-probabilities [B, T] of `tokens` as the words of these stages [B], by stepping."""
    state, columns = policy.start_stages(memory, stages), []
    for before, word in zip(shift(tokens).unbind(1), tokens.unbind(1), strict=True):
        step = policy.step(before, state, memory)
        state = step.state
        columns.append(normalise(step.logits).gather(1, word[:, None])[:, 0].masked_fill(word == PAD, 0))
    return torch.stack(columns, 1)


def test_rows_of_several_stages_roll_out_as_each_would_alone(policy):
    memory = policy.encode(batch(toy_clips(4, 1, 3))).select(torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2]))
    stages = [0, 1, 2] * 3
    together = greedy(policy, memory, 3, policy.start_stages(memory, stages))
    for row, stage in enumerate(stages):
        own = memory.select(torch.tensor([row]))
        alone = greedy(policy, own, 3, policy.start_stages(own, [stage]))
        length = alone.tokens.shape[1]
        assert torch.equal(together.tokens[row, :length], alone.tokens[0])
        torch.testing.assert_close(together.log_probs[row, :length], alone.log_probs[0])


def test_the_caption_is_the_last_stages(policy):
    memory = policy.encode(batch(toy_clips(4, 1, 3)))
    last = greedy(policy, memory, 3, policy.start_stages(memory, [2, 2, 2]))
    assert torch.equal(greedy(policy, memory, 3).tokens, last.tokens)
    captions = every_caption()
    one = memory.select(torch.zeros(len(captions), dtype=torch.long))
    expected = stage_log_probs(policy, one, captions, [2] * len(captions))
    torch.testing.assert_close(word_log_probs(policy, one, captions), expected)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_a_beam_as_wide_as_all_captions_ranks_them_as_that_stage_does(policy, stage):
    memory, captions = policy.encode(batch(toy_clips(4, 1))), every_caption()
    found, scores = beam_search(policy, memory, 3, len(captions), policy.start_stages(memory, [stage] * 2))
    for row in range(2):
        one = memory.select(torch.full((len(captions),), row))
        expected = stage_log_probs(policy, one, captions, [stage] * len(captions)).sum(1).sort(descending=True)
        torch.testing.assert_close(scores[row], expected.values)
        assert torch.equal(found[row, 0], captions[expected.indices[0]])


def test_a_stages_captions_are_a_distribution(policy):
    captions = every_caption()
    memory = policy.encode(batch(toy_clips(4))).select(torch.zeros(len(captions), dtype=torch.long))
    for stage in range(3):
        p = stage_log_probs(policy, memory, captions, [stage] * len(captions)).sum(1).exp()
        torch.testing.assert_close(p.sum(), torch.ones((), dtype=torch.float64))


def test_samples_of_a_stage_have_its_log_probabilities(policy):
    memory = policy.encode(batch(toy_clips(4))).select(torch.zeros(6, dtype=torch.long))
    stages = [0, 1, 2, 2, 1, 0]
    rollout = sample(policy, memory, 4, policy.start_stages(memory, stages))
    expected = stage_log_probs(policy, memory, rollout.tokens, stages)
    torch.testing.assert_close(rollout.log_probs, expected)
