"""The phases of Shi et al. 2018 on four pictures, of which 40 captions can be written: what learns, and what not."""

from contextlib import contextmanager
from unittest import mock

import pytest
import torch
from torch.testing import assert_close
from toy import FEATURE, MAX_TOKENS, every_caption, rewarded, word_log_probs

from captionrl.config import ActorCriticPhase, EmbeddingPhase, ProjectionSizes, ValuePhase, XEPhase
from captionrl.decoding.rollout import sample
from captionrl.models import build_module
from captionrl.objectives.actor_critic import prefix_mask, td_targets, value_loss
from captionrl.rewards import CiderD
from captionrl.rewards.reward import RewardBatch
from captionrl.text.punctuation import PUNCTUATION
from captionrl.text.vocabulary import EOS, PAD, UNK
from captionrl.training.checkpoint import load_module
from captionrl.training.learners import actor_critic
from captionrl.training.learners.actor_critic import ActorCriticLearner, ValueLearner
from captionrl.training.learners.embedding import EmbeddingLearner
from captionrl.training.learners.xe import XELearner
from captionrl.training.loop import Training

SIZES = {"projection": 12, "decoder": 16, "embedding": 12, "init": 0.3}
ITEMS = ["picture0", "picture1", "picture2", "picture3"]
COMMON = {"epochs": 1, "batch": 32, "optimiser": "adam", "learning_rate": 0.01}
ACTOR_CRITICS = COMMON | {"eos_in_reward": True, "reward": {"embedding": 0.5, "CIDEr-D": 0.5}}
PHASES = {
    "xe": XEPhase(objective="xe", **COMMON),
    "embedding": EmbeddingPhase(objective="embedding", margin=0.2, **COMMON),
    "value": ValuePhase(objective="value", **ACTOR_CRITICS),
    "joint": ActorCriticPhase(objective="actor-critic", baseline="value", steps=None, **ACTOR_CRITICS),
}
LEARNERS = {"xe": XELearner, "embedding": EmbeddingLearner, "value": ValueLearner, "joint": ActorCriticLearner}
TEACHES = {  # parts of the policy
    "xe": {"captioner"},
    "embedding": {"similarity"},
    "value": {"value"},
    "joint": {"captioner", "value"},
}


@pytest.fixture
def make(four_pictures):
    """A learner of a policy, a fresh one unless it is given, by the name of its phase; changes of that.

    `drops`: the share of its units that dropout drops.
    """

    def make(name, policy=None, drops=0.0, **changes):
        if policy is None:
            torch.manual_seed(1)
            sizes = ProjectionSizes(**SIZES, dropout=drops)
            policy = build_module("actor-critic", FEATURE, len(four_pictures.vocabulary), sizes)
        phase = PHASES[name]
        return LEARNERS[name](policy, four_pictures, type(phase)(**phase.model_dump() | changes), seed=1), policy

    return make


def set_trainable(learner, state, updates):
    training = Training(learner, learner.phase, state, seed=1)
    for _ in range(updates):
        training.step(log_every=1)


def parts(policy):
    """The weights, as bytes, of the captioner and of its reward_models."""
    found = {"captioner": b"", "value": b"", "similarity": b""}
    for name, tensor in policy.state_dict().items():
        part = name.split(".")[0]
        found[part if part in found else "captioner"] += tensor.numpy().tobytes()
    return found


def rewards_of_all(learner):
    """The reward of every caption for each picture [4, C]."""
    captions = every_caption()
    return torch.stack([rewarded(learner, captions, [item] * len(captions)) for item in ITEMS])


@torch.no_grad()
def expected_reward(learner):
    """The exact mean reward of a sampled caption."""
    captions, policy = every_caption(), learner.policy.eval()
    memory = policy.encode(learner.clips.batch(ITEMS))
    log_p = [word_log_probs(policy, memory.select(torch.full((len(captions),), row)), captions) for row in range(4)]
    return (torch.stack(log_p).sum(-1).exp() * rewards_of_all(learner)).sum(1).mean().item()


@contextmanager
def recording():
    """Within it, what the learner samples is added to a list."""
    rollouts = []

    def recorded(*arguments, **options):
        rollouts.append(sample(*arguments, **options))
        return rollouts[-1]

    with mock.patch.object(actor_critic, "sample", recorded):
        yield rollouts


