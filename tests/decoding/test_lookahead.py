"""Beam search that asks a value network, too: with its real one, and with tables that know the truth."""

from dataclasses import dataclass
from math import nan

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad
from toy import (
    ACTOR_CRITICS,
    MAX_TOKENS,
    POLICIES,
    actor_critic_toy,
    batch,
    every_caption,
    toy_clips,
    toy_policy,
    true_values,
    word_log_probs,
)

from captionrl.decoding.beam import beam_search
from captionrl.decoding.distribution import log_probabilities
from captionrl.decoding.lookahead import look_ahead
from captionrl.decoding.rollout import greedy
from captionrl.models import TensorBatch
from captionrl.text.vocabulary import EOS, PAD

CLIPS = toy_clips(*[4, 1, 3] * 2)
EXACT = {"atol": 1e-10, "rtol": 0}


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@pytest.fixture(params=ACTOR_CRITICS)
def actor_critic(request):
    """Captioners of several papers, each with a value network."""
    return actor_critic_toy(request.param)


def search(policy, features, max_tokens, width, weight):
    return look_ahead(
        policy, policy.encode(features), policy.value, policy.value.start(features), max_tokens, width, weight
    )


def plain_look_ahead(policy, clip, max_tokens, width, weight):
    """Look-ahead search of one clip as a textbook has it: [(score, caption)], best first."""
    features = batch([clip])
    memory = policy.encode(features)
    beam = [(0.0, 0.0, [])]  # score, log-probability, words
    for _ in range(max_tokens):
        grown = [entry for entry in beam if EOS in entry[2]]
        for _, log_p, caption in beam:
            if EOS not in caption:
                logits = policy.teacher_forcing(torch.tensor([[*caption, EOS]]), memory)[0, -1]
                probable = log_probabilities(logits).topk(min(width, 4))
                for added, word in zip(*map(Tensor.tolist, probable), strict=True):
                    longer = [*caption, word]
                    value = policy.value(features, torch.tensor([longer]))[0, -1].item()
                    grown.append((weight * (log_p + added) + (1 - weight) * value, log_p + added, longer))
        beam = sorted(grown, reverse=True)[:width]
    return [(score, caption) for score, _, caption in beam]


@dataclass(frozen=True)
class Read(TensorBatch):
    """What a table has read: [B] whose table, and the words [B, t]."""

    item: Tensor
    tokens: Tensor


class Table:
    """Values of beginnings, looked up; of what is none, no number: it must not matter."""

    def __init__(self, captions, values):
        """captions [C, T] and the values [B, C, T + 1] of their beginnings, for each of B items."""
        lengths = (captions != PAD).sum(1).tolist()
        self.tables = [
            {
                tuple(words[:t]): row[t]
                for words, row, length in zip(captions.tolist(), rows, lengths, strict=True)
                for t in range(length + 1)
            }
            for rows in values.tolist()
        ]

    def start(self):
        items = torch.arange(len(self.tables))
        return Read(items, items.new_zeros(len(items), 0))

    def step(self, tokens, state):
        return Read(state.item, torch.cat([state.tokens, tokens.unsqueeze(1)], 1))

    def value(self, state):
        rows = zip(state.item.tolist(), state.tokens.tolist(), strict=True)
        return torch.tensor([self.tables[item].get(tuple(words), nan) for item, words in rows], dtype=torch.float64)


@pytest.mark.parametrize("width", [1, 2, 3, 5, 10, 45])
def test_with_weight_one_it_is_beam_search(actor_critic, width):
    features, max_tokens = batch(CLIPS), 3 if width > 40 else 6
    tokens, scores = search(actor_critic, features, max_tokens, width, 1.0)
    expected, log_p = beam_search(actor_critic, actor_critic.encode(features), max_tokens, width)
    there = log_p.isfinite()
    assert torch.equal(tokens[there], expected[there])
    torch.testing.assert_close(scores, log_p, **EXACT)


@pytest.mark.parametrize("weight", [0.0, 0.3])
@pytest.mark.parametrize("width", [2, 5])
def test_it_is_the_textbooks(actor_critic, width, weight):
    """With weight 0 the value alone says which of the beginnings that are looked at stay."""
    tokens, scores = search(actor_critic, batch(CLIPS), 4, width, weight)
    for row, clip in enumerate(CLIPS):
        expected = plain_look_ahead(actor_critic, clip, 4, width, weight)
        torch.testing.assert_close(scores[row].tolist(), [score for score, _ in expected])
        assert pad(tokens[row], (0, 4 - tokens.shape[-1])).tolist() == [
            caption + [PAD] * (4 - len(caption)) for _, caption in expected
        ]


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_scores_are_those_of_whole_captions_and_come_best_first(actor_critic, weight):
    """A caption that has ended keeps its score, whatever is read after its end."""
    features, width = batch(CLIPS), len(every_caption())
    tokens, scores = search(actor_critic, features, MAX_TOKENS, width, weight)
    rows, tokens = torch.arange(len(CLIPS)).repeat_interleave(width), tokens.flatten(0, 1)
    log_p = word_log_probs(actor_critic, actor_critic.encode(features).select(rows), tokens).sum(1)
    lengths = (tokens != PAD).sum(1, keepdim=True)
    values = actor_critic.value(features.select(rows), tokens).gather(1, lengths).squeeze(1)
    assert lengths.unique().tolist() == [1, 2, 3]
    torch.testing.assert_close(scores.flatten(), weight * log_p + (1 - weight) * values, **EXACT)
    assert (scores.diff(dim=1) <= 0).all()


