"""Serve a report to this machine while its runs train: `interp report RUN --serve`.

Owns: a server on 127.0.0.1 alone that answers with the page's file, whole, and asks the browser to load it again
while a run trains; and the loop that rewrites the page when a run has a new checkpoint. A request whose Host is
another name is refused, so that no page from elsewhere can read this one through the reader's browser.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

from interp.cli import show
from interp.run import Run
from tasks.errors import UserError

LOOPBACK = "127.0.0.1"
EVERY = 5.0  # seconds between looks at the runs
REFRESH = 10  # seconds until the browser loads the page again


class PageServer(ThreadingHTTPServer):
    """One page on 127.0.0.1; `live` says whether it will change. Raises UserError for a port that is taken."""

    daemon_threads = True

    def __init__(self, page: Path, port: int = 0):
        self.page, self.live = page, True
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except (OSError, OverflowError) as problem:
            raise UserError(
                f"--port {port}: cannot serve there ({problem}); leave it out for a free one"
            ) from None

    @property
    def address(self) -> str:
        return f"http://{LOOPBACK}:{self.server_port}/"

    def start(self) -> None:
        """Answer from a thread of its own, until `shutdown`."""
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server_version = "algoscope"

    def do_GET(self) -> None:
        if self.headers.get("Host", "").rsplit(":", 1)[0] not in (LOOPBACK, "localhost"):
            self.send_error(HTTPStatus.FORBIDDEN, "this page is served to this machine alone")
        elif self.path != "/":
            self.send_error(HTTPStatus.NOT_FOUND)
        else:
            self._page()

    def _page(self) -> None:
        server = cast(PageServer, self.server)
        content = server.page.read_bytes()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        if server.live:
            self.send_header("Refresh", str(REFRESH))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not told."""


def follow(
    runs: Sequence[Run], page: Path, write: Callable[[], None], port: int = 0, every: float = EVERY
) -> None:
    """Serve the page, and rewrite it when a run has a new checkpoint, until all have ended and the reader has gone
    (Ctrl-C). Raises UserError for a port that is taken.
    """
    server = PageServer(page, port)
    server.start()
    show.note(f"{server.address} (Ctrl-C ends it; {page} stays)")
    try:
        _rewrite(runs, write, every)
        server.live = False
        while True:
            time.sleep(every)
    except KeyboardInterrupt:
        pass
    finally:
        server.shutdown()
        server.server_close()


def has_ended(run: Run) -> bool:
    """Whether a run will have no further checkpoint."""
    return run.folder.finished or run.folder.diverged is not None


def _rewrite(runs: Sequence[Run], write: Callable[[], None], every: float) -> None:
    """Write whenever a run has a checkpoint that the last page had not, until all have ended."""
    seen = [run.steps for run in runs]
    while True:
        ended = all(map(has_ended, runs))
        if (now := [run.steps for run in runs]) != seen:
            write()
            seen = now
        elif ended:
            return
        else:
            time.sleep(every)
