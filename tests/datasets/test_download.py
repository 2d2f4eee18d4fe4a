"""From nothing to all files of a group: plan, licences, disk, transfers, archives, links, kills."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest
import yaml
from unreliable import CLIENT, serving

from captionrl.datasets import download as downloads
from captionrl.datasets.download import describe, disk_of, download, needs, plan, write_record
from captionrl.datasets.manifest import manifest, read_manifest
from captionrl.datasets.missing import is_there
from captionrl.errors import UserError
from captionrl.files import read_json

TEXT = b"CLIP a caption\n" * 20_000
CLIPS = {f"v{i}.avi": os.urandom(70_000 + i) for i in range(6)}
GIFS = {f"g{i}.gif": b"GIF89a" + bytes([i]) for i in range(5)}


def archive(folder, kind):
    """A zip or tar of the clips in this folder, and of what is not wanted."""
    file = io.BytesIO()
    names = {f"{folder}/{name}": content for name, content in CLIPS.items()} | {f"__MACOSX/{folder}/v0.avi": b"x"}
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as zipped:
            for name, content in names.items():
                zipped.writestr(name, content)
    else:
        with tarfile.open(fileobj=file, mode="w") as tar:
            for name, content in names.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


ZIP, TAR = archive("set/clips", "zip"), archive("clips", "tar")


def sha(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def site():
    files = {"text.txt": TEXT, "clips.zip": ZIP, "clips.tar": TAR, **GIFS}
    with serving(files) as server:
        yield server


@pytest.fixture
def toy(site, tmp_path, monkeypatch):
    """A manifest with a group of each kind, and the working directory where they go."""
    common = {"what": "a toy", "licence": "research use"}
    asked = common | {"accept": "toy", "terms": "http://a.org/licence.txt"}
    groups = {
        "toy": [
            {"name": "text", "into": "text.txt", "url": site.url("cut-busy/text.txt"), "sha256": sha(TEXT)}
            | {"bytes": len(TEXT), "instead": [["a.txt", "b.txt"]]}
            | asked,
            {"name": "clips", "into": "clips/", "url": site.url("broken-cut/clips.zip"), "unpack": "set/clips/"}
            | {"sha256": sha(ZIP), "bytes": len(ZIP)}
            | asked,
        ],
        "toy-part": [{"name": "clips", "into": "clips/", "shared": "toy"} | common],
        "tar": [
            {"name": "tar", "into": "clips/", "url": site.url("cut/clips.tar"), "unpack": "clips/", "recorded": True}
            | {"about": len(TAR)}
            | common
        ],
        "gifs": [{"name": "gifs", "into": "gifs/", "listed": ["urls.txt"], "about": 1000} | common],
        "hand": [{"name": "photos", "into": "photos/", "by_hand": True, "from": "its author"} | common],
    }
    write_manifest(tmp_path, groups)
    monkeypatch.setenv("CAPTIONRL_DOWNLOADS", str(tmp_path / "m.yaml"))
    monkeypatch.chdir(tmp_path)
    return groups


def write_manifest(path, groups):
    (path / "m.yaml").write_text(yaml.safe_dump(groups))


def fetch(*groups, accept=("toy",), **options):
    download({group: Path("data", group) for group in groups}, accept, client=CLIENT, **options)


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_all_files_of_all_groups_come_and_come_once(toy, site):
    fetch("toy", "toy-part", "tar")
    assert contents("data/toy/clips") == contents("data/tar/clips") == contents("data/toy-part/clips") == CLIPS
    assert Path("data/toy/text.txt").read_bytes() == TEXT
    assert {path.name for path in Path("data/toy").iterdir()} == {"text.txt", "clips"}  # neither archive nor part
    assert {path.name for path in Path("data/tar").iterdir()} == {"clips", "clips.tar.sha256"}
    assert os.readlink("data/toy-part/clips") == "../toy/clips"
    site.requests.clear()
    fetch("toy", "toy-part", "tar", accept=())  # nothing is missing: no licence is asked for
    assert site.requests == []
    write_record("toy", Path("data/toy"), Path("data/toy/downloads.json"))
    assert read_json("data/toy/downloads.json") == {
        "clips": {"files": ["clips/"], "licence": "research use"},
        "text": {"files": ["text.txt"], "licence": "research use"},
    }


def test_an_archive_is_unpacked_where_an_empty_folder_is_linked_to(toy, tmp_path):
    elsewhere = tmp_path / "other/clips"
    elsewhere.mkdir(parents=True)
    Path("data/toy").mkdir(parents=True)
    Path("data/toy/clips").symlink_to(elsewhere)
    fetch("toy")
    assert Path("data/toy/clips").is_symlink()
    assert contents(elsewhere) == CLIPS


def test_nothing_is_fetched_without_the_licence_and_all_is_said_before_the_first_byte(toy, site, capsys):
    with pytest.raises(UserError) as error:
        fetch("toy", "tar", "hand", accept=())
    assert str(error.value) == (
        "licences not accepted: toy (http://a.org/licence.txt); read them, then add `accept: [toy]` to params.yaml or "
        "give --accept toy; nothing was fetched"
    )
    assert site.requests == []
    first, *named = capsys.readouterr().err.splitlines()
    size = len(TEXT) + len(ZIP) + len(TAR)
    disk = size + max(len(ZIP), len(TAR))
    assert first == f"missing: 4 files or folders, 3 of them to fetch: {size:,} bytes to fetch, {disk:,} of disk"
    assert [line.split(":")[0].split(" (or ")[0].strip() for line in named] == [
        "data/toy/text.txt", "data/toy/clips/", "data/tar/clips/", "data/hand/photos/"
    ]  # fmt: skip
    with pytest.raises(UserError, match="accept: toi: no such licence; there are toy"):
        fetch("toy", accept=("toi",))
    assert plan({"toy": Path("data/toy")}, ())[-1].startswith("licences not accepted: toy (")
    assert not plan({"toy": Path("data/toy")}, ["toy"])[-1].startswith("licences")


def test_what_only_its_user_can_put_there_is_named_after_all_else_is_fetched(toy):
    with pytest.raises(UserError, match=r"^data/hand/photos/: a toy; from: its author; put it there by hand$"):
        fetch("hand", "tar")
    assert contents("data/tar/clips") == CLIPS
    Path("data/hand/photos").mkdir(parents=True)
    Path("data/hand/photos/1.jpg").touch()
    fetch("hand")


def test_one_that_does_not_come_keeps_no_other_from_coming(toy, site):
    del site.files["text.txt"]
    with pytest.raises(
        UserError, match=r"^data/toy/text.txt: could not be fetched \(.*HTTP Error 404: Not Found\); put"
    ):
        fetch("toy", "tar")
    assert contents("data/toy/clips") == contents("data/tar/clips") == CLIPS


def test_a_file_that_is_not_what_the_manifest_says_is_neither_used_nor_replaced(toy, site):
    Path("data/toy").mkdir(parents=True)
    Path("data/toy/text.txt").write_text("mine")
    with pytest.raises(UserError, match=r"data/toy/text.txt: has 4 bytes, not 300,000; remove it to have it fetched"):
        fetch("toy", only="text")
    assert Path("data/toy/text.txt").read_text() == "mine"
    assert site.requests == []


def test_what_is_there_is_used_as_it_is(toy, site):
    Path("data/toy/clips").mkdir(parents=True)
    Path("data/toy/clips/mine.avi").touch()
    for name in ("a.txt", "b.txt"):
        Path("data/toy", name).touch()
    fetch("toy", accept=())
    assert site.requests == []
    Path("data/toy/b.txt").unlink()  # what serves together must be there together
    assert not is_there(manifest()["toy"][0], Path("data/toy"))


@pytest.mark.parametrize("group", ["toy", "tar"])
def test_an_archive_that_its_user_put_there_is_unpacked_and_kept(toy, site, group):
    Path("data", group).mkdir(parents=True)
    name, content = ("clips.zip", ZIP) if group == "toy" else ("clips.tar", TAR)
    Path("data", group, name).write_bytes(content)
    fetch(group, only=manifest()[group][-1].name, accept=())
    assert contents(f"data/{group}/clips") == CLIPS
    assert Path("data", group, name).read_bytes() == content
    assert site.requests == []


def test_an_archive_of_another_checksum_is_neither_unpacked_nor_removed(toy):
    Path("data/toy").mkdir(parents=True)
    Path("data/toy/clips.zip").write_bytes(TAR)
    with pytest.raises(UserError, match=r"data/toy/clips.zip: has [0-9,]+ bytes, not [0-9,]+; remove it to have it"):
        fetch("toy", only="clips")
    assert Path("data/toy/clips.zip").read_bytes() == TAR


def test_what_came_first_is_recorded_said_and_checked_from_then_on(toy, site, capsys):
    fetch("tar")
    record = Path("data/tar/clips.tar.sha256")
    assert record.read_text() == f"{sha(TAR)}  clips.tar\n"
    assert f"data/tar/clips.tar: nobody publishes a checksum; its SHA-256 {sha(TAR)} is in" in capsys.readouterr().err
    for path in Path("data/tar/clips").iterdir():
        path.unlink()
    site.files["clips.tar"] = archive("clips", "tar")[:-512] + b"x" * 512
    with pytest.raises(UserError, match=f"what came has SHA-256 [0-9a-f]{{64}}, not {sha(TAR)}"):
        fetch("tar")
    site.files["clips.tar"] = TAR
    fetch("tar")
    assert contents("data/tar/clips") == CLIPS


def test_without_the_disk_nothing_is_fetched(toy, site, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda path: usage(len(TEXT) + 2 * len(ZIP) - 1))
    with pytest.raises(UserError, match=r"^data/toy: [0-9,]+ bytes of disk are needed, [0-9,]+ are free; make room"):
        fetch("toy")
    assert site.requests == []
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda path: usage(len(TEXT) + 2 * len(ZIP)))
    fetch("toy")


def test_a_hostile_archive_is_refused_whatever_its_checksum_and_leaves_nothing(toy, site, tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("set/clips/v0.avi", b"x")
        zipped.writestr("set/clips/../../../../evil", b"x")
    site.files["clips.zip"] = content = file.getvalue()
    toy["toy"][1] |= {"sha256": sha(content), "bytes": len(content)}
    write_manifest(tmp_path, toy)
    read_manifest.cache_clear()
    with pytest.raises(UserError, match="points outside the archive"):
        fetch("toy", only="clips")
    assert not list(tmp_path.rglob("evil"))
    assert not Path("data/toy/clips").exists()


def test_gifs_come_from_their_list_and_some_may_be_gone(toy, site):
    Path("data/gifs").mkdir(parents=True)
    urls = [site.url(f"well/{name}") for name in GIFS] + [site.url("gone/x.gif")]
    Path("data/gifs/urls.txt").write_text("\n".join(urls))
    with pytest.raises(UserError, match="1 files are gone"):
        fetch("gifs")
    with pytest.raises(UserError, match="1 files are gone"):
        fetch("gifs")
    need = downloads.Need(Path("data/gifs"), manifest()["gifs"][0])
    assert need.bytes == 0  # of 1,000
    Path("data/gifs/gifs.gone.tsv").unlink()
    Path("data/gifs/gifs/g0.gif").unlink()
    assert need.bytes == 1000 * 2 // 6
    with pytest.raises(UserError, match="1 files are gone"):
        fetch("gifs")
    fetch("gifs", allowed_failures=1)
    assert contents("data/gifs/gifs") == GIFS


def test_a_list_says_what_there_is_and_what_is_there(toy):
    raw = {group: Path("data", group) for group in ("toy", "tar")}
    lines = describe(raw)
    assert lines[0] == f"toy: {len(TEXT) + len(ZIP):,} bytes to fetch, {len(TEXT) + 2 * len(ZIP):,} of disk"
    assert lines[1].startswith("  missing data/toy/text.txt (or a.txt and b.txt): a toy; 300,000 bytes; from: http")
    assert lines[2] == (f"          sha256 {sha(TEXT)}; licence: research use (--accept toy: http://a.org/licence.txt)")
    fetch("tar")
    assert describe(raw)[5] == "tar: all there"
    assert describe(raw)[6].startswith("  there   data/tar/clips/: ")
    assert "checksum of the first transfer" in describe(raw)[7]


@pytest.mark.parametrize("group", ["coco-3000", "toy"])
def test_a_strange_name_is_one_line_that_names_the_others(toy, group):
    with pytest.raises(UserError, match=r"not in the manifest; there are (gifs, hand|text, clips)"):
        fetch(group, only="tax")


def test_what_a_kill_in_the_last_moment_left_is_removed(toy, site):
    fetch("tar")
    for name in ("clips.tar.part", "clips.tar.part.from"):
        Path("data/tar", name).write_text("left")
    fetch("tar")
    assert {path.name for path in Path("data/tar").iterdir()} == {"clips", "clips.tar.sha256"}


def test_killed_at_any_time_the_same_command_ends_with_the_same_files(toy, site):
    """Each attempt lives a little longer than the one before."""
    script = (
        "from pathlib import Path; from unreliable import CLIENT; from captionrl.datasets.download import download\n"
        "print('ready', flush=True); input()\n"
        "download({g: Path('data', g) for g in ('toy', 'tar')}, ['toy'], client=CLIENT)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    kills = 0
    for attempt in range(100):
        command = [sys.executable, "-c", script]
        with subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout.readline() == b"ready\n"
            process.stdin.write(b"\n")
            process.stdin.flush()
            time.sleep(0.01 * (attempt + 1) ** 2)
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
            errors = process.communicate()[1]
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors
    assert kills >= 1
    assert contents("data/toy/clips") == contents("data/tar/clips") == CLIPS
    assert Path("data/toy/text.txt").read_bytes() == TEXT
    assert {path.name for path in Path("data/toy").iterdir()} == {"text.txt", "clips"}
    assert {path.name for path in Path("data/tar").iterdir()} == {"clips", "clips.tar.sha256"}


def test_the_documentation_lists_every_group_its_bytes_and_its_licence(tmp_path):
    page = (Path(__file__).parents[2] / "docs/data.md").read_text()
    for group, entries in manifest().items():
        if group in ("weights", "tools"):
            continue
        wanted = needs({group: tmp_path / group})
        about = any(not need.entry.bytes for need in wanted if need.transferred)
        size, disk = sum(need.bytes for need in wanted), sum(disk_of(wanted).values())
        accept = next((f"[{entry.accept}]({entry.terms})" for entry in entries if entry.accept), "none to accept")
        licence = "; ".join(dict.fromkeys(part for entry in entries for part in entry.licence.split("; ")))
        sizes = f"{'about ' * about}{size:,} | {disk:,}"
        assert f"| `{group}` | `captionrl download {group}` | {sizes} | {accept} | {licence} |\n" in page
