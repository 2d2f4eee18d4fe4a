import pytest
import torch
from pycocoevalcap.bleu.bleu_scorer import BleuScorer

from captionrl.errors import UserError
from captionrl.rewards import PairwiseBleu
from captionrl.text.vocabulary import EOS, SPECIALS, UNK

VOCABULARY = [*SPECIALS, *"abcdefg,"]


def captions(items=7, samples=5, width=12, seed=1):
    """Random captions of few words, some of them equal, some empty; what lies beyond their ends is garbage."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(EOS, len(VOCABULARY), (items, samples, width), generator=generator)
    lengths = torch.randint(0, width + 1, (items, samples), generator=generator)
    tokens[:, 1] = tokens[:, 0]
    lengths[:, 1] = lengths[:, 0]
    tokens[torch.arange(width) >= lengths.unsqueeze(-1)] = -7
    return tokens, lengths


def expected(tokens, lengths, order, dropped=("</s>",)):
    """pycocoevalcap's sentence BLEU [B, S, S]; an `<unk>` is another word in every caption and at every place."""
    scores = torch.empty(*tokens.shape[:2], tokens.shape[1], dtype=torch.float64)
    for item, (rows, sizes) in enumerate(zip(tokens.tolist(), lengths.tolist(), strict=True)):
        texts = [
            " ".join(
                f"{number}-{place}" if token == UNK else VOCABULARY[token]
                for place, token in enumerate(row[:size])
                if VOCABULARY[token] not in dropped
            )
            for number, (row, size) in enumerate(zip(rows, sizes, strict=True))
        ]
        for j, hypothesis in enumerate(texts):
            for k, reference in enumerate(texts):
                scorer = BleuScorer(n=order)
                scorer += (hypothesis, [reference])
                scores[item, j, k] = scorer.compute_score(option="closest")[1][order - 1][0]
    return scores


@pytest.mark.parametrize(("skip", "eos", "dropped"), [((), False, ["</s>"]), ((",", "a"), True, [",", "a"])])
def test_every_pair_scores_as_in_pycocoevalcap(skip, eos, dropped):
    tokens, lengths = captions()
    scores = PairwiseBleu(VOCABULARY, skip=skip, eos=eos, orders=(1, 2, 3, 4)).score(tokens, lengths)
    for order in range(1, 5):
        torch.testing.assert_close(scores[..., order - 1], expected(tokens, lengths, order, dropped), rtol=0, atol=1e-9)
    assert (tokens == UNK).any()


def test_equal_captions_without_unknown_words_are_alike_and_items_do_not_matter_to_each_other():
    bleu = PairwiseBleu(VOCABULARY)
    tokens, lengths = captions()
    tokens[tokens == UNK] = 4
    tokens[:, :2, :4], lengths[:, :2] = 5, lengths[:, :2].clamp(min=4)
    tokens[tokens == -7] = 6
    scores = bleu.score(tokens, lengths)
    torch.testing.assert_close(scores[:, 0, 1], torch.ones(7, 2, dtype=torch.float64))
    order = torch.tensor([3, 0, 6, 2, 1, 5, 4])
    assert torch.equal(bleu.score(tokens[order], lengths[order]), scores[order])
    sample = torch.tensor([4, 2, 0, 1, 3])
    assert torch.equal(bleu.score(tokens[:, sample], lengths[:, sample]), scores[:, sample][:, :, sample])


def test_no_captions_have_no_scores():
    bleu = PairwiseBleu(VOCABULARY)
    for items, width in ((0, 3), (2, 0)):
        tokens = torch.zeros(items, 5, width, dtype=torch.int64)
        assert bleu.score(tokens, tokens.sum(-1)).shape == (items, 5, 5, 2)


def test_mistakes_are_named():
    bleu = PairwiseBleu(VOCABULARY)
    tokens, lengths = captions()
    for wrong, message in (
        (
            (tokens[0], lengths[0]),
            r"tokens \[B, S, T\] and lengths \[B, S\], not \[5, 12\] and \[5\]",
        ),
        ((tokens.double(), lengths), "tokens and lengths are integers, not torch.float64 and torch.int64"),
        ((tokens, lengths + 1), "lengths run from . to 13, but tokens have 12 columns"),
        ((tokens.where(tokens < 8, 99), lengths), "item 0 has a token outside the vocabulary of 12 words"),
    ):
        with pytest.raises(UserError, match=message):
            bleu.score(*wrong)
    with pytest.raises(UserError, match=r"BLEU's orders must be 1 to 4, not \[5\]"):
        PairwiseBleu(VOCABULARY, orders=[5])
    with pytest.raises(UserError, match="a vocabulary starts with"):
        PairwiseBleu(["a", "b"])
