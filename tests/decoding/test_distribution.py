import torch
from toy import VOCABULARY, batch, every_caption, toy_clips, word_log_probs

from captionrl.decoding.distribution import log_probabilities
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
