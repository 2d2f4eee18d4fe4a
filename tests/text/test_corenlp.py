"""The CoreNLP backend against servers that speak CoreNLP's JSON, and programs that play its part."""

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from programs import write_program

from captionrl.errors import UserError
from captionrl.text import corenlp

# Started as `java` would be: it notes its process id, then does what MODE says.
JAVA = """
import json, os, sys, time, http.server
open({pid!r}, "w").write(str(os.getpid()))
mode = {mode!r}
if mode == "dies":
    print("starting", file=sys.stderr)
    sys.exit("Error: could not find or load main class")
if mode == "hangs":
    time.sleep(60)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *arguments):
        pass
arguments = sys.argv
assert "edu.stanford.nlp.pipeline.StanfordCoreNLPServer" in arguments
http.server.HTTPServer(("127.0.0.1", int(arguments[arguments.index("-port") + 1])), Handler).serve_forever()
"""


class Fake(BaseHTTPRequestHandler):
    """Every word a noun of one flat NP; some sentences go wrong."""

    def do_POST(self):
        words = self.rfile.read(int(self.headers["Content-Length"])).decode().split()
        properties = json.loads(parse_qs(urlsplit(self.path).query)["properties"][0])
        self.server.asked.append((words, properties))
        if "slow" in words:
            self.send_error(500, "timed out")
            return
        leaves = [*words, "more"] if "wrong" in words else [{"(": "-LRB-"}.get(word, word) for word in words]
        tree = "(ROOT (NP" if "broken" in words else f"(ROOT (NP {' '.join(f'(NN {leaf})' for leaf in leaves)}))"
        body = json.dumps({"sentences": [{"parse": tree}] * (2 if "two" in words else 1)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@contextmanager
def fake_server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Fake)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def distribution(tmp_path):
    folder = tmp_path / "unpacked" / "stanford-corenlp-4.5.10"
    folder.mkdir(parents=True)
    (folder / "stanford-corenlp-4.5.10.jar").touch()
    (folder / "stanford-corenlp-4.5.10-models.jar").touch()
    return folder.parent


@pytest.fixture
def java(tmp_path):
    def program(mode):
        return write_program(tmp_path / "java", JAVA.format(pid=str(tmp_path / "pid"), mode=mode))

    return program


def running(tmp_path):
    try:
        os.kill(int((tmp_path / "pid").read_text()), 0)
    except ProcessLookupError:
        return False
    return True


def test_trees_come_in_the_order_of_the_sentences_however_many_threads_ask():
    sentences = [["a", "man", str(i)] for i in range(300)]
    with fake_server() as (_, url):
        trees = list(corenlp.parse(url, sentences, workers=4))
    assert [tree.leaves() for tree in trees] == sentences


def test_corenlp_is_told_to_keep_our_tokens_and_sentences():
    with fake_server() as (server, url):
        list(corenlp.parse(url, [["do", "n't", "."]]))
    ((words, properties),) = server.asked
    assert words == ["do", "n't", "."]
    assert properties["tokenize.whitespace"] == properties["ssplit.eolonly"] == "true"


def test_a_sentence_that_comes_back_wrong_has_no_tree():
    asked = ["a wrong man", "two men", "a broken tree", "a slow dog", "a fine cat"]
    with fake_server() as (_, url):
        trees = list(corenlp.parse(url, [sentence.split() for sentence in asked]))
    assert [tree is not None for tree in trees] == [False, False, False, False, True]


def test_brackets_and_spaces_inside_tokens_are_no_difference():
    with fake_server() as (_, url):
        trees = list(corenlp.parse(url, [["(", "1\u00a01/2", "-rrb-"], ["-lrb-", "b"]]))
    assert [len(tree.leaves()) for tree in trees] == [3, 2]


def test_a_server_that_goes_away_is_named():
    with fake_server() as (_, url):
        pass
    with pytest.raises(UserError, match=r"CoreNLP stopped answering at 'a man'"):
        list(corenlp.parse(url, [["a", "man"]]))


def test_the_server_is_stopped_when_the_block_ends(distribution, java, tmp_path):
    with corenlp.server(distribution, java=java("serves"), timeout=30) as url:
        assert url.startswith("http://127.0.0.1:")
        assert running(tmp_path)
    assert not running(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="what ends the server then is Linux's")
def test_the_server_does_not_outlive_a_killed_process(distribution, java, tmp_path):
    def child():
        with corenlp.server(distribution, java=java("serves"), timeout=30):
            os.kill(os.getpid(), signal.SIGKILL)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while running(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(tmp_path)


def test_the_server_is_stopped_when_the_block_fails(distribution, java, tmp_path):
    with pytest.raises(ZeroDivisionError), corenlp.server(distribution, java=java("serves"), timeout=30):
        raise ZeroDivisionError
    assert not running(tmp_path)


def test_two_servers_have_ports_of_their_own(distribution, java):
    program = java("serves")
    with corenlp.server(distribution, java=program) as one, corenlp.server(distribution, java=program) as other:
        assert one != other


def test_a_server_that_dies_tells_why(distribution, java):
    with (
        pytest.raises(UserError, match="CoreNLP exited with 1: Error: could not find or load main class"),
        corenlp.server(distribution, java=java("dies"), timeout=30),
    ):
        pass


def test_a_server_that_never_answers_is_given_up_and_stopped(distribution, java, monkeypatch):
    started, start = [], corenlp.subprocess.Popen
    monkeypatch.setattr(corenlp.subprocess, "Popen", lambda *a, **b: started.append(start(*a, **b)) or started[0])
    with (
        pytest.raises(UserError, match=r"not ready after 0\.5 s"),
        corenlp.server(distribution, java=java("hangs"), timeout=0.5),
    ):
        pass
    assert started[0].poll() is not None


def test_a_missing_java_or_distribution_is_named(distribution, tmp_path):
    with pytest.raises(UserError, match="cannot be started"), corenlp.server(distribution, java=tmp_path / "none"):
        pass
    with pytest.raises(UserError, match=r"holds no stanford-corenlp-VERSION\.jar"), corenlp.server(tmp_path / "empty"):
        pass
