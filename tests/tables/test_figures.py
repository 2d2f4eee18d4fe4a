"""A paper's figures: what is drawn, from which files, and that nobody picks the examples."""

import hashlib
import json
import math
import re
import shutil
import sys
from base64 import b64decode
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import BACKBONE, CORPUS, DIM, PAPER, World, tiny_paper, tiny_world

from captionrl import cli
from captionrl.config import Figures, load_paper
from captionrl.errors import UserError
from captionrl.features.store import FeatureStore, write_store
from captionrl.tables.curves import by_phase, curve, draw_curves
from captionrl.tables.drawing import GREY, MARGIN, SHADE, WIDTH, Sheet, attention_overlay, plain
from captionrl.tables.examples import (
    Sources,
    by_captioner,
    by_system,
    chosen,
    draw_attention,
    draw_examples,
    draw_stages,
    examples_of,
)
from captionrl.tables.figures import RULE, draw_figures

METHODS = [{"method": "XE", "run": "xe-baseline"}, {"method": "HRL & co", "run": "hrl-16"}]
FIGURES = Figures.model_validate(
    {
        "examples": {"figure1": {"title": "Examples <of> ours", "corpus": CORPUS, "methods": METHODS, "items": 2}},
        "curves": {"figure2": {"title": "Curves", "corpus": CORPUS, "methods": METHODS}},
        "attention": {"figure3": {"title": "Attention", "corpus": CORPUS, "run": "hrl-16", "items": 2}},
    }
)
PHASES = (("xe-baseline", "xe"), ("rl-baseline", "rl"), ("hrl-16-warm", "xe-warm"), ("hrl-16", "hrl"))


@pytest.fixture(scope="module")
def paper():
    return tiny_paper().model_copy(update={"figures": FIGURES})


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return tiny_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def sources(world, tmp_path) -> Sources:
    """The tiny corpus as the pipeline lays it out, its clips too, and untrained checkpoints."""
    home, raw = tmp_path / "work" / CORPUS, tmp_path / "data" / CORPUS
    shutil.copytree(world.captions, home / "captions")
    (home / "features").mkdir()
    shutil.copy(world.features, home / "features/mini.h5")
    store = FeatureStore(world.features)
    raw.mkdir(parents=True)
    split = home / "captions/splits/test.txt"
    ids = [line.split("\t")[0] for line in split.read_text().splitlines()]
    split.write_text("".join(f"{id}\t{id}.gif\n" for id in ids))
    for id in ids:
        frames = [Image.new("RGB", (40, 30), (k * 20, 90, 0)) for k in range(len(store.read(id)))]
        frames[0].save(raw / f"{id}.gif", save_all=True, append_images=frames[1:], duration=334)
    for run, model in (("xe-baseline", "attention"), ("hrl-16", "hrl")):
        world.untrained(tmp_path / f"{run}.safetensors", run=run, model=model)
    files = [tmp_path / "xe-baseline.safetensors", tmp_path / "hrl-16.safetensors"]
    return Sources(by_captioner(files), {}, tmp_path / "work", tmp_path / "data", "cpu")


@pytest.fixture
def curves(tmp_path):
    """Files of two seeds: every phase is validated at epochs 0, 1 and 2, and scores 10 more than the one before."""
    files = []
    for index, (run, phase) in enumerate(PHASES):
        for seed in (1, 2):
            rows = [f"{epoch},{epoch}.0,0.1,1,{10 * index + epoch + seed}" for epoch in range(3)]
            files.append(tmp_path / f"checkpoints/{CORPUS}/hrl/{run}/{phase}/seed{seed}.csv")
            files[-1].parent.mkdir(parents=True, exist_ok=True)
            files[-1].write_text("\n".join(["update,epoch,learning_rate,seconds,val_cider", *rows, ""]))
    return files


@pytest.mark.parametrize(
    ("run", "phases", "first"),
    [
        ("xe-baseline", [("xe-baseline", "xe")], [0]),
        ("rl-baseline", [("xe-baseline", "xe"), ("rl-baseline", "rl")], [0, 10]),
        ("hrl-16", [("hrl-16-warm", "xe-warm"), ("hrl-16", "hrl")], [20, 30]),  # its critic writes no captions
    ],
)
def test_phases_are_chained_in_epochs(paper, curves, run, phases, first):
    parts = curve(paper, CORPUS, run, by_phase(curves))
    assert [part.phase for part in parts] == phases
    assert [part.epochs.tolist() for part in parts] == [[0, 1, 2], [2, 3, 4]][: len(phases)]
    assert [part.reinforces for part in parts] == [False, True][: len(phases)]
    for part, score in zip(parts, first, strict=True):
        assert part.scores.tolist() == [[score + epoch + seed for epoch in range(3)] for seed in (1, 2)]