@pytest.mark.parametrize("phase", PHASES)
def test_each_phase_teaches_its_own_networks_and_leaves_the_others_as_they_are(make, tmp_path, phase):
    learner, policy = make(phase)
    before = parts(policy)
    set_trainable(learner, tmp_path, 3)
    after = parts(policy)
    assert {part for part in before if before[part] != after[part]} == TEACHES[phase]


def test_from_file_to_file_what_a_phase_does_not_teach_passes_through_it(world, tmp_path):
    """In the order of the paper's runs."""
    order = {"reward-model": "embedding", "words": "xe", "value": "value", "joint": "joint"}
    phases = {name: PHASES[which].model_dump(exclude_unset=True) for name, which in order.items()}
    runs = {
        "reward-model": {"model": "actor-critic", "phases": ["reward-model"]},
        "all": {"model": "actor-critic", "from": "reward-model", "phases": ["words", "value", "joint"]},
    }
    checkpoint, before = None, {}
    for name, which in order.items():
        run, out = "reward-model" if name == "reward-model" else "all", tmp_path / f"{name}.safetensors"
        checkpoint = world.train(run, name, out, {"runs": runs, "phases": phases}, start=checkpoint)
        after = parts(load_module(checkpoint)[0])
        assert {part for part in before if before[part] != after[part]} <= TEACHES[which]
        before = after


class TestEmbedding:
    def test_pictures_and_captions_learn_to_find_each_other(self, make, tmp_path):
        learner, _ = make("embedding")
        before = learner.validate()["val_recall"]
        set_trainable(learner, tmp_path, 40)
        assert before <= 50  # of four pictures
        assert learner.validate()["val_recall"] >= 80

    def test_eq_5_as_printed_falls_to_nothing_and_they_do_not_find_each_other(self, make, tmp_path):
        learner, policy = make("embedding", loss="adjacent")
        first = learner.loss(0, 0)[0].item()
        set_trainable(learner, tmp_path, 80)
        assert first > 0.005
        assert learner.loss(80, 0)[0].item() < first / 50
        assert learner.validate()["val_recall"] <= 60  # the ranking loss: 80 and more
        before, after = policy.similarity.before_and_after_last_word(torch.tensor([[EOS]]))  # a caption of one token
        assert torch.equal(after, before)

    def test_a_caption_is_read_once_under_one_dropout(self, make):
        """Else the two directions would differ by dropout, not by the last word."""
        _, policy = make("embedding", drops=0.5)
        policy.similarity.train()
        torch.manual_seed(3)
        before, after = policy.similarity.before_and_after_last_word(torch.tensor([[4, 5, 4, EOS]]))
        torch.manual_seed(3)
        hidden = policy.similarity.read(torch.tensor([[4, 5, 4, EOS]]))
        assert_close(after, policy.similarity.direction(hidden[:, 3]))
        assert_close(before, policy.similarity.direction(hidden[:, 2]))


class TestValue:
    def test_it_explains_rewards_of_captions_it_has_not_seen(self, make, tmp_path):
        learner, _ = make("value")
        learner.validation_items *= 32  # one sample of each would be too few
        before = learner.validate()["val_explained_variance"]
        set_trainable(learner, tmp_path, 200)
        assert before < 0
        assert (
            learner.validate()["val_explained_variance"] > 30
        )  # true values explain 49: what is sampled later is left

    @pytest.mark.parametrize("from_embedding", [None, True, False])
    def test_a_value_network_that_goes_on_keeps_its_embedding(self, make, tmp_path, from_embedding):
        learner, policy = make("value")
        set_trainable(learner, tmp_path, 3)
        trained = parts(policy)["value"]
        make("value", policy, from_embedding=from_embedding)
        assert (parts(policy)["value"] == trained) == (from_embedding is False)

    def test_validating_twice_gives_the_same_number_and_draws_nothing_from_the_trainings_chance(self, make):
        learner, _ = make("value")
        torch.manual_seed(5)
        state = torch.get_rng_state()
        scores = learner.validate()
        assert torch.equal(torch.get_rng_state(), state)
        torch.manual_seed(6)
        assert learner.validate() == scores

    def test_captions_are_sampled_without_dropout(self, make, tmp_path):
        learner, policy = make("value", drops=0.5)
        modes = []

        def recorded(*arguments):
            modes.append((policy.head.training, policy.embedding.training, policy.value.training))
            return sample(*arguments)

        with mock.patch.object(actor_critic, "sample", recorded):
            set_trainable(learner, tmp_path, 2)
        assert modes == [(False, False, True)] * 2

    def test_its_loss_is_the_squared_error_of_all_beginnings_of_its_captions(self, make):
        learner, policy = make("value")
        with recording() as rollouts:
            loss, _ = learner.loss(0, 0)
        (rollout,) = rollouts
        items, _ = learner.pairs.batch(0, 0)
        features = learner.clips.batch(items)
        batch = RewardBatch(rollout.tokens, rollout.lengths, items, features, learner.vocabulary)
        reward = learner.train_reward.score(batch).total
        values, errors = policy.value(features, rollout.tokens), []
        for row, length in enumerate(rollout.lengths.tolist()):
            errors += [(values[row, t] - reward[row]) ** 2 for t in range(length + 1)]
        assert_close(loss, torch.stack(errors).mean())
        assert rollout.lengths.unique().numel() > 1


