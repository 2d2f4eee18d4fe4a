"""What reads files from outside, by name."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import corpora
import given
import made
import media
from files import Files


@dataclass(frozen=True)
class Target:
    samples: Callable[[], list[Files]]  # folders of files, {path: content}
    read: Callable[[Path, Path], object]  # such a folder; the other path is the one place to write to
    fixed: tuple[str, ...] = ()  # files that are never changed
    cost: int = 1  # of a mutant, in those of a quick target


def corpus(name: str, samples: Callable[[], list[Files]]) -> Target:
    return Target(samples, partial(corpora.read_corpus, name), fixed=tuple(f"clips/c{k}.mp4" for k in range(3)))


TARGETS: dict[str, Target] = {
    "video": Target(media.videos, media.read_media, cost=3),
    "still": Target(media.stills, media.read_media),
    "gif": Target(media.gifs, media.read_media),
    "msrvtt": corpus("msrvtt", corpora.msrvtt),
    "msvd": corpus("msvd", corpora.msvd),
    "coco": corpus("coco", corpora.coco),
    "flickr8k": corpus("flickr8k", corpora.flickr8k),
    "tgif": corpus("tgif", corpora.tgif),
    "charades": corpus("charades", corpora.charades),
    "own": corpus("clips", corpora.own),
    "prepared": Target(made.prepared, made.read_prepared),
    "store": Target(made.store, made.read_store),
    "features": Target(given.features, given.read_features),
    "params": Target(given.params, given.read_params),
    "paper": Target(given.papers, given.read_paper, cost=15),
    "manifest": Target(given.manifests, given.read_manifest, cost=5),
    "captions": Target(made.captions, made.read_captions),
    "scores": Target(made.scores, made.read_scores),
    "checkpoint": Target(made.checkpoints, made.read_checkpoint, cost=2),
    "provenance": Target(made.provenance, made.read_provenance, fixed=("seed1.safetensors",)),
    "weights": Target(made.weights, made.read_weights, cost=3),
    "state": Target(made.states, made.read_state),
    "archive": Target(media.archives, media.read_archive),
}
