"""Figures of single test items: captions of several runs side by side, and where HRL looks for each segment."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from captionrl.config import (
    AttentionFigure,
    ExamplesFigure,
    Paper,
    StagesFigure,
    is_described,
    is_set,
    split_system,
    stage_of,
)
from captionrl.config.backbones import FRAMES, file_name
from captionrl.datasets.attributes import Attributes
from captionrl.datasets.corpus import Item
from captionrl.datasets.prepared import Captions, load_captions
from captionrl.device import pick_device
from captionrl.errors import UserError
from captionrl.evaluation.captions import read_hypotheses, read_references
from captionrl.evaluation.describe import Description, describe
from captionrl.evaluation.recognition import probabilities
from captionrl.evaluation.trained import open_clips
from captionrl.features.frames import unpack
from captionrl.features.store import FeatureStore, sample_uniformly
from captionrl.features.video import MediaError
from captionrl.tables.drawing import (
    BLACK,
    GREY,
    MARGIN,
    Frames,
    Sheet,
    coloured,
    film_strip,
    plain,
    read_frames,
    segment_cells,
    stage_maps,
)
from captionrl.training.checkpoint import load_checkpoint
from captionrl.training.data import with_features

STAGE = 0.85  # room for a stage's name beside its caption


@dataclass(frozen=True)
class Sources:
    """Where the figures' data lie."""

    checkpoints: dict[tuple[str, str], Path]  # by corpus and run
    predictions: dict[tuple[str, str], Path]  # by corpus and system: RUN.sample, RUN.greedy, …
    work: Path  # CORPUS/captions/ and CORPUS/features/BACKBONE.h5
    raw: Path  # CORPUS/: the data set's own files; clips that are not there are not shown
    device: str


@dataclass(frozen=True)
class Example:
    """A test item and what several runs say of it."""

    item: Item
    numbers: np.ndarray  # of the sampled frames that were read; frame k is on show at k / fps seconds
    references: list[str]
    found: dict[str, list[Description]]  # by system: its caption, or all captions of its set
    kept: np.ndarray | None = None  # the frames themselves [N, S, S, 3], where a run's CNN has seen just these
    cells: int = 0  # of a frame's grid; 0 without one


def chosen(items: Iterable[str], count: int) -> list[str]:
    """The `count` ids with the smallest SHA-256, smallest first: a choice that nobody can steer."""
    return sorted(items, key=lambda id: hashlib.sha256(id.encode()).hexdigest())[:count]


def by_captioner(files: Sequence[Path]) -> dict[tuple[str, str], Path]:
    """Checkpoints by corpus and run, as their cards say."""
    found: dict[tuple[str, str], Path] = {}
    for path in files:
        metadata = load_checkpoint(path)[1]
        if other := found.get((metadata.corpus, metadata.run)):
            raise UserError(
                f"{path}: {metadata.run} on {metadata.corpus} like {other}; give one checkpoint of each run"
            )
        found[metadata.corpus, metadata.run] = path
    return found


def by_system(files: Sequence[Path]) -> dict[tuple[str, str], Path]:
    """Predictions by corpus and system, as their paths say: …/CORPUS/predictions/PAPER/SYSTEM/seedK.json."""
    for path in files:
        if len(path.parts) < 5:
            raise UserError(
                f"{path}: must be called …/CORPUS/predictions/PAPER/SYSTEM/seedK.json, as the workflow does"
            )
    return {(path.parts[-5], path.parts[-2]): path for path in files}


