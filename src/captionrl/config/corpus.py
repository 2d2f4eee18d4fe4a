"""How a paper uses a corpus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PositiveInt

from captionrl.config.base import Backbone, Name, Strict, known

if TYPE_CHECKING:
    from captionrl.config.paper import Paper


Steps = Annotated[int, Field(ge=1, le=10_000)]  # each takes memory for all clips of a batch


class CorpusSettings(Strict):
    max_frames: Steps  # the encoder's fixed step count
    max_words: Steps  # of a caption, </s> not counted
    min_count: PositiveInt  # a word rarer than this becomes <unk>
    counted: Literal["train", "all"] = "train"  # the items in whose captions words are counted
    punctuation: bool = True  # whether models read and write it; scores drop it, and rewards by default
    captions: Name | None = None  # of captions prepared in another way than other papers have those of this corpus
    segmentation: Literal["corenlp", "grammar", "shallow"] = "corenlp"  # what cuts captions into chunks
    tagger: Literal["corenlp", "dictionary"] = "corenlp"  # what finds nouns, verbs and adjectives, for attributes
    backbone: Backbone | None = None  # another one than the paper's
    sizes: dict[str, Any] = Field(default={})  # laid over the paper's sizes for this corpus
    phases: dict[str, dict[str, Any]] = Field(default={})  # likewise over its phases

    @property
    def variant(self) -> str:
        """What follows `captions`, `segments` and `attributes` in the paths of what is made of the captions."""
        return f"/{self.captions}" if self.captions else ""

    def check(self, paper: Paper, corpus: str) -> None:
        """Raises a ValueError that names the key below corpora.`corpus`."""
        for phase in self.phases:
            known(phase, paper.phases, f"corpora.{corpus}.phases", "phase")
            if paper.phase_of(phase, corpus).objective != paper.phases[phase].objective:
                raise ValueError(f"corpora.{corpus}.phases.{phase}.objective: is another than the phase's; take it out")
