"""`captionrl caption`: any video, GIF or image gets the caption that the pipeline would give it."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny import World, tiny_world

from captionrl.config.backbones import BACKBONES, RANDOM, Download
from captionrl.datasets.corpus import SPLITS, Corpus, Item
from captionrl.datasets.mini import write
from captionrl.datasets.prepare import prepare
from captionrl.evaluation.predict import predict
from captionrl.features.backbones import MiniResNet, load_backbone, save_mini
from captionrl.features.extract import extract
from captionrl.features.video import MediaError
from captionrl.features.weights import find_weights
from captionrl.files import sha256
from captionrl.tables.caption_figure import figure_paths
from captionrl.text.vocabulary import EOS

BEAM = 3


@pytest.fixture(scope="module")
def media(tmp_path_factory) -> dict[str, Path]:
    """Clips of the mini world, rendered, in a directory of their own; by id."""
    raw = tmp_path_factory.mktemp("charades-mini")
    write.write_charades(raw, 1, sizes=(1, 2))
    return {path.stem: path for path in sorted(raw.rglob("*.mp4"))}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return tiny_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """The mini backbone, untrained."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("backbone") / "mini.safetensors"
    save_mini(MiniResNet({"place": 3}).eval(), path)
    return path


@pytest.fixture(scope="module")
def checkpoint(world, weights):
    """Makes an untrained checkpoint of a model over that backbone's features."""

    def make(model: str = "attention", **changes) -> Path:
        facts = {"model": model, "features": MiniResNet.dim, "backbone_sha256": sha256(weights)} | changes
        return world.untrained(world.root / f"{model}.safetensors", **facts)

    return make


@pytest.fixture
def run(command_line, weights):
    """(exit status, stdout, stderr) of `captionrl caption`."""

    def call(*arguments, weights=weights):
        options = ["--beam", BEAM, "--device", "cpu", *(["--weights", weights] if weights else [])]
        return command_line("caption", *options, *arguments)

    return call


@pytest.fixture
def predicted(media, weights, tmp_path):
    """What the pipeline predicts for those clips with a checkpoint."""

    def predicted(checkpoint: Path, **how: bool) -> dict[str, str]:
        items = [Item(id, split, None) for id, split in zip(media, SPLITS, strict=True)]
        prepare(Corpus("clips", items, {id: ["a clip"] for id in media}, "made up"), tmp_path / "captions", min_count=1)
        store, out, found = tmp_path / "store.h5", tmp_path / "predicted.json", {}
        files = {"out": store, "manifest": store.with_suffix(".json"), "state": tmp_path / "state"}
        extract(list(media.items()), load_backbone("mini", weights), **files, code_version="v", workers=1)
        for split in SPLITS:
            predict(checkpoint, tmp_path / "captions", store, out, split=split, beam=BEAM, device="cpu", **how)
            found |= json.loads(out.read_text())
        return found

    return predicted


@pytest.mark.parametrize("model", ["attention", "hrl"])
def test_captions_are_those_of_the_pipeline(run, media, checkpoint, predicted, model):
    path = checkpoint(model)
    status, out, err = run(path, *media.values(), "--json")
    assert (status, err) == (0, "")
    assert {Path(found["file"]).stem: found["caption"] for found in json.loads(out)} == predicted(path)


def test_a_beam_ranked_by_words_is_that_of_the_pipeline(run, media, checkpoint, predicted):
    path = checkpoint()
    tensors = load_file(path)
    tensors["head.3.bias"][EOS] += 2  # some short captions
    with safe_open(path, "pt") as file:
        save_file(tensors, path, file.metadata())
    status, out, err = run(path, *media.values(), "--json", "--length-normalised")
    assert (status, err) == (0, "")
    found = {Path(found["file"]).stem: found["caption"] for found in json.loads(out)}
    assert found == predicted(path, length_normalised=True) != predicted(path)


def test_a_line_a_file(run, media, checkpoint):
    status, out, err = run(checkpoint(), *media.values())
    assert (status, err) == (0, "")
    assert [line.split(": ")[0] for line in out.splitlines()] == [str(path) for path in media.values()]
    assert "|" not in out


def test_hrls_segments_are_shown(run, media, checkpoint):
    found = json.loads(run(checkpoint("hrl"), *media.values(), "--json")[1])
    assert [" ".join(map(" ".join, one["segments"])) for one in found] == [one["caption"] for one in found]
    lines = [f"{one['file']}: {' | '.join(map(' '.join, one['segments']))}" for one in found]
    assert run(checkpoint("hrl"), *media.values())[1].splitlines() == lines
    assert any("|" in line for line in lines)


