"""Programs in a process of their own, without the seconds that starting Python and importing torch take each time: one
process has imported this package and forks a child for each program that it is told, for all workers of a test run.

A child has its own arguments, folder, environment, standard streams and `__main__`, and finds modules on its own
PYTHONPATH first. What it shares with its siblings is what was imported before: a test of what is imported, or of what
Python does as it starts (hash seeds, the interpreter's own options), starts Python itself. Annotations are not checked
in here: this is the package as users have it. The process that forks is in `tests.forking`, for Linux alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, ClassVar

HASH_SEED = "1"  # another than that of the tests themselves, which is drawn
COMMAND = """
import sys
from interp.cli import main
if __name__ == "__main__":  # and not where a worker of ours reads it again
    sys.exit(main())
"""
ROOT = Path(__file__).parents[1]
START_SECONDS = 300
MOST_BYTES = 1 << 17  # of one message


class Process:
    """A program that runs, with what the tests use of `subprocess.Popen`; streams that were not asked for are null."""

    def __init__(
        self, connection: socket.socket, place: tempfile.TemporaryDirectory[str], stdin: IO[str] | None,
        stdout: IO[str] | None,
    ):  # fmt: skip
        self._connection, self._place, self.stdin, self.stdout = connection, place, stdin, stdout
        self.pid: int = json.loads(connection.recv(MOST_BYTES))["pid"]
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, minus the signal that ended it."""
        if self.returncode is None:
            self._connection.settimeout(timeout)
            told = json.loads(self._connection.recv(MOST_BYTES))
            self.returncode = told["ended"]
            Forked.spent += told["cpu"]
            self._connection.close()
            self._place.cleanup()
        assert self.returncode is not None
        return self.returncode

    def poll(self) -> int | None:
        """The exit code, or None as long as it runs."""
        try:
            return self.wait(0.0)
        except BlockingIOError:
            return None

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def close(self) -> int:
        """Closes its standard input, and waits for it to end."""
        for stream in (self.stdin, self.stdout):
            if stream is not None:
                stream.close()
        return self.wait()


class Forked:
    """The process that forks, begun by the first worker that asks; it ends with the last one's `close`. `spent`: CPU
    seconds of what this worker has let run, and of making ready what it was the first to ask for.
    """

    spent: ClassVar[float] = 0.0

    def __init__(self, place: Path):
        """`place`: a folder that all workers share."""
        self._address = place / "forked"
        with open(place / "forked.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                self._kept = self._connected()
            except (FileNotFoundError, ConnectionError):
                self._begin()
                self._kept = self._connected()

    def _begin(self) -> None:
        new = self._address.with_suffix(".new")
        server = subprocess.Popen(
            [sys.executable, "-c", "import sys; from tests.forking import serve; serve(sys.argv[1])", str(new)],
            cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": HASH_SEED},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        until = time.monotonic() + START_SECONDS
        while not new.exists():
            assert server.poll() is None, "it has ended"
            assert time.monotonic() < until, "it is not ready"
            time.sleep(0.05)
        new.rename(self._address)
        server.returncode = 0  # nobody waits for it: it ends by itself

    def _connected(self) -> socket.socket:
        """A connection that is answered: what ends may have one waiting that it will never look at."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.connect(str(self._address))
            connection.send(b"{}")
            answer = connection.recv(MOST_BYTES)
            if not answer:
                raise ConnectionResetError
        except OSError:
            connection.close()
            raise
        Forked.spent += json.loads(answer)["cpu"]
        return connection

    def start(
        self,
        code: str,
        *words: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        path: Iterable[str | Path] = (),
        piped: bool = False,
        streams: Sequence[IO[str] | None] = (None, None, None),
        new_session: bool = False,
    ) -> Process:
        """Begin to run `code` as `python -c` would, `words` behind it; `env` is added to this process's, `path` comes
        before all modules. `streams`: None for null; `piped`: standard input and output are pipes, errors go where this
        process's go.
        """
        place = tempfile.TemporaryDirectory()
        program = Path(place.name, "program.py")
        program.write_text(code, encoding="utf-8")
        job = {
            "program": str(program),
            "words": words,
            "cwd": str(cwd or os.getcwd()),
            "env": {**os.environ, **(env or {})},
        }
        text = json.dumps({**job, "path": [str(each) for each in path], "new_session": new_session}).encode()
        assert len(text) < MOST_BYTES
        connection = self._connected()
        ours: list[IO[str] | None] = [None, None]
        with contextlib.ExitStack() as given:
            null = given.enter_context(open(os.devnull, "r+b", buffering=0))
            numbers = [null.fileno() if stream is None else stream.fileno() for stream in streams]
            if piped:
                (numbers[0], written), (read, numbers[1]), numbers[2] = os.pipe(), os.pipe(), 2
                ours = [os.fdopen(written, "w"), os.fdopen(read)]
                for number in numbers[:2]:
                    given.callback(os.close, number)
            socket.send_fds(connection, [text], numbers)
        return Process(connection, place, *ours)

    def __call__(self, code: str, *words: str, **settings: Any) -> subprocess.CompletedProcess[str]:
        """Run a program to its end; `settings` as `start` has them."""
        with tempfile.TemporaryDirectory() as place:
            files = [Path(place, name) for name in ("out", "err")]
            with open(files[0], "w") as out, open(files[1], "w") as err:
                ended = self.start(code, *words, streams=(None, out, err), **settings).wait()
            told = [file.read_text(encoding="utf-8") for file in files]
        return subprocess.CompletedProcess([code, *words], ended, *told)

    def command(self, *words: str, **settings: Any) -> subprocess.CompletedProcess[str]:
        """`interp WORDS`."""
        return self(COMMAND, *words, **settings)

    def close(self) -> None:
        self._kept.close()
