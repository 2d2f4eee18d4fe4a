"""What toys promise the tests that use them: no decision in them hangs on the last bits of a sum."""

import pytest
import torch
from toy import (
    ACTOR_CRITICS,
    POLICIES,
    VOCABULARY,
    actor_critic_toy,
    batch,
    every_caption,
    toy_clips,
    toy_policy,
    word_log_probs,
)

from captionrl.decoding.distribution import log_probabilities
from captionrl.text.vocabulary import PAD

MARGIN = 1e-9  # of float64, whose sums differ by 1e-15 from one processor, or number of threads, to another
CLIPS = ((4, 1, 3), (4, 2, 3))


@pytest.mark.parametrize("reads", ["current", "previous"])
@pytest.mark.parametrize("vocabulary", [5, VOCABULARY])
@pytest.mark.parametrize("seed", [None, 27])
def test_no_segment_of_a_toy_ends_by_a_hair(reads, vocabulary, seed):
    policy = toy_policy("hrl", vocabulary, seed, critic_input=reads)
    for tokens in range(1, 7):
        logits = policy.boundary_critic(every_caption(tokens, vocabulary))
        assert logits.abs().min() > MARGIN
    assert 0.1 < (logits > 0).double().mean() < 0.9


@pytest.mark.parametrize("lengths", CLIPS)
@pytest.mark.parametrize("model", POLICIES)
def test_no_two_captions_of_a_toy_are_equally_probable(model, lengths):
    policy, captions = toy_policy(model), every_caption()
    features = batch(toy_clips(*lengths))
    memory = policy.encode(features)
    clips, rows = len(lengths), len(captions)
    spread = memory.select(torch.arange(clips).repeat_interleave(rows))
    scores = word_log_probs(policy, spread, captions.repeat(clips, 1)).sum(1).view(clips, rows)
    assert scores.sort(1).values.diff(dim=1).min() > MARGIN


@pytest.mark.parametrize("lengths", CLIPS)
@pytest.mark.parametrize("model", POLICIES)
def test_no_two_words_of_a_toy_are_equally_probable(model, lengths):
    policy, captions = toy_policy(model), every_caption()
    memory = policy.encode(batch(toy_clips(*lengths)))
    for clip in range(len(lengths)):
        logits = policy.teacher_forcing(captions, memory.select(torch.full((len(captions),), clip)))
        best = log_probabilities(logits)[captions != PAD].topk(2).values
        assert (best[:, 0] - best[:, 1]).min() > MARGIN


@pytest.mark.parametrize("model", ACTOR_CRITICS)
def test_no_two_beginnings_of_a_toy_are_worth_almost_the_same(model):
    policy, captions = actor_critic_toy(model), every_caption()
    for clip in toy_clips(4, 1, 3):
        values = policy.value(batch([clip] * len(captions)), captions).unique()
        gaps = values.diff()
        assert gaps[gaps > 1e-12].min() > MARGIN  # what is nearer is one beginning, of several captions
