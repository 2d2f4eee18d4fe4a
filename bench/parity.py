"""Are our scores pycocoevalcap's, caption by caption? On MSR-VTT's real captions, its own tokeniser beside ours.

    OMP_NUM_THREADS=1 python bench/parity.py train_val_videodatainfo.json test_videodatainfo.json

Of each clip the first 8 captions are scored against its others: 80,000 captions of the 10,000 clips of both files. The
reference is pycocoevalcap with its own PTBTokenizer (Java) and its own METEOR. Ours: `texts` of the rewards with no
vocabulary named, and `captionrl.score`, which is what `captionrl score` prints. Shown is the largest difference of any
caption; METEOR's is of `captionrl.score` alone, since it has no `texts`.
"""

import argparse
import json
import os
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider_scorer import CiderScorer
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

import captionrl
from captionrl.rewards import Bleu, CiderD, raw_words
from captionrl.rewards.rouge import RougeL
from captionrl.text.java import JAVA

SYSTEMS = 8
GOALS = {"METEOR": 1e-6}  # else 1e-9: METEOR's answers are printed with few digits
Scores = dict[str, np.ndarray]


def captions_of(paths: list[Path]) -> dict[str, list[str]]:
    captions: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        for sentence in json.loads(path.read_text(encoding="utf-8"))["sentences"]:
            captions[sentence["video_id"]].append(sentence["caption"])
    return {clip: texts for clip, texts in captions.items() if len(texts) > SYSTEMS}


def reference(references: dict[str, list[str]], system: dict[str, str]) -> Scores:
    """pycocoevalcap from raw captions to scores, as COCOEvalCap does it."""
    tokenizer = PTBTokenizer()
    refs = tokenizer.tokenize({clip: [{"caption": text} for text in texts] for clip, texts in references.items()})
    hyps = tokenizer.tokenize({clip: [{"caption": text}] for clip, text in system.items()})
    cider, bleu = CiderScorer(), BleuScorer(n=4)
    for clip in references:
        cider += (hyps[clip][0], refs[clip])
        bleu += (hyps[clip][0], refs[clip])
    scores = {
        "METEOR": Meteor().compute_score(refs, hyps)[1],
        "ROUGE-L": [Rouge().calc_score(hyps[clip], refs[clip]) for clip in references],
        "CIDEr-D": cider.compute_score()[1],
    }
    for order, values in enumerate(bleu.compute_score(option="closest", verbose=0)[1], 1):
        scores[f"BLEU-{order}"] = values
    return {metric: np.asarray(values, dtype=np.float64) for metric, values in scores.items()}


def texts(references: dict[str, list[str]], systems: list[dict[str, str]]) -> list[Scores]:
    words = {clip: raw_words(captions) for clip, captions in references.items()}
    metrics = {"CIDEr-D": CiderD.from_captions(words), "ROUGE-L": RougeL.from_captions(words)}
    metrics |= {f"BLEU-{order}": Bleu.from_captions(words, order=order) for order in range(1, 5)}
    return [
        {name: metric.texts(list(system.values()), list(system)) for name, metric in metrics.items()}
        for system in systems
    ]


def score(references: dict[str, list[str]], system: dict[str, str]) -> Scores:
    """`captionrl.score`'s scores of single captions, in the units of pycocoevalcap."""
    found = captionrl.score(references, system)
    return {name: np.array([each["items"][clip] for clip in references]) / 100 for name, each in found.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    captions = captions_of(parser.parse_args().files)
    os.environ["PATH"] = f"{JAVA.parent}{os.pathsep}{os.environ['PATH']}"  # pycocoevalcap calls java
    references = {clip: texts[SYSTEMS:] for clip, texts in captions.items()}
    systems = [{clip: texts[number] for clip, texts in captions.items()} for number in range(SYSTEMS)]
    print(f"{SYSTEMS * len(references):,} captions, {sum(map(len, references.values())):,} references", flush=True)

    worst: dict[str, dict[str, float]] = {"texts": {}, "captionrl.score": {}}
    for number, (system, ours) in enumerate(zip(systems, texts(references, systems), strict=True), 1):
        start = time.monotonic()
        wanted = reference(references, system)
        for way, found in (("texts", ours), ("captionrl.score", score(references, system))):
            for metric, values in found.items():
                difference = float(np.abs(values - wanted[metric]).max())
                worst[way][metric] = max(worst[way].get(metric, 0.0), difference)
        print(f"system {number} of {SYSTEMS}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    print("| metric | " + " | ".join(worst) + " |\n|---|" + "---|" * len(worst))
    for metric in worst["captionrl.score"]:
        cells = (f"{rows[metric]:.1e}" if metric in rows else "" for rows in worst.values())
        print(f"| {metric} | {' | '.join(cells)} |")
    return int(any(rows[metric] > GOALS.get(metric, 1e-9) for rows in worst.values() for metric in rows))


if __name__ == "__main__":
    sys.exit(main())
