"""A process with everything imported that forks one child for each operation it is told, so that trials are cheap.

Reads one JSON object a line on standard input, answers each with one on standard output: the child's exit code (minus
the signal that ended it), and what it returned or the error it raised. With the argument `private` it goes into a user
namespace of its own (as `unshare -Urm`), and may mount file systems, which nobody else sees. Killing is by count: the
child dies at its Nth call of a function, which needs no clock and is the same moment on a slow machine.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interp.config.run import parse_config
from interp.report.collect import write_report
from interp.run import load
from interp.runs.folder import RunFolder
from interp.runs.verify import verify
from interp.sweep.engine import run_sweep
from interp.sweep.plan import SweepPlan
from interp.train import train
from tasks import plugins

NEW_USER, NEW_MOUNTS = 0x10000000, 0x00020000  # flags of unshare(2)
PRIVATE = 0x4000 | 0x40000  # of mount(2): recursive, private


def own_mounts() -> None:
    """Root in a user namespace of our own, whose mounts are not seen outside."""
    user, group, libc = os.getuid(), os.getgid(), ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEW_USER | NEW_MOUNTS):
        raise OSError(ctypes.get_errno(), "unshare")
    for file, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        Path("/proc/self", file).write_text(text)
    if libc.mount(b"none", b"/", None, PRIVATE, None):
        raise OSError(ctypes.get_errno(), "mount")


def op_train(job: dict) -> dict:
    run = train(parse_config(job["settings"]), job["out"])
    return {"hash": run.weights_hash(run.last_step)}


def op_report(job: dict) -> None:
    run = Path(job["out"])
    write_report([load(run)], run / "report.html")


def op_scores(job: dict) -> int:
    return len(load(job["out"]).scores().table)


def op_verify(job: dict) -> dict:
    found = verify(job["out"])
    return {"state": found.state, "problem": found.problem}


def op_sweep(job: dict) -> None:
    """A sweep by two workers, forked from here; all of it is killed once its runs hold `dies_with` bytes."""
    import dask.config

    os.setsid()
    if "dies_with" in job:
        threading.Thread(target=_kill_all, args=(Path(job["out"]), job["dies_with"]), daemon=True).start()
    with dask.config.set({"distributed.worker.multiprocessing-method": "fork"}):
        found = run_sweep(SweepPlan(**job["plan"]), Path(job["out"]), workers=2)
    assert not found.failures, found.failures


def _kill_all(out: Path, goal: int) -> None:
    while written(out) < goal:
        time.sleep(0.002)
    os.killpg(0, signal.SIGKILL)


def written(out: Path) -> int:
    """Bytes of everything that a sweep's runs hold."""
    total = 0
    for file in out.glob("seed=*/**/*"):
        with contextlib.suppress(FileNotFoundError):  # renamed between the look and the question
            total += file.stat().st_size if file.is_file() else 0
    return total


def op_hold(job: dict) -> None:
    """Take the run's lock, say so by a file, and keep it until killed."""
    with RunFolder.open(job["out"]).lock():
        Path(job["sign"]).touch()
        signal.pause()


def op_copy(job: dict) -> None:
    shutil.copytree(job["out"], job["to"])


def op_mount(job: dict) -> None:
    options = ["-o", job["options"]]
    kind = [] if "remount" in job["options"] else ["-t", "tmpfs", "tmpfs"]
    subprocess.run(["mount", *options, *kind, job["path"]], check=True, capture_output=True)


def op_used(job: dict) -> int:
    found = os.statvfs(job["path"])
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def die_at(count: int) -> Callable[[], int]:
    """Count this thread's calls, python's and C's, and die by SIGKILL at number `count` (0: only count)."""
    calls = itertools.count(1)
    seen = [0]

    def on_event(frame: Any, event: str, argument: Any) -> None:
        if event in ("call", "c_call"):
            seen[0] = next(calls)
            if seen[0] == count:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(on_event)
    return lambda: seen[0]


def turn_clock_back(seconds: float) -> None:
    """From now on the wall clock runs backwards, this many seconds at every look."""
    ticks = itertools.count()
    start = time.time()
    time.time = lambda: start - seconds * next(ticks)
    time.time_ns = lambda: int(time.time() * 1e9)


def child(job: dict, write_end: int) -> None:
    if job.get("clock"):
        turn_clock_back(job["clock"])
    counted = die_at(job["die_at"]) if "die_at" in job else None
    try:
        answer = {"value": globals()[f"op_{job['do']}"](job)}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    sys.setprofile(None)
    if counted:
        answer["calls"] = counted()
    os.write(write_end, json.dumps(answer).encode())
    os._exit(1 if "error" in answer else 0)


def warm(job: dict) -> None:
    """Train, and report if asked, once here: what is imported late is then there before the first child."""
    with tempfile.TemporaryDirectory() as folder:
        op_train({**job, "out": f"{folder}/run"})
        if job.get("report"):
            op_report({"out": f"{folder}/run"})


def main() -> None:
    # A file that somebody saves meanwhile where modules are found has entry points read again: twice the calls.
    plugins._places = lambda: ()
    if "private" in sys.argv[1:]:
        own_mounts()
    for line in iter(sys.stdin.readline, ""):
        job = json.loads(line)
        if job["do"] == "warm":
            warm(job)
            print("{}", flush=True)
            continue
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            child(job, write_end)
        os.close(write_end)
        if job.get("background"):
            print(json.dumps({"pid": pid}), flush=True)
            continue
        with os.fdopen(read_end, "rb") as pipe:
            text = pipe.read()
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(json.dumps({"code": code, **json.loads(text or b"{}")}), flush=True)


if __name__ == "__main__":
    main()
