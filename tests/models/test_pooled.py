"""The picture is the first state of an LSTM over words; with attention, its regions are looked at as well."""

import pytest
import torch
from torch import nn
from toy import SIZES, batch, toy_clips, toy_policy

from captionrl.models.policy import shift
from captionrl.text.vocabulary import EOS

CAPTION = torch.tensor([[4, 5, 6, 4, EOS]])
MODELS = ("pooled", "pooled-attention")


def lstm_from(policy, inputs, hidden):
    """torch's LSTM with the policy's weights over inputs [1, T, D], begun at hidden [1, H] and the same cell."""
    lstm = nn.LSTM(policy.cell.input_size, policy.cell.hidden_size, batch_first=True).double()
    for name, parameter in policy.cell.named_parameters():
        getattr(lstm, f"{name}_l0").data.copy_(parameter)
    return lstm(inputs, (hidden[None], hidden[None]))[0]


def test_pooled_is_an_lstm_over_words_begun_at_the_projected_mean_frame():
    policy, (clip,) = toy_policy("pooled"), toy_clips(4)
    written = lstm_from(policy, policy.embedding(shift(CAPTION)), policy.project(clip.mean(0, keepdim=True)))
    torch.testing.assert_close(policy.teacher_forcing(CAPTION, policy.encode(batch([clip]))), policy.head(written))


def test_with_one_region_attention_is_an_lstm_over_region_and_word_begun_at_that_region():
    policy, (clip,) = toy_policy("pooled-attention"), toy_clips(1)
    region, words = policy.project(clip), policy.embedding(shift(CAPTION))
    written = lstm_from(policy, torch.cat([region.expand(1, words.shape[1], -1), words], -1), region)
    torch.testing.assert_close(policy.teacher_forcing(CAPTION, policy.encode(batch([clip]))), policy.head(written))


@pytest.mark.parametrize("model", MODELS)
def test_hidden_state_and_cell_begin_as_the_mean_of_what_is_there(model):
    policy, clips = toy_policy(model), toy_clips(4, 1, 3)
    state = policy.start(policy.encode(batch(clips, extra=2, filler=1e6)))
    torch.testing.assert_close(state.hidden, torch.stack([policy.project(clip.mean(0)) for clip in clips]))
    assert torch.equal(state.cell, state.hidden)
    assert state.hidden.shape == (3, SIZES.decoder)  # straight to the decoder's width


@pytest.mark.parametrize("model", MODELS)
def test_the_order_of_regions_does_not_matter(model):
    policy, (clip,) = toy_policy(model), toy_clips(4)
    forth, back = (policy.teacher_forcing(CAPTION, policy.encode(batch([c]))) for c in (clip, clip.flip(0)))
    torch.testing.assert_close(forth, back)


def test_attention_sees_more_of_the_regions_than_their_mean_and_pooling_does_not():
    (clip,) = toy_clips(4)
    even = clip.mean(0, keepdim=True).expand_as(clip)
    for model, same in (("pooled", True), ("pooled-attention", False)):
        policy = toy_policy(model)
        ours, others = (policy.teacher_forcing(CAPTION, policy.encode(batch([c]))) for c in (clip, even))
        assert torch.allclose(ours, others, atol=1e-6) == same


def test_attention_is_over_each_items_own_regions_and_moves_with_the_words():
    policy, features = toy_policy("pooled-attention"), batch(toy_clips(4, 1, 3), extra=2)
    memory = policy.encode(features)
    first = policy.step(memory.first_words(), policy.start(memory), memory)
    torch.testing.assert_close(first.extras.attention.sum(1), torch.ones(3, dtype=torch.float64))
    assert (first.extras.attention[~features.mask] == 0).all()
    second = [policy.step(torch.full((3,), word), first.state, memory) for word in (4, 5)]  # moves the look after it
    third = [policy.step(torch.full((3,), 4), step.state, memory).extras.attention for step in second]
    assert (third[0] - third[1])[0].abs().max() > 1e-4
