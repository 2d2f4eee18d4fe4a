"""The figure of values: whose they are, which captions are shown, and which are the best and the worst."""

import shutil
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import CORPUS, World, tiny_paper, tiny_world

from captionrl.config import Paper, Run, ValuePhase, ValuesFigure
from captionrl.decoding.beam import beam_search
from captionrl.errors import UserError
from captionrl.rewards import CiderD, DocumentFrequencies
from captionrl.tables import values as module
from captionrl.tables.drawing import DPI
from captionrl.tables.examples import Sources, by_captioner, chosen
from captionrl.tables.values import SHARES, Valued, at_shares, draw_values, reward_name, thirds
from captionrl.text.punctuation import PUNCTUATION
from captionrl.text.vocabulary import EOS
from captionrl.training.checkpoint import load_checkpoint
from captionrl.training.data import pad

FIGURE = ValuesFigure(title="Values", corpus=CORPUS, run="critic", items=3)
PHASE = {"objective": "value", "epochs": 1, "optimiser": "adam", "learning_rate": 0.1, "eos_in_reward": True}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return tiny_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def sources(world, tmp_path) -> Sources:
    home = tmp_path / "work" / CORPUS
    shutil.copytree(world.captions, home / "captions")
    (home / "features").mkdir()
    shutil.copy(world.features, home / "features/mini.h5")
    path = world.untrained(tmp_path / "c.safetensors", run="critic", phase="value", model="actor-critic")
    return Sources(by_captioner([path]), {}, tmp_path / "work", tmp_path / "data", "cpu")


def paper_with(embedding: float) -> Paper:
    phases = {"value": ValuePhase(**PHASE, reward={"embedding": embedding, "CIDEr-D": 1 - embedding})}
    return tiny_paper().model_copy(
        update={"phases": phases, "runs": {"critic": Run(model="actor-critic", phases=["value"])}}
    )


@pytest.fixture
def critic(sources):
    return lambda embedding=1.0: module._trained(paper_with(embedding), FIGURE, sources)


def test_values_are_the_networks_own_word_by_word(critic, world):
    found = critic()
    items = [item.id for item in world.load()[0].items["test"]][:2]
    captions = ["a man lifts a ball .", "the box is"]
    policy, features = found.policy, found.clips.batch(items)
    for place, read in enumerate(found.evaluate(items, captions)):
        assert read.words == [*captions[place].split(), "</s>"]
        state = policy.value.start(features)
        expected = [policy.value.value(state)[place].item()]
        for word in read.words:
            token = EOS if word == "</s>" else found.metadata.vocabulary.encode([word])[0]
            state = policy.value.step(torch.tensor([token, token]), state)
            expected.append(policy.value.value(state)[place].item())
        assert read.values.tolist() == pytest.approx(expected, abs=1e-5)


def test_a_caption_earns_what_the_phase_rewards(critic, world):
    corpus, vocabulary, _ = world.load()
    items = [item.id for item in corpus.items["test"]]
    captions = ["a man lifts a ball ."] * len(items)
    tokens = pad([[*vocabulary.encode(caption.split()), EOS] for caption in captions])
    first = critic()
    cosines = first.policy.similarity(first.clips.batch(items), tokens).tolist()
    assert [read.reward for read in first.evaluate(items, captions)] == pytest.approx(cosines, abs=1e-5)
    references = {item: corpus.tokens[item] for item in items}
    train = {item.id: corpus.tokens[item.id] for item in corpus.items["train"]}
    rarity = DocumentFrequencies.from_captions(train, skip=PUNCTUATION, eos=True)
    cider = CiderD.from_captions(
        references, document_frequency=rarity, vocabulary=vocabulary.words, skip=PUNCTUATION, eos=True
    )
    metric = cider.score(tokens, torch.tensor([len(row) for row in tokens]), items).tolist()
    assert max(metric) > min(metric)
    assert [read.reward for read in critic(0.0).evaluate(items, captions)] == pytest.approx(metric, abs=1e-5)
    mixed = [0.25 * cosine + 0.75 * score for cosine, score in zip(cosines, metric, strict=True)]
    assert [read.reward for read in critic(0.25).evaluate(items, captions)] == pytest.approx(mixed, abs=1e-5)


def test_every_test_item_gets_a_sampled_caption_the_same_each_time(critic, world):
    found = critic()
    torch.manual_seed(1)
    first = found.sample()
    torch.manual_seed(2)
    assert [read.words for read in found.sample()] == [read.words for read in first]
    assert len(first) == len(world.load()[0].items["test"])
    assert all(len(read.values) == len(read.words) + 1 for read in first)
    assert len({tuple(read.words) for read in first}) > 1


def valued(reward, *values):
    return Valued(["word"] * (len(values) - 1), np.array(values), reward)


