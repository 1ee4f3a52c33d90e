"""When a page is open, from Chromium's own trace of its start.

Nobody is attached to the browser meanwhile, as an inspector makes it work. Open is when the page has loaded, everything
in the first screen is drawn and the main thread is free for a reader's first move.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from tasks.errors import UserError

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
MARKS = ("firstContentfulPaint", "loadEventEnd", "in sight")  # the last is the page's own
LONGEST = 20  # seconds that a page may take to open


def opening(page: Path, chromium: str, longest: int = LONGEST) -> dict[str, float]:
    """Seconds from the start of the navigation to the first words and to the open page, and what of it was work.

    The trace takes `longest` seconds in any case. Raises UserError if the page was not open by then.
    """
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        asked = [
            *("--headless=new", "--no-first-run", "--window-size=1366,768", f"--user-data-dir={folder}/user"),
            *("--trace-startup=blink.user_timing,loading,toplevel", f"--trace-startup-duration={longest}"),
            *(f"--trace-startup-file={trace}", "--trace-startup-format=json", page.as_uri()),
        ]
        browser = subprocess.Popen(
            [chromium, *FLAGS, *asked], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            events = _traced(trace, longest + 60)
        finally:
            browser.terminate()
            browser.wait()
    return _opening(sorted(events, key=lambda e: e.get("ts", 0)), page, longest)


def _traced(trace: Path, patience: int) -> list[dict[str, Any]]:
    """The events of a trace once it is whole; the browser writes it after the duration it was asked for."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        time.sleep(0.5)
        try:
            return json.loads(trace.read_text("utf-8"))["traceEvents"]
        except (OSError, ValueError):
            continue
    raise UserError("Chromium wrote no trace of its start; try again on a quieter machine")


def _opening(events: list[dict[str, Any]], page: Path, longest: int = LONGEST) -> dict[str, float]:
    late = UserError(f"the page was not open after {longest} s; try again on a quieter machine")
    begun = [e for e in events if e["name"] == "navigationStart" and page.as_uri() in json.dumps(e["args"])]
    if not begun:
        raise late
    start = begun[-1]["ts"]
    own = [e for e in events if e["pid"] == begun[-1]["pid"] and e.get("ts", 0) >= start]
    first = {name: next((e for e in own if e["name"] == name), None) for name in MARKS}
    words, loaded, drawn = first.values()
    if not words or not loaded or not drawn:
        raise late
    tasks = [e for e in own if e["name"].endswith("RunTask") and e["tid"] == drawn["tid"] and e["ph"] == "X"]
    # the task that drew what is in sight ends after its mark
    free = max([loaded["ts"], drawn["ts"], *(e["ts"] + e["dur"] for e in tasks if e["ts"] <= drawn["ts"])])
    return {
        "words s": (words["ts"] - start) / 1e6,
        "open s": (free - start) / 1e6,
        "open cpu s": sum(e.get("tdur", 0) for e in tasks if e["ts"] < free) / 1e6,
    }
