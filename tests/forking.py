"""The process that forks a child for each program that it is told (`tests.forked`).

It listens on a Unix socket. A message is one JSON object: an empty one is answered by the CPU seconds of making ready,
told once; another one, with which three standard streams come, says what to run, and is answered by the number of the
process, and by how it ended when it has. It ends when nobody is connected any more.
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import selectors
import socket
import sys
import threading
import traceback

MOST_BYTES = 1 << 17


def serve(place: str) -> None:
    """Listen at `place`, which is there when all is imported."""
    import distributed  # noqa: F401
    import torch._dynamo  # noqa: F401  what the first optimiser of a process loads

    import interp.cli
    import interp.report.collect
    import interp.sweep.engine
    import interp.train.loop  # noqa: F401

    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(place)
    listener.listen(64)
    Server(listener).run()


class Server:
    """Connections, and the children that were asked for by them."""

    def __init__(self, listener: socket.socket):
        self.listener, self.connected, self.seconds = listener, 0, sum(os.times()[:2])
        self.selector = selectors.DefaultSelector()
        self.selector.register(listener, selectors.EVENT_READ)

    def run(self) -> None:
        """Until the last connection is closed."""
        while True:
            for key, _ in self.selector.select():
                if key.fileobj is self.listener:
                    self.selector.register(self.listener.accept()[0], selectors.EVENT_READ)
                    self.connected += 1
                elif key.data is not None:
                    self.ended(key.fileobj, *key.data)  # type: ignore[arg-type]
                elif not self.asked(key.fileobj):  # type: ignore[arg-type]
                    self.selector.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
                    self.connected -= 1
                    if not self.connected:
                        return

    def asked(self, connection: socket.socket) -> bool:
        """Answer a message; whether there was one."""
        try:
            text, streams, *_ = socket.recv_fds(connection, MOST_BYTES, 3)
        except ConnectionError:
            return False
        if not text:
            return False
        if not streams:
            connection.send(json.dumps({"cpu": self.seconds}).encode())
            self.seconds = 0.0
            return True
        pid = os.fork()
        if pid == 0:
            os._exit(_run(streams, **json.loads(text)))
        for stream in streams:
            os.close(stream)
        self.selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, connection))
        connection.send(json.dumps({"pid": pid}).encode())
        return True

    def ended(self, number: int, pid: int, connection: socket.socket) -> None:
        """Report how a child ended."""
        self.selector.unregister(number)
        os.close(number)
        _, status, used = os.wait4(pid, 0)
        told = {"ended": os.waitstatus_to_exitcode(status), "cpu": used.ru_utime + used.ru_stime}
        try:
            connection.send(json.dumps(told).encode())
        except OSError:
            return  # nobody waits for it


def _run(
    streams: list[int], program: str, words: list[str], cwd: str, env: dict[str, str], path: list[str],
    new_session: bool,
) -> int:  # fmt: skip
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, max(map(int, os.listdir("/proc/self/fd"))) + 1)
    if new_session:
        os.setsid()
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path[:0] = [*path, cwd]
    sys.argv = ["-c", *words]
    ended = _exit_code(program)
    threading._shutdown()  # type: ignore[attr-defined]  # as Python ends: threads are waited for, what was
    atexit._run_exitfuncs()  # to be done at the end is done
    sys.stdout.flush()
    sys.stderr.flush()
    return ended


def _exit_code(program: str) -> int:
    try:
        runpy.run_path(program, run_name="__main__")
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0