def test_thirds_are_by_what_captions_earn():
    captions = [valued(reward, 0, 0) for reward in (3, 9, 1, 7, 5, 2, 8)]
    best, worst = thirds(captions)
    assert [caption.reward for caption in best] == [8, 9]
    assert [caption.reward for caption in worst] == [1, 2]
    assert thirds(captions[:1]) == (captions[:1], captions[:1])


def test_captions_of_all_lengths_are_compared_at_shares_of_their_words():
    found = at_shares([valued(0, 0.0, 1.0), valued(0, 0.0, 4.0, 0.0)])
    assert found[0] == pytest.approx(SHARES)
    assert found[1].tolist() == pytest.approx([0, 0.8, 1.6, 2.4, 3.2, 4, 3.2, 2.4, 1.6, 0.8, 0])


def test_three_captions_of_each_chosen_item_are_drawn_and_the_shares_of_all(sources, world):
    figure = draw_values(paper_with(1.0), FIGURE, sources).figure()
    corpus, _, store = world.load()
    ids = chosen([item.id for item in corpus.items["test"]], 3)
    assert [text.get_text() for text in figure.texts if text.get_text() in ids] == ids
    *plots, last = figure.axes
    assert len(plots) == 3
    policy, metadata = load_checkpoint(sources.checkpoints[CORPUS, "critic"])
    clips = module.FeatureBatches(store, metadata.corpus_settings.max_frames, torch.device("cpu"))
    for place, (id, axes) in enumerate(zip(ids, plots, strict=True)):
        memory = policy.encode(clips.batch([id]))
        own = beam_search(policy, memory, metadata.corpus_settings.max_words + 1, paper_with(1.0).beam)[0][
            0, 0
        ].tolist()
        most = metadata.corpus_settings.max_words + 1
        first, other = ([*corpus.tokens[which][0], "</s>"][:most] for which in (id, ids[(place + 1) % 3]))
        expected = [*first, *(metadata.words[token] for token in own if token), *other]
        assert Counter(text.get_text() for text in axes.texts) == Counter(expected)
        lines, rings = axes.lines[::2], axes.lines[1::2]
        assert [len(line.get_xdata()) for line in lines] == [
            int(ring.get_xdata()[0]) + 1 for ring in rings
        ]  # a ring where its caption ends
    best, worst = (line.get_ydata() for line in last.lines[::2])
    assert len(best) == len(worst) == len(SHARES)
    higher, lower = (ring.get_ydata()[0] for ring in last.lines[1::2])
    assert higher > lower


def test_words_stay_on_the_sheet_and_out_of_each_others_way(sources):
    figure = draw_values(paper_with(1.0), FIGURE, sources).figure()
    renderer = figure.canvas.get_renderer()
    for axes in figure.axes[:-1]:
        rows: dict[float, list[float]] = {}
        for text in axes.texts:
            box = text.get_window_extent(renderer)
            assert box.x0 >= 0
            assert box.x1 <= figure.get_figwidth() * DPI
            x, y = text.get_transform().transform(text.get_position())
            rows.setdefault(round(y), []).append(x)
        assert len(rows) == 3
        slant, size = np.sin(np.radians(text.get_rotation())), text.get_fontsize() * DPI / 72
        assert all(slant * (right - left) > size for row in rows.values() for left, right in pairwise(row))


def test_pictures_are_shown_where_they_are_at_hand(sources, world):
    corpus, _, _ = world.load()
    ids = [item.id for item in corpus.items["test"]]
    split = sources.work / CORPUS / "captions/splits/test.txt"
    split.write_text("".join(f"{id}\t{id}.png\n" for id in ids))
    (sources.raw / CORPUS).mkdir(parents=True)
    for id in ids:
        Image.new("RGB", (40, 30), (90, 90, 0)).save(sources.raw / CORPUS / f"{id}.png")
    axes = draw_values(paper_with(1.0), FIGURE, sources).figure().axes
    assert [len(part.images) for part in axes] == [1, 0] * 3 + [0]


def test_equal_inputs_give_equal_bytes(sources, tmp_path):
    paths = [tmp_path / f"{name}.png" for name in "ab"]
    for path in paths:
        draw_values(paper_with(0.5), FIGURE, sources).save(path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_missing_checkpoint_is_named(sources):
    del sources.checkpoints[CORPUS, "critic"]
    with pytest.raises(UserError, match="hrl/critic on msrvtt-mini: no checkpoint; give that of its last phase too"):
        draw_values(paper_with(1.0), FIGURE, sources)


@pytest.mark.parametrize(
    ("reward", "name"),
    [
        ("embedding", "cosine of picture and caption"),
        ({"embedding": 0, "CIDEr-D": 1}, "CIDEr-D"),
        ({"CIDEr-D": 2}, "2 CIDEr-D"),
        ({"embedding": 0.25, "CIDEr-D": 0.75}, "0.25 cosine of picture and caption + 0.75 CIDEr-D"),
    ],
)
def test_the_reward_is_named(reward, name):
    assert reward_name(ValuePhase(**PHASE, reward=reward).weights) == name
