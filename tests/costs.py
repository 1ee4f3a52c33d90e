"""What each file of tests costs, so that the workers of a test run take the dearest first and none is left for the end
with a core idle: `costs.tsv`, CPU seconds a file, measured.

    ALGOSCOPE_CPU=/tmp/cpu.tsv make test && python -m tests.costs /tmp/cpu.tsv

takes them again. They decide the order alone; a file that is not listed counts as `LEAST`.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
KEPT = Path(__file__).with_name("costs.tsv")
LEAST = 1.0  # files that cost less are not listed


def read(text: str) -> dict[str, float]:
    """CPU seconds by file, of lines "seconds <tab> file", or "seconds <tab> file::test"."""
    found: dict[str, float] = defaultdict(float)
    for line in text.splitlines():
        seconds, _, test = line.partition("\t")
        found[test.partition("::")[0]] += float(seconds)
    return dict(found)


def main(measured: Path) -> None:
    """Keep the costs of a test run."""
    found = sorted(
        (-seconds, file)
        for file, seconds in read(measured.read_text(encoding="utf-8")).items()
        if seconds > LEAST
    )
    KEPT.write_text("".join(f"{-seconds:.1f}\t{file}\n" for seconds, file in found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
