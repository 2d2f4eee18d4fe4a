"""What a raw directory lacks, as a plan says it."""

from pathlib import Path

import pytest

from captionrl.datasets.manifest import manifest
from captionrl.datasets.missing import missing_files


def named(name: str, raw: Path) -> list[str]:
    """The files that the lines are about."""
    return [line.removeprefix(f"{raw}/").split(" (or ")[0].split(": ")[0] for line in missing_files(name, raw)]


def test_a_line_says_which_file_what_serves_as_well_what_it_is_and_where_from(tmp_path):
    train, test = missing_files("charades-annotations", tmp_path)
    assert train == (
        f"{tmp_path}/Charades_v1_train.csv (or Charades.zip): Charades annotation of the training videos; "
        "from: Charades.zip from https://prior.allenai.org/projects/charades, after accepting its licence"
    )
    assert test.startswith(f"{tmp_path}/Charades_v1_test.csv (or ")


@pytest.mark.parametrize("name", ["charades", "charades-annotations", "flickr8k", "msrvtt", "msvd", "tgif"])
def test_every_file_of_the_manifest_is_missing_until_it_is_there(name, tmp_path):
    for entry in manifest()[name]:
        assert entry.into in named(name, tmp_path)
        path = tmp_path / entry.into
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.into.endswith("/"):
            path.mkdir()
            assert entry.into in named(name, tmp_path)  # an empty folder
            path /= "1.jpg"
        path.touch()
        assert entry.into not in named(name, tmp_path)
    assert missing_files(name, tmp_path) == []


def test_what_serves_as_well_is_enough(tmp_path):
    (tmp_path / "CharadesCaptions.zip").touch()
    assert named("charades", tmp_path) == ["Charades_v1_480/"]
    assert len(named("charades-annotations", tmp_path)) == 2  # the authors' captions have no actions
    (tmp_path / "Charades.zip").touch()
    assert named("charades-annotations", tmp_path) == []


def test_of_coco_one_of_two_sets_of_files_suffices(tmp_path):
    assert named("coco", tmp_path) == ["caption_datasets.zip", "train2014/", "val2014/"]
    (tmp_path / "captions_val2017.json").touch()
    assert named("coco-82k", tmp_path) == ["caption_datasets.zip", "train2014/", "val2014/"]
    assert named("coco", tmp_path) == ["train2017/", "val2017/"]
    (tmp_path / "dataset_coco.json").touch()
    assert named("coco", tmp_path) == ["train2014/", "val2014/"]


def test_of_a_users_own_corpus_the_manifest_knows_nothing(tmp_path):
    assert missing_files("holidays", tmp_path) == []
