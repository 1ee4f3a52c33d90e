"""Whether a script that starts local workers can be read by them again: it needs a main guard.

Workers are processes of their own that read the script first. Without `if __name__ == "__main__":` each would start a
sweep while it is read, and the interpreter answers with a traceback a worker.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import FrameType

ADVICE = (
    "workers read this script first and would start the sweep again: put what it does under "
    '`if __name__ == "__main__":`'
)


def unguarded() -> str:
    """The script and line that start a sweep while the script is read, in one line; empty where nothing does."""
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    frame: FrameType | None = sys._getframe()
    while frame is not None and not (frame.f_code.co_name == "<module>" and frame.f_globals is vars(main)):
        frame = frame.f_back
    if frame is None or file is None or not Path(file).is_file():
        return ""
    return "" if _guarded(Path(file), frame.f_lineno) else f"{file}, line {frame.f_lineno}: {ADVICE}"


def _guarded(file: Path, line: int) -> bool:
    """Whether a line of a script lies under a condition on `__name__`."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return True  # nothing can be said of it
    tests = [node for node in tree.body if isinstance(node, ast.If) and "__name__" in ast.dump(node.test)]
    return any(node.lineno <= line <= (node.end_lineno or node.lineno) for node in tests)


def require() -> None:
    """Ends a script without a main guard with one line and exit code 2, before any worker is started."""
    if why := unguarded():
        print(f"interp: {why}", file=sys.stderr)
        raise SystemExit(2)
