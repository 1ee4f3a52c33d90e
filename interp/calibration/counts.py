"""Counts of what the verdict and the test of doubling say of planted truths, kept in a file and added to.

Owns: one line a case (part, setting, truth) with how often each answer was given at replicates 0, 1, 2, ..., in
`measured/counts.jsonl`. Every case gains a replicate before any gains the next, and the file is written after each
case, so that a count that is broken off goes on where it was and the cases have equal numbers. Counts are those of the
code they were made with: after a change of the estimator start a new file.

    python -m interp.calibration.counts [verdicts|ties|stacks ...] [--replicates 100] [--minutes 30] [--out FILE]
    [--far]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch

from interp.calibration import planted, stacks, ties
from interp.calibration.planted import DISTRIBUTIONS, Setting
from interp.io.files import write_atomically
from probes import doubling
from probes.filters import FilterConfig

COUNTS = Path(__file__).parent / "measured" / "counts.jsonl"
PARTS = ("verdicts", "ties", "stacks")
TIED = "indistinguishable"


@dataclasses.dataclass
class Case:
    """A planted truth: what is due of it, its distance to the nearest other family, and the answers so far."""

    part: str
    distribution: str
    truth: str
    due: str
    distance: float | None = None
    nearest: str = ""
    answers: Counter[str] = dataclasses.field(default_factory=Counter)

    @property
    def key(self) -> tuple[str, str, str]:
        return self.part, self.distribution, self.truth

    @property
    def replicates(self) -> int:
        return self.answers.total()


Answer = Callable[[int], str]
Plan = tuple[Case, Answer, Callable[[], tuple[float, str]] | None]
Planned = Sequence[Plan]


def planned(parts: Sequence[str], prompts: int) -> Planned:
    """Every case of some parts, how it is answered at a replicate, and how its distance is found."""
    setting = Setting(replicates=1, prompts=prompts)
    made = {"verdicts": _verdicts, "ties": _ties, "stacks": _stacks}
    return [one for part in parts for one in made[part](setting)]


def _verdicts(setting: Setting) -> Planned:
    found: list[Plan] = []
    for distribution in DISTRIBUTIONS:
        for half in ("on", "off"):
            for truth in planted.truths(distribution, half):
                case = Case(half, str(distribution), truth.name, truth.family)

                def answer(k: int, distribution=distribution, truth=truth) -> str:
                    said = planted.replicate(distribution, truth, k, setting)
                    return f"{said.kind}: {', '.join(sorted(said.families))}"

                found.append(
                    (
                        case,
                        answer,
                        lambda distribution=distribution, truth=truth: planted.distance(distribution, truth),
                    )
                )
    return found


def _ties(setting: Setting) -> Planned:
    distribution = str(ties.DISTRIBUTION)
    found: list[Plan] = []
    for tie in ties.ties(ties.DISTRIBUTION.world(0, 2000).top):

        def tied(k: int, tie=tie) -> str:
            return TIED if ties.tied(tie, 2000 + k, setting) else "other"

        found.append((Case("ties", distribution, str(tie), TIED), tied, None))
    for name in ties.isotropic_truths():

        def isotropic(k: int, name=name) -> str:
            return ties.isotropic(name, 3000 + k, setting)

        truth = f"{name}, one eigenvalue"
        found.append((Case("ties", f"n {ties.MANY}, d {ties.FEW_D}", truth, TIED), isotropic, None))
    return found


def _stacks(setting: Setting) -> Planned:
    found: list[Plan] = []
    for distribution in DISTRIBUTIONS:
        for name, stack in stacks.stacks(distribution.world(0, 2000).top).items():

            def answer(k: int, distribution=distribution, stack=stack) -> str:
                return doubling.growth(stack.observed(distribution, 500 + k, setting.prompts)).answer

            found.append((Case("stacks", str(distribution), name, stack.answer), answer, None))
    return found


def read(path: Path = COUNTS) -> dict[tuple[str, str, str], Case]:
    """The cases of a file by part, setting and truth; none where there is no file."""
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    cases = [Case(**{**line, "answers": Counter(line["answers"])}) for line in lines]
    return {case.key: case for case in cases}


def write(cases: Iterable[Case], path: Path = COUNTS) -> None:
    """All cases, a line each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({**dataclasses.asdict(case), "answers": dict(case.answers)}) for case in cases]
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def count(cases: Planned, replicates: int, path: Path, until: float) -> None:
    """Add replicates to every case that has fewer, in turns, until the time (`time.monotonic`) is over."""
    kept = read(path)
    for k in range(replicates):
        for case, answer, distance in cases:
            own = kept.setdefault(case.key, case)
            if own.replicates > k:
                continue
            if time.monotonic() > until:
                return
            if own.distance is None and distance:
                away, own.nearest = distance()
                own.distance = round(away, 4)
            own.answers[answer(k)] += 1
            write(kept.values(), path)


def distant(cases: Planned, path: Path) -> Planned:
    """Those at least 2 tau from every other family, as far as the file says so: what the verdict's goals are about."""
    kept, least = read(path), 2 * FilterConfig().tau
    return [one for one in cases if one[0].key in kept and (kept[one[0].key].distance or 0.0) >= least]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Count what is said of planted truths; a count can be added to."
    )
    parser.add_argument("parts", nargs="*", default=PARTS, metavar="|".join(PARTS))
    parser.add_argument("--replicates", type=int, default=100)
    parser.add_argument("--prompts", type=int, default=512)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--out", type=Path, default=COUNTS)
    parser.add_argument(
        "--far", action="store_true", help="only truths 2 tau or more from every other family"
    )
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    until = time.monotonic() + 60 * asked.minutes
    cases = planned(asked.parts, asked.prompts)
    count(distant(cases, asked.out) if asked.far else cases, asked.replicates, asked.out, until)


if __name__ == "__main__":
    main()
