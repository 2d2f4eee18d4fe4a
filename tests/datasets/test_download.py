import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from captionrl.datasets.corpus import Corpus, Item
from captionrl.datasets.download import fetch
from captionrl.datasets.manifest import Entry, find, manifest, read_manifest, require, verify
from captionrl.errors import UserError

CONTENT = bytes(range(256)) * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
SHARED = Path(__file__).parents[2].parent / "shared/data/msrvtt"


class Site(BaseHTTPRequestHandler):
    """Serves CONTENT under every path: `/cut…` sends at most 100,000 bytes a time, `/wrong…` other bytes,
    `/plain…` ignores Range, `/gone…` is 404."""

    def do_GET(self):
        self.server.requests.append((self.path, self.headers.get("Range")))
        if self.path.startswith("/gone"):
            self.send_error(404)
            return
        content = CONTENT[::-1] if "wrong" in self.path else CONTENT
        start = 0
        if (wanted := self.headers.get("Range")) and "plain" not in self.path:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        body = content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:100_000] if "cut" in self.path else body)

    def log_message(self, *args):
        pass


@pytest.fixture
def site():
    server = HTTPServer(("127.0.0.1", 0), Site)
    server.requests = []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def entry(site, *paths, **fields):
    urls = [f"http://127.0.0.1:{site.server_port}/{path}" for path in paths]
    values = {"name": "w.pth", "what": "weights", "licence": "none", "into": "deep/w.pth", "sha256": DIGEST}
    return Entry(**(values | {"bytes": len(CONTENT), "url": urls[0], "mirrors": urls[1:]} | fields))


def test_a_file_is_fetched_once(tmp_path, site):
    path = fetch(entry(site, "file"), tmp_path)
    assert path == tmp_path / "deep/w.pth"
    assert path.read_bytes() == CONTENT
    assert fetch(entry(site, "file"), tmp_path) == path
    assert site.requests == [("/file", None)]
    assert [found.name for found in path.parent.iterdir()] == ["w.pth"]


def test_a_cut_connection_is_resumed_where_it_was_cut(tmp_path, site):
    assert fetch(entry(site, "cut"), tmp_path).read_bytes() == CONTENT
    assert site.requests == [("/cut", None), ("/cut", "bytes=100000-"), ("/cut", "bytes=200000-")]


def test_the_part_of_a_killed_process_is_used(tmp_path, site):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/w.pth.part").write_bytes(CONTENT[:7])
    assert fetch(entry(site, "file"), tmp_path).read_bytes() == CONTENT
    assert site.requests == [("/file", "bytes=7-")]


@pytest.mark.parametrize("part", [CONTENT, CONTENT + b"more", b"other bytes"])
def test_a_whole_an_overlong_or_a_foreign_part_ends_well(tmp_path, site, part):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/w.pth.part").write_bytes(part)
    assert fetch(entry(site, "file"), tmp_path).read_bytes() == CONTENT


def test_a_server_that_cannot_resume_starts_over(tmp_path, site):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/w.pth.part").write_bytes(b"x" * 1000)
    assert fetch(entry(site, "plain"), tmp_path).read_bytes() == CONTENT
    assert site.requests == [("/plain", "bytes=1000-")]


def test_mirrors_are_tried_in_turn(tmp_path, site):
    assert fetch(entry(site, "gone", "wrong", "cut-wrong", "file"), tmp_path).read_bytes() == CONTENT
    assert [path for path, _ in site.requests] == ["/gone", "/wrong", *["/cut-wrong"] * 3, "/file"]


def test_a_mirror_goes_on_where_another_was_cut(tmp_path, site):
    assert fetch(entry(site, "cut-plain", "file"), tmp_path).read_bytes() == CONTENT
    assert site.requests[-1] == ("/file", "bytes=100000-")


def test_a_part_of_wrong_bytes_does_not_spoil_a_good_mirror(tmp_path, site):
    assert fetch(entry(site, "cut-plain-wrong", "file"), tmp_path).read_bytes() == CONTENT
    assert site.requests[-2:] == [("/file", "bytes=100000-"), ("/file", None)]


def test_wrong_content_never_gets_the_name(tmp_path, site):
    with pytest.raises(UserError) as error:
        fetch(entry(site, "wrong", "gone"), tmp_path)
    message = str(error.value)
    assert "has SHA-256" in message
    assert "404" in message
    assert message.endswith("/wrong there by hand")
    assert str(tmp_path / "deep/w.pth") in message
    assert "\n" not in message
    assert not (tmp_path / "deep/w.pth").exists()


def test_another_size_is_refused_before_it_is_fetched(tmp_path, site):
    with pytest.raises(UserError, match="the server offers 256,000 bytes, not 1,000"):
        fetch(entry(site, "file", bytes=1000), tmp_path)
    assert not list((tmp_path / "deep").iterdir())


def test_without_a_network_the_message_says_what_to_put_where(tmp_path, site):
    def opener(request, timeout):
        raise OSError("Network is unreachable")

    with pytest.raises(UserError, match=r"w.pth: could not be fetched \(http.*Network is unreachable\); put http"):
        fetch(entry(site, "file"), tmp_path, opener=opener)


