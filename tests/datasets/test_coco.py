import json
import zipfile
from collections import Counter
from copy import deepcopy
from hashlib import sha256
from pathlib import Path

import pytest

from captionrl.datasets.coco import read_captions_file, read_images, read_media, validation
from captionrl.datasets.corpus import Item
from captionrl.datasets.manifest import find, require
from captionrl.datasets.read import read_corpus
from captionrl.errors import UserError

SHARED = Path(__file__).parents[2].parent / "shared/data/coco"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real samples at {SHARED}")


def karpathy_image(number, split, *captions):
    folder = "train2014" if split == "train" else "val2014"
    sentences = [
        {"tokens": caption.lower().split(), "raw": caption, "imgid": number, "sentid": 10 * number + i}
        for i, caption in enumerate(captions)
    ]
    return {
        "filepath": folder,
        "sentids": [sentence["sentid"] for sentence in sentences],
        "filename": f"COCO_{folder}_{number:012d}.jpg",
        "imgid": number,
        "split": split,
        "sentences": sentences,
        "cocoid": number,
    }


KARPATHY = {
    "images": [
        karpathy_image(391895, "test", "A man with a red helmet.", "A man riding up a hill."),
        karpathy_image(60623, "val", "A young girl inhales."),
        karpathy_image(483108, "restval", "A man on a bicycle."),
        karpathy_image(57870, "train", "A restaurant has modern tables.", "A restaurant has modern tables."),
    ],
    "dataset": "coco",
}


def plain_file(captions):
    """A caption file in COCO's format, from {image number: {annotation id: caption}}."""
    return {
        "info": {"year": 2017},
        "licenses": [],
        "images": [{"license": 1, "file_name": f"{image:012d}.jpg", "height": 4, "id": image} for image in captions],
        "annotations": [
            {"image_id": image, "id": id, "caption": caption}
            for image, found in captions.items()
            for id, caption in found.items()
        ],
    }


TRAIN = plain_file({9: {48: "A closeup of bins of food.", 47: "Trays of fruit."}, 25: {3: "A giraffe eats."}})
VAL = plain_file({139: {1: "A woman stands."}, 785: {2: "A skier."}, 802: {5: "A kitchen."}, 885: {4: "A racket."}})


