"""Java programs: what they say, and what happens when they stop."""

import pytest

from captionrl.errors import UserError
from captionrl.text.java import pycocoevalcap_file, run_java

JAR = pycocoevalcap_file("tokenizer/stanford-corenlp-3.4.1.jar")
TOKENIZER = "edu.stanford.nlp.process.PTBTokenizer"


def test_what_the_jvm_says_of_itself_is_passed_on_and_what_the_environment_gives_it_is_not(monkeypatch):
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-XX:+ShowCodeDetailsInExceptionMessages")
    assert run_java(JAR, TOKENIZER, [], "a man", timeout=60) == "a\nman\n"
    for option, said in (("-XX:+NoSuchThing", "NoSuchThing"), ("-Xms3g", "heap size")):  # above OPTIONS' -Xmx
        monkeypatch.setenv("JAVA_TOOL_OPTIONS", option)
        with pytest.raises(UserError, match=rf"PTBTokenizer exited with 1: .*{said}"):
            run_java(JAR, TOKENIZER, [], "a", timeout=60)


def test_a_jvm_that_is_killed_in_the_middle_is_named(monkeypatch, tmp_path):
    """As a machine does that runs out of memory."""
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\nhead -c 4 > /dev/null\nkill -KILL $$\n")
    java.chmod(0o755)
    monkeypatch.setattr("captionrl.text.java.JAVA", java)
    with pytest.raises(UserError) as error:
        run_java(JAR, TOKENIZER, [], "a man runs\na dog\n", timeout=60)
    assert "stanford-corenlp-3.4.1.jar: " in str(error.value)
    assert str(error.value).endswith("was ended by SIGKILL; run again, with more memory if it was short")


def test_text_outside_ascii_survives_any_locale(monkeypatch):
    monkeypatch.setenv("LC_ALL", "C")
    assert run_java(JAR, TOKENIZER, [], "Café 日本 \ud800", timeout=60) == "Café\n日本\n?\n"


def test_a_jar_may_lie_below_a_path_with_an_accent_in_any_locale(monkeypatch, tmp_path):
    """A JVM in the locale C opens no such file."""
    monkeypatch.setenv("LC_ALL", "C")
    jar = tmp_path / "it's a tëst.jar"
    jar.symlink_to(JAR)
    assert run_java(jar, TOKENIZER, [], "a man", timeout=60) == "a\nman\n"


def test_a_java_program_that_dies_or_hangs_is_a_clean_error():
    with pytest.raises(UserError, match=r"no\.such\.Class exited with 1"):
        run_java(JAR, "no.such.Class", [], "", timeout=60)
    with pytest.raises(UserError, match=r"not done after 0\.01 s"):
        run_java(JAR, TOKENIZER, [], "a", timeout=0.01)
