"""What a study will take at a scale, before it starts: its runs by condition, the seeds of each, and CPU time.

Where the study was measured at that scale, its time is that of then. Else it is estimated from its planned runs: each
step takes `STEP` seconds and its matrix products (6 weights x prompts x tokens) at `RATE` a second, which are the
figures of small nets on one core of the machine that measured the ledgers: right within a factor of two, on a loaded
machine three. Readings of trained nets are a tenth more and not in it. Studies that simulate, fit or search beside
their runs are estimated from their time at the quick scale, by the factor of `GROWN`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from interp.config.run import RunConfig
from interp.studies.cost import SETTINGS, finished, minutes, planned
from interp.studies.ledger import Measured, Scale

STEP, RATE = 0.010, 3.6e10
SEED = re.compile(r"-\d+(?=$|-falling$)")  # of the names of runs that lie in no folder of their condition
# how many times the quick scale's CPU time, and why
GROWN: Mapping[tuple[str, Scale], tuple[float, str]] = {
    ("one-step-gd", "cpu"): (4, "half as many seeds more, twice the prompts, 1.5 times the steps"),
    ("linear-attention", "cpu"): (10, "five times the steps, rates searched for every setting, deeper nets"),
    ("single-index", "cpu"): (20, "dimensions up to 6400, whose replicas take the square of it"),
    ("stacked-heads", "cpu"): (34, "six times the runs of 1.3 to 13 times the steps"),
    ("retrieval-prompts", "cpu"): (15, "15 times the steps"),
}


@dataclass(frozen=True)
class StudyPlan:
    """Runs of a study at a scale by condition (how many of each); CPU seconds, if they are known, and how."""

    study: str
    scale: Scale
    conditions: Mapping[str, int]
    seconds: float | None
    basis: str

    @property
    def runs(self) -> int:
        return sum(self.conditions.values())

    @property
    def cost(self) -> str:
        """CPU time in words.

        >>> StudyPlan("newton", "cpu", {}, 7300.0, "estimated").cost
        'about 122 CPU minutes (estimated)'
        """
        return f"about {minutes(self.seconds)} ({self.basis})" if self.seconds is not None else self.basis

    @property
    def words(self) -> str:
        """Conditions with their runs; such as have equally many in one."""
        by_count: dict[int, list[str]] = {}
        for name, count in self.conditions.items():
            by_count.setdefault(count, []).append(name)
        return "; ".join(f"{count} of {', '.join(names)}" for count, names in by_count.items())


def plan(study: str, scale: Scale, last: Measured | None) -> StudyPlan:
    """The plan of a study; `last` is its stored measurement, at whatever scale."""
    names = [name for name, value in planned(study, scale).items() if SETTINGS.match(value)]
    known = last.ledger.cpu_seconds if last else None
    if last and known is not None and last.ledger.scale == scale:
        found = known, f"measured {last.date}, version {last.version}"
    elif (study, scale) in GROWN:
        factor, why = GROWN[study, scale]
        quick = known if last and last.ledger.scale == "quick" else None
        unknown = "not estimated before its quick scale has been measured with its cost"
        found = (
            (None, unknown)
            if quick is None
            else (factor * quick, f"estimated as {factor:g} times quick: {why}")
        )
    elif configs := runs(study, scale):
        found = seconds_of(configs.values()), "estimated from the matrix products of its runs"
    else:
        found = None, "what it costs has not been measured at this scale"
    return StudyPlan(study, scale, conditions(names), *found)


def announced(study: str, scale: Scale, out: Path, last: Measured | None) -> str:
    """One line on what a study will take: its runs, how many lie under `out`, and its cost."""
    found = plan(study, scale, last)
    names = [name for name, value in planned(study, scale).items() if SETTINGS.match(value)]
    there = len(set(names) & set(finished(out)))
    runs = f"{study} at scale {scale}: {found.runs} runs, {there} of them begun or finished in {out}"
    each = f" ({found.words})" if found.runs else ""
    return f"{runs}{each}; {found.cost}"


def conditions(names: Iterable[str]) -> dict[str, int]:
    """Conditions by the names of their runs, and how many runs each has.

    >>> conditions(["main-0", "main-1", "kappa-10-0", "grid/n_layers=1,seed=3", "S3-adam-lr0.02-11-falling"])
    {'main': 2, 'kappa-10': 1, 'grid': 1, 'S3-adam-lr0.02-falling': 1}
    """
    heads = (name.partition("/") for name in names)
    return dict(Counter(head if slash else SEED.sub("", head) for head, slash, _ in heads))


def runs(study: str, scale: Scale) -> Mapping[str, RunConfig]:
    """The settings of a study's runs; none where its room keeps them to itself, or where runs are not all it does."""
    from interp.studies import ahead

    return {} if any(name == study for name, _ in GROWN) else ahead.configs(study, scale)


def seconds_of(configs: Iterable[RunConfig]) -> float:
    """CPU seconds that training these runs takes on one core, estimated."""
    sizes: dict[str, float] = {}
    return sum(config.train.steps * _step(config, sizes) for config in configs)


def _step(config: RunConfig, sizes: dict[str, float]) -> float:
    from interp.models import build_model

    face = config.task.interface
    kind = f"{config.model.model_dump_json()} {face}"
    if kind not in sizes:
        model = build_model(config.model, face, 0)
        sizes[kind] = sum(weights.numel() for weights in model.parameters() if weights.ndim > 1)
    tokens = max(face.output_positions, default=0) + 1
    return STEP + 6 * sizes[kind] * config.train.batch * tokens / RATE


def total(plans: Iterable[StudyPlan]) -> str:
    """What several studies take together, and how many of them are not in it."""
    every = list(plans)
    known = [one.seconds for one in every if one.seconds is not None]
    left = len(every) - len(known)
    return f"{sum(known) / 3600:.1f} CPU hours" + (f", {left} studies without an estimate" if left else "")
