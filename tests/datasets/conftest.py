"""A stand-in for CoreNLP."""

import zipfile
from contextlib import contextmanager

import pytest
from nltk import Tree

from captionrl.datasets import parse as parsing


@pytest.fixture
def distribution(tmp_path, monkeypatch):
    """A zip in place of CoreNLP's, and a server that can parse "a man sings" only."""
    path = tmp_path / "corenlp.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("stanford-corenlp-4.5.10/stanford-corenlp-4.5.10.jar", "")
        file.writestr("stanford-corenlp-4.5.10/stanford-corenlp-4.5.10-models.jar", "")

    @contextmanager
    def server(directory, *, workers):
        assert len(list(directory.rglob("*.jar"))) == 2
        yield "url"

    def parse(url, sentences, *, workers):
        tree = Tree.fromstring("(ROOT (S (NP (DT a) (NN man)) (VP (VBZ sings))))")
        for sentence in sentences:
            with open(tmp_path / "asked", "a") as asked:
                asked.write(" ".join(sentence) + "\n")
            yield tree if " ".join(sentence) == "a man sings" else None

    monkeypatch.setattr(parsing.corenlp, "server", server)
    monkeypatch.setattr(parsing.corenlp, "parse", parse)
    return path
