"""METEOR as a reward: one Java process answers all captions of a training, as pycocoevalcap scores single sentences."""

import gzip
import os
from pathlib import Path

import pytest
import torch
from toy import rewards_toy

from captionrl.errors import UserError
from captionrl.rewards import meteor
from captionrl.rewards.meteor import MeteorReward
from captionrl.rewards.reward import RewardBatch, RewardData
from captionrl.text.java import JAVA, JavaProcess
from captionrl.text.meteor import METEOR_JAR, stdio_options
from captionrl.text.vocabulary import EOS
from captionrl.training.data import pad


@pytest.fixture
def no_paraphrases(tmp_path, monkeypatch):
    """The whole table takes seconds to load."""
    table = tmp_path / "none.gz"
    table.write_bytes(gzip.compress(b""))
    monkeypatch.setattr(meteor, "pruned_paraphrases", lambda captions: table)
    return table


@pytest.fixture
def toy():
    return rewards_toy()


def reward_for(toy, skip=frozenset(",.")) -> MeteorReward:
    return MeteorReward(RewardData(toy.captions, "train", toy.vocabulary, toy.policy, {}, True, skip, None))


def batch_of(toy, texts, items) -> RewardBatch:
    tokens = pad([[*toy.vocabulary.encode(text.split()), EOS] for text in texts])
    return RewardBatch(tokens, (tokens != 0).sum(1), items, toy.batch.clips, toy.vocabulary)


@pytest.mark.slow
def test_scores_are_pycocoevalcaps(toy, monkeypatch, tmp_path):
    from pycocoevalcap.meteor.meteor import Meteor

    monkeypatch.setenv("PATH", f"{JAVA.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    texts = ["a dog runs on grass", "dog the running is", "man plays guitar", "a cat", "is", "a a a dog dog runs"]
    items = ["clip0", "clip0", "clip1", "clip2", "clip1", "clip0"]
    found = reward_for(toy).score(batch_of(toy, texts, items))
    tokens = toy.captions.tokens
    stripped = {item: [" ".join(w for w in words if w != ".") for words in tokens[item]] for item in tokens}
    references = {row: stripped[item] for row, item in enumerate(items)}
    _, expected = Meteor().compute_score(references, {row: [text] for row, text in enumerate(texts)})
    assert found.tolist() == pytest.approx(expected, abs=1e-6)
    assert len(set(expected)) == len(texts)


def test_all_batches_of_a_training_are_answered_by_one_process(toy, no_paraphrases):
    reward = reward_for(toy)
    first = reward.score(toy.batch)
    process = reward._jar._process
    assert torch.equal(reward.score(toy.batch), first)
    assert reward._jar._process is process
    assert process.poll() is None
    del reward
    assert process.poll() is not None  # it ends with the reward


def test_neither_punctuation_nor_the_end_of_a_caption_counts(toy, no_paraphrases):
    texts, items = ["a guitar .", "a guitar", ". a guitar", "."], ["clip1"] * 4
    scores = reward_for(toy).score(batch_of(toy, texts, items)).tolist()
    assert scores[0] == scores[1] == scores[2] > 0 == scores[3]
    counted = reward_for(toy, skip=frozenset()).score(batch_of(toy, texts, items)).tolist()
    assert counted[0] != counted[1]
    assert reward_for(toy).score(batch_of(toy, ["a man plays a guitar"], ["clip1"])).item() == 1
    assert reward_for(toy).score(
        RewardBatch(*(toy.batch.tokens[:0], toy.batch.lengths[:0], [], toy.batch.clips, toy.vocabulary))
    ).shape == (0,)


def test_a_jar_that_does_not_answer_is_killed_and_named(no_paraphrases):
    jar = JavaProcess(METEOR_JAR, "Meteor", stdio_options(no_paraphrases), timeout=0.2)
    with pytest.raises(UserError, match=r"meteor-1\.5\.jar: Meteor had not answered after 0\.2 s and was killed"):
        jar.ask("", answers=9)
    assert jar._process.wait() != 0


def test_a_jar_that_stops_or_complains_is_named(no_paraphrases):
    jar = JavaProcess(METEOR_JAR, "Absent", [], timeout=60)
    with pytest.raises(UserError, match=r"meteor-1\.5\.jar: Absent stopped: Error: .*Absent"):
        jar.ask("x")
    jar = JavaProcess(METEOR_JAR, "Meteor", stdio_options(Path("/absent.gz")), timeout=60)
    with pytest.raises(UserError, match=r"meteor-1\.5\.jar: Meteor.*Exception"):
        jar.ask("SCORE ||| a man ||| a man")