def test_each_item_alone_is_searched_as_in_company(actor_critic):
    together = search(actor_critic, batch(CLIPS, extra=2, filler=1e6), 6, 3, 0.3)
    for tokens, scores, clip in zip(*together, CLIPS, strict=True):
        own_tokens, own_scores = search(actor_critic, batch([clip]), 6, 3, 0.3)
        assert torch.equal(tokens, pad(own_tokens[0], (0, tokens.shape[-1] - own_tokens.shape[-1])))
        torch.testing.assert_close(scores, own_scores[0], **EXACT)


def test_what_may_be_looked_at_is_up_to_the_policy_so_width_one_is_greedy(actor_critic):
    for weight in (0.0, 0.5):
        tokens, _ = search(actor_critic, batch(CLIPS), 6, 1, weight)
        assert torch.equal(tokens[:, 0], greedy(actor_critic, actor_critic.encode(batch(CLIPS)), 6).tokens)


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_a_beam_wide_enough_for_all_captions_ranks_them_by_probability_and_value(policy, weight):
    captions, memory = every_caption(), policy.encode(batch(CLIPS))
    generator = torch.Generator().manual_seed(1)
    rewards = torch.randn(len(CLIPS), len(captions), generator=generator, dtype=torch.float64)
    log_p = log_probs_of_all(policy, memory, captions)
    values = torch.stack([true_values(captions, *row) for row in zip(log_p.exp(), rewards, strict=True)])
    table = Table(captions, values)
    tokens, scores = look_ahead(policy, memory, table, table.start(), MAX_TOKENS, len(captions), weight)
    expected, order = (weight * log_p + (1 - weight) * rewards).sort(dim=1, descending=True)
    torch.testing.assert_close(scores, expected, **EXACT)
    assert torch.equal(tokens, captions[order])


def log_probs_of_all(policy, memory, captions):
    """Of each caption [C, T], for each of the items of `memory`: [B, C]."""
    items = torch.arange(len(memory.first_words()))
    rows = items.repeat_interleave(len(captions))
    return word_log_probs(policy, memory.select(rows), captions.repeat(len(items), 1)).sum(1).view(len(items), -1)


def missed(policy, memory, captions, width):
    """Captions that a beam search of this width misses though each of their words is among the `width` most probable.

    Their items [N] and which of the captions they are [N].
    """
    tokens, _ = beam_search(policy, memory, MAX_TOKENS, width)
    found = []
    for item in range(len(tokens)):
        own = memory.select(torch.full((len(captions),), item))
        log_p = log_probabilities(policy.teacher_forcing(captions, own))
        place = (log_p > log_p.gather(-1, captions.unsqueeze(-1))).sum(-1).masked_fill(captions == PAD, 0)
        within = (place < width).all(1)
        in_beam = (captions.unsqueeze(1) == pad(tokens[item], (0, MAX_TOKENS - tokens.shape[-1]))).all(-1).any(1)
        found += [(item, which) for which in (within & ~in_beam).nonzero().flatten().tolist()]
    return torch.tensor(found).unbind(1)


@pytest.mark.parametrize(("kind", "weight"), [("most", 0.0), ("most", 0.01), ("mean", 0.0)])
@pytest.mark.parametrize("width", [2, 3])
def test_a_perfect_value_finds_what_beam_search_of_the_same_width_misses(policy, width, kind, weight):
    """One caption is worth 1, all others nothing; its first words are so improbable that plain beam search drops them.

    A value is the most, or the mean, that a beginning's completions earn.
    """
    captions, memory = every_caption(), policy.encode(batch(CLIPS))
    items, best = missed(policy, memory, captions, width)
    memory, rewards = memory.select(items), one_hot(best, len(captions)).double()
    log_p = log_probs_of_all(policy, memory, captions)
    if kind == "mean":
        values = torch.stack([true_values(captions, *row) for row in zip(log_p.exp(), rewards, strict=True)])
    else:  # what is beyond a caption's end is never looked up
        words = captions[best]
        columns = [(captions[:, :t] == words[:, None, :t]).all(-1) for t in range(MAX_TOKENS + 1)]
        values = torch.stack(columns, -1).double()
    table = Table(captions, values)
    plain, _ = beam_search(policy, memory, MAX_TOKENS, width)
    tokens, _ = look_ahead(policy, memory, table, table.start(), MAX_TOKENS, width, weight)
    assert len(best) > len(CLIPS)
    assert not (plain == captions[best].unsqueeze(1)).all(-1).any()
    assert torch.equal(tokens[:, 0], captions[best])


def test_places_that_no_caption_fills_have_score_minus_infinity():
    captions = every_caption(max_tokens=2, vocabulary=5)
    values = torch.arange(float(len(CLIPS) * 3 * 3)).view(len(CLIPS), 3, 3)
    for model in POLICIES:
        policy, table = toy_policy(model, vocabulary=5), Table(captions, values)
        for weight in (0.0, 0.5):
            tokens, scores = look_ahead(policy, policy.encode(batch(CLIPS)), table, table.start(), 2, 7, weight)
            assert (scores.isfinite() == (torch.arange(7) < 3)).all()
            assert scores[:, 3:].isneginf().all()
            for row in tokens[:, :3].tolist():
                assert sorted(row) == sorted(captions.tolist())
