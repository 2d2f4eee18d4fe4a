import pytest
import torch
from torch.nn.functional import pad
from toy import POLICIES, batch, every_caption, toy_clips, toy_policy, word_log_probs

from captionrl.decoding.beam import beam_search
from captionrl.decoding.distribution import log_probabilities
from captionrl.decoding.rollout import greedy
from captionrl.testing import a_beam_that_is_wide_enough_equals_exhaustive_search
from captionrl.text.vocabulary import BOS, EOS, PAD, UNK

CLIPS = toy_clips(*[4, 1, 3] * 4)


def plain_beam_search(policy, clip, max_tokens, width):
    """Beam search of one clip as a textbook has it: [(log-probability, caption)], best first."""
    memory = policy.encode(batch([clip]))
    beam = [(0.0, [])]
    for _ in range(max_tokens):
        grown = [(score, caption) for score, caption in beam if EOS in caption]
        for score, caption in beam:
            if EOS not in caption:
                logits = policy.teacher_forcing(torch.tensor([[*caption, EOS]]), memory)[0, -1]
                log_p = log_probabilities(logits).tolist()
                grown += [(score + log_p[word], [*caption, word]) for word in (EOS, 4, 5, 6)]
        beam = sorted(grown, reverse=True)[:width]
    return beam


def padded(tokens, length):
    return pad(tokens, (0, length - tokens.shape[-1]))


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def test_width_one_is_greedy(policy):
    memory = policy.encode(batch(CLIPS))
    tokens, scores = beam_search(policy, memory, 6, 1)
    written = greedy(policy, memory, 6)
    assert torch.equal(tokens[:, 0], written.tokens)
    torch.testing.assert_close(scores[:, 0], written.log_probs.sum(1))


@pytest.mark.parametrize("width", [3, 10])
def test_scores_are_log_probabilities_and_come_best_first(policy, width):
    policy.float()
    memory = policy.encode(batch([clip.float() for clip in CLIPS]))
    tokens, scores = beam_search(policy, memory, 6, width)
    rows = torch.arange(len(CLIPS)).repeat_interleave(width)
    forced = word_log_probs(policy, memory.select(rows), tokens.flatten(0, 1)).sum(1)
    torch.testing.assert_close(scores.flatten(), forced, atol=1e-5, rtol=0)
    assert (scores.diff(dim=1) <= 0).all()


@pytest.mark.parametrize("model", POLICIES)
@pytest.mark.parametrize("seed", [1, 3])
def test_a_beam_wide_enough_for_all_captions_is_exhaustive_search(model, seed):
    a_beam_that_is_wide_enough_equals_exhaustive_search(toy_policy(model, seed=seed))


@pytest.mark.parametrize("model", ["pooled", "stack-cap"])
def test_normalised_by_length_a_wide_beam_ranks_all_captions_by_log_probability_a_token(model):
    policy, captions = toy_policy(model), every_caption()
    memory = policy.encode(batch(CLIPS[:3]))
    found, scores = beam_search(policy, memory, captions.shape[1], len(captions), length_normalised=True)
    lengths, differ = (captions != PAD).sum(1), 0
    for row in range(3):
        log_p = word_log_probs(policy, memory.select(torch.full((len(captions),), row)), captions).sum(1)
        order = (log_p / lengths).argsort(descending=True)
        assert torch.equal(found[row], captions[order])
        torch.testing.assert_close(scores[row], log_p[order])  # still log-probabilities
        differ += not torch.equal(captions[order[0]], captions[log_p.argmax()])
    assert differ  # else ranking by log-probability would do


@pytest.mark.parametrize("model", POLICIES)
@pytest.mark.parametrize("width", [2, 3, 5])
def test_a_narrow_beam_is_the_textbooks(model, width):
    policy = toy_policy(model)
    tokens, scores = beam_search(policy, policy.encode(batch(CLIPS)), 5, width)
    for row, clip in enumerate(CLIPS):
        expected = plain_beam_search(policy, clip, 5, width)
        torch.testing.assert_close(scores[row].tolist(), [score for score, _ in expected])
        assert padded(tokens[row], 5).tolist() == [caption + [PAD] * (5 - len(caption)) for _, caption in expected]


def test_places_that_no_caption_fills_have_score_minus_infinity():
    for model in POLICIES:
        policy, captions = toy_policy(model, vocabulary=5), every_caption(max_tokens=2, vocabulary=5)
        tokens, scores = beam_search(policy, policy.encode(batch(CLIPS)), 2, 7)
        assert len(captions) == 3
        assert (scores.isfinite() == (torch.arange(7) < 3)).all()
        assert scores[:, 3:].isneginf().all()
        for row in tokens[:, :3].tolist():
            assert sorted(row) == sorted(captions.tolist())


def test_the_unwritable_are_never_written_and_nothing_follows_the_end(policy):
    policy.head[-1].bias.data[[PAD, BOS, UNK]] += 30
    tokens, scores = beam_search(policy, policy.encode(batch(CLIPS)), 6, 20)
    assert scores.isfinite().all()
    for caption in tokens.flatten(0, 1).tolist():
        end = caption.index(EOS) + 1 if EOS in caption else len(caption)
        assert not {PAD, BOS, UNK} & set(caption[:end])
        assert set(caption[end:]) <= {PAD}


def test_the_search_stops_when_every_caption_has_ended():
    for model in POLICIES:
        policy = toy_policy(model, vocabulary=5)
        policy.head[-1].bias.data[EOS] += 100
        tokens, _ = beam_search(policy, policy.encode(batch(CLIPS)), 50, 2)
        assert tokens.tolist() == [[[EOS, PAD], [4, EOS]]] * len(CLIPS)
