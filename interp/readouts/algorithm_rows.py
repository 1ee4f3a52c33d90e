"""Rows of the algorithms table: what one model's readouts and probe queries say, site by site.

Owns: figures to rows. "SimE", "SimW" and "relative L2" stand for every step of every family; "best step", "band low"
and "band high" follow SimE (relative L2 where there is a single read, whose cosine is only a sign). A match names the
nearest of the steps offered; the "filter verdict" alone (`interp.readouts.verdict_rows`) names an algorithm.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from interp.readouts.verdict_rows import verdict_rows
from probes import contrast, matching, stats, tables
from probes.contrast import ContrastConfig
from probes.matching import Match, Similarities
from probes.rivals import Ladder
from probes.tables import Row
from tasks import UserError


def table(accumulator: Any) -> pd.DataFrame:
    """Every row of one model."""
    errors = accumulator.errors().assign(metric="readout error").drop(columns=["readout", "target"])
    silent = silences(accumulator)
    layers = torch.cat(accumulator.layers, 1)
    rows: list[Row] = []
    leaders: dict[str, Match] = {}
    for position, places in _pools(accumulator).items():
        rows_here, matches = _matches(accumulator, layers, position, places, silent)
        rows += rows_here
        leaders = leaders or matches
    rows += _weights(accumulator)
    rows += _contrasts(accumulator, leaders, silent)
    rows += verdict_rows(accumulator, silent)
    found = pd.concat([errors, tables.frame(rows)], ignore_index=True)
    known = [c for c in tables.COLUMNS if c in found]
    found["note"] = found["note"].fillna("")
    return found[[*known, *(c for c in found if c not in known)]]


def silences(accumulator: Any) -> dict[str, str]:
    """Sites whose readout is no better than a control, and which."""
    errors = accumulator.errors()
    own = errors[errors["control"] == "none"]
    return {site: note for site, note in zip(own["site"], own["note"], strict=True) if note}


def as_control(found: pd.DataFrame) -> pd.DataFrame:
    """Rows of the untrained model, marked as that; its readout errors are among every checkpoint's already."""
    own = found[(found["control"] == "none") & (found["metric"] != "readout error")]
    return own.assign(control="untrained")


def _pools(accumulator: Any) -> dict[str, list[int]]:
    """Places of the output positions to match on: all, and those up to and beyond d examples."""
    contexts = accumulator.task.contexts
    apart = {
        "t<=d": [i for i, t in enumerate(contexts) if t <= accumulator.task.d],
        "t>d": [i for i, t in enumerate(contexts) if t > accumulator.task.d],
    }
    split = apart if all(apart.values()) else {}
    return {"all": list(range(len(contexts))), **split}


def _matches(
    accumulator: Any, layers: Tensor, position: str, places: list[int], silent: dict[str, str]
) -> tuple[list[Row], dict[str, Match]]:
    rivals, draws = accumulator.rivals, accumulator.settings.draws
    answers, layers = rivals.answers[:, places], layers[..., places]
    rows: list[Row] = []
    deciding: dict[str, Match] = {}
    for metric in ("SimE", "relative L2") if len(places) > 1 else ("relative L2",):
        zero = _scores(metric, layers, torch.zeros_like(answers)[None], answers)
        shared = {"metric": metric, "position": position, "split": "test"}
        rows += _zero_rows(accumulator, zero, shared)
        matches = {}
        for rung in rivals.ladders:
            steps = rivals.predictions[rung.family][..., places]
            matches[rung.family] = Match.of(_scores(metric, layers, steps, answers), rung.k, draws)
            rows += _grid_rows(accumulator, rung, matches[rung.family], shared)
        if not deciding:
            deciding = matches
            for rung in rivals.ladders:
                rows += _best_rows(accumulator, rung, matches[rung.family], zero, position)
                rows += _slope_rows(accumulator, rung, matches[rung.family], position, silent)
    return rows, deciding


def _scores(metric: str, layers: Tensor, steps: Tensor, answers: Tensor) -> Similarities:
    if metric == "SimE":
        return matching.similarity_of_errors(layers, steps, answers)
    return matching.relative_distance(layers, steps)


def _zero_rows(accumulator: Any, zero: Similarities, shared: Row) -> list[Row]:
    match = Match.of(zero, (0,), accumulator.settings.draws)
    found = stats.percentile(match.point, match.draws, zero.values.shape[2])
    return tables.grid(
        found, {"site": accumulator.sites, "k": [0]}, **shared, algorithm="zero", control="zero"
    )


def _grid_rows(accumulator: Any, rung: Ladder, match: Match, shared: Row) -> list[Row]:
    found = stats.percentile(match.point, match.draws, match.scores.values.shape[2])
    axes = {"site": accumulator.sites, "k": rung.k}
    rows = tables.grid(found, axes, **shared, algorithm=rung.family, control="none")
    labels = {k: member.label for k, member in zip(rung.k, rung.members, strict=True)}
    return [{**row, "member": labels[row["k"]]} for row in rows]  # type: ignore[index]


