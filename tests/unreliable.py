"""A server on this machine that serves files, and misbehaves as the path says: /BEHAVIOUR-BEHAVIOUR/FILE."""

import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from captionrl.datasets.transfer import Client

CLIENT = Client(timeout=0.3, attempts=4, pause=0.0, longest=1.0)  # waits for nothing longer than a test may
REFUSALS = {"forbidden": 403, "gone": 404, "removed": 410}


class Handler(BaseHTTPRequestHandler):
    """cut: at most 100,000 bytes a connection; drop: a random number; short: one byte less than announced, each time;
    wrong: other bytes; larger: another length; endless: no length, no end; plain: no Range; version: another ETag each
    time; forbidden, gone, removed: refused; later: 429 for an hour; moved: 302; page: a web page. Once a path, then
    well: busy: 429; broken: 500; silent: nothing for longer than a client waits."""

    def do_GET(self) -> None:
        server, (_, behaviour, name) = self.server, self.path.split("/", 2)
        server.requests.append((self.path, self.headers.get("Range")))
        ways = behaviour.split("-")
        server.asked[self.path] += 1
        first = server.asked[self.path] == 1
        if refusal := next((REFUSALS[way] for way in ways if way in REFUSALS), None):
            self.send_error(refusal)
        elif "moved" in ways:
            self.send_response(302)
            self.send_header("Location", f"/well/{name}")
            self.end_headers()
        elif "busy" in ways and first:
            self.send_response(429)
            self.send_header("Retry-After", "0")
            self.end_headers()
        elif "later" in ways:
            self.send_response(429)
            self.send_header("Retry-After", "3600")
            self.end_headers()
        elif "broken" in ways and first:
            self.send_error(500)
        elif "silent" in ways and first:
            time.sleep(2 * CLIENT.timeout)
        elif "page" in ways:
            self.send(b"<html>log in</html>", ways, "text/html; charset=utf-8")
        elif name not in server.files:
            self.send_error(404)
        else:
            self.send(server.files[name], ways, "application/octet-stream")

    def send(self, content: bytes, ways: list[str], kind: str) -> None:
        content = content[::-1] if "wrong" in ways else content + b"more" if "larger" in ways else content
        version = f'"{sum(self.server.asked.values())}"' if "version" in ways else '"1"'
        start = 0
        wanted = self.headers.get("Range")
        if wanted and "plain" not in ways and self.headers.get("If-Range", version) == version:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        body = content[start:]
        self.send_header("Content-Type", kind)
        self.send_header("ETag", version)
        if "endless" not in ways:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if "cut" in ways:
            body = body[:100_000]
        if "drop" in ways:
            body = body[: self.server.random.randint(0, len(body))]
        if "short" in ways:
            body = body[:-1]
        self.wfile.write(body * 1000 if "endless" in ways else body)

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, files: dict[str, bytes]):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.random = files, random.Random(1)
        self.requests: list[tuple[str, str | None]] = []
        self.asked: Counter[str] = Counter()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"

    def handle_error(self, *args: object) -> None:
        pass  # a client that has hung up


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Server]:
    server = Server(files)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
