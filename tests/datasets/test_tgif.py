import re

import pytest

from captionrl.datasets.corpus import Item
from captionrl.datasets.manifest import find, require
from captionrl.datasets.read import read_corpus
from captionrl.errors import UserError

# Both kinds of Tumblr's urls: most have a folder named by a hash, some have not.
MAN = "https://38.media.tumblr.com/9f6c25cc350f12aa74a7dc386a5c4985/tumblr_mevmyaKtDf1rgvhr8o1_500.gif"
CAT = "https://33.media.tumblr.com/tumblr_md414i67jD1qaqik6o1_500.gif"
GUN = "https://38.media.tumblr.com/8cc0d8b94f1694a74f8754de3934ae2d/tumblr_nqir72vsUx1sd7dido1_r1_500.gif"
FILES = ("tgif-v1.0.tsv", "splits/train.txt", "splits/val.txt", "splits/test.txt")
CAPTIONS = f"{GUN}\ta guy points a gun.\n{MAN}\ta man is glaring.\n{CAT}\ta cat\tjumps\n{GUN}\ta man is sitting\n"


def write(raw, captions=CAPTIONS, train=MAN, val=CAT, test=GUN):
    (raw / "splits").mkdir(parents=True, exist_ok=True)
    for file, text in zip(FILES, (captions, train, val, test), strict=True):
        (raw / file).write_text(text, newline="")


def refusal(raw):
    with pytest.raises(UserError) as error:
        read_corpus("tgif", raw)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_ids_and_files_are_the_last_part_of_the_url(tmp_path):
    write(tmp_path)
    corpus = read_corpus("tgif-mini", tmp_path)
    assert corpus.name == "tgif-mini"
    assert corpus.items == [
        Item("tumblr_mevmyaKtDf1rgvhr8o1_500", "train", "gifs/tumblr_mevmyaKtDf1rgvhr8o1_500.gif"),
        Item("tumblr_md414i67jD1qaqik6o1_500", "val", "gifs/tumblr_md414i67jD1qaqik6o1_500.gif"),
        Item("tumblr_nqir72vsUx1sd7dido1_r1_500", "test", "gifs/tumblr_nqir72vsUx1sd7dido1_r1_500.gif"),
    ]
    assert corpus.files == FILES


def test_several_captions_of_a_gif_stand_on_lines_of_their_own(tmp_path):
    write(tmp_path)
    captions = read_corpus("tgif", tmp_path).captions
    assert captions["tumblr_nqir72vsUx1sd7dido1_r1_500"] == ["a guy points a gun.", "a man is sitting"]
    assert captions["tumblr_md414i67jD1qaqik6o1_500"] == ["a cat\tjumps"]


def test_gifs_in_no_list_are_left_out_and_counted(tmp_path):
    write(tmp_path, CAPTIONS + "https://x.org/other.gif\ta dog\n" * 2)
    corpus = read_corpus("tgif", tmp_path)
    assert len(corpus.items) == 3
    assert corpus.origin.endswith("; 1 GIFs in no list left out")


def test_gifs_that_nobody_has_any_more_may_be_missing_if_so_many_are_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr("captionrl.datasets.manifest.verify", lambda *_: None)  # lists of our own
    write(tmp_path)
    (tmp_path / "gifs").mkdir()
    (tmp_path / "gifs/tumblr_mevmyaKtDf1rgvhr8o1_500.gif").write_bytes(b"GIF89a")
    (tmp_path / "gifs/tumblr_md414i67jD1qaqik6o1_500.gif").touch()  # empty
    corpus = read_corpus("tgif", tmp_path)
    with pytest.raises(
        UserError,
        match=r"_md414i67jD1qaqik6o1_500.gif: empty \(and 1 more\), 1 may be; `captionrl download tgif --into .*`",
    ):
        require(corpus, tmp_path, 1)
    assert require(corpus, tmp_path, 2).keys() == {*FILES, "gifs/tumblr_mevmyaKtDf1rgvhr8o1_500.gif"}
    (tmp_path / FILES[1]).write_text("")
    with pytest.raises(UserError, match=r"splits/train\.txt: empty"):  # annotation must be there in any case
        require(corpus, tmp_path, 9)


def test_line_ends_do_not_matter(tmp_path):
    write(tmp_path / "unix")
    write(tmp_path / "windows", CAPTIONS.replace("\n", "\r\n"), f"{MAN}\r\n", f"{CAT}\r\n\r\n", f"{GUN}\r\n")
    one, other = read_corpus("tgif", tmp_path / "unix"), read_corpus("tgif", tmp_path / "windows")
    assert (one.items, one.captions) == (other.items, other.captions)


@pytest.mark.parametrize("file", [*FILES, "gifs/tumblr_mevmyaKtDf1rgvhr8o1_500.gif"])
def test_every_file_is_in_the_manifest(file):
    assert "TGIF" in find(file).what


@pytest.mark.parametrize("missing", FILES)
def test_a_missing_file_says_where_it_comes_from(tmp_path, missing):
    write(tmp_path)
    (tmp_path / missing).unlink()
    assert f"{tmp_path / missing}: no such file; `captionrl download tgif --into {tmp_path}`, or put it" in refusal(
        tmp_path
    )
    assert re.search(
        f"from: https://raw.githubusercontent.com/raingo/TGIF-Release/[0-9a-f]+/data/{missing}\\)", refusal(tmp_path)
    )


@pytest.mark.parametrize(
    "last", [".gif", "..gif", ".hidden.gif", "..\\..\\a.gif", "%2e%2e%2fa.gif", "a\0.gif", "a b.gif"]
)
def test_a_url_names_no_file_but_a_plain_one_in_the_folder(tmp_path, last):
    url = f"https://x.org/{last}"
    write(tmp_path, CAPTIONS + f"{url}\ta dog\n", train=f"{MAN}\n{url}\n")
    assert "train.txt: line 2: " in refusal(tmp_path)
    assert "a name may hold only letters, digits and - _ ." in refusal(tmp_path)


def test_folders_in_a_url_are_not_used(tmp_path):
    url = "https://x.org/../../../../etc/passwd.gif"
    write(tmp_path, CAPTIONS + f"{url}\ta dog\n", train=url)
    assert read_corpus("tgif", tmp_path).items[0].media == "gifs/passwd.gif"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"captions": CAPTIONS + f"{MAN} a man\n"}, "tgif-v1.0.tsv: line 5: 'https://38.media.tumblr.com/9f6c25"),
        ({"captions": CAPTIONS + f"{MAN}\t \n"}, "must be URL<TAB>CAPTION; fix the line"),
        ({"val": f"{CAT}\n{MAN}\n"}, f"val.txt: line 2: {MAN} is listed already ("),
        ({"test": f"{GUN}\n{GUN}\n"}, f"test.txt: line 2: {GUN} is listed already ("),
        ({"test": f"{GUN}\nhttps://x.org/other.gif\n"}, "test.txt: line 2: https://x.org/other.gif has no caption in"),
        ({"test": CAT.replace("33", "31")}, "another GIF is called tumblr_md414i67jD1qaqik6o1_500 too; keep one"),
        ({"test": MAN.replace(".gif", ".mp4")}, "test.txt: line 1: 'https://38.media.tumblr.com/9f6c25"),
    ],
)
def test_each_fault_is_one_line_that_names_file_and_place(tmp_path, fault, message):
    write(tmp_path, **fault)
    assert message in refusal(tmp_path)
