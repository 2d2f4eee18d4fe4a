"""Transfers end with the right bytes or with one line that says why not, whatever the server does."""

import hashlib
import resource

import pytest
from unreliable import CLIENT, serving

from captionrl.datasets.manifest import Entry, record_of, verify
from captionrl.datasets.transfer import Client, fetch
from captionrl.errors import UserError

CONTENT = bytes(range(256)) * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def site():
    with serving({"w.pth": CONTENT}) as server:
        yield server


def entry(site, *ways, **fields):
    """An entry whose mirrors behave in these ways."""
    urls = [site.url(f"{way}/w.pth") for way in ways]
    values = {"name": "w.pth", "what": "weights", "licence": "none", "into": "deep/w.pth", "sha256": DIGEST}
    return Entry(**(values | {"bytes": len(CONTENT), "url": urls[0], "mirrors": urls[1:]} | fields))


def test_a_file_is_fetched_once(tmp_path, site):
    path = fetch(entry(site, "well"), tmp_path, CLIENT)
    assert path == tmp_path / "deep/w.pth"
    assert path.read_bytes() == CONTENT
    assert fetch(entry(site, "well"), tmp_path, CLIENT) == path
    assert site.requests == [("/well/w.pth", None)]
    assert [found.name for found in path.parent.iterdir()] == ["w.pth"]


def test_a_cut_connection_is_resumed_where_it_was_cut(tmp_path, site):
    assert fetch(entry(site, "cut"), tmp_path, CLIENT).read_bytes() == CONTENT
    assert site.requests == [("/cut/w.pth", None), ("/cut/w.pth", "bytes=100000-"), ("/cut/w.pth", "bytes=200000-")]


def test_the_part_of_a_killed_process_is_used(tmp_path, site):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/w.pth.part").write_bytes(CONTENT[:7])
    assert fetch(entry(site, "well"), tmp_path, CLIENT).read_bytes() == CONTENT
    assert site.requests == [("/well/w.pth", "bytes=7-")]


@pytest.mark.parametrize("part", [CONTENT, CONTENT + b"more", b"other bytes"])
def test_a_whole_an_overlong_or_a_foreign_part_ends_well(tmp_path, site, part):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/w.pth.part").write_bytes(part)
    assert fetch(entry(site, "well"), tmp_path, CLIENT).read_bytes() == CONTENT


def test_a_server_that_cannot_resume_starts_over(tmp_path, site):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/w.pth.part").write_bytes(b"x" * 1000)
    assert fetch(entry(site, "plain"), tmp_path, CLIENT).read_bytes() == CONTENT
    assert site.requests == [("/plain/w.pth", "bytes=1000-")]


def test_mirrors_are_tried_in_turn(tmp_path, site):
    assert fetch(entry(site, "gone", "wrong", "cut-wrong", "well"), tmp_path, CLIENT).read_bytes() == CONTENT
    assert [path for path, _ in site.requests] == [
        "/gone/w.pth",
        "/wrong/w.pth",
        *["/cut-wrong/w.pth"] * 3,
        "/well/w.pth",
    ]


def test_a_mirror_goes_on_where_another_was_cut(tmp_path, site):
    assert fetch(entry(site, "cut-plain", "well"), tmp_path, CLIENT).read_bytes() == CONTENT
    assert site.requests[-1] == ("/well/w.pth", "bytes=100000-")


def test_a_part_of_wrong_bytes_does_not_spoil_a_good_mirror(tmp_path, site):
    assert fetch(entry(site, "cut-plain-wrong", "well"), tmp_path, CLIENT).read_bytes() == CONTENT
    assert site.requests[-2:] == [("/well/w.pth", "bytes=100000-"), ("/well/w.pth", None)]


