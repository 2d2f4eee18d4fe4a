"""From an empty folder to raw.json of every data set, by Snakemake's targets alone, from a server that misbehaves.

CAPTIONRL_KILLS=50 and CAPTIONRL_SEED=7 kill it so often, and at other moments.
"""

import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import time
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import BIN
from unreliable import serving

from captionrl.datasets.formats import CHARADES_HEADER
from captionrl.datasets.manifest import PACKAGED
from captionrl.files import read_json

CORPORA = ("charades", "charades-annotations", "coco", "coco-82k", "flickr8k", "flickr30k", "msrvtt", "msvd")
CORPORA += ("msvd-laptop", "tgif")
ACCEPT = "accept=[charades,flickr8k,flickr30k,msrvtt,msvd,tgif]"
TARGETS = [f"data/{corpus}/raw.json" for corpus in CORPORA]
KILLS = int(os.environ.get("CAPTIONRL_KILLS", "3"))
SEED = int(os.environ.get("CAPTIONRL_SEED", "1"))
MEDIA = b"a picture or a clip"
GIF = b"GIF89a of a dog"


def zipped(**files: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, data in files.items():
            file.writestr(zipfile.ZipInfo(name), data)  # of 1980: always the same bytes
    return content.getvalue()


def media(folder: str, *names: str) -> bytes:
    return zipped(**{f"{folder}/{name}": MEDIA for name in names})


def karpathy(*images: tuple[str, str]) -> bytes:
    made = [
        {"filepath": name.split("_")[1], "filename": name, "split": split, "sentences": [{"raw": "a dog"}]}
        for name, split in images
    ]
    return json.dumps({"images": made}).encode()


def msrvtt(*videos: tuple[str, str]) -> bytes:
    document = {
        "videos": [{"video_id": id, "split": split} for id, split in videos],
        "sentences": [{"video_id": id, "caption": "a dog"} for id, _ in videos],
    }
    return json.dumps(document).encode()


def charades(*ids: str) -> bytes:
    columns = CHARADES_HEADER.split(",")
    values = {"verified": "Yes", "script": "a dog", "descriptions": "a dog", "length": "3"}
    rows = [",".join({**values, "id": id, "subject": id}.get(column, "") for column in columns) for id in ids]
    return "\n".join([CHARADES_HEADER, *rows]).encode()


def files(url: str) -> dict[str, bytes]:
    """What the server has, by the names in the package's manifest: all data sets, small."""
    tgif = {split: f"{url}{split}.gif" for split in ("train", "val", "test")}
    coco = [("COCO_train2014_1.jpg", "train"), ("COCO_val2014_2.jpg", "restval"), ("COCO_val2014_3.jpg", "val")]
    flickr = [(f"COCO_30k_{split}.jpg", split) for split in ("train", "val", "test")]
    token = "".join(f"{split}.jpg#0\ta dog\n" for split in ("train", "dev", "test")).encode()
    lists = {f"Flickr_8k.{split}Images.txt": f"{split}.jpg\n".encode() for split in ("train", "dev", "test")}
    return {
        "caption_datasets.zip": zipped(
            **{"dataset_coco.json": karpathy(*coco, ("COCO_val2014_4.jpg", "test"))},
            **{"dataset_flickr30k.json": karpathy(*flickr)},
        ),
        "train2014.zip": media("train2014", "COCO_train2014_1.jpg"),
        "val2014.zip": media("val2014", *(f"COCO_val2014_{i}.jpg" for i in (2, 3, 4))),
        "Flickr8k_text.zip": zipped(**{"Flickr8k.token.txt": token}, **lists),
        "Flickr8k_Dataset.zip": media("Flicker8k_Dataset", "train.jpg", "dev.jpg", "test.jpg"),
        "train_val_annotation.zip": zipped(
            **{"train_val_videodatainfo.json": msrvtt(("video0", "train"), ("video6513", "validate"))}
        ),
        "test_videodatainfo.json.zip": zipped(**{"test_videodatainfo.json": msrvtt(("video9999", "test"))}),
        "MSRVTT.zip": media("MSRVTT/videos/all", "video0.mp4", "video6513.mp4", "video9999.mp4"),
        "Charades.zip": zipped(
            **{"Charades/Charades_v1_train.csv": charades("A", "B"), "Charades/Charades_v1_test.csv": charades("C")}
        ),
        "Charades_v1_480.zip": media("Charades_v1_480", "A.mp4", "B.mp4", "C.mp4"),
        "AllVideoDescriptions.txt": b"# captions\nclip1 a dog\nclip2 a cat\n",
        "youtube_mapping.txt": b"clip1 vid1\nclip2 vid1970\n",
        "YouTubeClips.tar": media("YouTubeClips", "clip1.avi", "clip2.avi"),
        "tgif-v1.0.tsv": "".join(f"{url}\ta dog\n" for url in tgif.values()).encode(),
        **{f"{split}.txt": f"{url}\n".encode() for split, url in tgif.items()},
        **{f"{split}.gif": GIF for split in tgif},
    }


def write_manifest(path: Path, url: str, served: dict[str, bytes]) -> None:
    """The package's manifest, with the files of this server."""
    groups = yaml.safe_load(PACKAGED.read_text())
    groups["tgif"][-1]["about"] = 1000  # of disk
    for entry in (entry for group in groups.values() for entry in group if "url" in entry):
        name = entry["url"].rpartition("/")[2]
        if name not in served:
            continue
        for key in ("sha256", "sha1", "md5", "git", "bytes", "mirrors"):
            entry.pop(key, None)
        checked = {} if entry.get("recorded") else {"sha256": hashlib.sha256(served[name]).hexdigest()}
        entry |= {"url": url + name, "about": len(served[name]), **checked}
    path.write_text(yaml.safe_dump(groups))


def prepare(project: Path, site: Any, faults: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server with all files, the manifest that names it, and the pictures that nobody may fetch."""
    (hand := project / "data/flickr30k/flickr30k-images").mkdir(parents=True)
    for split in ("train", "val", "test"):
        (hand / f"COCO_30k_{split}.jpg").write_bytes(MEDIA)
    site.files.update(files(site.url("busy/")))
    write_manifest(project / "m.yaml", site.url(faults), site.files)
    monkeypatch.setenv("CAPTIONRL_DOWNLOADS", str(project / "m.yaml"))


def contents(project: Path) -> dict[str, bytes]:
    """All that lies in data/; of records of downloads, which hold dates and addresses, that they are there."""
    found = {path: path.read_bytes() for path in (project / "data").rglob("*") if path.is_file()}
    return {
        str(path.relative_to(project)): b"" if path.name == "downloads.json" else data for path, data in found.items()
    }


@pytest.mark.slow  # half a minute: some twenty commands
def test_every_data_set_comes_from_the_internet_and_is_whole(new_project, monkeypatch):
    project = new_project()
    with serving({}) as site:
        prepare(project.path, site, "busy-drop-moved/", monkeypatch)
        status, output = project.snakemake("--cores", "2", *TARGETS, config=("scale=paper", ACCEPT))
        assert status == 0, output
        raw = {corpus: set(read_json(project.path / f"data/{corpus}/raw.json")) for corpus in CORPORA}
        assert raw["msrvtt"] == {
            *("train_val_annotation.zip", "test_videodatainfo.json.zip"),
            *(f"videos/all/video{number}.mp4" for number in (0, 6513, 9999)),
        }
        assert raw["coco"] - raw["coco-82k"] == {"val2014/COCO_val2014_2.jpg"}
        assert raw["flickr8k"] == {
            "Flickr8k_text.zip", *(f"Flicker8k_Dataset/{name}.jpg" for name in ("train", "dev", "test"))
        }  # fmt: skip
        assert raw["tgif"] >= {"gifs/train.gif", "gifs/val.gif", "gifs/test.gif"}
        assert raw["msvd"] >= {"YouTubeClips/clip1.avi", "YouTubeClips/clip2.avi"}
        found = [path for path in (project.path / "data").rglob("*") if path.is_file()]
        assert {path.read_bytes() for path in found if path.suffix in (".jpg", ".mp4", ".avi")} == {MEDIA}
        assert not [path for path in found if ".part" in path.name or path.name.startswith(".")]

        before = len(site.requests)  # with everything there, nothing is asked for: not with another plan, either
        shutil.rmtree(project.path / ".snakemake")
        status, output = project.snakemake("--cores", "2", "--forceall", *TARGETS[:3], config=("scale=paper",))
        assert status == 0, output
        assert len(site.requests) == before


@pytest.mark.slow
def test_killed_at_random_it_ends_in_the_same_files(new_project, monkeypatch):
    moments = random.Random(SEED)
    with serving({}) as site:
        whole, killed = new_project(), new_project()
        prepare(whole.path, site, "well/", monkeypatch)
        status, output = whole.snakemake("--cores", "2", *TARGETS, config=("scale=paper", ACCEPT))
        assert status == 0, output
        prepare(killed.path, site, "busy-drop-moved/", monkeypatch)
        command = [BIN / "snakemake", "--cores", "2", "--config", "scale=paper", ACCEPT]
        kills = 0
        while kills < KILLS:
            with open(killed.path / "output", "wb") as output:
                process = subprocess.Popen(
                    [*command, "--", *TARGETS], cwd=killed.path, stdout=output, stderr=output, start_new_session=True
                )
            while process.poll() is None and b"Fetching the files" not in (killed.path / "output").read_bytes():
                time.sleep(0.05)
            with suppress(subprocess.TimeoutExpired):
                process.wait(moments.uniform(0, 3))
            if process.poll() is None:
                kills += 1
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, moments.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:  # Snakemake still waits for jobs that have ended
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(30)
            subprocess.run([*command, "--unlock"], cwd=killed.path, check=True, capture_output=True)
            emptied = moments.sample(CORPORA, 3)  # else soon nothing is left to do
            shared = {"coco": "coco-82k", "msvd": "msvd-laptop"}  # whose pictures are those of another
            for corpus in [*emptied, *(shared[corpus] for corpus in emptied if corpus in shared)]:
                shutil.rmtree(killed.path / f"data/{corpus}", ignore_errors=True)
            (killed.path / "data/flickr30k").mkdir(parents=True, exist_ok=True)
            shutil.copytree(
                whole.path / "data/flickr30k/flickr30k-images",
                killed.path / "data/flickr30k/flickr30k-images",
                dirs_exist_ok=True,
            )
        status, output = killed.snakemake("--cores", "2", *TARGETS, config=("scale=paper", ACCEPT))
        assert status == 0, output
        assert contents(killed.path) == contents(whole.path)
