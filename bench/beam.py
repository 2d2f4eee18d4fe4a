"""Beam search of many clips at once against one clip at a time, by the paper-size attention captioner."""

import torch
from timing import Row, in_turns, pretty, report
from torch import Tensor
from world import GPU, Batch

from captionrl.decoding.beam import beam_search
from captionrl.evaluation.predict import BATCH

WIDTH = 5
MOST = 31  # tokens a caption


def measure(least: float, scale: str) -> list[Row]:
    items = 256 if scale == "paper" else 2 * BATCH
    batch = Batch.make(scale, items)
    policy = batch.policy.eval()

    @torch.inference_mode()
    def search(size: int) -> list[Tensor]:
        captions: list[Tensor] = []
        for rows in torch.arange(items, device=batch.ends.device).split(size):
            policy.ends = batch.ends[rows].repeat_interleave(WIDTH)
            memory = policy.encode(batch.features.select(rows))
            captions += beam_search(policy, memory, MOST, WIDTH)[0][:, 0].unbind()
        return captions

    for together, alone in zip(search(BATCH), search(1), strict=True):
        assert together[together != 0].tolist() == alone[alone != 0].tolist()
    fast, slow = in_turns(lambda: search(BATCH), lambda: search(1), least=least)
    ratio, goal = slow / fast, 10 if GPU else 3
    what = f"beam search, width {WIDTH}, {items} clips, {BATCH} at a time, against one at a time"
    return [Row(what, pretty(fast), pretty(slow), ratio, f"≥ {goal} x", ratio >= goal)]


if __name__ == "__main__":
    report(measure, __doc__)
