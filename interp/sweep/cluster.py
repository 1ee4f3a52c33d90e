"""The workers of a sweep: a local cluster that ends with it, or an existing scheduler, which is checked first.

Every worker must run this very version of the package, take one task at a time (torch's thread count belongs to the
process), and see the sweep's folder.
"""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing.resource_tracker import ensure_running
from pathlib import Path
from typing import Any

from interp._version import __version__
from interp.sweep.cell import about
from tasks.errors import UserError

ANSWER_SECONDS = 15
DEATHS_ALLOWED = 10
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
SETTINGS = {
    "distributed.scheduler.allowed-failures": DEATHS_ALLOWED,
    "distributed.nanny.pre-spawn-environ": dict.fromkeys(ONE_THREAD, 1),
}


@contextlib.contextmanager
def client_of(workers: int, scheduler: str | None) -> Iterator[Any]:
    """A client of the given scheduler, or of a local cluster that ends with the block.

    Raises UserError when there are no workers, or unsuitable ones.
    """
    import dask.config
    from distributed import Client

    with dask.config.set(SETTINGS), contextlib.ExitStack() as stack:
        client = _answering(scheduler) if scheduler else Client(stack.enter_context(_local_cluster(workers)))
        _check_workers(stack.enter_context(client))
        yield client


def _local_cluster(workers: int) -> Any:
    from distributed import LocalCluster

    if workers < 1:
        raise UserError(f"--workers {workers}: at least one")
    quiet: dict[str, Any] = {"dashboard_address": ":0", "silence_logs": logging.CRITICAL}
    # No memory limit: dask would pause a worker over its share, and the sweep would stand still without a word.
    with _deaf_to_ctrl_c():
        return LocalCluster(n_workers=workers, threads_per_worker=1, memory_limit=0, **quiet)


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Threads and processes begun in the block do not hear Ctrl-C: this process does, afterwards, and ends them."""
    ensure_running()  # its start would lift the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def ctrl_c() -> Iterator[Callable[[], None]]:
    """Gives a question for a loop to ask: it raises KeyboardInterrupt if Ctrl-C was pressed and Python lost it.

    An interrupt that lands in a finaliser or a weak reference's callback is printed and dropped by the interpreter.
    """
    pressed = threading.Event()

    def hear(number: int, frame: object) -> None:
        pressed.set()
        raise KeyboardInterrupt

    def ask() -> None:
        if pressed.is_set():
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield ask
        return
    before = signal.signal(signal.SIGINT, hear)
    try:
        yield ask
    finally:
        signal.signal(signal.SIGINT, before)


def _answering(scheduler: str) -> Any:
    from distributed import Client

    try:
        return Client(_address(scheduler), timeout=ANSWER_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        said = " ".join(str(error).split())[:100]
        raise UserError(f"scheduler {scheduler}: does not answer ({said})") from None


def _address(scheduler: str) -> str:
    """The address itself, or the one in a scheduler file (dask would wait for a missing file for ever)."""
    if not scheduler.endswith(".json"):
        return scheduler
    try:
        return str(json.loads(Path(scheduler).read_text(encoding="utf-8"))["address"])
    except FileNotFoundError:
        raise UserError(
            f"{scheduler}: no such scheduler file; start dask scheduler --scheduler-file"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"{scheduler}: not a dask scheduler file (it states no address)") from None


def _check_workers(client: Any) -> None:
    try:
        client.wait_for_workers(1, timeout=ANSWER_SECONDS)
    except TimeoutError:
        raise UserError(f"the scheduler has no worker after {ANSWER_SECONDS} s: start some") from None
    for worker, facts in _asked(client, about, "cannot import this package", "install it there").items():
        if facts["version"] != __version__:
            raise UserError(
                f"worker {worker} has version {facts['version']}, this is {__version__}: make them equal"
            )
    for worker, facts in client.scheduler_info(n_workers=-1)["workers"].items():
        if facts["nthreads"] != 1:
            raise UserError(
                f"worker {worker} runs {facts['nthreads']} tasks at a time: start it with --nthreads 1"
            )


def check_folder(client: Any, out: Path) -> None:
    """Raises UserError unless every worker sees the sweep's folder, an absolute path."""
    seen = _asked(client, _sees, "cannot look at files", "restart it", str(out))
    for worker, there in seen.items():
        if not there:
            raise UserError(
                f"worker {worker} does not see {out}: put the sweep on a disk that all workers share"
            )


def _sees(path: str) -> bool:
    return Path(path).exists()


def _asked(client: Any, question: Any, trouble: str, remedy: str, *arguments: str) -> dict[str, Any]:
    answers = client.run(question, *arguments, on_error="return")
    for worker, answer in answers.items():
        if isinstance(answer, BaseException):
            said = " ".join(str(answer).split())[:100]
            raise UserError(f"worker {worker} {trouble} ({said}): {remedy}")
    return answers
