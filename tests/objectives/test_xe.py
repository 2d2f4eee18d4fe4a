from unittest import mock

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from toy import VOCABULARY, batch, toy_clips

from captionrl.config import ScheduledSampling
from captionrl.models.policy import shift
from captionrl.objectives.xe import xe_loss
from captionrl.text.vocabulary import BOS, EOS, PAD, UNK
from captionrl.training.learners.xe import scheduled_probability

CLIPS = toy_clips(4, 1, 3)
CAPTIONS = torch.tensor([[4, 5, 6, 4, EOS], [6, EOS, PAD, PAD, PAD], [5, UNK, 4, EOS, PAD]])


def by_hand(policy, inputs, targets):
    """The mean negative log-likelihood of `targets` after `inputs` [B, T], of all stages if a policy has some."""
    memory = policy.encode(batch(CLIPS))
    stages = range(policy.decoder_stages) if policy.decoder_stages > 1 else [None]
    losses = []
    for stage in stages:
        state = policy.start(memory) if stage is None else policy.start_stages(memory, [stage] * len(CLIPS))
        columns = []
        for words in shift(inputs).unbind(1):
            step = policy.step(words, state, memory)
            state = step.state
            columns.append(step.logits)
        logits = torch.stack(columns, 1)
        losses.append(cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PAD))
    return sum(losses)


def embedding_of(policy):
    """Its embedding, recording the words that it is given."""
    module = isinstance(policy.embedding, nn.Module)
    holder, name = (policy.embedding, "forward") if module else (policy, "embedding")
    return mock.patch.object(holder, name, wraps=getattr(holder, name))


def test_it_is_the_mean_negative_log_likelihood_of_the_words(policy):
    features = batch(CLIPS)
    loss, statistics = xe_loss(policy, features, CAPTIONS)
    torch.testing.assert_close(loss, by_hand(policy, CAPTIONS, CAPTIONS))
    assert statistics["loss"] == loss.item()


def test_with_own_words_only_every_input_after_bos_is_drawn_from_the_step_before(policy):
    """The draws are scripted; the loss is that of the caption's words after the draws. Captions leave as they end."""
    draws = torch.tensor([[6, 6, 5, 4, 4], [4, 5, PAD, PAD, PAD], [6, 4, 6, 5, PAD]])
    longest_first = draws[[0, 2, 1]].unbind(1)
    with (
        mock.patch(
            "captionrl.objectives.xe.draw", side_effect=[column[column != PAD] for column in longest_first]
        ) as drawing,
        embedding_of(policy) as embed,
    ):
        loss, _ = xe_loss(policy, batch(CLIPS), CAPTIONS, sampling_probability=1.0)
    inputs = [call.args[0].tolist() for call in embed.call_args_list]
    assert inputs == [[BOS] * 3, [6, 6, 4], [6, 4], [5, 6], [4]]

    torch.testing.assert_close(loss, by_hand(policy, draws, CAPTIONS))
    logits = policy.teacher_forcing(draws, policy.encode(batch(CLIPS)))
    drawn_from = torch.cat([call.args[0] for call in drawing.call_args_list]).exp()
    read = torch.cat([logits[row, t : t + 1] for t in range(5) for row in (0, 2, 1) if draws[row, t] != PAD])
    ratios = drawn_from[:, [EOS, 4, 5, 6]] / read[:, [EOS, 4, 5, 6]].exp()  # the policy's, up to a factor
    torch.testing.assert_close(ratios, ratios[:, :1].expand_as(ratios))


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_own_words_is_the_share_of_inputs_that_are_drawn(policy, share):
    always = 6
    for head in getattr(policy, "heads", [policy.head]):
        head[-1].bias.data[always] += 100
    captions = torch.full((200, 20), 4)
    with embedding_of(policy) as embed:
        torch.manual_seed(0)
        xe_loss(policy, batch(CLIPS[:1] * 200), captions, sampling_probability=share)
    first, *later = (call.args[0] for call in embed.call_args_list)
    assert (first == BOS).all()
    own = torch.stack(later) == always
    five_sigma = 5 * (share * (1 - share) / own.numel()) ** 0.5
    assert abs(own.double().mean() - share) <= five_sigma


def test_own_words_are_words_that_decoding_can_write(policy):
    for head in getattr(policy, "heads", [policy.head]):
        head[-1].bias.data[[PAD, BOS, UNK]] += 3
    with embedding_of(policy) as embed:
        torch.manual_seed(0)
        xe_loss(policy, batch(CLIPS[:1] * 50), torch.full((50, 10), 4), sampling_probability=1.0)
    _, *later = (call.args[0] for call in embed.call_args_list)
    assert len(later) == 9
    assert not torch.isin(torch.stack(later), torch.tensor([PAD, BOS, UNK])).any()


def test_training_on_one_caption_teaches_it(policy):
    clip, caption = batch(CLIPS[:1]), CAPTIONS[:1]
    optimiser = torch.optim.Adam(policy.parameters(), lr=0.05)
    for _ in range(25):
        optimiser.zero_grad()
        xe_loss(policy, clip, caption)[0].backward()
        optimiser.step()
    logits = policy.teacher_forcing(caption, policy.encode(clip))
    assert logits.shape[-1] == VOCABULARY
    assert torch.equal(logits.argmax(-1), caption)


def test_boundaries_are_of_the_captions_words_alone(policy):
    with pytest.raises(ValueError, match="boundaries are of the caption's words"):
        xe_loss(policy, batch(CLIPS), CAPTIONS, 0.5, CAPTIONS == EOS)


def test_the_sampling_probability_grows_from_its_start_to_its_maximum():
    schedule = ScheduledSampling(start=2, per_epoch=0.05, max_probability=0.25)
    shares = [scheduled_probability(schedule, epoch / 10) for epoch in range(200)]
    assert shares == sorted(shares)
    assert shares[0] == scheduled_probability(schedule, 2) == 0
    assert scheduled_probability(schedule, 4) == pytest.approx(0.1)
    assert shares[-1] == scheduled_probability(schedule, 7) == 0.25
    assert {scheduled_probability(ScheduledSampling(), epoch) for epoch in range(100)} == {0}
    constant = ScheduledSampling(initial=0.25)  # whatever grows is limited where that is asked
    assert {scheduled_probability(constant, epoch) for epoch in range(100)} == {0.25}
    assert scheduled_probability(schedule.model_copy(update={"initial": 0.1}), 4) == pytest.approx(0.2)
