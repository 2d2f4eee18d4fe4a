"""From raw captions to scores, against what others use: whole evaluations, calls of a reward, tokenising.

    OMP_NUM_THREADS=1 python bench/scoring.py karpathy_test_captions.json

The file is {id: [caption, …]}, such as COCO's Karpathy test split, 5,000 pictures of five captions: of each the first
is scored against the others. pycocoevalcap runs as COCOEvalCap does, its tokeniser and METEOR in Java. aac-metrics has
a row where it is installed; it gets tokens, since its own tokeniser is the same Java. TRL's bookkeeping is what its
GRPO trainer does around a reward function.
"""

import contextlib
import importlib.util
import io
import json
import os
import tempfile
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import numpy as np
from nltk.tokenize import TreebankWordTokenizer
from nltk.translate.bleu_score import sentence_bleu
from parity import reference as coco_eval
from pycocoevalcap.cider.cider_scorer import CiderScorer
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
from reward import Peer
from timing import Row, in_turns, pretty, report

import captionrl
from captionrl.features import torchvision_cpu  # noqa: F401  transformers and aac-metrics import torchvision
from captionrl.rewards import Bleu, CiderD, raw_words
from captionrl.rewards.trl import reward
from captionrl.text.java import JAVA
from captionrl.text.ptb import tokenize

WITHOUT_METEOR = ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr-D"]
References = dict[str, list[str]]


def compared(what: str, ours: Callable[[], object], other: Callable[[], object], least: float) -> Row:
    fast, slow = in_turns(ours, other, least=least)
    return Row(what, pretty(fast), pretty(slow), slow / fast, "-", None)


def java_tokens(captions: list[str]) -> list[str]:
    found = PTBTokenizer().tokenize({row: [{"caption": text}] for row, text in enumerate(captions)})
    return [found[row][0] for row in range(len(captions))]


def evaluations(references: References, system: dict[str, str], least: float) -> list[Row]:
    size = f"{len(system):,} captions, {len(next(iter(references.values())))} references each"
    ours = captionrl.score(references, system)
    theirs = coco_eval(references, system)
    for metric, values in theirs.items():
        found = np.array([ours[metric]["items"][id] for id in references])
        scale = 10 if metric == "CIDEr-D" else 1  # captionrl.score's are times 100
        np.testing.assert_allclose(found / 100, values, rtol=0, atol=1e-6 * scale)
    rows = [
        compared(f"all metrics, {size}", lambda: captionrl.score(references, system),
                 lambda: coco_eval(references, system), least),
        compared("likewise without METEOR, against pycocoevalcap with it",
                 lambda: captionrl.score(references, system, WITHOUT_METEOR),
                 lambda: coco_eval(references, system), least),
    ]  # fmt: skip
    words = {id: [" ".join(row) for row in raw_words(texts)] for id, texts in references.items()}
    tokens = [" ".join(row) for row in raw_words(system.values())]

    def pycoco() -> None:
        scorer = CiderScorer()
        for caption, id in zip(tokens, system, strict=True):
            scorer += (caption, words[id])
        scorer.compute_score()

    def tabulate_and_score() -> None:
        CiderD.from_captions(words).tokenised(tokens, list(system))

    rows.append(compared(f"CIDEr-D of tokens, {size}, references read anew", tabulate_and_score, pycoco, least))
    if importlib.util.find_spec("aac_metrics"):
        from aac_metrics.functional import cider_d

        given = list(words.values())
        what = "the same, against aac-metrics"
        rows.append(compared(what, tabulate_and_score, lambda: cider_d(tokens, given), least))
    return rows


