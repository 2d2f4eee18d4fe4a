import pytest
import torch

from captionrl.decoding.rollout import Rollout
from captionrl.models import Extras
from captionrl.text.vocabulary import EOS, PAD
from captionrl.training.diagnostics import explained_variance, rollout_diagnostics

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


class TestExplainedVariance:
    TARGET = torch.tensor([[1.0, 3.0, 99.0], [5.0, 7.0, 99.0]])
    MASK = torch.tensor([[True, True, False], [True, True, False]])

    @pytest.mark.parametrize(
        ("predicted", "explained"),
        [
            ([[1, 3, 0], [5, 7, 0]], 1),  # all
            ([[2, 4, 0], [6, 8, 0]], 1),  # but for a constant
            ([[4, 4, 0], [4, 4, 0]], 0),  # a constant
            ([[2, 2, 0], [6, 6, 0]], 0.8),  # errors of 1 have a variance of 1, of 5
            ([[7, 5, 0], [3, 1, 0]], -3),  # twice as far off, on the wrong side
        ],
    )
    def test_by_hand_where_the_mask_is(self, predicted, explained):
        for mask in (self.MASK, self.MASK.float()):
            found = explained_variance(torch.tensor(predicted).float(), self.TARGET, mask)
            assert found == pytest.approx(explained)

    def test_of_targets_that_are_all_equal_nothing_is(self):
        same = torch.full((3, 7), 0.1)
        assert explained_variance(torch.rand(3, 7), same, torch.ones(3, 7, dtype=torch.bool)) == 0
        assert explained_variance(torch.rand(1, 1), torch.ones(1, 1), torch.ones(1, 1)) == 0