def write(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def write_plain(raw, train=TRAIN, val=VAL):
    write(raw / "captions_train2017.json", train)
    write(raw / "captions_val2017.json", val)


def changed(document, path, value):
    """A copy of the document with another value, or with none where the value is `...`, at `path`."""
    parent = document = deepcopy(document)
    for key in path[:-1]:
        parent = parent[key]
    if value is ...:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return document


def refusal(call, *args):
    with pytest.raises(UserError) as error:
        call(*args)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_karpathys_restval_joins_train_and_captions_are_the_raw_ones(tmp_path):
    write(tmp_path / "dataset_coco.json", KARPATHY)
    corpus = read_corpus("coco-mini", tmp_path)
    assert corpus.name == "coco-mini"
    assert corpus.items == [
        Item("COCO_val2014_000000391895", "test", "val2014/COCO_val2014_000000391895.jpg"),
        Item("COCO_val2014_000000060623", "val", "val2014/COCO_val2014_000000060623.jpg"),
        Item("COCO_val2014_000000483108", "train", "val2014/COCO_val2014_000000483108.jpg"),
        Item("COCO_train2014_000000057870", "train", "train2014/COCO_train2014_000000057870.jpg"),
    ]
    assert corpus.captions["COCO_val2014_000000391895"] == ["A man with a red helmet.", "A man riding up a hill."]
    assert corpus.captions["COCO_train2014_000000057870"] == ["A restaurant has modern tables."] * 2
    assert corpus.files == ("dataset_coco.json",)
    assert "Karpathy's split" in corpus.origin


def test_coco_82k_is_karpathys_split_without_restval(tmp_path):
    write(tmp_path / "dataset_coco.json", KARPATHY)
    whole, corpus = read_corpus("coco", tmp_path), read_corpus("coco-82k", tmp_path)
    assert corpus.items == [item for item in whole.items if item.id != "COCO_val2014_000000483108"]
    assert corpus.captions == {item.id: whole.captions[item.id] for item in corpus.items}
    assert (whole.origin, corpus.origin) == (
        "dataset_coco.json: Karpathy's split, restval in train", "dataset_coco.json: Karpathy's split, restval left out"
    )  # fmt: skip


def test_coco_82k_needs_karpathys_file(tmp_path):
    write_plain(tmp_path)
    assert "dataset_coco.json: no such file, nor caption_datasets.zip" in refusal(read_corpus, "coco-82k", tmp_path)


def test_karpathys_zip_gives_the_same_corpus(tmp_path):
    plain, zipped = tmp_path / "plain", tmp_path / "zipped"
    write(plain / "dataset_coco.json", KARPATHY)
    zipped.mkdir()
    with zipfile.ZipFile(zipped / "caption_datasets.zip", "w") as file:
        for data_set in ("flickr8k", "coco", "flickr30k"):
            file.writestr(f"dataset_{data_set}.json", json.dumps(KARPATHY if data_set == "coco" else {}))
    one, other = read_corpus("coco", plain), read_corpus("coco", zipped)
    assert (one.items, one.captions) == (other.items, other.captions)
    assert other.files == ("caption_datasets.zip",)


def test_karpathys_file_goes_before_the_plain_ones(tmp_path):
    write_plain(tmp_path)
    assert "not Karpathy's split" in read_corpus("coco", tmp_path).origin
    write(tmp_path / "dataset_coco.json", KARPATHY)
    assert read_corpus("coco", tmp_path).files == ("dataset_coco.json",)


def test_the_plain_val_file_is_halved_by_the_hashes_of_its_ids(tmp_path):
    write_plain(tmp_path)
    corpus = read_corpus("coco", tmp_path)
    held_out = sorted((f"{n:012d}" for n in (139, 785, 802, 885)), key=lambda id: sha256(id.encode()).hexdigest())
    assert [item.id for item in corpus.split("train")] == ["000000000009", "000000000025"]
    assert {item.id for item in corpus.split("val")} == set(held_out[:2])
    assert {item.id for item in corpus.split("test")} == set(held_out[2:])
    assert corpus.items[0].media == "train2017/000000000009.jpg"
    assert corpus.items[-1].media == "val2017/000000000885.jpg"


def test_the_halves_do_not_depend_on_the_order_of_the_images():
    ids = [f"{n:012d}" for n in range(101)]
    assert validation(ids) == validation(reversed(ids))
    assert len(validation(ids)) == 50


@pytest.mark.parametrize("layout", ["plain", "annotations", "zip"])
def test_the_plain_files_lie_in_the_raw_directory_or_as_their_zip_unpacks_or_in_the_zip(tmp_path, layout):
    here, there = tmp_path / "here", tmp_path / "there"
    write_plain(here)
    names = ["captions_train2017.json", "captions_val2017.json"]
    if layout == "zip":
        there.mkdir()
        with zipfile.ZipFile(there / "annotations_trainval2017.zip", "w") as file:
            for name in [*names, "instances_val2017.json"]:
                file.writestr(f"annotations/{name}", (here / names[name != names[0]]).read_bytes())
        files = ("annotations_trainval2017.zip",)
    else:
        folder = "" if layout == "plain" else "annotations/"
        write_plain(there / folder)
        files = tuple(folder + name for name in names)
    one, other = read_corpus("coco", here), read_corpus("coco", there)
    assert (one.items, one.captions, one.origin) == (other.items, other.captions, other.origin)
    assert other.files == files
    assert all(find(file).what.startswith("COCO's own caption files") for file in files)


def test_captions_stand_in_the_order_of_their_annotation_ids(tmp_path):
    write(tmp_path / "some.json", TRAIN)
    assert read_captions_file(tmp_path / "some.json") == {
        "000000000009.jpg": ["Trays of fruit.", "A closeup of bins of food."],
        "000000000025.jpg": ["A giraffe eats."],
    }


@needs_shared
def test_the_real_val_file_has_the_published_numbers():
    captions = read_captions_file(SHARED / "captions_val2017.json")
    assert (len(captions), sum(map(len, captions.values()))) == (5000, 25_014)
    assert Counter(map(len, captions.values())) == {5: 4987, 6: 12, 7: 1}
    assert next(iter(captions)) == "000000397133.jpg"
    assert captions["000000179765.jpg"][:2] == [
        "A black Honda motorcycle parked in front of a garage.",
        "A Honda motorcycle parked in a grass driveway",
    ]


@needs_shared
def test_the_real_images_make_a_corpus_that_lacks_no_file(tmp_path):
    val = json.loads((SHARED / "captions_val2017.json").read_bytes())
    present = {path.name for path in (SHARED / "images").iterdir()}
    val["images"] = [image for image in val["images"] if image["file_name"] in present]
    kept = {image["id"] for image in val["images"]}
    val["annotations"] = [annotation for annotation in val["annotations"] if annotation["image_id"] in kept]
    train = json.loads((SHARED / "captions_train2017_80images.json").read_bytes())
    write_plain(tmp_path, train, val)
    for part, document in (("train2017", train), ("val2017", val)):
        (tmp_path / part).mkdir()
        for image in document["images"]:
            (tmp_path / part / image["file_name"]).symlink_to(SHARED / "images" / image["file_name"])
    corpus = read_corpus("coco", tmp_path)
    assert Counter(item.split for item in corpus.items) == {"train": 80, "val": 79, "test": 80}
    assert len(require(corpus, tmp_path)) == 2 + 239
    assert all((tmp_path / item.media).is_file() for item in corpus.items)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("images",), ..., "images: must be a list"),
        (("images", 1), "a girl", "images[1]: must be an object, not str"),
        (("images", 1, "split"), "dev", "images[1].split: 'dev'; must be one of train, restval, val, test"),
        (("images", 1, "filename"), ..., "images[1].filename: missing"),
        (("images", 1, "filename"), "../../girl.jpg", "images[1].filename: '../../girl.jpg': a name may hold only"),
        (("images", 1, "filepath"), "..", "images[1].filepath: '..': a name may hold only"),
        (("images", 1, "filename"), "girl\t.jpg", "images[1].filename: 'girl\\t.jpg': a name may hold only"),
        (("images", 1, "filename"), "COCO_val2014_000000391895.png", "COCO_val2014_000000391895 is listed twice"),
        (("images", 1, "sentences"), [], "images[1].sentences: must be a list of captions, at least one; caption COCO"),
        (("images", 1, "sentences"), ..., "images[1].sentences: must be a list of captions, at least one"),
        (("images", 1, "sentences", 0, "raw"), " ", "images[1].sentences[0].raw: must be text, not ' '"),
        (("images", 1, "sentences", 0), "A girl.", "images[1].sentences[0]: must be an object, not str"),
    ],
)
def test_each_fault_of_karpathys_file_is_one_line_that_names_file_and_place(tmp_path, path, value, message):
    write(tmp_path / "dataset_coco.json", changed(KARPATHY, path, value))
    said = refusal(read_corpus, "coco", tmp_path)
    assert said.startswith(f"{tmp_path}/dataset_coco.json: ")
    assert message in said


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("annotations",), ..., "annotations: must be a list"),
        (("images", 1, "id"), "25", "images[1].id: must be a whole number, not '25'"),
        (("images", 1, "id"), True, "images[1].id: must be a whole number, not 'True'"),
        (("images", 1, "id"), 9, "images[1].id: 9 is listed twice"),
        (("images", 1, "file_name"), "000000000009.jpg", "images: two of them have the same file_name"),
        (("images", 1, "file_name"), "/etc/passwd", "images[1].file_name: '/etc/passwd': a name may hold only"),
        (("annotations", 2, "image_id"), 7, "annotations[2].image_id: 7 is not among this file's images"),
        (("annotations", 2, "image_id"), 9, "images[1]: 000000000025.jpg has no caption; caption it or drop it"),
        (("annotations", 2, "id"), 48, "annotations[2].id: 48 is listed twice"),
        (("annotations", 2, "caption"), None, "annotations[2].caption: must be text, not 'None'"),
    ],
)
def test_each_fault_of_a_plain_file_is_one_line_that_names_file_and_place(tmp_path, path, value, message):
    write(tmp_path / "captions_train2017.json", changed(TRAIN, path, value))
    said = refusal(read_captions_file, tmp_path / "captions_train2017.json")
    assert said.startswith(f"{tmp_path}/captions_train2017.json: {message}")


