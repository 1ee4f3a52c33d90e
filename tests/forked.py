"""Programs in a process of their own, without the seconds that starting Python and importing torch take each time: one
process has imported this package and forks a child for each program that it is told.

A child has its own arguments, folder, environment, standard streams and `__main__`, and finds modules on its own
PYTHONPATH first. What it shares with its siblings is what was imported before: a test of what is imported, or of what
Python does as it starts (hash seeds, the interpreter's own options), starts Python itself. Annotations are not checked
in here: this is the package as users have it.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

HASH_SEED = "1"  # another than that of the tests themselves, which is drawn
COMMAND = "import sys; from interp.cli import main; sys.exit(main())"


class Forked:
    """The process that forks; `close` ends it. `spent`: CPU seconds of all such processes and their children so far."""

    spent: ClassVar[float] = 0.0

    def __init__(self) -> None:
        self._used = 0.0
        root = Path(__file__).parents[1]
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from tests.forked import serve; serve()"],
            cwd=root, env={**os.environ, "PYTHONHASHSEED": HASH_SEED},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __call__(
        self,
        code: str,
        *words: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        path: Sequence[str | Path] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run `code` as `python -c` would, `words` behind it; `env` is added to this process's, `path` comes before all
        modules.
        """
        with tempfile.TemporaryDirectory() as place:
            job = {"code": code, "words": words, "cwd": str(cwd or os.getcwd()), "place": place}
            job |= {"env": {**os.environ, **(env or {})}, "path": [str(each) for each in path]}
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
            ended, used = self._process.stdout.readline().split()
            Forked.spent += float(used) - self._used
            self._used = float(used)
            told = [(Path(place) / name).read_text(encoding="utf-8") for name in ("out", "err")]
        return subprocess.CompletedProcess([code, *words], int(ended), *told)

    def command(self, *words: str, **place: Any) -> subprocess.CompletedProcess[str]:
        """`interp WORDS`."""
        return self(COMMAND, *words, **place)

    def close(self) -> None:
        self._process.communicate("")


def serve() -> None:
    """One JSON object a line on standard input: what to run; on standard output the exit code of each, and the CPU
    seconds of this process and its children so far.
    """
    import torch._dynamo  # noqa: F401  what the first optimiser of a process loads

    import interp.cli
    import interp.report.collect
    import interp.train  # noqa: F401

    for line in iter(sys.stdin.readline, ""):
        child = os.fork()
        if child == 0:
            os._exit(_run(**json.loads(line)))
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(ended, sum(os.times()[:4]), flush=True)


def _run(code: str, words: list[str], cwd: str, place: str, env: dict[str, str], path: list[str]) -> int:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{place}/{name}", os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path[:0] = [*path, cwd]
    sys.argv = ["-c", *words]
    program = Path(place, "program.py")
    program.write_text(code, encoding="utf-8")
    try:
        runpy.run_path(str(program), run_name="__main__")
        ended = 0
    except SystemExit as left:
        ended = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        traceback.print_exc()
        ended = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return ended
