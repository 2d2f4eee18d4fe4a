"""A phase's reward: a weighted sum of ready-made rewards and of a user's own, of captions and of their prefixes."""

import sys

import pytest
import torch
from torch.testing import assert_close
from toy import rewards_toy

from captionrl.config import REWARDS, ReinforcePhase
from captionrl.errors import UserError
from captionrl.objectives.hrl import delta_rewards
from captionrl.rewards.weighted import reward_of

READY = [name for name in REWARDS if name not in ("embedding", "CLIPScore")]  # those need a trained model
FACTS = {"objective": "reinforce", "epochs": 1, "optimiser": "adam", "learning_rate": 0.1, "baseline": "none"}


@pytest.fixture
def toy():
    return rewards_toy()


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Makes the user's module of this source, in the current folder; its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    made = []

    def write(source):
        name = f"own_{tmp_path.name}_{len(made)}".replace("-", "_")
        (tmp_path / f"{name}.py").write_text(source)
        made.append(name)
        return name

    yield write
    for name in made:
        sys.modules.pop(name, None)


def build(toy, reward, **settings):
    phase = ReinforcePhase(**FACTS | {"reward": reward, "eos_in_reward": True} | settings)
    return reward_of(phase, toy.policy, toy.captions, toy.vocabulary, "train", {"backbone": "mini"})


@pytest.mark.parametrize("name", READY)
def test_what_words_add_comes_to_the_score_of_the_whole_caption(toy, name):
    reward = build(toy, name)
    whole, prefixes = reward.score(toy.batch), reward.prefix_scores(toy.batch)
    assert whole.total.dtype == prefixes.total.dtype == torch.float32  # as the policy's
    assert whole.total.max() > 0
    assert whole.total.max() <= reward.maximum
    deltas = delta_rewards(prefixes.total, toy.mask)
    assert_close(deltas.sum(1), whole.total, atol=1e-6, rtol=0)
    assert_close(prefixes.total[:, -1], whole.total)
    assert reward.statistics(whole) == {}  # it is `sample_reward` already


def test_a_sum_is_linear_in_its_parts_and_says_the_mean_of_each(toy, own):
    short = f"{own('def brevity(batch): return -0.1 * batch.lengths')}:brevity"
    weights = {"CIDEr-D": 0.7, "METEOR": 2, "ROUGE-L": -0.5, short: 1}
    mixed, alone = build(toy, weights), {name: build(toy, name) for name in weights}
    for how in ("score", "prefix_scores"):
        parts = {name: getattr(reward, how)(toy.batch).total for name, reward in alone.items()}
        found = getattr(mixed, how)(toy.batch)
        assert_close(found.total, sum(weight * parts[name] for name, weight in weights.items()))
        whole = {name: reward.score(toy.batch).total for name, reward in alone.items()}
        means = {f"reward_{name}": part.mean().item() for name, part in whole.items()}
        assert mixed.statistics(found) == pytest.approx(means)
    assert_close(delta_rewards(found.total, toy.mask).sum(1), mixed.score(toy.batch).total)
    assert_close(alone[short].score(toy.batch).total, -0.1 * toy.batch.lengths)


def test_a_reward_of_whole_captions_is_given_at_the_last_word(toy):
    prefixes = build(toy, "METEOR").prefix_scores(toy.batch).total
    whole = build(toy, "METEOR").score(toy.batch).total
    for row, length in enumerate(toy.batch.lengths.tolist()):
        assert (prefixes[row, : length - 1] == 0).all()
        assert (prefixes[row, length - 1 :] == whole[row]).all()


def test_the_maximum_is_that_of_the_parts_that_count(toy, own):
    module = own(
        "def plain(batch): return batch.lengths\ndef bounded(batch): return batch.lengths\nbounded.maximum = 3"
    )
    assert build(toy, {"CIDEr-D": 0.5, "BLEU-1": 2, "METEOR": -1}).maximum == 7
    assert build(toy, {"CIDEr-D": 1, f"{module}:bounded": 2}).maximum == 16
    assert build(toy, {"CIDEr-D": 1, f"{module}:plain": 2}).maximum is None
    assert build(toy, {"CIDEr-D": 1, f"{module}:plain": 0}).maximum == 10
    assert build(toy, {"CIDEr-D": -1}).maximum is None


