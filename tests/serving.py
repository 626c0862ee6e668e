"""A server of files that fails as servers do."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Files:
    """What the server has, how it behaves, and what it was asked.

    Attributes:
        files: content by name.
        etag: sent with every file; None for none.
        ranges: whether parts are sent when they are asked for.
        cuts: for each answer to come, after how many bytes the connection is closed.
        stalls: for each answer to come, whether the server falls silent at the cut instead.
        statuses: for each answer to come, an error to send instead; None for none.
        asked: the Range headers of the requests so far.
        sent: bytes of content sent so far.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.etag: str | None = '"one"'
        self.ranges = True
        self.cuts: list[int] = []
        self.stalls: list[bool] = []
        self.statuses: list[int | None] = []
        self.asked: list[str | None] = []
        self.sent = 0
        self.url = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        self.asked.append(wanted)
        content = self.files.get(handler.path.removeprefix("/"))
        status = self.statuses.pop(0) if self.statuses else None
        if content is None or status is not None:
            handler.send_error(status or 404)
            return
        start, total = 0, len(content)
        part = self.ranges and wanted and handler.headers.get("If-Range", self.etag) == self.etag
        if part:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
        if start and start >= total:
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{total}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        handler.send_response(206 if part else 200)
        if part:
            handler.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        if self.etag is not None:
            handler.send_header("ETag", self.etag)
        handler.send_header("Content-Length", str(total - start))
        handler.end_headers()
        end = start + self.cuts.pop(0) if self.cuts else total
        stall = self.stalls.pop(0) if self.stalls else False
        # Counted before: the other side may be done with it before this one goes on.
        self.sent += len(content[start:end])
        handler.wfile.write(content[start:end])
        if stall:
            handler.wfile.flush()
            time.sleep(1)
        handler.close_connection = True


@contextmanager
def serving() -> Iterator[Files]:
    """A running server; its ``url`` is its address."""
    files = Files()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            files.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        files.url = f"http://127.0.0.1:{running.server_port}"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield files
        running.shutdown()
        thread.join()
