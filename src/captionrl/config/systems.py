"""Names of systems: a run, and how it writes captions.

RUN                 beam search, the best caption
RUN.greedy          the most probable word at each step
RUN.lookahead       beam search with the value network's prediction in the score
RUN.reranked        of a beam search's captions the one that the run's image-text embedding finds nearest to the picture
RUN.stage0          beam search over the words of Stack-Cap's coarse stage; RUN.stage1 of the next one, and so on
RUN.sample          a set of captions an item, sampled
RUN.beam-set        a set of captions an item, all that a beam search finds
"""

BEAM_SET = "beam-set"
SETS = ("sample", BEAM_SET)  # several captions an item
GREEDY, LOOKAHEAD, RERANKED = "greedy", "lookahead", "reranked"


def split_system(system: str) -> tuple[str, str]:
    """The run and the decoding of a system; the decoding of a run alone is ""."""
    run, _, decoding = system.partition(".")
    return run, decoding


def is_set(system: str) -> bool:
    """Whether a system writes several captions an item."""
    return split_system(system)[1] in SETS


def is_described(system: str) -> bool:
    """Whether figures caption items with a system's weights, to show more than captions; of others they show files."""
    return split_system(system)[1] not in (*SETS, GREEDY, LOOKAHEAD, RERANKED)


def stage_of(system: str) -> int | None:
    """The stage whose words a system writes, where they are not the last one's."""
    _, decoding = split_system(system)
    return int(decoding.removeprefix("stage")) if decoding.startswith("stage") else None


def decoded_as(run: str, system: str) -> str:
    """What has `run`'s weights and is compared with `system`: a set with a set, greedy captions with greedy ones.

    All others are compared with a beam search's. A `run` that names its decoding keeps it.
    """
    decoding = split_system(system)[1]
    return f"{run}.{decoding}" if decoding in (*SETS, GREEDY) and run == split_system(run)[0] else run
