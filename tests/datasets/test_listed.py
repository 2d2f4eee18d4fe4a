"""Many small files from lists of urls."""

import itertools

import pytest
from unreliable import CLIENT, serving

from captionrl.datasets import listed
from captionrl.datasets.listed import check_gone, fetch_listed, list_of_gone, missing
from captionrl.datasets.manifest import Entry
from captionrl.errors import UserError

GIF = b"GIF89a" + bytes(1000)
ENTRY = Entry(name="gifs", what="GIFs", licence="none", into="gifs/", listed=("a.txt", "b.tsv"))


@pytest.fixture
def site():
    with serving({f"{i}.gif": GIF + bytes([i]) for i in range(30)} | {"page.gif": b"<html>"}) as server:
        yield server


def write(raw, site, *paths):
    half = len(paths) // 2
    (raw / "a.txt").write_text("".join(f"{site.url(path)}\n" for path in paths[:half]))
    (raw / "b.tsv").write_text("".join(f"{site.url(path)}\ta caption\n" for path in paths[half:]))


def fetch(raw, allowed_failures=0):
    fetch_listed(ENTRY, raw, CLIENT, rate=10_000)
    check_gone(ENTRY, raw, allowed_failures)


def there(raw):
    return {path.name for path in (raw / "gifs").iterdir()}


def test_all_files_come_whatever_the_server_does(tmp_path, site):
    ways = itertools.cycle(["well", "busy", "broken", "silent", "moved", "moved-busy"])
    write(tmp_path, site, *(f"{way}/{i}.gif" for i, way in zip(range(30), ways, strict=False)))
    fetch(tmp_path)
    site.files.pop("page.gif")
    assert {path.name: path.read_bytes() for path in (tmp_path / "gifs").iterdir()} == site.files
    assert not list_of_gone(ENTRY, tmp_path).exists()
    before = len(site.requests)
    fetch(tmp_path)
    assert len(site.requests) == before


def test_what_is_gone_is_listed_asked_for_once_and_allowed_or_not(tmp_path, site):
    write(tmp_path, site, "well/1.gif", "gone/2.gif", "forbidden/3.gif", "well/4.gif", "well/page.gif", "removed/5.gif")
    where = f"listed in {tmp_path}/gifs.gone.tsv"
    with pytest.raises(UserError) as error:
        fetch(tmp_path, allowed_failures=3)
    assert str(error.value).startswith(f"{tmp_path}/gifs: 4 files are gone ({where}); set allowed_failures")
    assert there(tmp_path) == {"1.gif", "4.gif"}
    assert (tmp_path / "gifs.gone.tsv").read_text().splitlines() == [
        f"{site.url('gone/2.gif')}\tHTTP Error 404: Not Found",
        f"{site.url('forbidden/3.gif')}\tHTTP Error 403: Forbidden",
        f"{site.url('well/page.gif')}\twhat came is no .gif",
        f"{site.url('removed/5.gif')}\tHTTP Error 410: Gone",
    ]
    before = len(site.requests)
    fetch(tmp_path, allowed_failures=4)
    assert len(site.requests) == before
    (tmp_path / "gifs.gone.tsv").unlink()
    assert len(missing(ENTRY, tmp_path)) == 4


def test_what_did_not_come_this_time_comes_the_next_time(tmp_path, site):
    write(tmp_path, site, "well/1.gif", "short/2.gif", "later/3.gif", "well/4.gif")
    with pytest.raises(
        UserError, match=r"gifs: 2 files did not come \(http.*/short/2.gif: .*run the same command again"
    ):
        fetch(tmp_path)
    assert there(tmp_path) == {"1.gif", "4.gif"}
    write(tmp_path, site, "well/1.gif", "well/2.gif", "well/3.gif", "well/4.gif")
    site.requests.clear()
    fetch(tmp_path)
    assert {path for path, _ in site.requests} == {"/well/2.gif", "/well/3.gif"}
    assert there(tmp_path) == {"1.gif", "2.gif", "3.gif", "4.gif"}


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://a.org/..", "http://a.org/", "http://a.org/.x", "x"])
def test_a_list_cannot_name_a_file_elsewhere(tmp_path, url):
    (tmp_path / "a.txt").write_text(url)
    (tmp_path / "b.tsv").write_text("")
    with pytest.raises(UserError, match=r"a.txt: line 1: "):
        fetch(tmp_path)


def test_requests_are_spread_over_time_and_all_wait_where_a_server_asks_for_it(monkeypatch):
    now, slept = [0.0], []
    monkeypatch.setattr(listed.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(listed.time, "sleep", lambda seconds: slept.append(round(seconds, 6)))
    pace = listed.Pace(rate=20)
    for _ in range(3):
        pace.wait()
    pace.hold(30)
    pace.wait()
    assert slept == [0.0, 0.05, 0.1, 30.0]


def test_too_large_a_file_is_none(tmp_path, site, monkeypatch):
    monkeypatch.setattr(listed, "LARGEST", 500)
    write(tmp_path, site, "endless/1.gif", "well/2.gif")
    with pytest.raises(UserError, match="2 files are gone"):
        fetch(tmp_path)
    assert there(tmp_path) == set()