def test_json_says_what_was_read(run, media, checkpoint, world):
    found = json.loads(run(checkpoint(), *media.values(), "--json")[1])
    assert all(set(one) == {"file", "caption", "segments", "log_probability", "frames"} for one in found)
    assert all(one["segments"] is None and one["log_probability"] < 0 for one in found)
    assert {one["frames"] for one in found} == {world.metadata().settings["max_frames"]}  # the clips are longer


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif"])
def test_a_still_image_is_a_clip_of_one_frame(run, checkpoint, tmp_path, suffix):
    Image.fromarray(np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3)).save(tmp_path / f"still.{suffix}")
    (found,) = json.loads(run(checkpoint(), tmp_path / f"still.{suffix}", "--json", "--figure", tmp_path / "to")[1])
    assert found["frames"] == 1
    assert is_png(tmp_path / "to/still.caption.png")


def test_a_file_that_is_no_video_stops_no_other(run, media, checkpoint, tmp_path):
    (tmp_path / "notes.txt").write_text("no video")
    first, second, _ = media.values()
    files = [first, tmp_path / "notes.txt", second, tmp_path / "absent.mp4"]
    status, out, err = run(checkpoint(), *files)
    assert status == 2
    assert [line.split(": ")[0] for line in out.splitlines()] == [str(first), str(second)]
    assert [line.split(": ")[:2] for line in err.splitlines()] == [["captionrl caption", str(files[i])] for i in (1, 3)]
    status, out, _ = run(checkpoint(), *files, "--json")
    assert status == 2
    assert [one["file"] for one in json.loads(out)] == [str(first), str(second)]