def test_an_image_in_both_plain_files_is_refused(tmp_path):
    write_plain(tmp_path, TRAIN, changed(VAL, ("images", 0, "file_name"), "000000000009.jpg"))
    said = refusal(read_corpus, "coco", tmp_path)
    assert "captions_val2017.json: images: 000000000009 is listed twice, or in both files" in said


def test_no_annotation_at_all_asks_for_karpathys(tmp_path):
    said = refusal(read_corpus, "coco", tmp_path)
    assert "dataset_coco.json: no such file, nor caption_datasets.zip; `captionrl download" in said
    assert "from: https://cs.stanford.edu/people/karpathy" in said


def test_one_plain_file_alone_asks_for_the_other(tmp_path):
    write(tmp_path / "captions_val2017.json", VAL)
    said = refusal(read_corpus, "coco", tmp_path)
    assert "captions_train2017.json: no such file, nor annotations_trainval2017.zip; `captionrl download" in said


def image_list(*numbers, part="test2014"):
    return {
        "info": {"year": 2014},
        "images": [{"id": number, "file_name": f"COCO_{part}_{number:012d}.jpg", "license": 2} for number in numbers],
        "licenses": [],
    }


LISTED = {number: f"COCO_test2014_{number:012d}.jpg" for number in (523573, 1, 57)}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("folder", ["annotations", ""])
def test_images_are_read_from_a_plain_list_or_from_cocos_zip(tmp_path, zipped, folder):
    path = tmp_path / folder / "image_info_test2014.json"
    if zipped:
        with zipfile.ZipFile(tmp_path / "image_info_test2014.zip", "w") as file:
            file.writestr("annotations/image_info_test2014.json", json.dumps(image_list(*LISTED)))
    else:
        write(path, image_list(*LISTED))
    assert list(read_images(path).items()) == list(LISTED.items())


