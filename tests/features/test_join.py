"""A corpus extracted by several jobs: the store is that of one job, whatever happens to one of them."""

import json
import shutil
from pathlib import Path

import pytest

from captionrl.errors import UserError
from captionrl.features.backbones import load_backbone
from captionrl.features.extract import extract
from captionrl.features.join import join, part_of
from captionrl.features.store import FeatureStore

PARTS = 3


@pytest.fixture
def media(noise, tmp_path):
    """{id: clip}; the fifth one is no clip."""
    clips = {f"clip{i}": noise(tmp_path / f"clip{i}.mp4", 1 + i % 2, seed=i) for i in range(7)}
    clips["clip4"].write_text("not a video")
    return clips


@pytest.fixture
def make(media, mini_weights, tmp_path):
    """Extract a part, or all without one, and return its store."""

    def make(part=None, **changes):
        out = tmp_path / f"{part or 'all'}.h5"
        items = part_of(media, part, PARTS) if part else media
        extract(
            list(items.items()),
            load_backbone("mini", mini_weights),
            out,
            out.with_suffix(".json"),
            **{"state": tmp_path / "state", "code_version": "1", "shard_items": 2, "allowed_failures": 1} | changes,
        )
        return out

    return make


@pytest.fixture
def parts(make) -> list[Path]:
    return [make(part) for part in range(1, PARTS + 1)]


def together(parts, media, tmp_path, allowed_failures=1):
    out = tmp_path / "joined.h5"
    join(parts, list(media), out, out.with_suffix(".json"), allowed_failures=allowed_failures)
    return out


@pytest.mark.parametrize("parts", [1, 2, 7, 9])
def test_every_item_is_in_one_part(parts):
    media = {f"item{i}": f"{i}.mp4" for i in range(7)}
    found = [part_of(media, number, parts) for number in range(1, parts + 1)]
    assert [pair for part in found for pair in part.items()] == list(media.items())
    assert max(map(len, found)) - min(map(len, found)) <= 1


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_store_and_manifest_are_those_of_one_job(make, parts, media, tmp_path, order):
    whole, joined = make(), together([parts[i] for i in order], media, tmp_path)
    assert joined.read_bytes() == whole.read_bytes()
    assert joined.with_suffix(".json").read_bytes() == whole.with_suffix(".json").read_bytes()
    assert FeatureStore(joined).items == [item for item in media if item != "clip4"]


def test_failures_of_all_parts_are_counted_together(parts, media, tmp_path):
    with pytest.raises(UserError, match=r"^1 of 7 items have no features \(0 may fail\); .*\n  clip4: "):
        together(parts, media, tmp_path, allowed_failures=0)
    assert not (tmp_path / "joined.h5").exists()


def test_a_part_that_lacks_or_repeats_items_is_refused(parts, media, tmp_path):
    for given in (parts[:2], [*parts, parts[0]]):
        with pytest.raises(UserError, match=r"not the parts of this corpus: see item '\w+'; extract all parts again"):
            together(given, media, tmp_path)
    with pytest.raises(UserError, match="see item 'another'"):
        together(parts, {**media, "another": "x.mp4"}, tmp_path)


def test_parts_of_two_kinds_are_refused(make, parts, media, tmp_path):
    other = shutil.copy(parts[1], tmp_path / "other.h5")
    manifest = json.loads(parts[1].with_suffix(".json").read_text()) | {"fps": 1.0}
    (tmp_path / "other.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"other\.h5: fps is 1\.0, that of .*1\.h5 3\.0; delete both"):
        together([parts[0], Path(other), parts[2]], media, tmp_path)


@pytest.mark.parametrize("content", ["{}", "[]", '{"backbone": "mini"}'])
def test_what_is_no_manifest_of_a_part_is_named(parts, media, tmp_path, content):
    beside = parts[1].with_suffix(".json")
    beside.write_text(content)
    with pytest.raises(UserError, match=rf"^{beside}: not the manifest of a part \(.*\); delete it and"):
        together(parts, media, tmp_path)
