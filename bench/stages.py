"""A reinforcement step of Stack-Cap at the paper's shapes, its time and memory; what a joint rollout saves."""

import resource
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from timing import Row, in_turns, pretty, report
from torch import Tensor
from world import DEVICE, GPU, Text

from captionrl.config import StagewisePhase, XEPhase, load_paper
from captionrl.datasets.corpus import Item
from captionrl.datasets.prepared import Captions
from captionrl.decoding.rollout import greedy
from captionrl.features.store import FeatureStore, write_store
from captionrl.models.stackcap import StackCap
from captionrl.text.vocabulary import SPECIALS, Vocabulary
from captionrl.training.data import Data, FeatureBatches
from captionrl.training.learners.stagewise import StagewiseLearner
from captionrl.training.learners.xe import XELearner

BATCH = 10  # pictures, of five captions each
WORDS = 9_487  # Implementation Details
GIB = 24


def learners(scale: str, folder: Path) -> tuple[StagewiseLearner, XELearner]:
    """Of an untrained Stack-Cap on `BATCH` made-up pictures; its captions seldom end before the longest length."""
    paper = load_paper(Path(__file__).parents[1] / "papers/stackcap", scale)
    corpus = "coco" if scale == "paper" else "coco-mini"
    cells, width, grid = (196, 2048, 14) if scale == "paper" else (16, 128, 4)
    facts = {"backbone": "resnet101-grid", "weights_sha256": "0" * 64, "fps": 3.0, "transform": "", "code_version": ""}
    random, text = np.random.default_rng(1), Text()
    ids = [f"picture{number}" for number in range(BATCH)]
    pictures = ((id, random.random((cells, width), dtype=np.float32)) for id in ids)
    write_store(folder / "store.h5", pictures, {**facts, "dim": width, "grid": grid})
    items = {split: [Item(id, split, None) for id in ids] for split in ("train", "val")}
    captions = Captions(items, {}, {id: text.item()[:5] for id in ids})
    vocabulary = Vocabulary((*SPECIALS, *(f"w{number}" for number in range(WORDS))))
    clips = FeatureBatches(FeatureStore(folder / "store.h5"), 1, DEVICE)
    torch.manual_seed(1)
    policy = StackCap(width, len(vocabulary), paper.sizes_of("stack-cap", corpus)).to(DEVICE)
    data = Data(captions, vocabulary, paper.corpora[corpus].max_words, DEVICE, clips)
    c2f, xe = (paper.phase_of(phase, corpus).model_copy(update={"batch": BATCH}) for phase in ("c2f", "xe"))
    assert isinstance(c2f, StagewisePhase)
    assert isinstance(xe, XEPhase)
    return StagewiseLearner(policy, data, c2f, seed=1), XELearner(policy, data, xe, seed=1)


def step(learner: StagewiseLearner | XELearner) -> Callable[[], None]:
    """An update of the policy, on the same batch each time."""
    optimiser = torch.optim.Adam(learner.policy.parameters(), 5e-5)

    def update() -> None:
        optimiser.zero_grad(set_to_none=True)
        learner.loss(0, 0)[0].backward()
        optimiser.step()
        if GPU:
            torch.cuda.synchronize()

    return update


def memory() -> float:
    """The most that this process ever held, or the GPU of it, in GiB."""
    if GPU:
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


@torch.no_grad()
def greedy_captions(learner: StagewiseLearner, together: bool) -> Tensor:
    """The fine stages' greedy captions [F * B, T], of all stages in one rollout or of one stage after the other."""
    policy, items = learner.policy.eval(), learner.pairs.batch(0, 0)[0]
    memory, fine, found = policy.encode(learner.clips.batch(items)), range(1, policy.decoder_stages), []
    for stages in [fine] if together else [range(stage, stage + 1) for stage in fine]:
        of_each = [stage for stage in stages for _ in items]
        rows = memory.select(torch.arange(len(items), device=DEVICE).repeat(len(stages)))
        found.append(greedy(policy, rows, learner.max_tokens, policy.start_stages(rows, of_each)).tokens)
    longest = max(tokens.shape[1] for tokens in found)
    return torch.cat([torch.nn.functional.pad(tokens, (0, longest - tokens.shape[1])) for tokens in found])


def measure(least: float, scale: str) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        rl, xe = learners(scale, Path(folder))
        assert greedy_captions(rl, together=True).tolist() == greedy_captions(rl, together=False).tolist()
        reinforce, supervise = in_turns(step(rl), step(xe), least=least)
        held = memory()
        ways = (lambda: greedy_captions(rl, together=True), lambda: greedy_captions(rl, together=False))
        one, several = in_turns(*ways, least=least / 4)
    ratio, saved = reinforce / supervise, several / one
    return [
        Row(
            f"Stack-Cap, RL step of {BATCH} pictures : XE step", pretty(reinforce), pretty(supervise), ratio, "-", None
        ),
        Row("memory at most, GiB", f"{held:.1f}", "-", None, f"≤ {GIB}", held <= GIB),
        Row(
            "greedy captions of both fine stages at once, against in turns",
            pretty(one),
            pretty(several),
            saved,
            "-",
            None,
        ),
    ]


if __name__ == "__main__":
    report(measure, __doc__)
