"""The annotation of every corpus."""

import json
from pathlib import Path
from typing import Any

from files import Files, as_json, lines, zipped


def msrvtt() -> list[Files]:
    def video(id: str, split: str) -> dict[str, Any]:
        return {"video_id": id, "split": split, "category": 1, "url": "", "start time": 0.0, "end time": 9.5, "id": 0}

    def document(*videos: dict[str, Any]) -> dict[str, Any]:
        sentences = [{"caption": "a man cooks", "video_id": video["video_id"], "sen_id": 0} for video in videos * 2]
        return {"info": {}, "videos": list(videos), "sentences": sentences}

    plain = as_json(
        train_val_videodatainfo=document(video("video0", "train"), video("video1", "validate")),
        test_videodatainfo=document(video("video2", "test")),
    )
    archives = ("train_val_annotation.zip", "test_videodatainfo.json.zip")
    packed = {archive: zipped({name: data}) for archive, (name, data) in zip(archives, plain.items(), strict=True)}
    return [plain, plain, packed]


def msvd() -> list[Files]:
    captions = lines("# comment", "abc_1_46 a man sings", "abc_1_46 he sings", "-x.y_0_7 a dog", "z_1_2 a cat")
    mapping = lines("abc_1_46 vid1", "-x.y_0_7 vid1201", "z_1_2 vid1301")
    return [{"AllVideoDescriptions.txt": captions, "youtube_mapping.txt": mapping}]


def coco() -> list[Files]:
    images = [
        {"filepath": "val2014", "filename": f"COCO_val2014_{k:012}.jpg", "split": split, "cocoid": k, "imgid": k}
        | {"sentences": [{"raw": "A cat.", "tokens": ["a", "cat"], "sentid": k}] * 2}
        for k, split in enumerate(("train", "restval", "val", "test"))
    ]
    karpathy = as_json(dataset_coco={"images": images, "dataset": "coco"})
    return [karpathy, karpathy, {"caption_datasets.zip": zipped(karpathy)}, plain_coco(), plain_coco()]


def plain_coco() -> Files:
    def document(*numbers: int) -> dict[str, Any]:
        images = [{"id": k, "file_name": f"{k:012}.jpg", "height": 4, "width": 4} for k in numbers]
        return {"images": images, "annotations": [{"id": 9 - k, "image_id": k, "caption": "A cat."} for k in numbers]}

    return as_json(captions_train2017=document(1, 2), captions_val2017=document(3, 4))


def flickr8k() -> list[Files]:
    captions = lines(*(f"{name}.jpg#{k}\tA dog {k} ." for name in ("a_1", "b_2", "c_3", "d_4") for k in range(2)))
    lists = {
        f"Flickr_8k.{part}Images.txt": lines(f"{name}.jpg")
        for part, name in (("train", "a_1"), ("dev", "b_2"), ("test", "c_3"))
    }
    plain = {"Flickr8k.token.txt": captions, **lists}
    return [plain, plain, {"Flickr8k_text.zip": zipped(plain)}]


def tgif() -> list[Files]:
    urls = [f"https://38.media.tumblr.com/abc/tumblr_{name}.gif" for name in "abcd"]
    lists = {f"splits/{part}.txt": lines(url) for part, url in zip(("train", "val", "test"), urls, strict=False)}
    return [{"tgif-v1.0.tsv": lines(*(f"{url}\ta man sings" for url in urls * 2)), **lists}]


def charades() -> list[Files]:
    header = "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length"
    row = '{},X,Kitchen,6,7,Yes,"A person, cooks.",food;stove,One cooks;He eats.,c092 11.90 21.20;c147 0.00 12.60,24.83'
    files = {
        "Charades_v1_train.csv": lines(header, row.format("AAAAA"), row.format("BBBBB")),
        "Charades_v1_test.csv": lines(header, row.format("CCCCC")),
    }
    authors = {
        "train.json": b'{"AAAAA": ["a person cooks", "one eats"]}',
        "val.txt": b"BBBBB\ta person cooks\n",
        "test.json": b'[{"video_id": "CCCCC", "caption": "a person cooks"}]',
    }
    return [files, files, {"Charades.zip": zipped(files)}, {"CharadesCaptions.zip": zipped(authors)}]


def own() -> list[Files]:
    items = [
        {"id": f"c{k}", "media": f"clips/c{k}.mp4", "captions": ["A cat.", "A dog."], "split": "train"}
        for k in range(3)
    ]
    jsonl = lines(*map(json.dumps, items), '{"id": "d", "captions": ["x"], "split": "val"}')
    csv = lines("id,media,caption,split", *(f'c{k},clips/c{k}.mp4,"A cat, {k}.",train' for k in (0, 0, 1, 2)))
    clips = {f"clips/c{k}.mp4": b"x" for k in range(3)}
    return [{"captions.jsonl": jsonl, **clips}, {"captions.csv": csv, **clips}]


def read_corpus(name: str, folder: Path, out: Path) -> None:
    from captionrl.datasets import charades
    from captionrl.datasets.read import read_corpus

    if (folder / "Charades_v1_train.csv").exists():
        charades.read_annotations(folder)
    read_corpus(name, folder)