def test_a_function_sees_tokens_items_features_and_texts(toy, own):
    module = own(
        "def check(batch):\n"
        "    assert batch.features.frames.shape[:1] == batch.lengths.shape == (len(batch.items),)\n"
        "    assert batch.features.frames[:, 0, 0].tolist() == [float(item[-1]) for item in batch.items]\n"
        "    assert batch.texts[0] == 'a dog runs', batch.texts\n"
        "    return batch.lengths\n"
    )
    assert build(toy, f"{module}:check").score(toy.batch).total.tolist() == toy.batch.lengths.tolist()


def test_a_class_is_made_once_and_may_score_every_word(toy, own):
    module = own(
        "import torch\n"
        "class Words:\n"
        "    maximum = 9\n"
        "    def __init__(self, data):\n"
        "        self.known = {word for texts in data.references.values() for text in texts for word in text}\n"
        "        Words.made = getattr(Words, 'made', 0) + 1\n"
        "    def score(self, batch):\n"
        "        texts = [text.split() for text in batch.texts]\n"
        "        return torch.tensor([sum(word in self.known for word in words) for words in texts])\n"
        "    def prefix_scores(self, batch):\n"
        "        position = torch.arange(batch.tokens.shape[1])\n"
        "        scores = torch.minimum(position + 1, self.score(batch)[:, None])\n"
        "        return scores.float().masked_fill(position >= batch.lengths[:, None], float('nan'))\n"
    )
    reward = build(toy, f"{module}:Words")
    assert reward.maximum == 9
    assert reward.score(toy.batch).total[0] == 3
    prefixes = reward.prefix_scores(toy.batch)
    assert prefixes.total[0, :4].tolist() == [1, 2, 3, 3]
    assert torch.equal(prefixes.parts[0], reward.score(toy.batch).total)
    assert sys.modules[module].Words.made == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def f(batch): return batch.tokens", r"gives shape \[4, 6\], not a tensor \[captions\], here of shape \[4\]"),
        ("def f(batch): return 1.0", r"gives a float, not a tensor \[captions\]"),
        ("def f(batch): return batch.lengths / 0", r"gives inf for 'a dog runs'; give finite numbers"),
        ("def f(batch): return batch.lengths\nf.maximum = '1'", "its maximum is '1'; give a finite number, or none"),
        ("def f(batch): return batch.lengths\nf.maximum = float('inf')", "its maximum is inf; give a finite number"),
        ("f = 3", "is a int; give a function of a batch, or a class with `score`"),
        ("class f:\n    def __init__(self, data): pass", "is a f; give a function of a batch, or a class with `score`"),
        ("class f:\n    def __init__(self): pass", r".*TypeError: .*takes 1 positional argument but 2 were given"),
        ("def f(batch):\n    return batch.length", r".*own_.*\.py:2: AttributeError: 'RewardBatch' object has no"),
        (
            "import torch\ndef f(batch):\n    x = 1\n    return torch.ones(2) @ torch.ones(3)",
            r".*own_.*\.py:4: RuntimeError: inconsistent",
        ),
    ],
)
def test_mistakes_in_a_users_reward_are_named(toy, own, source, message):
    module = own(source)
    with pytest.raises(UserError, match=f"^{module}:f: {message}") as error:
        build(toy, f"{module}:f").score(toy.batch)
    assert "\n" not in str(error.value)


def test_an_error_in_every_words_scores_is_named(toy, own):
    module = own("class F:\n    def __init__(self, data): pass\n    def score(self, b): return b.lengths\n")
    bad = own(f"from {module} import F\nclass G(F):\n    def prefix_scores(self, batch): return batch.lengths\n")
    with pytest.raises(UserError, match=r"gives shape \[4\], not a tensor \[captions, words\], here of shape \[4, 6\]"):
        build(toy, f"{bad}:G").prefix_scores(toy.batch)


def test_an_embedding_that_the_model_lacks_is_named(toy):
    with pytest.raises(UserError, match="reward embedding: the model has no image-text embedding"):
        build(toy, "embedding")