def test_a_line_is_the_mean_over_seeds_and_a_band_their_range(paper, curves):
    (axes,) = draw_curves(paper, FIGURES.curves["figure2"], by_phase(curves)).figure().axes
    lines = [line for line in axes.lines if len(line.get_xdata()) > 1]
    assert [line.get_ydata().tolist() for line in lines] == [[1.5, 2.5, 3.5], [21.5, 22.5, 23.5], [31.5, 32.5, 33.5]]
    assert [band.get_paths()[0].get_extents().intervaly.tolist() for band in axes.collections] == [
        [1, 4],
        [21, 24],
        [31, 34],
    ]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["XE", "HRL & co"]
    assert [line.get_linestyle() for line in lines] == ["-", "--", "-"]


def test_a_shared_phase_is_drawn_once(paper, curves):
    methods = [{"method": "XE", "run": "xe-baseline"}, {"method": "RL", "run": "rl-baseline"}]
    figure = Figures.model_validate({"curves": {"f": {"title": "t", "corpus": CORPUS, "methods": methods}}}).curves["f"]
    (axes,) = draw_curves(paper, figure, by_phase(curves)).figure().axes
    assert [line.get_xdata().tolist() for line in axes.lines if len(line.get_xdata()) > 1] == [[0, 1, 2], [2, 3, 4]]


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda files: files.pop(0), r"curves of 1 to 2 seeds; give as many"),
        (lambda files: [files.pop(0), files.pop(0)], r"hrl/xe-baseline/xe on msrvtt-mini: no validation curve"),
        (
            lambda files: files[1].write_text("epoch,val_cider\n0,1\n"),
            r"seed2\.csv: validated at other epochs than .*1",
        ),
        (lambda files: files[0].write_text("epoch,f1\n0,1\n"), r"seed1\.csv: not a captioner's validation curve"),
        (lambda files: files[0].write_text("epoch,val_cider\n"), r"seed1\.csv: an empty validation curve"),
        (lambda files: files.append(Path("seed1.csv")), r"seed1\.csv: must be called …/CORPUS/PAPER/RUN/PHASE/seedK"),
    ],
)
def test_curves_that_do_not_fit_are_named(paper, curves, break_it, message):
    break_it(curves)
    with pytest.raises(UserError, match=message):
        draw_curves(paper, FIGURES.curves["figure2"], by_phase(curves))


def test_examples_are_the_items_with_the_smallest_hashes():
    ids = [f"video{i}" for i in range(100)]
    picked = chosen(reversed(ids), 4)
    keys = {id: hashlib.sha256(id.encode()).hexdigest() for id in ids}
    assert [keys[id] for id in picked] == sorted(keys.values())[:4]
    assert chosen(ids, 3) == picked[:3]
    assert chosen(ids[:2], 4) == sorted(ids[:2], key=keys.get)


def test_all_captions_of_a_set_are_shown(paper, sources, tmp_path):
    ids = [
        line.split("\t")[0] for line in (sources.work / CORPUS / "captions/splits/test.txt").read_text().splitlines()
    ]
    path = tmp_path / CORPUS / "predictions/hrl/xe-baseline.sample/seed1.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({id: [f"first of {id}", f"second of {id}"] for id in ids}))
    facts = {"title": "Sets", "corpus": CORPUS, "methods": [{"method": "XE", "run": "xe-baseline.sample"}], "items": 2}
    figure = Figures.model_validate({"examples": {"figure1": facts}})
    assert (figure.predicted, figure.captioners) == ([(CORPUS, "xe-baseline.sample")], [])
    shown = Sources({}, by_system([path]), sources.work, sources.raw, "cpu")
    words = [text.get_text() for text in draw_examples(paper, figure.examples["figure1"], shown).figure().texts]
    assert (words.count("first"), words.count("second"), words.count("XE")) == (2, 2, 2)
    with pytest.raises(UserError, match=r"hrl/xe-baseline.sample on msrvtt-mini: no predictions; give them too"):
        draw_examples(paper, figure.examples["figure1"], sources)


