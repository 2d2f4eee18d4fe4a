import pytest
import torch

from captionrl.decoding.rollout import Rollout
from captionrl.models import Extras
from captionrl.text.vocabulary import EOS, PAD
from captionrl.training.diagnostics import rollout_diagnostics

A, MAN, RUNS = 4, 5, 6
CAPTIONS = [[A, MAN, RUNS, EOS], [MAN, A, EOS, PAD], [EOS, PAD, PAD, PAD], [A, MAN, RUNS, A]]  # the last one is cut


def rollout_of_words(captions):
    tokens = torch.tensor(captions)
    mask = tokens != PAD
    entropy = torch.where(mask, torch.arange(1.0, 5.0), 0)
    return Rollout(tokens, mask, torch.zeros(tokens.shape), Extras(torch.zeros(*tokens.shape, 2)), entropy)


def stats(captions, reward):
    return rollout_diagnostics(rollout_of_words(captions), torch.tensor(reward), torch.tensor([A, 9]))


def test_diagnostics_of_hand_made_captions():
    found = stats(CAPTIONS, [1.0, 2.0, 0.0, 4.0])
    assert found["sample_reward"] == 7 / 4
    assert found["length"] == (3 + 2 + 0 + 4) / 4  # words: </s> is none
    assert found["stop_word_endings"] == 2 / 4  # "man a </s>", and "a man runs a" that was cut
    assert found["entropy"] == pytest.approx((10 + 6 + 1 + 10) / (4 + 3 + 1 + 4))  # per token written


@pytest.mark.parametrize(("caption", "bad"), [([MAN, RUNS, EOS, PAD], 0), ([RUNS, A, EOS, PAD], 1), ([A, A, A, A], 1)])
def test_an_ending_is_the_last_word_before_the_end(caption, bad):
    assert stats([caption], [0.0])["stop_word_endings"] == bad