def _weights(accumulator: Any) -> list[Row]:
    """Similarity of induced weights to every step, averaged over output positions with examples; zero weights: 0."""
    layers, rows = torch.cat(accumulator.weighed, 1), []
    shared = {"metric": "SimW", "position": "all", "split": "test"}
    for rung in accumulator.rivals.ladders:
        steps = accumulator.rivals.weights[rung.family]
        scores = matching.similarity_of_weights(layers, steps)
        rows += _grid_rows(accumulator, rung, Match.of(scores, rung.k, accumulator.settings.draws), shared)
    return rows


def _best_rows(accumulator: Any, rung: Ladder, match: Match, zero: Similarities, position: str) -> list[Row]:
    """Best step with its interval, and the ends of its band, at every site."""
    sign = -1 if match.scores.distance else 1
    steps = torch.tensor(rung.k, dtype=torch.float64)
    redone = [steps[(sign * values).argmax(-1)] for values in (match.point, match.draws)]
    found = stats.percentile(redone[0], redone[1], match.scores.values.shape[2])
    rows = []
    for i, site in enumerate(accumulator.sites):
        best, band = match.best[i], match.bands[i]
        column = rung.k.index(best)
        shared = {"site": site, "position": position, "algorithm": rung.family, "k": best, "control": "none"}
        shared |= {"split": "test", "member": rung.members[column].label}
        gain = sign * (match.scores.values[i, column] - zero.values[i, 0])
        note = _note(
            rung, column, bool(stats.bootstrap(gain, draws=accumulator.settings.draws).one().low > 0)
        )
        rows.append({**shared, "metric": "best step", "note": note, **found[i].row()})
        rows.append({**shared, "metric": "band low", "value": float(band[0]), "note": note})
        rows.append({**shared, "metric": "band high", "value": float(band[-1]), "note": note})
    return rows


def _note(rung: Ladder, column: int, beats_zero: bool) -> str:
    notes = [] if beats_zero else ["no better than control: zero"]
    if len(rung.k) > 1 and column in (0, len(rung.k) - 1):
        notes.append("end of the ladder")
    return "; ".join(notes)


def _slope_rows(
    accumulator: Any, rung: Ladder, match: Match, position: str, silent: dict[str, str]
) -> list[Row]:
    """Slope of the best step in steps a layer, over the blocks whose readout beats its controls."""
    blocks = [
        i
        for i, site in enumerate(accumulator.sites)
        if site.endswith("hook_resid_post") and site not in silent
    ]
    if len(blocks) < 2 or not rung.counts_steps:
        return []
    shared = {"site": "all blocks", "position": position, "algorithm": rung.family, "control": "none"}
    over = ", ".join(accumulator.sites[i].split(".")[1] for i in blocks)
    shared |= {"split": "test", "unit": "per layer", "note": f"over layers {over}"}
    return [
        {**shared, "metric": f"slope of {name}", **match.slope(blocks, log2=log2).row()}
        for name, log2 in (("best step", False), ("log2 best step", True))
    ]


def _contrasts(accumulator: Any, matches: dict[str, Match], silent: dict[str, str]) -> list[Row]:
    """The nearest family at its best step against the nearest rival, at the one context, beyond label and OLS."""
    rows: list[Row] = []
    for i, site in enumerate(accumulator.sites):
        if site not in silent and len(matches) > 1:
            rows += _contrast(accumulator, matches, i, site)
    return rows


def _contrast(accumulator: Any, matches: dict[str, Match], i: int, site: str) -> list[Row]:
    column = {name: match.ladder.index(match.best[i]) for name, match in matches.items()}
    sign = -1 if next(iter(matches.values())).scores.distance else 1
    first = max(matches, key=lambda name: sign * float(matches[name].point[i, column[name]]))
    others = [name for name in matches if name != first]
    validation = accumulator.rivals.at["validation"]
    rival = contrast.nearest(
        validation[first][column[first]], torch.stack([validation[name][column[name]] for name in others])
    )
    second = others[rival]
    names = tuple(f"{name}({matches[name].best[i]})" for name in (first, second))
    shared = {"position": f"t={accumulator.context}"}
    try:
        pair, random_w = ((first, column[first]), (second, column[second])), accumulator.rivals.random_w
        rows = accumulator.contrast_rows(site, *pair, accumulator.rivals.at)
        dealt = None if random_w is None else accumulator.contrast_rows(site, *pair, random_w)
        config = ContrastConfig(draws=accumulator.settings.draws)
        fit, validation_rows, test = rows
        found = contrast.contrast(fit, validation_rows, test, (names[0], names[1]), config, site, dealt)
    except UserError as error:
        empty = {"site": site, "metric": "partial r2", "algorithm": names[0], "control": "none"}
        return [{**shared, **empty, "split": "test", "value": math.nan, "note": str(error)}]
    return [{**shared, **row} for row in found.to_dict("records")]
