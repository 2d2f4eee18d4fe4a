"""PTB tokens: one caption a line whatever it holds, and coco-caption's form when stripped."""

import json
import os
import random
import zipfile
from pathlib import Path

import pytest

from captionrl.errors import UserError
from captionrl.text.java import JAVA, run_java
from captionrl.text.ptb import pycocoevalcap_file, tokenize
from captionrl.text.punctuation import strip_punctuation

MSRVTT = Path(__file__).parents[2].parent / "shared/data/msrvtt/train_val_annotation.zip"


def real_captions(count: int) -> list[str]:
    if not MSRVTT.exists():
        pytest.skip(f"{MSRVTT} is not here")
    with zipfile.ZipFile(MSRVTT) as archive:
        sentences = json.loads(archive.read("train_val_videodatainfo.json"))["sentences"]
    return random.Random(0).sample([sentence["caption"] for sentence in sentences], count)


def test_tokens_are_lower_cased_and_keep_punctuation():
    assert tokenize(["A man isn't running, is he?"]) == [["a", "man", "is", "n't", "running", ",", "is", "he", "?"]]


@pytest.mark.parametrize("separator", ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"])
def test_a_line_separator_inside_a_caption_is_a_space(separator):
    assert tokenize([f"a{separator}b", "c"]) == [["a", "b"], ["c"]]


def test_captions_without_tokens_do_not_shift_the_others():
    assert tokenize(["", "a", "  ", "\n", "b", ""]) == [[], ["a"], [], [], ["b"], []]
    assert tokenize([""]) == [[]]
    assert tokenize([]) == []


def test_text_outside_ascii_survives_any_locale(monkeypatch):
    monkeypatch.setenv("LC_ALL", "C")
    assert tokenize(["Ein Café", "日本", "broken \ud800 pair"]) == [["ein", "café"], ["日本"], ["broken", "?", "pair"]]


def test_stripped_tokens_are_those_of_coco_caption(monkeypatch):
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    monkeypatch.setenv("PATH", f"{JAVA.parent}{os.pathsep}{os.environ['PATH']}")
    captions = [
        *real_captions(500),
        'He said: "no" -- (twice); don\'t... {or} [do]?',
        "a 1 1/2 inch rope!",
        "- - -",
        "end",
    ]
    expected = PTBTokenizer().tokenize({i: [{"caption": caption}] for i, caption in enumerate(captions)})
    assert [[" ".join(strip_punctuation(tokens))] for tokens in tokenize(captions)] == list(expected.values())


def test_real_captions_tokenised_twice_are_as_tokenised_once():
    tokens = tokenize(real_captions(5000))
    assert tokenize([" ".join(caption) for caption in tokens]) == tokens


def test_what_the_jvm_says_of_itself_is_passed_on_and_what_the_environment_gives_it_is_not(monkeypatch):
    jar = pycocoevalcap_file("tokenizer/stanford-corenlp-3.4.1.jar")
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-XX:+ShowCodeDetailsInExceptionMessages")
    assert tokenize(["a man"]) == [["a", "man"]]
    for option, said in (("-XX:+NoSuchThing", "NoSuchThing"), ("-Xms3g", "heap size")):  # above OPTIONS' -Xmx
        monkeypatch.setenv("JAVA_TOOL_OPTIONS", option)
        with pytest.raises(UserError, match=rf"PTBTokenizer exited with 1: .*{said}"):
            run_java(jar, "edu.stanford.nlp.process.PTBTokenizer", [], "a", timeout=60)


def test_a_jvm_that_is_killed_in_the_middle_is_named(monkeypatch, tmp_path):
    """As a machine does that runs out of memory."""
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\nhead -c 4 > /dev/null\nkill -KILL $$\n")
    java.chmod(0o755)
    monkeypatch.setattr("captionrl.text.java.JAVA", java)
    with pytest.raises(UserError) as error:
        tokenize(["a man runs", "a dog"])
    assert "stanford-corenlp-3.4.1.jar: " in str(error.value)
    assert str(error.value).endswith("was ended by SIGKILL; run again, with more memory if it was short")


def test_a_java_program_that_dies_or_hangs_is_a_clean_error():
    jar = pycocoevalcap_file("tokenizer/stanford-corenlp-3.4.1.jar")
    with pytest.raises(UserError, match=r"no\.such\.Class exited with 1"):
        run_java(jar, "no.such.Class", [], "", timeout=60)
    with pytest.raises(UserError, match=r"not done after 0\.01 s"):
        run_java(jar, "edu.stanford.nlp.process.PTBTokenizer", [], "a", timeout=0.01)
