import pytest
import torch

from captionrl.decoding.rollout import Rollout
from captionrl.models import Extras
from captionrl.text.vocabulary import EOS, PAD
from captionrl.training.diagnostics import explained_variance, fall, rollout_diagnostics

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


WORDS = torch.tensor([[True, True, False], [True, True, True]])


def explained(predicted, target, mask=WORDS):
    return explained_variance(torch.tensor(predicted), torch.tensor(target), mask)


class TestExplainedVariance:
    def test_all_and_what_a_constant_difference_costs(self):
        target = [[1.0, 2.0, 9.0], [3.0, 4.0, 5.0]]  # of variance 2 where it counts
        assert explained([[1.0, 2.0, 0.0], [3.0, 4.0, 5.0]], target) == 1
        assert explained([[0.0, 1.0, 0.0], [2.0, 3.0, 4.0]], target) == 0.5

    def test_by_hand(self):
        """Targets 0, 0, 2, 2 of variance 1; errors 0, 1, 0, 1, mean square a half; what is masked does not count."""
        mask = torch.tensor([[True, True, False], [True, True, False]])
        assert explained([[0.0, -1.0, 7.0], [2.0, 1.0, 7.0]], [[0.0, 0.0, 3.0], [2.0, 2.0, -3.0]], mask) == 0.5

    def test_a_reward_counts_once_for_each_word(self):
        """Targets 0, 0, 1, 1, 1 of variance 0.24; errors 0, 0, 1, 1, 0, whose squares' mean is 0.4."""
        assert explained([[0.0, 0.0, 8.0], [0.0, 0.0, 1.0]], [[0.0], [1.0]]) == pytest.approx(1 - 0.4 / 0.24)

    def test_a_baseline_of_whole_captions_counts_once_for_each(self):
        predicted, target = (
            [[0.0], [1.0], [1.0]],
            [[0.0], [2.0], [1.0]],
        )  # mean square 1/3, variance 2/3
        assert explained(predicted, target, torch.ones(3, 1, dtype=torch.bool)) == pytest.approx(1 / 2)

    def test_the_wrong_way_round_is_worse_than_nothing(self):
        assert explained([[1.0], [0.0]], [[0.0], [1.0]], WORDS[:, :1]) == -3

    def test_of_targets_all_alike_there_is_nothing_to_explain(self):
        assert explained([[0.3], [0.4]], [[0.1], [0.1]]) == 0
        assert explained([[0.3]], [[0.1]], WORDS[:1, :1]) == 0


@pytest.mark.parametrize(
    ("rewards", "said"),
    [
        ((0.41, 0.2, 0.36), "reward's parts). Greedy training reward 0.41 -> 0.36: not overfitting"),
        ((0.41, 0.2, 0.52), "reward's parts). Greedy training reward 0.41 -> 0.52: overfitting is likely"),
        (None, "reward's parts)"),
    ],
)
def test_a_fall_says_whether_training_captions_fall_too(rewards, said):
    history = [{"kind": "validation", "update": update, "score": score} for update, score in ((0, 10), (1, 5), (2, 5))]
    for row, reward in zip(history, rewards or (), strict=False):
        row["train_reward"] = reward
    assert fall(history, "score", total=4).endswith(said)
