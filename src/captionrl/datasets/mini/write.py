"""The mini world's clips, pictures and captions in the files of the real data sets."""

import csv
import hashlib
import io
import json
import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from functools import partial
from multiprocessing import parent_process
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any

import numpy as np

from captionrl.datasets.formats import CHARADES_HEADER, MSVD_CAPTIONS, MSVD_FOLDER, MSVD_LAST, MSVD_MAPPING
from captionrl.datasets.mini import grammar, lists, talk
from captionrl.datasets.mini.draw import render, write_clip, write_gif, write_still
from captionrl.datasets.mini.stills import sample_still
from captionrl.datasets.mini.world import (
    ACTIONS,
    ACTORS,
    LABELS,
    OBJECTS,
    PEOPLE,
    PLACES,
    Scene,
    frame_labels,
    sample_scene,
)
from captionrl.errors import UserError
from captionrl.files import atomic, decode_utf8, write_json, write_text
from captionrl.progress import progress

FRAME_RATES = (Fraction(12), Fraction(15), Fraction(24000, 1001), Fraction(25))  # real clips have all sorts
SEED = 2018
NAMES = (
    "msrvtt-mini", "charades-mini", "charades-annotations-mini", "imagenet-mini", "coco-mini", "tgif-mini", "msvd-mini",
)  # fmt: skip
MEDIA = (".mp4", ".avi", ".jpg", ".gif")
RENDERED = ".rendered"  # in a data set's directory: a version of the code, then the media that it made, a path a line


def write_world(name: str, raw: Path, *, version: str, workers: int = 1) -> dict[str, int]:
    """Write the mini data set `name` below `raw`; return {file: bytes}.

    Clips and pictures that this `version` of the code has already rendered are kept, so an interrupted run goes on
    where it stopped; those of another version go. Raises UserError where `raw` holds files that it did not write.
    """
    if name not in NAMES:
        raise UserError(f"{name}: no such mini data set; there are {', '.join(NAMES)}")
    before, rendered = _rendered(raw)
    if not before and any(path.is_file() and not path.name.startswith(".") for path in raw.rglob("*")):
        raise UserError(f"{raw}: holds files that `captionrl render` did not write; name an empty directory")
    if before != version:
        for path in rendered:
            path.unlink(missing_ok=True)
        write_text(raw / RENDERED, f"{version}\n")
    match name:
        case "msrvtt-mini":
            write_msrvtt(raw, workers)
        case "charades-mini":
            write_charades(raw, workers)
        case "charades-annotations-mini":  # the same csv files, for who has no clips
            write_charades(raw, workers, clips=False)
        case "imagenet-mini":
            write_imagenet(raw)
        case "coco-mini":
            write_coco(raw, workers)
        case "tgif-mini":
            write_tgif(raw, workers)
        case "msvd-mini":
            write_msvd(raw, workers)
    files = sorted(path for path in raw.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(raw)): path.stat().st_size for path in files if path.name != "raw.json"}


def write_msrvtt(raw: Path, workers: int, sizes: tuple[int, int, int] = (700, 100, 200), captions: int = 20) -> None:
    """MSR-VTT's two json files and its clips: one event of 3 to 5 seconds, twenty captions each."""
    random = Random(f"msrvtt-{SEED}")
    splits = ["train"] * sizes[0] + ["validate"] * sizes[1] + ["test"] * sizes[2]
    scenes = [sample_scene(random, train=split == "train", actors=ACTORS, events=1, seconds=4.0) for split in splits]
    clips = []
    for name, wanted in (("train_val", ("train", "validate")), ("test", ("test",))):
        videos, sentences = [], []
        for index, (split, scene) in enumerate(zip(splits, scenes, strict=True)):
            if split not in wanted:
                continue
            folder = "TestVideo" if split == "test" else "TrainValVideo"
            clips.append((scene, raw / folder / f"video{index}.mp4", FRAME_RATES[index % 4]))
            videos.append(
                {
                    "category": PLACES.index(scene.place),
                    "url": "",
                    "video_id": f"video{index}",
                    "start time": 0.0,
                    "end time": scene.seconds,
                    "split": split,
                    "id": index,
                }
            )
            for number in range(captions):
                sentence = grammar.caption(scene, random)
                sentences.append(
                    {"caption": sentence, "video_id": f"video{index}", "sen_id": index * captions + number}
                )
        info = {"contributor": "captionrl", "description": "the mini world in MSR-VTT's format", "version": "1.0"}
        write_json(raw / f"{name}_videodatainfo.json", {"info": info, "videos": videos, "sentences": sentences})
    _write_media(raw, write_clip, clips, workers, unit="clip")


