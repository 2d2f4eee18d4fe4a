import gzip
import io
import os
import tarfile
import zipfile

import pytest

from captionrl.datasets import archives
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


def test_a_member_that_would_fill_the_memory_is_not_read(tmp_path, monkeypatch):
    make_zip(tmp_path / "a.zip", "a.json")
    data = (tmp_path / "a.zip").read_bytes()
    size = len("content of a.json").to_bytes(4, "little")
    at = data.rindex(b"PK\x01\x02") + 24  # in the list of members at the end
    assert data[at : at + 4] == size
    (tmp_path / "a.zip").write_bytes(data[:at] + (2**31).to_bytes(4, "little") + data[at + 4 :])
    with pytest.raises(UserError) as error:
        read_member(tmp_path / "a.zip", "a.json")
    fault = "unpacks to more than 50 times its size; do not use this file"
    assert str(error.value) == f"{tmp_path / 'a.zip'}: {fault}"


def test_what_is_no_archive_is_said_to_be_none(tmp_path):
    (tmp_path / "a").write_bytes(b"<html>404</html>" * 100)
    with pytest.raises(UserError, match=r"a: cannot be unpacked \(invalid header\); fetch it again"):
        unpack(tmp_path / "a", tmp_path / "out")


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


@MAKERS
def test_of_a_folder_only_its_files_are_taken(tmp_path, make):
    make(tmp_path / "archive", "set/clips/a.mp4", "set/clips/deep/b.mp4", "__MACOSX/set/clips/a.mp4", "set/readme")
    unpack(tmp_path / "archive", tmp_path / "out", "set/clips/")
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == {"a.mp4", "deep/b.mp4"}
    with pytest.raises(UserError, match="archive: holds no file in other"):
        unpack(tmp_path / "archive", tmp_path / "more", "other/")


@MAKERS
def test_what_a_killed_process_unpacked_is_not_unpacked_again(tmp_path, make, monkeypatch):
    make(tmp_path / "archive", "a", "b", "c")
    replace, moved = os.replace, []

    def killed(source, target):
        if len(moved) == 2:
            raise KeyboardInterrupt
        moved.append(target.name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        unpack(tmp_path / "archive", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(os, "replace", lambda source, target: (moved.append(target.name), replace(source, target)))
    unpack(tmp_path / "archive", tmp_path / "out")
    assert moved == ["a", "b", "c"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "b", "c"]
    assert (tmp_path / "out/c").read_text() == "content of c"


def refusal(tmp_path):
    with pytest.raises(UserError) as error:
        unpack(tmp_path / "archive", tmp_path / "sub/out")
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["archive", "sub"]
    return str(error.value)


def zeros(file, number, size):
    """Members of as many zero bytes each."""
    for i in range(number):
        if isinstance(file, zipfile.ZipFile):
            with file.open(f"{i}", "w") as member:
                for _ in range(size >> 20):
                    member.write(bytes(1 << 20))
        else:
            info = tarfile.TarInfo(f"{i}")
            info.size = size
            file.addfile(info, io.BytesIO(bytes(size)))


@pytest.mark.parametrize("kind", ["zip", "gz"])
def test_a_bomb_is_refused(tmp_path, kind):
    with (
        zipfile.ZipFile(tmp_path / "archive", "w", zipfile.ZIP_DEFLATED)
        if kind == "zip"
        else tarfile.open(tmp_path / "archive", "w:gz")
    ) as file:
        zeros(file, 3, 24 << 20)
    assert (tmp_path / "archive").stat().st_size < 1 << 20
    assert "unpacks to more than 50 times its size" in refusal(tmp_path)


def test_a_member_that_hides_its_size_is_refused(tmp_path):
    make_zip(tmp_path / "archive", "x" * 40)
    data = bytearray((tmp_path / "archive").read_bytes())
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = (3).to_bytes(4, "little")  # of 51 bytes
    (tmp_path / "archive").write_bytes(data)
    assert "cannot be unpacked (" in refusal(tmp_path)


@MAKERS
def test_too_many_members_are_refused(tmp_path, make, monkeypatch):
    monkeypatch.setattr(archives, "MEMBERS", 20)
    make(tmp_path / "archive", *map(str, range(21)))
    assert "has more than 20 members" in refusal(tmp_path)


def test_a_list_of_members_that_would_fill_the_memory_is_not_read(tmp_path, monkeypatch):
    make_zip(tmp_path / "archive", *map(str, range(100)))
    monkeypatch.setattr(archives, "DIRECTORY", 4000)
    monkeypatch.setattr(zipfile.ZipFile, "__init__", None)
    assert "members; do not use this file" in refusal(tmp_path)
    with pytest.raises(UserError, match="members; do not use this file"):
        read_member(tmp_path / "archive", "1")


def test_a_header_of_any_length_is_refused(tmp_path):
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 1 << 40
    with gzip.open(tmp_path / "archive", "wb") as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        file.write(bytes(1 << 16))
    assert "cannot be unpacked (a header of 1,099,511,627,776 bytes)" in refusal(tmp_path)


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.LNKTYPE])
def test_devices_and_hard_links_are_refused(tmp_path, kind):
    with tarfile.open(tmp_path / "archive", "w") as file:
        info = tarfile.TarInfo("null")
        info.type, info.linkname, info.devmajor, info.devminor = kind, "/etc/passwd", 1, 3
        file.addfile(info)
    assert "'null': a link or a device; do not use this file" in refusal(tmp_path)


def test_a_member_is_read_only_if_its_size_fits_its_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        zeros(file, 1, 65 << 20)
    with pytest.raises(UserError, match=r"a.zip: unpacks to more than 50 times its size"):
        read_member(tmp_path / "a.zip", "0")
