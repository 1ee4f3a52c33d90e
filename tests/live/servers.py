"""Servers that are started for one test, reachable on this machine only: JupyterLab and marimo."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE = 120  # seconds until a server that does not answer is given up


@contextlib.contextmanager
def serving(place: Path, *command: str) -> Iterator[str]:
    """The address of a server started by `python -m COMMAND --port N`, stopped at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kept = {
        name: str(place / name.lower())
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    }
    env = {**os.environ, **kept, "PYTHONPATH": str(ROOT), "HOME": str(place), "OMP_NUM_THREADS": "1"}
    with open(place / "server.log", "wb") as log:
        call = [sys.executable, "-m", *command, "--port", str(port)]
        server = subprocess.Popen(call, cwd=place, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(address, server, place)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait(address: str, server: subprocess.Popen, place: Path) -> None:
    for _ in range(PATIENCE * 4):
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            assert server.poll() is None, (place / "server.log").read_text()[-2000:]
            time.sleep(0.25)
    raise AssertionError((place / "server.log").read_text()[-2000:])
