"""A value network and an embedding beside a captioner (Shi et al. 2018): what they read, and what they leave alone."""

import pytest
import torch
from torch.nn.functional import normalize, pad
from toy import ACTOR_CRITICS, actor_critic_toy, batch, toy_clips, toy_policy

from captionrl.decoding.rollout import greedy
from captionrl.text.vocabulary import EOS, PAD

CAPTIONS = torch.tensor([[4, 5, 6, 4, EOS], [6, EOS, PAD, PAD, PAD], [5, 4, EOS, PAD, PAD]])
LENGTHS = (5, 2, 3)
CLIPS = toy_clips(4, 1, 3)
EXACT = {"atol": 1e-12, "rtol": 0}


@pytest.fixture
def value():
    return actor_critic_toy("actor-critic").value


@pytest.fixture
def similarity():
    return actor_critic_toy("actor-critic").similarity


@pytest.mark.parametrize("model", ACTOR_CRITICS)
def test_judges_change_nothing_of_what_a_captioner_says(model):
    policy, plain = actor_critic_toy(model), toy_policy(model)
    memory, own = (each.encode(batch(CLIPS)) for each in (policy, plain))
    assert torch.equal(policy.teacher_forcing(CAPTIONS, memory), plain.teacher_forcing(CAPTIONS, own))
    assert torch.equal(greedy(policy, memory, 6).tokens, greedy(plain, own, 6).tokens)


def test_the_papers_policy_network_is_nic_with_judges():
    policy, nic = actor_critic_toy("actor-critic"), toy_policy("nic")
    weights = policy.state_dict()
    reward_models = {name for name in weights if name.startswith(("value.", "similarity."))}
    nic.load_state_dict({name: weights[name] for name in weights if name not in reward_models})
    memory, own = (each.encode(batch(CLIPS)) for each in (policy, nic))
    assert torch.equal(policy.teacher_forcing(CAPTIONS, memory), nic.teacher_forcing(CAPTIONS, own))
    assert torch.equal(greedy(policy, memory, 6).tokens, greedy(nic, own, 6).tokens)


def test_policy_and_judges_share_no_weight():
    policy = actor_critic_toy("actor-critic")
    assert len(list(policy.named_parameters(remove_duplicate=False))) == len(list(policy.parameters()))


class TestValueNetwork:
    def test_reading_whole_captions_equals_stepping(self, value):
        features = batch(CLIPS, extra=1, filler=1e6)
        state = value.start(features)
        columns = [value.value(state)]
        for words in CAPTIONS.unbind(1):
            state = value.step(words, state)
            columns.append(value.value(state))
        forward = value(features, CAPTIONS)
        assert forward.shape == (3, 6)
        torch.testing.assert_close(forward, torch.stack(columns, 1), **EXACT)

    def test_a_beginnings_value_knows_no_later_word_and_no_padding(self, value):
        features = batch(CLIPS)
        values = value(features, CAPTIONS)
        for length in range(6):
            garbled = CAPTIONS.clone()
            garbled[:, length:] = 6
            torch.testing.assert_close(value(features, garbled)[:, : length + 1], values[:, : length + 1], **EXACT)

    def test_it_knows_every_word_before_and_the_picture(self, value):
        values = value(batch(CLIPS[:1] * 3), torch.tensor([[4, 5, 6], [4, 6, 6], [5, 5, 6]]))
        assert values[:, 0].std() < 1e-12
        assert (values[0] - values[1])[1].abs() < 1e-12
        assert (values[0] - values[1])[2:].abs().min() > 1e-6
        assert (values[0] - values[2])[1:].abs().min() > 1e-6
        assert value(batch(CLIPS), CAPTIONS)[:, 0].std() > 1e-3

    def test_companions_change_nothing(self, value):
        together = value(batch(CLIPS, extra=2, filler=1e6), CAPTIONS)
        for row, (clip, length) in enumerate(zip(CLIPS, LENGTHS, strict=True)):
            alone = value(batch([clip]), CAPTIONS[row : row + 1, :length])
            torch.testing.assert_close(together[row, : length + 1], alone[0], **EXACT)

    def test_nothing_bounds_a_value(self, value):
        """The last layer is linear: rewards of any size, below zero too, can be expected."""
        values, last = value(batch(CLIPS), CAPTIONS), value.perceptron[-1]
        with torch.no_grad():
            last.weight *= -1000
            last.bias *= -1000
        torch.testing.assert_close(value(batch(CLIPS), CAPTIONS), -1000 * values)

    def test_nothing_of_it_is_left_to_chance(self, value):
        features = batch(CLIPS)
        assert torch.equal(value.train()(features, CAPTIONS), value.eval()(features, CAPTIONS))


class TestEmbedding:
    def test_pictures_and_captions_are_unit_vectors(self, similarity):
        for vectors in (similarity.pictures(batch(CLIPS)), similarity.captions(CAPTIONS)):
            assert vectors.shape == (3, 7)
            torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3, dtype=torch.float64))

    def test_the_reward_is_the_cosine_of_picture_and_caption(self, similarity):
        cosines = similarity.pictures(batch(CLIPS)) @ similarity.captions(CAPTIONS).T
        torch.testing.assert_close(similarity(batch(CLIPS), CAPTIONS), cosines.diagonal())

    def test_a_caption_is_a_linear_map_of_the_state_after_its_last_word(self, similarity):
        for row, length in enumerate(LENGTHS):
            _, (hidden, _) = similarity.lstm(similarity.words(CAPTIONS[row : row + 1, :length]))
            expected = normalize(similarity.caption(hidden[0]), dim=-1)[0]
            torch.testing.assert_close(similarity.captions(CAPTIONS)[row], expected, **EXACT)

    def test_a_picture_is_a_linear_map_of_the_mean_of_what_is_there(self, similarity):
        pictures = similarity.pictures(batch(CLIPS, extra=2, filler=1e6))
        for row, clip in enumerate(CLIPS):
            torch.testing.assert_close(pictures[row], normalize(similarity.picture(clip.mean(0)), dim=-1), **EXACT)

    def test_neither_padding_nor_companions_change_a_captions_vector(self, similarity):
        together = similarity.captions(pad(CAPTIONS, (0, 4)))
        for row, length in enumerate(LENGTHS):
            alone = similarity.captions(CAPTIONS[row : row + 1, :length])[0]
            torch.testing.assert_close(together[row], alone, **EXACT)

    def test_a_caption_that_was_cut_is_another_one_than_the_same_words_ended(self, similarity):
        cut, ended = similarity.captions(torch.tensor([[4, 5, PAD], [4, 5, EOS]]))
        assert (cut - ended).abs().max() > 1e-3
