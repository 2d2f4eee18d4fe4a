"""What a captioner shows of how it came to a caption, for every captioner."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from toy import batch, toy_clips, toy_policy

from captionrl.decoding.beam import beam_search
from captionrl.decoding.distribution import log_probabilities
from captionrl.evaluation.describe import Description, describe
from captionrl.text.vocabulary import EOS, SPECIALS, Vocabulary

LENGTHS = (4, 1, 6, 3)
CLIPS = toy_clips(*LENGTHS)
VOCABULARY = Vocabulary((*SPECIALS, "cat", "dog", "runs"))
MAX_TOKENS = 6
BEAM = 3


@pytest.fixture
def described(policy):
    return describe(policy, VOCABULARY, batch(CLIPS), MAX_TOKENS, BEAM)


def test_words_and_log_probability_are_those_of_beam_search(policy, described):
    tokens, scores = beam_search(policy, policy.encode(batch(CLIPS)), MAX_TOKENS, BEAM)
    assert [found.words for found in described] == [VOCABULARY.decode(row) for row in tokens[:, 0].tolist()]
    assert [found.log_probability for found in described] == pytest.approx(scores[:, 0].tolist())


def test_the_log_probability_is_that_of_the_words_and_their_end(policy, described):
    for clip, found in zip(CLIPS, described, strict=True):
        ended = found.words if len(found.words) == MAX_TOKENS else [*found.words, None]
        tokens = torch.tensor([[EOS if word is None else VOCABULARY.words.index(word) for word in ended]])
        log_p = log_probabilities(policy.teacher_forcing(tokens, policy.encode(batch([clip]))))
        assert found.log_probability == pytest.approx(log_p.gather(-1, tokens.unsqueeze(-1)).sum().item())


def test_attention_has_a_row_a_word_over_the_clips_own_frames_and_each_sums_to_one(described):
    for length, found in zip(LENGTHS, described, strict=True):
        for weights in (found.attention, found.manager_attention):
            if weights is not None:
                assert weights.shape == (len(found.words), length)
                np.testing.assert_allclose(weights.sum(1), 1)


def test_over_frames_attention_is_the_sum_over_the_cells_of_each():
    attention = np.arange(12.0).reshape(2, 6)  # two words; three frames of two cells
    found = Description(["a", "b"], 0.0, attention=attention, manager_attention=attention[::-1]).over_frames(3)
    assert found.attention.tolist() == [[1, 5, 9], [13, 17, 21]]
    assert found.manager_attention.tolist() == [[13, 17, 21], [1, 5, 9]]
    assert Description(["a"], 0.0).over_frames(3).attention is None
    assert Description([], 0.0, attention=np.zeros((0, 6))).over_frames(3).attention.shape == (0, 3)


def test_a_clip_is_described_the_same_alone_and_among_others(policy, described):
    for clip, among in zip(CLIPS, described, strict=True):
        (alone,) = describe(policy, VOCABULARY, batch([clip]), MAX_TOKENS, BEAM)
        assert (alone.words, alone.segments) == (among.words, among.segments)
        if alone.attention is not None:
            np.testing.assert_allclose(alone.attention, among.attention)


@pytest.mark.parametrize(
    ("model", "shows"),
    [
        ("attention", (False, True, False)),
        ("soft-attention", (False, True, False)),
        ("mean-pooling", (False, False, False)),
        ("s2vt", (False, False, False)),
        ("hrl", (True, True, True)),
    ],
)
def test_a_captioner_shows_what_it_has(model, shows):
    for found in describe(toy_policy(model), VOCABULARY, batch(CLIPS), MAX_TOKENS, BEAM):
        assert tuple(part is not None for part in (found.segments, found.attention, found.manager_attention)) == shows
        assert (found.segment_attention() is not None) == shows[1]


@pytest.mark.parametrize("stage", [0, 1, None])
def test_a_stage_is_described_by_its_own_words_and_where_the_fine_ones_look_at_them(stage):
    policy = toy_policy("stack-cap")
    memory = policy.encode(batch(CLIPS))
    start = policy.start_stages(memory, [2 if stage is None else stage] * len(CLIPS))
    tokens, scores = beam_search(policy, memory, MAX_TOKENS, BEAM, start)
    found = describe(policy, VOCABULARY, batch(CLIPS), MAX_TOKENS, BEAM, stage)
    assert [one.log_probability for one in found] == pytest.approx(scores[:, 0].tolist())
    for length, words, one in zip(LENGTHS, tokens[:, 0].tolist(), found, strict=True):
        assert one.words == VOCABULARY.decode(words)
        assert one.stage_attention.shape == (2, len(one.words), length)
        np.testing.assert_allclose(one.stage_attention.sum(2), 1)
        np.testing.assert_array_equal(one.stage_attention[-1], one.attention)


@pytest.fixture
def hrl():
    policy = toy_policy("hrl", seed=27)
    with torch.no_grad():
        policy.boundary_critic.linear.bias += 0.01  # the toy's critic is right on the fence at some word
    return policy


@pytest.fixture
def segmented(hrl):
    """Captions of HRL; some of them have several segments."""
    found = describe(hrl, VOCABULARY, batch(CLIPS), MAX_TOKENS, BEAM)
    assert max(len(one.segments) for one in found) > 1
    return found


def test_segments_are_the_words_cut_where_the_critic_says(hrl, segmented):
    for found in segmented:
        assert [word for segment in found.segments for word in segment] == found.words
        tokens = torch.tensor([[VOCABULARY.words.index(word) for word in found.words]])
        ends = (hrl.boundary_critic(tokens) > 0)[0].tolist()
        assert [len(segment) for segment in found.segments] == lengths_of(ends)


def lengths_of(ends):
    """Lengths of the segments of a caption, from whether each of its words ends one."""
    borders = [0, *(index + 1 for index, end in enumerate(ends[:-1]) if end), len(ends)]
    return [end - first for first, end in pairwise(borders)]


def test_the_managers_attention_is_held_within_a_segment(segmented):
    for found in segmented:
        first = 0
        for segment in found.segments:
            rows = found.manager_attention[first : first + len(segment)]
            assert (rows == rows[0]).all()
            first += len(segment)


def test_a_segments_attention_is_the_mean_over_its_words(segmented):
    for found in segmented:
        first = 0
        for segment, mean in zip(found.segments, found.segment_attention(), strict=True):
            np.testing.assert_allclose(mean, found.attention[first : first + len(segment)].mean(0))
            first += len(segment)


def test_the_text_shows_segments(segmented):
    found = max(segmented, key=lambda one: len(one.segments))
    assert found.text == " | ".join(" ".join(segment) for segment in found.segments)
    assert found.text.replace("| ", "") == " ".join(found.words)


def test_an_empty_caption_has_no_segment_and_no_row():
    found = min(
        describe(toy_policy("hrl", seed=23), VOCABULARY, batch(CLIPS), MAX_TOKENS, BEAM), key=lambda one: one.text
    )
    assert (found.words, found.segments, found.text) == ([], [], "")
    assert found.attention.shape == found.segment_attention().shape == (0, LENGTHS[0])