def draw_examples(paper: Paper, figure: ExamplesFigure, sources: Sources) -> Sheet:
    """Frames, each method's caption and references of every example, one below the other (HRL figures 4 and 7)."""
    sheet, label = Sheet(), 1.2
    y = sheet.title(f"{figure.title}, {figure.corpus}")
    examples = examples_of(paper, figure.corpus, [method.run for method in figure.methods], figure.items, sources)
    stats = _attributes(paper, figure, [example.item.id for example in examples], sources) if figure.attributes else {}
    for example in examples:
        shown = sample_uniformly(example.numbers, figure.frames).tolist()
        if example.kept is not None:
            frames = {number: example.kept[number] for number in shown}
        else:
            frames = frames_of(example.item, paper, figure.corpus, shown, sources)
        y = sheet.heading(example.item.id, y + 0.15, GREY)
        if frames:
            timed = len(example.numbers) > 1 and example.kept is None  # stills and kept frames have no time
            fps = paper.fps if timed else None
            y = film_strip(sheet, frames, shown, fps, MARGIN, y + 0.02, 1.3 * len(shown))
        rows = [
            ("" if index else method.method, coloured(caption))
            for method in figure.methods
            for index, caption in enumerate(example.found[method.run])
        ]
        if figure.attributes:
            rows.append(("attributes", plain(stats[example.item.id], BLACK)))
        for index, reference in enumerate(example.references[: figure.references]):
            rows.append(("" if index else "references", plain(reference, GREY)))
        for name, pieces in rows:
            y += 0.03
            y = sheet.row(name, pieces, y, label)
    return sheet


def draw_attention(paper: Paper, figure: AttentionFigure, sources: Sources) -> Sheet:
    """For every example each segment's key frame, words and attention over time (HRL figure 6)."""
    sheet = Sheet()
    what = (
        "Area: the worker's attention, mean over a segment's words; the frame with most of it (dot) above. "
        "Dashed: the manager's, as it sets the goal. Dotted: even."
    )
    y = sheet.title(f"{figure.title}, {figure.corpus}", what)
    for example in examples_of(paper, figure.corpus, [figure.run], figure.items, sources):
        found = example.found[figure.run][0].over_frames(len(example.numbers))
        weights = found.segment_attention()
        assert weights is not None
        keys = [int(example.numbers[peak]) for peak in weights.argmax(1)]
        frames = frames_of(example.item, paper, figure.corpus, keys, sources)
        y = sheet.heading(example.item.id, y + 0.1, BLACK)
        y = segment_cells(sheet, found, example.numbers, frames, paper.fps, y + 0.03)
    return sheet


def draw_stages(paper: Paper, figure: StagesFigure, sources: Sources) -> Sheet:
    """What each stage says of every example, and where the fine ones look as the last one writes (Stack-Cap fig. 3)."""
    sheet = Sheet()
    what = "The coarse stage looks at the picture as a whole. Maps: attention at each word of the last stage's caption."
    y = sheet.title(f"{figure.title}, {figure.corpus}", what)
    decoded = [f"{figure.run}.{decoding}" for decoding in paper.decodings_of(figure.run, figure.corpus)]
    systems = [*(system for system in decoded if stage_of(system) is not None), figure.run]
    for example in examples_of(paper, figure.corpus, systems, figure.items, sources):
        frames = frames_of(example.item, paper, figure.corpus, [0], sources)
        y = sheet.heading(example.item.id, y + 0.15, BLACK)
        rows = [(f"stage {stage}", coloured(example.found[system][0])) for stage, system in enumerate(systems)]
        rows.append(("reference", plain(example.references[0], GREY)))
        for name, pieces in rows:
            y = sheet.row(name, pieces, y, STAGE)
        (found,) = example.found[figure.run]
        assert found.stage_attention is not None
        if (places := found.stage_attention.shape[2]) != example.cells:
            what = f"looks at {places} places of {example.item.id}, which are not the grid of one picture"
            raise UserError(f"{paper.paper}: figures.stages: {figure.run} {what}; take the figure out")
        y = stage_maps(sheet, found, frames.get(0), MARGIN, y + 0.05)
    return sheet