def test_a_prefix_of_the_checksum_serves_where_no_more_is_known(tmp_path, site):
    assert fetch(entry(site, "file", sha256=DIGEST[:8], bytes=None), tmp_path).read_bytes() == CONTENT
    with pytest.raises(UserError, match=r"has SHA-256 [0-9a-f]{8}, not 00000000"):
        fetch(entry(site, "file", sha256="00000000", into="other"), tmp_path)


def test_an_older_digest_serves_where_nobody_tells_another(tmp_path, site):
    right = hashlib.sha1(CONTENT).hexdigest()
    assert fetch(entry(site, "file", sha256=None, sha1=right), tmp_path).read_bytes() == CONTENT
    with pytest.raises(UserError, match=r"has SHA-1 [0-9a-f]{40}, not 0000"):
        fetch(entry(site, "file", sha256=None, sha1=40 * "0", into="other"), tmp_path)


def test_a_wrong_file_already_there_is_neither_used_nor_replaced(tmp_path, site):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/w.pth").write_bytes(CONTENT[::-1])
    with pytest.raises(UserError, match="remove it to fetch it again"):
        fetch(entry(site, "file"), tmp_path)
    assert (tmp_path / "deep/w.pth").read_bytes() == CONTENT[::-1]
    assert site.requests == []


@pytest.mark.parametrize(
    "fields",
    [
        {"sha256": "1234567"},
        {"sha256": None},
        {"url": "file:///etc/passwd"},
        {"by_hand": True},
        {"md5": "x"},
        {"url": None},
    ],
)
def test_a_loose_entry_is_refused(site, fields):
    with pytest.raises(ValueError, match="validation error"):
        entry(site, "file", **fields)


def test_the_manifest_is_sound():
    groups = manifest()
    assert set(groups) == {
        *("msrvtt", "charades", "charades-annotations", "coco", "coco-server", "flickr8k", "msvd", "tgif"),
        *("weights", "tools"),
    }
    assert not any(Path(entry.into).is_absolute() or ".." in entry.into for group in groups.values() for entry in group)
    assert find("TrainValVideo/video0.mp4").name == "TrainValVideo"
    assert find("annotations/image_info_test2014.json").name == "image_info_test2014.zip"
    assert find("test2014/COCO_test2014_000000000001.jpg").name == "test2014"
    assert find("Charades_v1_480/AAAA1.mp4").licence.startswith("Charades licence")


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real samples at {SHARED}")
def test_the_manifest_describes_the_official_annotation():
    for file in ("train_val_annotation.zip", "test_videodatainfo.json.zip"):
        assert verify(find(file), SHARED / file) is None


def corpus(*files):
    items = [
        Item("v0", "train", "TrainValVideo/v0.mp4"),
        Item("v1", "val", "TrainValVideo/v1.mp4"),
        Item("v2", "test", None),
    ]
    return Corpus("msrvtt", items, {item.id: ["x"] for item in items}, "toy", files)


def test_what_a_corpus_requires(tmp_path):
    (tmp_path / "TrainValVideo").mkdir()
    (tmp_path / "train_val_videodatainfo.json").write_text("{}")
    needs = corpus("train_val_videodatainfo.json")
    with pytest.raises(
        UserError, match=re.escape("TrainValVideo/v0.mp4: missing (and 1 more); put it there by hand (MSR")
    ):
        require(needs, tmp_path)
    (tmp_path / "TrainValVideo/v0.mp4").write_bytes(b"12345")
    (tmp_path / "TrainValVideo/v1.mp4").touch()
    with pytest.raises(UserError, match=r"v1.mp4: empty; put"):
        require(needs, tmp_path)
    (tmp_path / "TrainValVideo/v1.mp4").write_bytes(b"1")
    sizes = {"train_val_videodatainfo.json": 2, "TrainValVideo/v0.mp4": 5, "TrainValVideo/v1.mp4": 1}
    assert list(require(needs, tmp_path).items()) == list(sizes.items())


def test_annotation_put_there_by_hand_is_checked(tmp_path):
    (tmp_path / "TrainValVideo").mkdir()
    for file in ("TrainValVideo/v0.mp4", "TrainValVideo/v1.mp4", "train_val_annotation.zip"):
        (tmp_path / file).write_bytes(b"1")
    with pytest.raises(UserError, match=r"train_val_annotation.zip: has 1 bytes, not 2,594,639; put the official file"):
        require(corpus("train_val_annotation.zip"), tmp_path)


def test_what_must_be_asked_for_is_not_fetched(tmp_path):
    with pytest.raises(UserError, match=r"train_val_annotation.zip: missing; put it there by hand \(MSR-VTT .* from: "):
        fetch(find("train_val_annotation.zip"), tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "line 1: not YAML"),
        ("a: 1", "a: Input should be a valid list, but it is 1"),
        ("a: [{name: b}]", "a[0].what: is missing; add it"),
        ("a: [{name: b, what: c, licence: d, into: e}]", "a[0]: a file to fetch wants `url` and `sha256`"),
    ],
)
def test_a_mistake_in_the_manifest_is_named(tmp_path, text, message):
    path = tmp_path / "downloads.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_manifest(path)
    assert str(error.value).startswith(f"{path}: {message}")