def test_the_zip_of_captions_lists_val2014(tmp_path):
    with zipfile.ZipFile(tmp_path / "annotations_trainval2014.zip", "w") as file:
        for part, number in (("train2014", 9), ("val2014", 42)):
            file.writestr(f"annotations/captions_{part}.json", json.dumps(image_list(number, part=part)))
    assert read_images(tmp_path / "annotations/captions_val2014.json") == {42: "COCO_val2014_000000000042.jpg"}


def test_a_plain_list_goes_before_the_zip(tmp_path):
    (tmp_path / "image_info_test2014.zip").write_text("no zip")
    write(tmp_path / "annotations/image_info_test2014.json", image_list(*LISTED))
    assert read_images(tmp_path / "annotations/image_info_test2014.json") == LISTED


@pytest.mark.parametrize(
    ("name", "archive"),
    [
        ("image_info_test2014.json", "image_info_test2014.zip"),
        ("captions_val2014.json", "annotations_trainval2014.zip"),
    ],
)
def test_a_missing_list_says_which_official_file_to_put_where(tmp_path, name, archive):
    said = refusal(read_images, tmp_path / "annotations" / name)
    assert said.startswith(
        f"{tmp_path}/annotations/{name}: no such file, nor {archive}; `captionrl download coco-server "
        f"--into {tmp_path}`, or put either into {tmp_path} ("
    )
    assert said.endswith(f"from: http://images.cocodataset.org/annotations/{archive})")


def test_another_missing_list_is_named(tmp_path):
    assert refusal(read_images, tmp_path / "mine.json") == f"{tmp_path}/mine.json: no such file"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("images",), ..., "images: must be a list"),
        (("images", 1), 7, "images[1]: must be an object, not int"),
        (("images", 1, "id"), ..., "images[1].id: missing"),
        (("images", 1, "id"), 1.0, "images[1].id: must be a whole number, not '1.0'"),
        (("images", 1, "id"), 523573, "images[1].id: 523573 is listed twice"),
        (("images", 1, "file_name"), "../x.jpg", "images[1].file_name: '../x.jpg': a name may hold only"),
        (("images", 1, "file_name"), LISTED[57], "images: two of them have the same file_name"),
    ],
)
def test_each_fault_of_a_list_is_one_line_that_names_file_and_place(tmp_path, path, value, message):
    write(tmp_path / "image_info_test2014.json", changed(image_list(*LISTED), path, value))
    said = refusal(read_images, tmp_path / "image_info_test2014.json")
    assert said.startswith(f"{tmp_path}/image_info_test2014.json: {message}")


def test_images_of_2014_lie_in_the_folder_that_their_names_tell(tmp_path):
    write(tmp_path / "some.json", image_list(1, 57))
    assert read_media(tmp_path / "some.json") == {
        "COCO_test2014_000000000001": "test2014/COCO_test2014_000000000001.jpg",
        "COCO_test2014_000000000057": "test2014/COCO_test2014_000000000057.jpg",
    }


def test_images_of_2017_tell_no_folder(tmp_path):
    write(tmp_path / "captions_val2017.json", VAL)
    said = refusal(read_media, tmp_path / "captions_val2017.json")
    assert "000000000139.jpg: not called COCO_PART_NUMBER.jpg; give a file that lists images of 2014" in said


@needs_shared
def test_the_real_val_file_lists_the_images_that_it_captions():
    listed = read_images(SHARED / "captions_val2017.json")
    assert len(listed) == 5000
    assert listed[397133] == "000000397133.jpg"
    assert list(listed.values()) == list(read_captions_file(SHARED / "captions_val2017.json"))


def test_pictures_may_lie_in_a_folder_images(tmp_path):
    karpathy, plain = tmp_path / "karpathy", tmp_path / "plain"
    write(karpathy / "dataset_coco.json", KARPATHY)
    (karpathy / "images/val2014").mkdir(parents=True)
    media = [item.media for item in read_corpus("coco", karpathy).items]
    assert [path.rpartition("/")[0] for path in media] == [*["images/val2014"] * 3, "train2014"]
    write_plain(plain)
    for part in ("train2017", "val2017"):
        (plain / "images" / part).mkdir(parents=True)
    assert {item.media.rpartition("/")[0] for item in read_corpus("coco", plain).items} == {
        "images/train2017", "images/val2017"
    }  # fmt: skip