def examples_of(paper: Paper, corpus: str, systems: Sequence[str], count: int, sources: Sources) -> list[Example]:
    """The chosen test items with the captions of `systems`."""
    home = sources.work / corpus
    store = FeatureStore(home / "features" / f"{file_name(paper.backbone_of(corpus, split_system(systems[0])[0]))}.h5")
    captions = with_features(load_captions(home / f"captions{paper.corpora[corpus].variant}"), store, "test")
    items = {item.id: item for item in captions.items["test"]}
    ids = chosen(items, count)
    found = {
        system: (_captions if is_described(system) else _predictions)(paper, corpus, system, ids, sources)
        for system in dict.fromkeys(systems)
    }
    most, cells = paper.corpora[corpus].max_frames, max(1, store.grid**2)  # cells of a frame
    return [
        Example(
            items[id],
            sample_uniformly(np.arange(len(store.read(id)) // cells), most),
            _references(captions, id),
            {system: descriptions[id] for system, descriptions in found.items()},
            unpack(store.read(id)) if str(store.attributes["backbone"]).endswith(FRAMES) else None,
            store.grid**2,
        )
        for id in ids
    ]


def checkpoint_of(paper: Paper, corpus: str, run: str, sources: Sources) -> Path:
    """The checkpoint of a run that captions items for a figure. Raises UserError if it was not given."""
    path = sources.checkpoints.get((corpus, run))
    if path is None:
        raise UserError(f"{paper.paper}/{run} on {corpus}: no checkpoint; give that of its last phase too")
    return path


def _captions(
    paper: Paper, corpus: str, system: str, ids: Sequence[str], sources: Sources
) -> dict[str, list[Description]]:
    run, stage = split_system(system)[0], stage_of(system)
    path = checkpoint_of(paper, corpus, run, sources)
    policy, metadata = load_checkpoint(path)
    where = pick_device(sources.device)
    features = sources.work / corpus / "features" / f"{file_name(metadata.backbone)}.h5"
    batch = open_clips(path, metadata, features, where).batch(ids)
    most = metadata.corpus_settings.max_words + 1
    how = paper.beam, stage
    found = describe(
        policy.to(where), metadata.vocabulary, batch, most, *how, length_normalised=paper.length_normalised
    )
    return {id: [description] for id, description in zip(ids, found, strict=True)}


def _predictions(
    paper: Paper, corpus: str, system: str, ids: Sequence[str], sources: Sources
) -> dict[str, list[Description]]:
    path = sources.predictions.get((corpus, system))
    if path is None:
        raise UserError(f"{paper.paper}/{system} on {corpus}: no predictions; give them too")
    sets = read_references(path) if is_set(system) else {id: [text] for id, text in read_hypotheses(path).items()}
    if missing := [id for id in ids if id not in sets]:
        raise UserError(f"{path}: no caption of item {missing[0]!r}; predict the split again")
    return {id: [Description(caption.split(), float("nan")) for caption in sets[id]] for id in ids}


def _attributes(paper: Paper, figure: ExamplesFigure, ids: Sequence[str], sources: Sources) -> dict[str, str]:
    """The attributes that the last method's run holds most probable for each item, and how probable."""
    run, home = split_system(figure.methods[-1].run)[0], sources.work / figure.corpus
    corpus = paper.corpora[figure.corpus]
    names = Attributes.load(home / f"attributes{corpus.variant}" / f"{corpus.tagger}.tsv").names
    path = checkpoint_of(paper, figure.corpus, run, sources)
    features = home / "features" / f"{file_name(paper.backbone_of(figure.corpus, run))}.h5"
    found = {}
    for id, row in zip(ids, probabilities(path, features, ids, len(names), sources.device), strict=True):
        best = np.argsort(-row, kind="stable")[: figure.attributes]
        found[id] = ", ".join(f"{names[index]} {row[index]:.2f}" for index in best)
    return found


def _references(captions: Captions, id: str) -> list[str]:
    return [" ".join(tokens) for tokens in captions.tokens[id]]


def frames_of(item: Item, paper: Paper, corpus: str, wanted: Sequence[int], sources: Sources) -> Frames:
    """The pictures of these frames; none where the clip is not at hand."""
    try:
        frames = read_frames(sources.raw / corpus / item.media, paper.fps, wanted) if item.media else {}
    except MediaError:
        return {}
    return frames if set(wanted) <= frames.keys() else {}