def test_predictions_that_do_not_say_of_what_they_are_or_lack_an_item_are_named(paper, sources, tmp_path):
    with pytest.raises(UserError, match=r"^pred\.json: must be called …/CORPUS/predictions/PAPER/SYSTEM/seedK\.json"):
        by_system([Path("pred.json")])
    path = tmp_path / CORPUS / "predictions/hrl/xe-baseline.sample/seed1.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"nobody": ["a"]}')
    lacking = Sources(sources.checkpoints, by_system([path]), sources.work, sources.raw, "cpu")
    with pytest.raises(UserError, match=rf"^{path}: no caption of item '\w+'; predict the split again$"):
        examples_of(paper, CORPUS, ["xe-baseline.sample"], 2, lacking)


@pytest.fixture
def stages(world, sources, tmp_path):
    """The figure of a run of Stack-Cap on pictures of 2 x 2 cells; its paper, and where its data lie."""
    stackcap = load_paper(PAPER.with_name("stackcap"), "mini")
    facts = {"title": "Stages", "corpus": CORPUS, "run": "stack-cap", "items": 2}
    changes = {"corpora": tiny_paper().corpora, "figures": Figures.model_validate({"stages": {"figure3": facts}})}
    metadata = {"paper": "stackcap", "run": "stack-cap", "model": "stack-cap", "backbone": "mini-grid"}
    checkpoint = world.untrained(tmp_path / "c.safetensors", **metadata)
    store = FeatureStore(world.features)
    grids = [(id, np.random.default_rng(k).normal(size=(4, DIM))) for k, id in enumerate(sorted(store.items))]
    attributes = BACKBONE | {"backbone": "mini-grid", "dim": DIM, "grid": 2}
    write_store(sources.work / CORPUS / "features/mini-grid.h5", grids, attributes)
    sources = Sources(by_captioner([checkpoint]), {}, sources.work, sources.raw, "cpu")
    return stackcap.model_copy(update=changes), sources


def test_each_stages_caption_is_shown_and_a_map_a_fine_stage_and_word_of_the_last(stages):
    paper, sources = stages
    drawn = draw_stages(paper, paper.figures.stages["figure3"], sources).figure()
    words = [text.get_text() for text in drawn.texts]
    found = examples_of(paper, CORPUS, ["stack-cap.stage0", "stack-cap.stage1", "stack-cap"], 2, sources)
    for example in found:
        for (caption,) in example.found.values():
            assert " ".join(caption.words) in " ".join(words)
    last = [len(example.found["stack-cap"][0].words) for example in found]
    assert len(drawn.axes) == 2 + 2 * sum(last) > 2  # the picture, and the maps
    assert len({" ".join(caption.words) for example in found for (caption,) in example.found.values()}) > 2


def test_a_picture_is_shown_once_however_many_cells_its_grid_has(stages):
    paper, sources = stages
    facts = {"title": "Examples", "corpus": CORPUS, "methods": [{"method": "ours", "run": "stack-cap"}], "items": 2}
    figure = Figures.model_validate({"examples": {"figure1": facts}}).examples["figure1"]
    assert len(draw_examples(paper, figure, sources).figure().axes) == 2


@pytest.mark.parametrize(("places", "grid"), [(3, 0), (4, 0), (1, 0), (16, 2)])
def test_places_that_are_not_the_grid_of_one_picture_have_no_map(stages, places, grid):
    """Boxes, vectors of frames, and grids of several frames."""
    paper, sources = stages
    store = FeatureStore(sources.work / CORPUS / "features/mini-grid.h5")
    rows = [(id, np.tile(store.read(id), (4, 1))[:places]) for id in store.items]
    write_store(store.path, rows, BACKBONE | {"backbone": "mini-grid", "dim": DIM, "grid": grid})
    message = rf"^stackcap: figures\.stages: stack-cap looks at {places} places of \w+, which are not the grid of one"
    with pytest.raises(UserError, match=message):
        draw_stages(paper, paper.figures.stages["figure3"], sources)


def test_hrls_attention_over_a_grid_is_drawn_over_frames(world, paper, sources):
    store = FeatureStore(world.features)
    random = np.random.default_rng(0)
    grids = [(id, random.normal(size=(4 * len(store.read(id)), DIM))) for id in store.items]
    write_store(sources.work / CORPUS / "features/mini.h5", grids, BACKBONE | {"dim": DIM, "grid": 2})
    drawn = draw_attention(paper, FIGURES.attention["figure3"], sources).figure()
    first, second = (len(example.numbers) for example in examples_of(paper, CORPUS, ["hrl-16"], 2, sources))
    areas = [len(axes.patches[0].get_data().values) for axes in drawn.axes if axes.patches]
    assert (areas[0], areas[-1]) == (first, second)


