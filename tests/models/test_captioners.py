import pytest
import torch
from torch import nn
from toy import batch, toy_clips, toy_policy

from captionrl.models.policy import active_rows, shift
from captionrl.text.vocabulary import BOS, EOS, PAD, UNK

CAPTIONS = torch.tensor([[4, 5, 6, 4, EOS], [6, EOS, PAD, PAD, PAD], [5, UNK, 4, EOS, PAD]])


def test_shift_begins_with_bos_and_drops_the_last_word():
    assert shift(torch.tensor([[4, 5, EOS], [6, EOS, PAD]])).tolist() == [[BOS, 4, 5], [BOS, 6, EOS]]


def test_captions_leave_the_batch_longest_last():
    order, active, places = active_rows(CAPTIONS)
    assert order.tolist() == [0, 2, 1]
    assert active == [3, 3, 2, 2, 1]
    assert CAPTIONS.flatten()[places].tolist() == [4, 5, 6, 5, UNK, EOS, 6, 4, 4, EOS, EOS]


def test_every_frame_matters(policy):
    features = batch(toy_clips(4, 1, 3))
    frames = features.frames.requires_grad_()
    policy.teacher_forcing(CAPTIONS, policy.encode(features)).square().sum().backward()
    assert (frames.grad[features.mask].abs().sum(-1) > 1e-6).all()


@pytest.mark.parametrize(
    ("model", "matters"),
    [("attention", True), ("s2vt", True), ("soft-attention", False), ("mean-pooling", False)],
)
def test_whether_the_order_of_frames_matters(model, matters):
    policy, (clip,) = toy_policy(model), toy_clips(4)
    forward, backward = (policy.teacher_forcing(CAPTIONS[:1], policy.encode(batch([c]))) for c in (clip, clip.flip(0)))
    assert torch.allclose(forward, backward, atol=1e-6) != matters


def test_attention_over_a_batch_looks_at_each_clips_own_frames():
    for model in ("attention", "soft-attention"):
        policy, features = toy_policy(model), batch(toy_clips(4, 1, 3), extra=2)
        memory = policy.encode(features)
        weights = policy.step(memory.first_words(), policy.start(memory), memory).extras.attention
        torch.testing.assert_close(weights.sum(1), torch.ones(3, dtype=torch.float64))
        assert (weights[~features.mask] == 0).all()


def test_soft_attention_of_pictures_begins_at_the_mean_region():
    """Xu et al. 2015, section 3.1.2; that of videos (Yao et al. 2015), which HRL cites, begins at zero."""
    policy, clips = toy_policy("show-attend-tell"), toy_clips(4, 1, 3)
    state = policy.start(policy.encode(batch(clips, extra=2, filler=1e6)))
    mean = torch.stack([policy.project(clip.mean(0)) for clip in clips])
    torch.testing.assert_close(state.hidden, policy.first_hidden(mean))
    torch.testing.assert_close(state.cell, policy.first_cell(mean))
    assert (state.hidden - state.cell).abs().max() > 0.01
    videos = toy_policy("soft-attention")
    assert (videos.start(videos.encode(batch(clips))).hidden == 0).all()


def test_mean_pooling_sees_the_mean_frame():
    policy, clips = toy_policy("mean-pooling"), toy_clips(4, 1, 3)
    means = [clip.mean(0, keepdim=True) for clip in clips]
    torch.testing.assert_close(policy.encode(batch(clips, extra=1)).mean, policy.encode(batch(means)).mean)


def lstm_of(*cells):
    """One nn.LSTM with the weights of these LSTMCells as its layers."""
    lstm = nn.LSTM(cells[0].input_size, cells[0].hidden_size, len(cells), batch_first=True).double()
    for layer, cell in enumerate(cells):
        for name, parameter in cell.named_parameters():
            getattr(lstm, f"{name}_l{layer}").data.copy_(parameter)
    return lstm


def test_mean_pooling_is_a_two_layer_lstm_over_mean_frame_and_word():
    policy, (clip,), caption = toy_policy("mean-pooling"), toy_clips(4), CAPTIONS[:1]
    mean, words = policy.project(clip.mean(0)), policy.embedding(shift(caption))
    written, _ = lstm_of(policy.lower, policy.upper)(torch.cat([mean.expand(1, words.shape[1], -1), words], -1))
    logits = policy.teacher_forcing(caption, policy.encode(batch([clip])))
    torch.testing.assert_close(logits, policy.head(written))


@pytest.mark.parametrize("model", ["attention", "soft-attention"])
def test_with_one_frame_to_look_at_attention_is_an_lstm_over_frame_and_word(model):
    policy, (clip,), caption = toy_policy(model), toy_clips(1), CAPTIONS[:1]
    memory, words = policy.encode(batch([clip])), policy.embedding(shift(caption))
    inputs = torch.cat([memory.values.expand(-1, words.shape[1], -1), words], -1)
    written, _ = lstm_of(policy.cell)(inputs)
    read = torch.cat([written, inputs], -1) if model == "soft-attention" else written  # Yao et al.: the inputs too
    torch.testing.assert_close(policy.teacher_forcing(caption, memory), policy.head(read))


def test_attention_moves_with_the_words_written():
    for model in ("attention", "soft-attention"):
        policy, features = toy_policy(model), batch(toy_clips(4) * 2)
        memory = policy.encode(features)
        step = policy.step(torch.tensor([4, 5]), policy.start(memory), memory)
        first = step.extras.attention
        second = policy.step(torch.tensor([4, 4]), step.state, memory).extras.attention
        torch.testing.assert_close(first[0], first[1])  # the first look is before any word
        assert (second[0] - second[1]).abs().max() > 1e-4
        assert (second - first).abs().max() > 1e-4


def test_s2vt_is_one_pass_over_frames_and_then_words():
    """Figure 2 of the paper: both LSTMs run on through reading and writing, zeros standing in for what is missing."""
    policy, (clip,), caption = toy_policy("s2vt"), toy_clips(4), CAPTIONS[:1]
    frames, words = policy.project(clip[None]), policy.embedding(shift(caption))
    seen, _ = policy.visual(torch.cat([frames, frames.new_zeros(1, words.shape[1], frames.shape[2])], 1))
    words_too = torch.cat([words.new_zeros(1, frames.shape[1], words.shape[2]), words], 1)
    written, _ = policy.language(torch.cat([seen, words_too], -1))
    expected = policy.head(written[:, len(clip) :])
    torch.testing.assert_close(policy.teacher_forcing(caption, policy.encode(batch([clip]))), expected)


def test_dropout_is_active_in_training_only(policy):
    features = batch(toy_clips(4, 2, 3))
    for training in (True, False):
        policy.train(training)
        first, second = (policy.teacher_forcing(CAPTIONS, policy.encode(features)) for _ in range(2))
        assert torch.equal(first, second) != training