def test_wrong_content_never_gets_the_name(tmp_path, site):
    with pytest.raises(UserError) as error:
        fetch(entry(site, "wrong", "gone"), tmp_path, CLIENT)
    message = str(error.value)
    assert "has SHA-256" in message
    assert "404" in message
    assert message.endswith("/wrong/w.pth there by hand")
    assert str(tmp_path / "deep/w.pth") in message
    assert "\n" not in message
    assert not (tmp_path / "deep/w.pth").exists()


def test_another_size_is_refused_before_it_is_fetched(tmp_path, site):
    with pytest.raises(UserError, match="the server offers 256,000 bytes, not 1,000"):
        fetch(entry(site, "well", bytes=1000), tmp_path, CLIENT)
    assert not list((tmp_path / "deep").iterdir())


def test_without_a_network_the_message_says_what_to_put_where(tmp_path, site):
    def opener(request, timeout):
        raise OSError("Network is unreachable")

    with pytest.raises(UserError, match=r"w.pth: could not be fetched \(http.*Network is unreachable\); put http"):
        fetch(entry(site, "well"), tmp_path, Client(opener=opener, pause=0.0))


def test_a_prefix_of_the_checksum_serves_where_no_more_is_known(tmp_path, site):
    assert fetch(entry(site, "well", sha256=DIGEST[:8], bytes=None), tmp_path, CLIENT).read_bytes() == CONTENT
    with pytest.raises(UserError, match=r"has SHA-256 [0-9a-f]{8}, not 00000000"):
        fetch(entry(site, "well", sha256="00000000", into="other"), tmp_path, CLIENT)


def test_an_older_digest_serves_where_nobody_tells_another(tmp_path, site):
    right = hashlib.sha1(CONTENT).hexdigest()
    assert fetch(entry(site, "well", sha256=None, sha1=right), tmp_path, CLIENT).read_bytes() == CONTENT
    with pytest.raises(UserError, match=r"has SHA-1 [0-9a-f]{40}, not 0000"):
        fetch(entry(site, "well", sha256=None, sha1=40 * "0", into="other"), tmp_path, CLIENT)


def test_a_wrong_file_already_there_is_neither_used_nor_replaced(tmp_path, site):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/w.pth").write_bytes(CONTENT[::-1])
    with pytest.raises(UserError, match="remove it to fetch it again"):
        fetch(entry(site, "well"), tmp_path, CLIENT)
    assert (tmp_path / "deep/w.pth").read_bytes() == CONTENT[::-1]
    assert site.requests == []


@pytest.mark.parametrize(
    "way",
    [
        *("well", "moved", "busy", "broken", "silent", "plain", "cut", "drop", "cut-busy", "drop-broken-silent"),
        *("moved-busy", "plain-broken"),
    ],
)
def test_a_server_that_misbehaves_ends_with_the_same_bytes(tmp_path, site, way):
    assert fetch(entry(site, way), tmp_path, CLIENT).read_bytes() == CONTENT
    assert [found.name for found in (tmp_path / "deep").iterdir()] == ["w.pth"]


@pytest.mark.parametrize(
    ("way", "fault"),
    [
        ("forbidden", "HTTP Error 403: Forbidden"),
        ("gone", "HTTP Error 404: Not Found"),
        ("removed", "HTTP Error 410: Gone"),
        ("later", "HTTP Error 429: Too Many Requests"),
        ("page", "the server sent a web page, not the file"),
        ("wrong", "what came has SHA-256 "),
        ("larger", "the server offers 256,004 bytes, not 256,000"),
        ("endless", "the server sends more than the 256,000 bytes it announced"),
        ("short-plain", "the connection was cut at 255,999 of 256,000 bytes"),
    ],
)
def test_what_cannot_end_well_is_one_line_and_a_mirror_makes_up_for_it(tmp_path, site, way, fault):
    with pytest.raises(UserError) as error:
        fetch(entry(site, way), tmp_path, CLIENT)
    assert f"/{way}/w.pth: {fault}" in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "deep/w.pth").exists()
    assert fetch(entry(site, way, "well"), tmp_path, CLIENT).read_bytes() == CONTENT