def write_charades(raw: Path, workers: int, sizes: tuple[int, int] = (900, 200), clips: bool = True) -> None:
    """Charades' csv files and, unless asked not to, its clips: two or three events, two to five captions each.

    The reader takes validation items out of the training file; they may share triples with training ones, as they
    do in the real data set. Test items never do.
    """
    random = Random(f"charades-{SEED}")
    columns = CHARADES_HEADER.split(",")
    classes = {(action, thing): f"c{i:03d}" for i, (action, thing) in enumerate(_pairs())}
    rendered, number = [], 0
    for split, size in zip(("train", "test"), sizes, strict=True):
        rows = []
        for _ in range(size):
            events = random.choice((2, 3, 3))
            scene = sample_scene(random, train=split == "train", actors=PEOPLE, events=events, seconds=3.0)
            name, number = f"M{number:04d}", number + 1
            rendered.append((scene, raw / "Charades_v1_480" / f"{name}.mp4", FRAME_RATES[number % 4]))
            texts = [grammar.description(scene, random) for _ in range(random.randint(1, 4))]
            timed = [f"{classes[e.action, e.object]} {e.start:.2f} {e.end:.2f}" for e in scene.events]
            rows.append(
                (
                    name,
                    f"S{random.randrange(20):03d}",
                    scene.place.capitalize(),
                    random.randint(4, 7),
                    random.randint(4, 7),
                    "Yes" if random.random() < 0.95 else "No",
                    grammar.script(scene, random),
                    ";".join(e.object for e in scene.events),
                    ";".join(texts),
                    ";".join(timed),
                    f"{scene.seconds:.2f}",
                )
            )
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([columns, *rows])
        write_text(raw / f"Charades_v1_{split}.csv", text.getvalue())
    write_text(raw / "Charades_v1_classes.txt", "".join(f"{c} {a} a {o}\n" for (a, o), c in classes.items()))
    if clips:
        _write_media(raw, write_clip, rendered, workers, unit="clip")


def write_imagenet(raw: Path, size: int = 6000) -> None:
    """Labelled stills for the mini backbone, as ImageNet is for the real ones: pictures of no corpus' clip.

    Each shows one instant of a scene of its own, with no held-out triple. All lie in one file, `images.npz`, beside
    the classes of their attributes.
    """
    random = Random(f"imagenet-{SEED}")
    images, labels = [], []
    for _ in progress(range(size), title="rendering", unit="still"):
        scene = sample_scene(random, train=True, actors=ACTORS, events=1, seconds=4.0)
        time = random.uniform(0, scene.seconds)
        images.append(np.asarray(render(scene, time)))
        labels.append(list(frame_labels(scene, time).values()))
    heads = np.array(json.dumps(LABELS))
    with atomic(raw / "images.npz") as temporary:
        np.savez_compressed(temporary, images=np.stack(images), labels=np.array(labels), heads=heads)


def write_coco(
    raw: Path, workers: int, sizes: tuple[int, int, int, int] = (1300, 200, 150, 250), unseen: int = 60
) -> None:
    """Karpathy's dataset_coco.json and its JPEGs: stills of several things, five captions each.

    As in the real file, restval (the second size) is extra training data from COCO's validation images. Beside it two
    files of COCO's own: the captions of its validation images, and a list of `unseen` test images without captions.
    """
    random = Random(f"coco-{SEED}")
    splits = [
        split for split, size in zip(("train", "restval", "val", "test"), sizes, strict=True) for _ in range(size)
    ]
    pictures, images = [], []
    for number, split in enumerate(splits):
        still = sample_still(random, train=split in ("train", "restval"))
        folder = "train2014" if split == "train" else "val2014"
        cocoid = 9 + 7 * number  # the real ones have gaps too
        file, sentids = f"COCO_{folder}_{cocoid:012d}.jpg", list(range(5 * number, 5 * number + 5))
        pictures.append((still, raw / folder / file))
        captions = [talk.caption(still, random) for _ in sentids]
        images.append(
            {
                "filepath": folder,
                "filename": file,
                "imgid": number,
                "cocoid": cocoid,
                "sentids": sentids,
                "split": split,
                "sentences": [
                    {
                        "tokens": caption.lower().replace(",", "").rstrip(".").split(),
                        "raw": caption,
                        "imgid": number,
                        "sentid": sentid,
                    }
                    for sentid, caption in zip(sentids, captions, strict=True)
                ],
            }
        )
    write_json(raw / "dataset_coco.json", {"dataset": "coco", "images": images})
    write_json(raw / "annotations/captions_val2014.json", lists.captions_file(images, "val2014"))
    tests = lists.test_images(Random(f"coco-test2014-{SEED}"), unseen)
    write_json(raw / "annotations/image_info_test2014.json", lists.listing(tests))
    pictures += [(still, raw / "test2014" / name) for name, still in tests.items()]
    _write_media(raw, write_still, pictures, workers, unit="picture")