def test_a_file_name_that_begins_with_a_dash_comes_after_two(run, media, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-clip.mp4").symlink_to(next(iter(media.values())))
    assert run(checkpoint(), "--", "-clip.mp4")[1].startswith("-clip.mp4: ")
    assert run("--", checkpoint(), "-clip.mp4")[1].startswith("-clip.mp4: ")
    status, out, err = run(checkpoint(), "-clip.mp4")
    assert (status, out) == (2, "")
    hint = "if it is a file, put -- before it"
    assert err == f"captionrl caption: unknown option -clip.mp4; {hint} (see `captionrl caption --help`)\n"


@pytest.fixture
def refused(run, media):
    """The one line with which a checkpoint or option is refused."""

    def call(checkpoint, *arguments, **options):
        status, out, err = run(checkpoint, *media.values(), *arguments, **options)
        assert (status, out) == (2, "")
        assert err.startswith("captionrl caption: ")
        assert err.count("\n") == 1
        return err

    return call


def test_other_weights_than_in_training_are_refused(refused, checkpoint, weights):
    message = refused(checkpoint(backbone_sha256="1" * 64))
    assert str(weights) in message
    assert f"(sha256 {sha256(weights)[:12]}, not 111111111111); name those with --weights" in message


@pytest.mark.parametrize("backbone", [name for name, spec in BACKBONES.items() if isinstance(spec.weights, Download)])
def test_absent_weights_name_the_rule_that_makes_them(refused, checkpoint, tmp_path, monkeypatch, backbone):
    path = checkpoint(backbone=backbone)
    monkeypatch.chdir(tmp_path)
    file = BACKBONES[backbone].weights.path
    fix = f"make it with `snakemake {file}` in the project's folder and run this there, or name another with --weights"
    assert f"{file}: no such file; {fix}" in refused(path, weights=None)
    assert "elsewhere.pth: no such file" in refused(path, weights=tmp_path / "elsewhere.pth")


def test_in_another_folder_the_projects_own_weights_are_named(refused, world, checkpoint, tmp_path, monkeypatch):
    file = BACKBONES["resnet152"].weights.path
    path = checkpoint(backbone="resnet152")
    monkeypatch.chdir(tmp_path)
    there = world.root / file
    there.parent.mkdir(parents=True)
    there.touch()
    monkeypatch.setattr("captionrl.features.weights.Path.is_file", lambda path: path == there)
    assert f"{file}: no such file; add --weights {there}\n" in refused(path, weights=None)


def test_the_mini_backbones_weights_are_the_packages(refused, checkpoint, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # wherever that is called
    message = refused(checkpoint(backbone_sha256="1" * 64), weights=None)
    assert f"{find_weights('mini', None)}: other weights of mini than" in message


@pytest.mark.parametrize("backbone", ["timm:test_vit", "timm:test_efficientnet@grid2"])
def test_a_checkpoint_trained_on_a_model_of_timm_captions_files(run, refused, media, checkpoint, tmp_path, backbone):
    """By the weights that its features were made with, and by no others."""
    from captionrl.features.libraries import timm

    model = backbone.removeprefix("timm:").partition("@")[0]
    save_file(timm.create_model(model).state_dict(), tmp_path / "weights.safetensors")
    loaded = load_backbone(backbone, tmp_path / "weights.safetensors")
    path = checkpoint(features=loaded.dim, backbone=backbone, backbone_sha256=loaded.weights_sha256)
    status, out, err = run(path, *media.values(), weights=tmp_path / "weights.safetensors")
    assert (status, err, out.count("\n")) == (0, "", len(media))
    assert f"{backbone}: has no weights of its own; name their file with --weights" in refused(path, weights=None)
    assert f"random: other weights of {backbone} than" in refused(path, weights=RANDOM)


def test_a_checkpoint_trained_on_random_weights_captions_with_them_alone(run, refused, media, checkpoint):
    loaded = load_backbone("timm:test_resnet", RANDOM)
    path = checkpoint(features=loaded.dim, backbone="timm:test_resnet", backbone_sha256=loaded.weights_sha256)
    assert run(path, *media.values(), weights=RANDOM)[0] == 0
    assert "or try it with --weights random" in refused(path, weights=None)


def test_a_checkpoint_without_visual_input_captions_no_video(refused, checkpoint):
    assert "attention.safetensors: trained without visual input" in refused(checkpoint(visual_input=False))
    assert "attention.safetensors: trained on frames of an unknown rate" in refused(checkpoint(fps=0.0))


def test_a_checkpoint_of_annotations_captions_no_video(refused, checkpoint):
    message = refused(checkpoint(backbone="annotations"))
    what = "trained on annotations features, which are not computed from pixels here; give a checkpoint trained on a"
    assert f"attention.safetensors: {what} backbone's" in message


def test_a_checkpoint_of_imported_features_says_how_to_caption_more(refused, checkpoint):
    message = refused(checkpoint(backbone="own:clip"))
    fix = "import those of your files (`captionrl features import --like`) and use `captionrl predict`, or give"
    assert f"trained on own:clip features, which are not computed from pixels here; {fix} a checkpoint" in message


@pytest.mark.parametrize("model", ["attention", "hrl", "s2vt"])
def test_figures_are_pngs_and_equal_calls_draw_equal_ones(run, media, checkpoint, tmp_path, model):
    drawn = []
    for directory in (tmp_path / "a", tmp_path / "b"):
        assert run(checkpoint(model), *media.values(), "--figure", directory)[0] == 0
        assert {path.name for path in directory.iterdir()} == {f"{name}.caption.png" for name in media}
        assert all(is_png(path) for path in directory.iterdir())
        drawn.append([path.read_bytes() for path in sorted(directory.iterdir())])
    assert drawn[0] == drawn[1]


def test_two_files_of_one_name_would_share_a_figure(refused, checkpoint, media, tmp_path):
    (tmp_path / "M0000.mp4").touch()
    message = refused(checkpoint(), tmp_path / "M0000.mp4", "--figure", tmp_path / "to")
    assert (
        f"M0000.caption.png: would show both {media['M0000']} and {tmp_path / 'M0000.mp4'}; caption them in two"
        in message
    )


def test_a_picture_never_takes_the_place_of_a_file(refused, checkpoint, tmp_path):
    for name in ("still.png", "still.caption.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    before = (tmp_path / "still.caption.png").read_bytes()
    files = tmp_path / "still.png", tmp_path / "still.caption.png"
    assert "would be replaced by the picture of" in refused(checkpoint(), *files, "--figure", tmp_path)
    assert (tmp_path / "still.caption.png").read_bytes() == before


def test_what_a_picture_cannot_replace_is_refused(refused, checkpoint, media, tmp_path):
    os.mkfifo(tmp_path / "M0000.caption.png")
    message = refused(checkpoint(), media["M0000"], "--figure", tmp_path)
    assert "M0000.caption.png: is no regular file, and would be replaced; give --figure another directory" in message
    message = refused(checkpoint(), media["M0000"], "--figure", media["M0000"])
    assert f"--figure: {media['M0000']} is no directory; give one" in message


def test_a_name_too_long_for_its_picture_is_cut(tmp_path):
    long, accents = tmp_path / f"{'a' * 251}.mp4", tmp_path / f"{'é' * 125}.mp4"
    pictures = figure_paths([long, accents], tmp_path)
    for path in pictures.values():
        path.touch()
    assert [path.name for path in pictures.values()] == [f"{'a' * 243}.caption.png", f"{'é' * 121}.caption.png"]


def test_pictures_of_many_files_are_found_in_linear_time(tmp_path, monkeypatch):
    files = [tmp_path / f"{number}.mp4" for number in range(50)]
    for file in files:
        file.touch()
        file.with_suffix(".caption.png").touch()
    calls = 0
    stat = os.stat

    def counted(*arguments, **options):
        nonlocal calls
        calls += 1
        return stat(*arguments, **options)

    monkeypatch.setattr(os, "stat", counted)
    assert len(figure_paths(files, tmp_path)) == 50
    assert calls < 10 * len(files)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), ".caption.png: No space left on device"),
        (MediaError(Path("a.mp4"), "truncated"), "captionrl caption: a.mp4: truncated"),
    ],
)
def test_where_a_picture_cannot_be_drawn_the_captions_are_there(
    run, media, checkpoint, tmp_path, monkeypatch, error, said
):
    def fail(*_):
        raise error

    monkeypatch.setattr("captionrl.tables.caption_figure.draw_caption_figure", fail)
    status, out, err = run(checkpoint(), *media.values(), "--figure", tmp_path, "--json")
    assert (status, len(json.loads(out))) == (2, len(media))
    assert err.count(said) == len(media)


def is_png(path: Path) -> bool:
    with Image.open(path) as image:
        image.load()
        return image.format == "PNG" and image.width > 500