def test_a_server_is_asked_so_often_and_no_more(tmp_path, site):
    site.files.clear()
    with pytest.raises(UserError):
        fetch(entry(site, "later", "well"), tmp_path, CLIENT)
    assert len(site.requests) == 2  # an hour is too long, and what is not there does not come by asking again
    with pytest.raises(UserError, match=r"timed out|refused"):
        fetch(entry(site, "well", url="http://127.0.0.1:9/w"), tmp_path, CLIENT)


@pytest.mark.parametrize(("name", "algorithm"), [("md5", "md5"), ("git", "sha1")])
def test_other_checksums_serve_too(tmp_path, site, name, algorithm):
    header = b"blob %d\0" % len(CONTENT) if name == "git" else b""
    right = hashlib.new(algorithm, header + CONTENT).hexdigest()
    assert fetch(entry(site, "well", sha256=None, **{name: right}), tmp_path, CLIENT).read_bytes() == CONTENT
    with pytest.raises(UserError, match="what came has "):
        fetch(entry(site, "well", sha256=None, into="x", **{name: "0" * len(right)}), tmp_path, CLIENT)


def unverified(site, *ways, **fields):
    return entry(site, *ways, **({"sha256": None, "bytes": None, "about": len(CONTENT), "recorded": True} | fields))


def test_without_a_checksum_halves_of_two_versions_never_make_a_whole(tmp_path, site):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/w.pth.part").write_bytes(CONTENT[7::-1])  # of which nobody knows what it is
    assert fetch(unverified(site, "cut"), tmp_path, CLIENT).read_bytes() == CONTENT
    assert [range for _, range in site.requests] == [None, "bytes=100000-", "bytes=200000-"]
    site.requests.clear()
    with pytest.raises(UserError, match="the connection was cut at 100,000 of 256,000"):
        fetch(unverified(site, "version-cut", into="x"), tmp_path, CLIENT)
    assert fetch(unverified(site, "version-cut", "well", into="x"), tmp_path, CLIENT).read_bytes() == CONTENT
    assert site.requests[-1] == ("/well/w.pth", None)  # the bytes of another url are no beginning


def test_a_recorded_checksum_is_checked_from_then_on(tmp_path, site):
    one = unverified(site, "well")
    path = fetch(one, tmp_path, CLIENT)
    record_of(path).write_text(f"{DIGEST}  w.pth\n")
    assert verify(one, path) is None
    path.unlink()
    site.files["w.pth"] = CONTENT[::-1]
    with pytest.raises(UserError, match=f"what came has SHA-256 [0-9a-f]{{64}}, not {DIGEST}"):
        fetch(one, tmp_path, CLIENT)


def test_what_nobody_knows_the_size_of_cannot_fill_the_disk(tmp_path, site, monkeypatch):
    monkeypatch.setattr("captionrl.datasets.transfer.UNKNOWN", 1500)
    with pytest.raises(UserError, match="the server sends more than the 2,000 bytes it announced"):
        fetch(unverified(site, "endless", about=1000), tmp_path, CLIENT)
    with pytest.raises(UserError, match="the server offers 256,000 bytes, where no more than 2,000 are expected"):
        fetch(unverified(site, "well", about=1000), tmp_path, CLIENT)
    assert sum(file.stat().st_size for file in (tmp_path / "deep").iterdir()) < 10_000


def test_a_full_disk_is_not_blamed_on_the_network(tmp_path, site):
    """What is there is kept, and the next attempt goes on with it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_001, hard))
    try:
        with pytest.raises(OSError, match="File too large") as raised:
            fetch(entry(site, "well", "plain"), tmp_path, CLIENT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    part = tmp_path / "deep/w.pth.part"
    assert raised.value.filename == str(part)
    assert (part.stat().st_size, len(site.requests)) == (100_001, 1)
    assert fetch(entry(site, "well"), tmp_path, CLIENT).read_bytes() == CONTENT
    assert site.requests[1] == ("/well/w.pth", "bytes=100001-")