class TestActorCritic:
    @pytest.mark.parametrize(
        ("baseline", "steps", "reward"),
        [("value", None, "CIDEr-D"), ("value", 1, {"embedding": 0.5, "CIDEr-D": 0.5}), ("none", None, "embedding")],
    )
    def test_sampled_captions_come_to_earn_more(self, make, tmp_path, baseline, steps, reward):
        learner, policy = make("embedding")
        set_trainable(learner, tmp_path / "embedding", 40)
        learner, _ = make("value", policy, reward=reward)
        set_trainable(learner, tmp_path / "value", 60)
        learner, _ = make("joint", policy, baseline=baseline, steps=steps, reward=reward)
        before, best = expected_reward(learner), rewards_of_all(learner).amax(1).mean().item()
        set_trainable(learner, tmp_path / "joint", 200)
        after = expected_reward(learner)
        assert after - before > (best - before) / 3

    @pytest.mark.parametrize("weight", [0.0, 0.3, 0.8, 1.0])
    def test_the_reward_is_bit_by_bit_the_sum_that_the_phase_says(self, make, four_pictures, weight):
        """As it was computed when a phase had one metric and the embedding's weight."""
        learner, policy = make("joint", reward={"embedding": weight, "CIDEr-D": 1 - weight})
        features = learner.clips.batch(ITEMS)
        rollout = sample(policy, policy.encode(features), MAX_TOKENS)
        rewards = learner.rewards(rollout, ITEMS, features)
        with torch.no_grad():
            cosine = policy.similarity(features, rollout.tokens)
        words = four_pictures.vocabulary.words
        cider = CiderD.from_captions(four_pictures.captions.tokens, vocabulary=words, skip=PUNCTUATION, eos=True)
        metric = cider.score(rollout.tokens, rollout.lengths, ITEMS).to(cosine)
        assert metric.max() > 0
        assert torch.equal(rewards.total, weight * cosine + (1 - weight) * metric)
        stats = learner.reward.statistics(rewards)
        assert stats == {"reward_embedding": cosine.mean().item(), "reward_CIDEr-D": metric.mean().item()}

    @pytest.mark.parametrize("on", [True, False])
    def test_rewards_are_computed_without_dropout_whatever_captions_are_sampled_with(self, make, on):
        learner, policy = make("joint", drops=0.5, dropout=on)
        modes = []
        policy.train()
        policy.similarity.register_forward_hook(lambda module, *_: modes.append(module.words.training))
        policy.head.register_forward_hook(lambda module, *_: modes.append(module[0].training))
        learner.loss(0, 0)
        assert modes == [on] * MAX_TOKENS + [False]

    @pytest.mark.parametrize("steps", [None, 1, 2])
    @pytest.mark.parametrize("reward", ["CIDEr-D", "embedding"])
    def test_its_loss_is_that_of_its_captions_and_their_values(self, make, steps, reward):
        learner, policy = make("joint", steps=steps, reward=reward)
        with recording() as rollouts:
            loss, stats = learner.loss(0, 0)
        (rollout,) = rollouts
        items, _ = learner.pairs.batch(0, 0)
        features = learner.clips.batch(items)
        reward = learner.rewards(rollout, items, features).total
        values = policy.value(features, rollout.tokens).detach()
        targets = td_targets(reward, values, rollout.lengths, steps)
        log_p = word_log_probs(policy, policy.encode(features), rollout.tokens)
        policy_loss = -(((targets - values)[:, :-1] * rollout.mask) * log_p).sum(1).mean()
        errors = (targets - values)[prefix_mask(rollout.lengths, rollout.tokens.shape[1])]
        assert_close(loss, policy_loss + errors.square().mean())
        assert stats["policy_loss"] == pytest.approx(policy_loss.item(), abs=1e-6)
        assert stats["sample_reward"] == pytest.approx(reward.mean().item(), abs=1e-6)

    def test_a_curriculum_gives_the_policy_more_of_the_last_words_every_epoch(self, make):
        learner, _ = make("joint", curriculum=1)
        captions = torch.tensor([[4, 5, 4, EOS], [5, EOS, PAD, PAD]])
        assert learner.given(captions, 0).tolist() == [[4, 5, 4, PAD], [5, PAD, PAD, PAD]]
        assert learner.given(captions, 1).tolist() == [[4, 5, PAD, PAD], [PAD] * 4]
        assert (learner.given(captions, 3) == PAD).all()
        learner, _ = make("joint", curriculum=0.5)
        assert [int((learner.given(captions, epoch)[0] != PAD).sum()) for epoch in range(4)] == [4, 3, 3, 2]
        assert make("joint")[0].given(captions, 0) is None

    def test_given_words_are_taught_by_cross_entropy_and_the_others_by_their_advantage(self, make):
        learner, policy = make("joint", curriculum=1)
        with recording() as rollouts:
            _, stats = learner.loss(0, 0)
        (rollout,), (items, tokens) = rollouts, learner.pairs.batch(0, 0)
        given = learner.given(tokens, 0)
        assert (given != PAD).any()
        features = learner.clips.batch(items)
        reward = learner.rewards(rollout, items, features).total
        values = policy.value(features, rollout.tokens)
        log_p = word_log_probs(policy, policy.encode(features), rollout.tokens)
        expected = 0.0
        for row, mask in enumerate(rollout.mask):
            for place in range(int(mask.sum())):
                taught = place < given.shape[1] and given[row, place] != PAD
                if taught:
                    assert rollout.tokens[row, place] == tokens[row, place]
                advantage = 1.0 if taught else reward[row].item() - values[row, place].item()
                expected -= advantage * log_p[row, place].item() / len(items)
        assert stats["policy_loss"] == pytest.approx(expected, abs=1e-5)

    def test_values_learn_nothing_from_beginnings_whose_next_word_is_given(self, make):
        learner, policy = make("joint", curriculum=1)
        with recording() as rollouts, mock.patch.object(actor_critic, "value_loss", wraps=value_loss) as regressed:
            learner.loss(0, 0)
        (rollout,), (items, tokens) = rollouts, learner.pairs.batch(0, 0)
        given = (learner.given(tokens, 0) != PAD).sum(1)
        assert (given > 0).any()
        values = policy.value(learner.clips.batch(items), rollout.tokens)
        bounds = zip(values, given, rollout.lengths, strict=True)
        kept = [row[first : length + 1] for row, first, length in bounds]
        assert_close(regressed.call_args.args[0], torch.cat(kept))

    def test_a_given_word_that_cannot_be_written_teaches_nothing(self, make):
        learner, policy = make("joint", curriculum=1)
        items, tokens = learner.pairs.batch(0, 0)
        tokens[:, 0] = UNK
        learner.pairs.batch = lambda epoch, index: (items, tokens)
        loss, _ = learner.loss(0, 0)
        assert loss.isfinite()
        loss.backward()
        assert all(weight.grad.isfinite().all() for weight in policy.parameters() if weight.grad is not None)

    @pytest.mark.parametrize("steps", [None, 1])
    @pytest.mark.parametrize(("kept", "learns"), [("actor_loss", "captioner"), ("value_loss", "value")])
    def test_neither_loss_has_a_gradient_for_the_others_network_nor_any_for_the_embedding(
        self, make, steps, kept, learns
    ):
        learner, policy = make("joint", steps=steps)
        other = {"actor_loss": "value_loss", "value_loss": "actor_loss"}[kept]
        with mock.patch.object(actor_critic, other, return_value=torch.zeros(())):
            learner.loss(0, 0)[0].backward()
        for name, parameter in policy.named_parameters():
            part = name.split(".")[0]
            if learns == (part if part in ("value", "similarity") else "captioner"):
                assert parameter.grad.abs().max() > 0, name
            else:
                assert parameter.grad is None, name
