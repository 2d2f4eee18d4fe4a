import io
import tarfile
import zipfile

import pytest

from captionrl.datasets.archives import members, read_member, unpack
from captionrl.errors import UserError


def make_zip(path, *names, link=None):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            file.writestr(name, f"content of {name}")
        if link:
            info = zipfile.ZipInfo(link)
            info.external_attr = 0o120777 << 16
            file.writestr(info, "/etc/passwd")


def make_tar(path, *names, link=None):
    with tarfile.open(path, "w:gz") as file:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(content := f"content of {name}".encode())
            file.addfile(info, io.BytesIO(content))
        if link:
            info = tarfile.TarInfo(link)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            file.addfile(info)


MAKERS = pytest.mark.parametrize("make", [make_zip, make_tar])


@MAKERS
def test_unpacked_is_what_was_packed(tmp_path, make):
    make(tmp_path / "archive", "videos/a.mp4", "./videos/deep/b.mp4", "readme")
    unpack(tmp_path / "archive", tmp_path / "out")
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == {"videos/a.mp4", "videos/deep/b.mp4", "readme"}
    assert (tmp_path / "out/videos/a.mp4").read_text() == "content of videos/a.mp4"


@MAKERS
@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/tmp/evil", "..\\evil", "C:evil"])
def test_a_path_that_leaves_the_archive_is_refused(tmp_path, make, name):
    make(tmp_path / "archive", "good", name)
    with pytest.raises(UserError, match="points outside the archive"):
        unpack(tmp_path / "archive", tmp_path / "sub/out")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["archive", "sub"]  # the good member is gone as well


@MAKERS
def test_links_are_refused(tmp_path, make):
    make(tmp_path / "archive", "good", link="passwords")
    with pytest.raises(UserError, match="'passwords': a link or a device"):
        unpack(tmp_path / "archive", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_name_twice_is_refused(tmp_path):
    make_tar(tmp_path / "archive", "a", "./a")
    with pytest.raises(UserError, match="is in the archive twice"):
        unpack(tmp_path / "archive", tmp_path / "out")


@MAKERS
def test_a_cut_archive_leaves_nothing(tmp_path, make):
    make(tmp_path / "archive", *(f"{i}" for i in range(50)))
    data = (tmp_path / "archive").read_bytes()
    (tmp_path / "archive").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="archive: cannot be unpacked"):
        unpack(tmp_path / "archive", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_an_existing_directory_is_left_alone(tmp_path):
    make_zip(tmp_path / "archive", "a")
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="exists already; remove it"):
        unpack(tmp_path / "archive", tmp_path / "out")


def test_members_are_read_by_name(tmp_path):
    make_zip(tmp_path / "a.zip", "folder/data.json", "__MACOSX/folder/data.json", "one/twice", "two/twice")
    assert read_member(tmp_path / "a.zip", "data.json") == b"content of folder/data.json"
    with pytest.raises(UserError, match=r"a.zip: must hold one nothing.json, but holds none"):
        read_member(tmp_path / "a.zip", "nothing.json")
    with pytest.raises(UserError, match=r"a.zip: must hold one twice, but holds 2"):
        read_member(tmp_path / "a.zip", "twice")


def test_what_is_no_archive_is_said_to_be_none(tmp_path):
    (tmp_path / "a").write_bytes(b"<html>404</html>" * 100)
    with pytest.raises(UserError, match=r"a: cannot be unpacked \(neither a zip nor a tar, or one cut off\)"):
        unpack(tmp_path / "a", tmp_path / "out")


@pytest.mark.parametrize("make", ["zip", "tar"])
def test_a_bomb_is_not_unpacked(tmp_path, make):
    """300 MB of zeros in a file of a thousandth."""
    path, zeros = tmp_path / f"bomb.{make}", bytes(1 << 20)
    if make == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open("a.json", "w") as member:
            for _ in range(300):
                member.write(zeros)
        with pytest.raises(UserError, match=r"a.json: cannot be unpacked \(claims to be 314,572,800 bytes, in 30\d,"):
            read_member(path, "a.json")
    else:
        with tarfile.open(path, "w:gz") as file:
            info = tarfile.TarInfo("a.json")
            info.size = 300 << 20
            file.addfile(info, io.BytesIO(zeros * 300))
    with pytest.raises(UserError, match=r"cannot be unpacked \(claims to be 314,572,800 bytes, in 30\d,"):
        unpack(path, tmp_path / "out")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_member_without_a_name_is_no_crash(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        info = zipfile.ZipInfo()
        info.filename = info.orig_filename = ""
        file.writestr(info, b"nothing")
        file.writestr("a.json", b"{}")
    assert members(tmp_path / "a.zip") == ["", "a.json"]
    assert read_member(tmp_path / "a.zip", "a.json") == b"{}"


def test_damaged_zips_are_named(tmp_path):
    make_zip(tmp_path / "a.zip", "data.json")
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[data.index(b"data.json") + 12] ^= 0xFF  # in the compressed stream
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(UserError, match=r"a.zip: data.json: cannot be unpacked"):
        read_member(tmp_path / "a.zip", "data.json")
    (tmp_path / "a.zip").write_bytes(b"<html>404</html>")
    with pytest.raises(UserError, match=r"a.zip: not a readable zip"):
        read_member(tmp_path / "a.zip", "data.json")