def test_a_picture_is_lit_where_it_is_attended_to():
    picture = np.full((10, 20, 3), 200, np.uint8)
    dark, whole = attention_overlay(picture, np.zeros(16)), attention_overlay(picture, np.ones(16))
    assert set(dark.flat) == {int(200 * SHADE)}
    assert (whole == 200).all()
    corner = attention_overlay(None, np.eye(16)[3])  # the upper right cell of 4 x 4
    height, width, _ = corner.shape
    assert corner[height // 8, -width // 8].min() > 200
    assert corner[height // 2 :].max() < 10 + 255 * SHADE
    assert corner[:, : width // 2].max() < 10 + 255 * SHADE


def test_a_map_is_its_cells_smoothed_by_a_gaussian_of_a_quarter_of_a_cell():
    column = attention_overlay(None, np.tile(np.eye(8)[3], 8))  # the fourth of eight columns is looked at
    cells = (np.arange(column.shape[1]) + 0.5) / 12
    across = np.array([math.erf((x - 3) * 2 * math.sqrt(2)) - math.erf((x - 4) * 2 * math.sqrt(2)) for x in cells]) / 2
    np.testing.assert_allclose((column[48, :, 0] / 255 - SHADE) / (1 - SHADE), across, atol=0.03)


def test_every_figure_becomes_a_png_and_all_of_them_a_page(paper, curves, sources, tmp_path):
    written = draw_figures(paper, "mini", curves, [], sources, tmp_path / "out")
    assert [path.name for path in written] == ["figure1.png", "figure2.png", "figure3.png", "figures.html"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [path.name for path in written]
    page = written[-1].read_text(encoding="utf-8")
    for path, data in zip(written, re.findall(r'src="data:image/png;base64,([^"]+)"', page), strict=False):
        assert b64decode(data) == path.read_bytes()
        with Image.open(path) as image:
            image.load()
            assert (image.format, image.width) == ("PNG", 1080)
    assert RULE in page
    assert "smallest SHA-256" in page
    assert f"Examples &lt;of&gt; ours, {CORPUS}" in page


class Resources(HTMLParser):
    """Every attribute that could make a browser fetch something."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found += [value for name, value in attributes if name in ("src", "href", "srcset", "data", "poster")]
        assert tag not in ("script", "link", "iframe", "object")


def test_the_page_needs_nothing_but_itself(paper, curves, sources, tmp_path):
    page = draw_figures(paper, "mini", curves, [], sources, tmp_path / "out")[-1].read_text(encoding="utf-8")
    parser = Resources()
    parser.feed(page)
    assert len(parser.found) == 3
    assert all(value.startswith("data:image/png;base64,") for value in parser.found)
    assert "http" not in page
    assert "url(" not in page
    assert "@import" not in page


def test_equal_inputs_give_equal_bytes(paper, curves, sources, tmp_path):
    first, second = (draw_figures(paper, "mini", curves, [], sources, tmp_path / name) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_without_clips_the_figures_are_text_alone(paper, curves, sources, tmp_path):
    whole = draw_figures(paper, "mini", curves, [], sources, tmp_path / "whole")
    shutil.rmtree(sources.raw)
    text = draw_figures(paper, "mini", curves, [], sources, tmp_path / "text")
    heights = [[Image.open(path).height for path in paths[:3]] for paths in (whole, text)]
    assert np.less(heights[1], heights[0]).tolist() == [True, False, True]


def test_captions_and_references_are_shown(paper, sources):
    sheet = draw_examples(paper, FIGURES.examples["figure1"], sources)
    words = [text.get_text() for text in sheet.figure().texts]
    ids = [
        line.split("\t")[0] for line in (sources.work / CORPUS / "captions/splits/test.txt").read_text().splitlines()
    ]
    assert [word for word in words if word in ids] == chosen(ids, 2)
    assert words.count("XE") == words.count("HRL") == words.count("references") == 2
    assert {"lifts", "kicks", "paints"} & set(words)


def test_a_missing_checkpoint_is_named(paper, curves, sources, tmp_path):
    del sources.checkpoints[CORPUS, "hrl-16"]
    with pytest.raises(UserError, match="hrl/hrl-16 on msrvtt-mini: no checkpoint; give that of its last phase too"):
        draw_figures(paper, "mini", curves, [], sources, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_checkpoints_of_a_run_are_refused(world, tmp_path):
    files = [world.untrained(tmp_path / f"{name}.safetensors") for name in "ab"]
    with pytest.raises(UserError, match=r"b\.safetensors: xe-baseline on msrvtt-mini like .*a\.safetensors"):
        by_captioner(files)


def test_a_paper_without_figures_says_so(paper, sources, tmp_path):
    with pytest.raises(UserError, match=r"papers/hrl: figures: there are none"):
        draw_figures(paper.model_copy(update={"figures": Figures()}), "mini", [], [], sources, tmp_path)


def with_figures(path: Path, figures: dict) -> Path:
    """papers/hrl, its figures replaced, at `path`."""
    shutil.copytree(PAPER, path)
    raw = (PAPER / "paper.yaml").read_text()
    drawn = f"\nfigures: {json.dumps(figures)}\n"
    (path / "paper.yaml").write_text(re.sub(r"\nfigures:.*", drawn, raw, flags=re.DOTALL))
    return path


def test_the_command_draws_what_the_yaml_says(curves, tmp_path, monkeypatch, capsys):
    drawn = {"curves": {"f5": {"title": "C", "corpus": "msrvtt", "methods": METHODS}}}
    with_figures(tmp_path / "papers/hrl", drawn)
    monkeypatch.chdir(tmp_path)
    arguments = ["figures", "hrl", "--scale", "mini", "--out", "out", "--curves", *map(str, curves), "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["captionrl", *arguments])
    cli.main()
    assert capsys.readouterr().out.splitlines() == ["out/f5.png", "out/figures.html"]


@pytest.fixture
def edited(tmp_path):
    """The paper at the mini scale, its figures replaced."""
    return lambda figures: load_paper(with_figures(tmp_path / "hrl", figures), "mini")


def test_at_the_mini_scale_figures_are_of_mini_corpora(edited):
    figures = edited({"curves": {"f": {"title": "t", "corpus": "charades", "methods": METHODS}}}).figures
    assert figures.learners == [("charades-mini", "xe-baseline"), ("charades-mini", "hrl-16")]


def test_attributes_come_from_a_checkpoint_though_the_captions_do_not():
    facts = {"title": "t", "corpus": "c", "methods": [{"method": "E2E", "run": "e2e.greedy"}]}
    needed = [Figures.model_validate({"examples": {"f": facts | {"attributes": count}}}).captioners for count in (0, 2)]
    assert needed == [[], [("c", "e2e")]]


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ({"curves": {"f": {"corpus": "tgif"}}}, "figures.curves.f.corpus: no corpus is called 'tgif'"),
        ({"curves": {"f": {"methods": [{"method": "X", "run": "xe"}]}}}, "figures.curves.f.methods[0].run: no run is"),
        ({"attention": {"f": {"run": "hrl"}}}, "figures.attention.f.run: no run is called 'hrl'"),
        ({"attention": {"f": {"run": "s2vt"}}}, "figures.attention.f.run: s2vt has no segments with attention; give"),
        (
            {"curves": {"f": {"methods": [{"method": "X", "run": "boundary-critic"}]}}},
            "methods[0].run: boundary-critic writes no",
        ),
        ({"curves": {"f": {}}, "attention": {"f": {"run": "hrl-16"}}}, "figures: two are called f"),
        ({"curves": {"f": {"colour": "red"}}}, "figures.curves.f.colour: unknown key"),
    ],
)
def test_a_mistake_in_the_yaml_is_named(edited, figures, message):
    common = {"title": "t", "corpus": "charades"}
    defaults = {"curves": common | {"methods": METHODS}, "attention": common}
    whole = {kind: {name: defaults[kind] | value for name, value in made.items()} for kind, made in figures.items()}
    with pytest.raises(UserError, match=re.escape(message)):
        edited(whole)


def test_text_wraps_within_its_width_and_no_line_begins_with_a_bar_or_stop():
    pieces = [piece for index in range(60) for piece in (("|", GREY), *plain(f"word{index % 7} of it ."))][1:]
    sheet = Sheet()
    bottom = sheet.text(pieces, 1, MARGIN, 3.0)
    texts = sheet.figure().texts
    places = [(text.get_position()[0] * WIDTH, text.get_position()[1]) for text in texts]
    lines = sorted({round(y, 6) for _, y in places})
    assert len(lines) > 10
    assert all(gap == pytest.approx(lines[1] - lines[0], rel=1e-3) for gap in (b - a for a, b in pairwise(lines)))
    assert not any(text.get_text() in "|." and x == 1 for text, (x, _) in zip(texts, places, strict=True))
    renderer = sheet.figure().canvas.get_renderer()
    for text in sheet.figure().texts:
        box = text.get_window_extent(renderer)
        assert box.x1 / 120 < 1 + 3.0 + MARGIN
        assert box.height / 120 < (bottom - MARGIN) / len(lines)
