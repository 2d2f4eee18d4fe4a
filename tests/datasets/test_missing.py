"""Which files of a corpus are there."""

from pathlib import Path

import pytest

from captionrl.datasets.manifest import directory_of, manifest
from captionrl.datasets.missing import entries_of, is_there, line


def missing(group: str, raw: Path) -> list[str]:
    return [entry.into for entry in entries_of(group, raw) if not is_there(entry, raw)]


def test_a_line_says_which_file_what_serves_as_well_what_it_is_its_size_and_where_from(tmp_path):
    annotation, videos = (line(entry, tmp_path) for entry in entries_of("charades", tmp_path))
    assert annotation == (
        f"{tmp_path}/Charades.zip (or Charades_v1_train.csv and Charades_v1_test.csv, CharadesCaptions.zip): Charades "
        "annotation, Charades_v1_train.csv and Charades_v1_test.csv; 3,519,822 bytes; "
        "from: https://ai2-public-datasets.s3-us-west-2.amazonaws.com/charades/Charades.zip"
    )
    assert "; about 13,000,000,000 bytes; from: https://" in videos
    photos = entries_of("flickr30k", tmp_path)[1]
    assert line(photos, tmp_path).endswith("as flickr30k-images.tar.gz; put it there by hand")


@pytest.mark.parametrize("name", ["charades", "charades-annotations", "flickr8k", "flickr30k", "msrvtt", "msvd"])
def test_every_file_of_the_manifest_is_missing_until_it_is_there(name, tmp_path):
    for entry in manifest()[name]:
        assert entry.into in missing(name, tmp_path)
        path = tmp_path / entry.into
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.into.endswith("/"):
            path.mkdir()
            assert entry.into in missing(name, tmp_path)  # an empty folder
            path /= "1.jpg"
        path.touch()
        assert entry.into not in missing(name, tmp_path)
    assert missing(name, tmp_path) == []


def test_what_serves_as_well_is_enough(tmp_path):
    (tmp_path / "CharadesCaptions.zip").touch()
    assert missing("charades", tmp_path) == ["Charades_v1_480/"]
    assert missing("charades-annotations", tmp_path) == ["Charades.zip"]  # the authors' captions have no actions
    (tmp_path / "Charades_v1_train.csv").touch()
    assert missing("charades-annotations", tmp_path) == ["Charades.zip"]
    (tmp_path / "Charades_v1_test.csv").touch()
    assert missing("charades-annotations", tmp_path) == []


def test_of_coco_one_of_two_sets_of_files_suffices(tmp_path):
    assert missing("coco", tmp_path) == ["caption_datasets.zip", "train2014/", "val2014/"]
    (tmp_path / "captions_val2017.json").touch()
    assert missing("coco-82k", tmp_path) == ["caption_datasets.zip", "train2014/", "val2014/"]
    assert missing("coco", tmp_path) == ["annotations_trainval2017.zip", "train2017/", "val2017/"]
    (tmp_path / "captions_train2017.json").touch()
    assert missing("coco", tmp_path) == ["train2017/", "val2017/"]
    (tmp_path / "dataset_coco.json").touch()
    assert missing("coco", tmp_path) == ["train2014/", "val2014/"]


def test_gifs_are_there_when_all_are_that_their_lists_name_and_that_are_not_gone(tmp_path):
    (gifs,) = (entry for entry in manifest()["tgif"] if entry.listed)
    (tmp_path / "gifs").mkdir()
    (tmp_path / "splits").mkdir()
    for split in ("train", "val", "test"):
        (tmp_path / f"splits/{split}.txt").write_text(f"https://a.org/{split}.gif\n")
    for split in ("train", "val"):
        assert not is_there(gifs, tmp_path)
        (tmp_path / f"gifs/{split}.gif").touch()
    assert not is_there(gifs, tmp_path)
    (tmp_path / "gifs.gone.tsv").write_text("https://a.org/test.gif\tHTTP Error 404: Not Found\n")
    assert is_there(gifs, tmp_path)


def test_of_a_users_own_corpus_the_manifest_knows_nothing(tmp_path):
    assert entries_of("holidays", tmp_path) == []
    assert directory_of("coco-server") == Path("data/coco")
