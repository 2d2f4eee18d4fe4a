from unittest import mock

import torch
from toy import VOCABULARY, batch, every_caption, toy_clips, word_log_probs

from captionrl.decoding.distribution import draw, log_probabilities
from captionrl.text.vocabulary import BOS, EOS, PAD, UNK


def test_pad_bos_and_unk_have_no_probability_and_the_rest_keep_their_proportions():
    logits = torch.randn(3, 5, VOCABULARY, generator=torch.Generator().manual_seed(0))
    p, softmax = log_probabilities(logits).exp(), logits.softmax(-1)
    writable = [EOS, 4, 5, 6]
    assert (p[..., [PAD, BOS, UNK]] == 0).all()
    torch.testing.assert_close(p[..., writable], softmax[..., writable] / softmax[..., writable].sum(-1, keepdim=True))


def test_the_probabilities_of_all_captions_sum_to_one(policy):
    captions = every_caption()
    assert len(captions) == 1 + 3 + 9 + 27
    memory = policy.encode(batch(toy_clips(4))).select(torch.zeros(len(captions), dtype=torch.long))
    total = word_log_probs(policy, memory, captions).sum(1).exp().sum()
    torch.testing.assert_close(total.item(), 1.0)


def test_words_are_drawn_in_proportion_to_their_probability_and_impossible_ones_never():
    p = torch.tensor([0, 0, 0.25, 0, 0.5, 0.125, 0.125, 0])
    evenly = torch.arange(0, 1, 1 / 64).unsqueeze(1)
    with mock.patch("torch.rand_like", return_value=evenly):
        drawn = draw(p.log().expand(64, -1))
    assert drawn.bincount(minlength=8).tolist() == [0, 0, 16, 0, 32, 8, 8, 0]


def test_the_largest_number_below_one_draws_the_last_possible_word():
    for seed in range(20):
        logits = torch.randn(50, 1000, generator=torch.Generator().manual_seed(seed))
        logits[:, -3:] = -torch.inf
        with mock.patch("torch.rand_like", return_value=torch.full((50, 1), 1 - 2**-24)):
            drawn = draw(logits.log_softmax(-1))
        assert (drawn <= 996).all()