def rewards(references: References, system: dict[str, str], least: float, sizes: tuple[int, ...]) -> list[Row]:
    words = {id: raw_words(texts) for id, texts in references.items()}
    cider = CiderD.from_captions(words)
    joined = {id: [" ".join(row) for row in rows] for id, rows in words.items()}
    peer, rows = Peer(joined), []
    random = np.random.default_rng(1)

    for size in sizes:
        batches = [random.choice(list(references), size).tolist() for _ in range(8)]
        texts = cycle([([system[id] for id in items], items) for items in batches])

        def pycoco(items: list[str] = batches[0]) -> list[float]:
            return peer.score(java_tokens([system[id] for id in items]), items, cooked=True)

        np.testing.assert_allclose(cider.texts([system[id] for id in batches[0]], batches[0]), pycoco(), atol=1e-9)
        what = f"reward of {size:,} raw captions, CIDEr-D"
        rows.append(compared(what, lambda texts=texts: cider.texts(*next(texts)), pycoco, least))
    items = batches[0][: sizes[0]]
    captions = [system[id] for id in items]
    bleu = Bleu.from_captions(words)

    def nltk() -> None:
        for words_of_caption, id in zip(raw_words(captions), items, strict=True):
            sentence_bleu(words[id], words_of_caption)

    what = f"reward of {sizes[0]} raw captions, BLEU-4, against NLTK"
    rows.append(compared(what, lambda: bleu.texts(captions, items), nltk, least))
    if importlib.util.find_spec("trl"):
        rows.append(in_trl(cider, captions, items, least))
    return rows


def in_trl(cider: CiderD, captions: list[str], items: list[str], least: float) -> Row:
    """Our reward function beside what TRL's trainer does around one that costs nothing."""
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
    from trl import GRPOConfig, GRPOTrainer

    ids = {"<pad>": 0, "</s>": 1, "a": 2}
    splitter = Tokenizer(models.WordLevel(ids, unk_token="a"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=splitter, pad_token="<pad>", eos_token="</s>", unk_token="a")
    model = GPT2LMHeadModel(GPT2Config(vocab_size=3, n_embd=8, n_layer=1, n_head=1, bos_token_id=1, eos_token_id=1))
    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(folder, use_cpu=True, report_to=[], num_generations=2, per_device_train_batch_size=2)
        trainer = GRPOTrainer(
            model,
            lambda completions, **columns: [0.0] * len(completions),
            args=config,
            train_dataset=Dataset.from_dict({"prompt": ["a"], "item": ["x"]}),
            processing_class=tokenizer,
        )
    rows = [{"prompt": "a", "item": id} for id in items]
    prompts, ids_of = ["a"] * len(items), [[2]] * len(items)
    function = reward(cider, items="item")
    return compared(
        f"reward function of {len(items)} completions, against TRL's bookkeeping around one that returns zeros",
        lambda: function(completions=captions, item=items),
        lambda: trainer._calculate_rewards(rows, prompts, captions, ids_of),
        least,
    )


def tokenising(captions: list[str], least: float) -> list[Row]:
    treebank, size = TreebankWordTokenizer(), f"{len(captions):,} captions"
    return [
        compared(f"tokenising {size}, against Stanford's jar", lambda: tokenize(captions),
                 lambda: java_tokens(captions), least),
        compared("the same, against NLTK's Treebank tokeniser", lambda: tokenize(captions),
                 lambda: [treebank.tokenize(text) for text in captions], least),
    ]  # fmt: skip


def measure(least: float, scale: str, path: Path) -> list[Row]:
    os.environ["PATH"] = f"{JAVA.parent}{os.pathsep}{os.environ['PATH']}"  # for pycocoevalcap
    captions = json.loads(path.read_text(encoding="utf-8"))
    captions = dict(list(captions.items())[: 40 if scale == "mini" else None])
    references, system = (
        {id: texts[1:] for id, texts in captions.items()},
        {id: texts[0] for id, texts in captions.items()},
    )
    with contextlib.redirect_stdout(io.StringIO()):  # pycocoevalcap prints
        return [
            *evaluations(references, system, least),
            *rewards(references, system, least, (8, 16) if scale == "mini" else (64, 300, 2048)),
            *tokenising([text for texts in captions.values() for text in texts], least),
        ]


if __name__ == "__main__":
    report(measure, "From raw captions to scores, against what others use.", "a file of captions, {id: [caption, …]}")