def write_tgif(raw: Path, workers: int, sizes: tuple[int, int, int] = (2400, 150, 250)) -> None:
    """TGIF's tsv, its lists of splits and its GIFs: one event of 2 to 4 seconds.

    Most training GIFs have one caption, as in the real data set: so there are more of them than of clips.
    """
    random = Random(f"tgif-{SEED}")
    counts = {"train": (1, 1, 1, 2), "val": (1, 2, 3), "test": (1, 2, 3)}
    gifs: list[tuple[Scene, Path]] = []
    rows = []
    for (split, choices), size in zip(counts.items(), sizes, strict=True):
        urls = []
        for _ in range(size):
            scene = sample_scene(random, train=split == "train", actors=ACTORS, events=1, seconds=3.0)
            name = f"tumblr_mini{len(gifs):05d}_400.gif"
            # No such host can exist: .example is reserved (RFC 2606).
            urls.append(f"https://38.media.example/{hashlib.md5(name.encode()).hexdigest()}/{name}")
            gifs.append((scene, raw / "gifs" / name))
            rows += [f"{urls[-1]}\t{grammar.caption(scene, random)}\n" for _ in range(random.choice(choices))]
        write_text(raw / "splits" / f"{split}.txt", "".join(f"{url}\n" for url in urls))
    write_text(raw / "tgif-v1.0.tsv", "".join(rows))
    _write_media(raw, write_gif, gifs, workers, unit="GIF")


def write_msvd(raw: Path, workers: int, sizes: tuple[int, int, int] = (1000, 100, 200)) -> None:
    """MSVD's caption list, its numbers and its clips: one event of 3 to 5 seconds, eight to twelve captions each.

    The numbers of a part begin where they do in the real data set, but there are fewer of them.
    """
    random = Random(f"msvd-{SEED}")
    clips: list[tuple[Scene, Path, Fraction]] = []
    rows = ["# English captions of the mini world's clips, in MSVD's format\n", "\n"]
    mapping = []
    firsts = (1, MSVD_LAST["train"] + 1, MSVD_LAST["val"] + 1)
    for part, first, size in zip(MSVD_LAST, firsts, sizes, strict=True):
        for number in range(first, first + size):
            scene = sample_scene(random, train=part == "train", actors=ACTORS, events=1, seconds=4.0)
            code = hashlib.md5(f"msvd-{number}".encode()).hexdigest()[:11]  # as long as YouTube's ids are
            clip = f"{code}_0_{round(scene.seconds)}"
            clips.append((scene, raw / MSVD_FOLDER / f"{clip}.avi", FRAME_RATES[number % 4]))
            rows += [f"{clip} {grammar.caption(scene, random)}\n" for _ in range(random.randint(8, 12))]
            mapping.append(f"{clip} vid{number}\n")
    write_text(raw / MSVD_CAPTIONS, "".join(rows))
    write_text(raw / MSVD_MAPPING, "".join(mapping))
    _write_media(raw, write_clip, clips, workers, unit="clip")


def _pairs() -> list[tuple[str, str]]:
    return [(action, thing) for action in ACTIONS for thing in OBJECTS]


def _rendered(raw: Path) -> tuple[str, list[Path]]:
    """The version of the code that rendered what is there, or "", and the clips and pictures that it made."""
    if not (raw / RENDERED).is_file():
        return "", []
    version, *names = decode_utf8((raw / RENDERED).read_bytes(), raw / RENDERED).splitlines() or [""]
    paths = [raw / name for name in names if name.endswith(MEDIA) and ".." not in Path(name).parts]
    return version, [path for path in paths if path.is_relative_to(raw)]


def _write_media(raw: Path, write: Callable[..., None], media: list[tuple[Any, ...]], workers: int, unit: str) -> None:
    """Call `write` with each tuple (scene, path, ...) whose file is not there yet; RENDERED names it from then on."""
    missing = [one for one in media if not one[1].exists()]
    version, rendered = _rendered(raw)
    names = sorted({str(path.relative_to(raw)) for path in (*rendered, *(one[1] for one in missing))})
    write_text(raw / RENDERED, "\n".join([version, *names, ""]))
    with ProcessPoolExecutor(workers, initializer=_prepare_worker) as pool:
        done = pool.map(partial(_write_one, write), missing, chunksize=8)
        try:
            for _ in progress(done, total=len(missing), title="rendering", unit=unit):
                pass
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # but for what is being rendered
            raise


def _prepare_worker() -> None:
    """Ctrl-C is for the parent to hear, whose end a worker must notice: it would wait for work for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def wait() -> None:
        parent_process().join()  # type: ignore[union-attr]  # a worker has one
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def _write_one(write: Callable[..., None], one: tuple[Any, ...]) -> None:
    write(*one)
