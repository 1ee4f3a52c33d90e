"""Runs the peers in their own environment on this project's net and prompts, and keeps the comparison.

    python -m tests.peers.run          # writes tests/peers/measured.md

ALGOSCOPE_PEERS names the environment (`make peers` makes runs/peers-environment), ALGOSCOPE_EAP_IG a clone of
github.com/hannamw/EAP-IG, which is on no package index. A peer that is not there is named as not run.
"""

from __future__ import annotations

import datetime
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.peers import compare
from tests.peers.compare import Row
from tests.peers.material import Material, trained, untrained, write

HERE = Path(__file__).parent
PAGE = HERE / "measured.md"
ENVIRONMENT = Path(os.environ.get("ALGOSCOPE_PEERS", "runs/peers-environment"))
EAP_IG = os.environ.get("ALGOSCOPE_EAP_IG", "")
PEERS: dict[str, Callable[[Material, Path], list[Row]]] = {
    "transformer_lens": compare.transformer_lens,
    "auto_circuit": compare.auto_circuit,
    "eap_ig": compare.eap_ig,
    "devinterp": compare.devinterp,
}


def absent(peer: str) -> str:
    """Why a peer cannot be run here; empty where it can."""
    if not (ENVIRONMENT / "bin" / "python").exists():
        return f"{peer}: no environment at {ENVIRONMENT}, `make peers` makes it (or set ALGOSCOPE_PEERS)"
    if peer == "eap_ig" and not (Path(EAP_IG) / "src" / "eap").is_dir():
        return (
            "eap_ig: set ALGOSCOPE_EAP_IG to a clone of github.com/hannamw/EAP-IG (it is on no package index)"
        )
    return ""


def run(peer: str, folder: Path, *asked: str) -> None:
    """The peer's program on what lies in a folder. Raises RuntimeError with the end of what it printed if it fails."""
    more = [EAP_IG] if peer == "eap_ig" else []
    command = [str(ENVIRONMENT / "bin" / "python"), str(HERE / f"of_{peer}.py"), str(folder), *more, *asked]
    own = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")}
    done = subprocess.run(
        command, env=own | {"TQDM_DISABLE": "1"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{peer}: {done.stderr[-2000:]}")


def rows_of(peer: str, at: Material, folder: Path) -> list[Row]:
    """One peer, run and compared."""
    run(peer, folder)
    return PEERS[peer](at, folder)


def timed(folder: Path, repeats: int = 3) -> Row:
    """CPU seconds of EAP on 13,057 edges: auto-circuit's over this project's, one thread each, the least of some."""
    at = untrained()
    write(at, folder)
    run("auto_circuit", folder, "--time")
    facts, arrays = compare.read(folder, "auto_circuit")
    ours, seconds = compare.estimates(at, 0), []
    for _ in range(repeats):
        began = time.process_time()
        compare.estimates(at, 0)
        seconds.append(time.process_time() - began)
    row = compare.edges_row("auto-circuit", f"EAP, {len(ours):,} edges", compare.by_edge(arrays, "eap"), ours)
    ours_took, theirs_took = min(seconds), facts["seconds"]
    said = f"{ours_took:.2f} CPU seconds here, {theirs_took:.2f} there: {theirs_took / ours_took:.1f} times"
    return row.model_copy(update={"note": said})


def page(rows: list[Row], packages: dict[str, str], missing: list[str]) -> str:
    """The comparison as a page."""
    versions = ", ".join(f"{name} {version}" for name, version in sorted(packages.items()))
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    lines = [
        *("# Peers on identical weights", ""),
        "Numbers of other packages and of this one, on the weights of one small trained net and the same prompts:",
        "2 layers of 4 heads with MLPs, 110 edges, 32 pairs of prompts, difference of two logits. `make peers` makes",
        f"an environment of their own, `python -m tests.peers.run` writes this page. {day}; {versions}.",
        *(
            "",
            "| peer | what | numbers | largest difference | tolerance | equal | |",
            "|---|---|---|---|---|---|---|",
        ),
        *("| " + " | ".join(row.cells) + " |" for row in rows),
    ]
    return "\n".join([*lines, *(["", *(f"Not run: {why}." for why in missing)] if missing else [])]) + "\n"


def main() -> None:
    """Everything that is there, written to the page."""
    rows: list[Row] = []
    packages: dict[str, str] = {}
    missing = [why for why in map(absent, PEERS) if why]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "small"
        at = trained(Path(place) / "net")
        write(at, folder)
        for peer in PEERS:
            if not absent(peer):
                rows += rows_of(peer, at, folder)
                packages |= compare.read(folder, peer)[0]["packages"]
        if not absent("auto_circuit"):
            rows.append(timed(Path(place) / "large"))
    PAGE.write_text(page(rows, packages, missing), encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
