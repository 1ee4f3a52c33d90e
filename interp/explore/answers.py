"""The answer of a model on one prompt, before and after a change: probabilities of symbols, or predicted values.

Where symbols are answered, each output has rows for the likeliest symbols of either run and for the right one; `intact`
and `changed` are probabilities in [0, 1], `best` that of the best predictor where the task has one in closed form.
Where numbers are answered, they are predictions in the units of the labels, one row an output.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.explore.typed import PromptForm

TOP = 3  # symbols of either run
MOST_COORDINATES = 4  # of an answer that is a vector

Row = dict[str, Any]
Outputs = Float[Tensor, "1 pos d_out"]


def answers(form: PromptForm, intact: Outputs, changed: Outputs | None, best: Outputs | None) -> list[Row]:
    """Rows of one prompt: `output`, `symbol` ("" for numbers), `intact`, `changed` and `best` (or None), `right`."""
    if form.face.inputs == "continuous":
        return _numbers(form, intact, changed, best)
    names = _names(form, intact.shape[1])
    found = [None if run is None else _read(form, run, len(names)) for run in (intact, changed, best)]
    return [
        row for i, name in enumerate(names) for row in _symbols(form, name, [_at(run, i) for run in found])
    ]


def _names(form: PromptForm, length: int) -> list[str]:
    """The outputs that are answered at the last token."""
    if len(form.face.output_positions) == 1:
        return list(form.task.output_names)
    return [f"after token {length}"]


def _read(form: PromptForm, run: Outputs, count: int) -> Float[Tensor, "output symbol"]:
    """The last token's outputs, one row an output."""
    last = max(p for p in form.face.output_positions if p < run.shape[1])
    return run[0, last].double().unflatten(-1, (count, -1))


def _at(run: Tensor | None, i: int) -> Tensor | None:
    return None if run is None else run[i]


def _symbols(form: PromptForm, name: str, runs: list[Tensor | None]) -> list[Row]:
    intact, changed, best = runs
    assert intact is not None
    right = None if best is None else int(best.argmax())
    known = (
        best is not None and abs(float(best.logsumexp(-1))) < 1e-4
    )  # log probabilities, no margin on one symbol
    shown = {} if right is None or known else {right: None}
    for run in (intact, changed):
        shown |= dict.fromkeys([] if run is None else run.topk(min(TOP, len(run))).indices.tolist())
    values = [None if run is None else run.softmax(-1) for run in (intact, changed)]
    rows = []
    for entry in sorted(shown, key=lambda i: -float(values[0][i])):  # type: ignore[index]
        before, after = (None if value is None else float(value[entry]) for value in values)
        rows.append(
            {
                "output": name,
                "symbol": form.symbol(entry),
                "intact": before,
                "changed": after,
                "best": float(best[entry].exp()) if known and best is not None else None,
                "right": entry == right and not known,
            }
        )
    return rows


def _numbers(form: PromptForm, intact: Outputs, changed: Outputs | None, best: Outputs | None) -> list[Row]:
    places = [p for p in form.face.output_positions if p < intact.shape[1]]
    names = form.task.output_names
    named = list(names) if len(names) == len(places) else [str(p) for p in places]
    width = min(intact.shape[-1], MOST_COORDINATES)
    rows = []
    for name, place in zip(named, places, strict=True):
        for coordinate in range(width):
            at = (0, place, coordinate)
            values = [None if run is None else float(run[at]) for run in (intact, changed, best)]
            rows.append(
                {
                    "output": name if intact.shape[-1] == 1 else f"{name}, coordinate {coordinate}",
                    "symbol": "",
                    **dict(zip(("intact", "changed", "best"), values, strict=True)),
                    "right": False,
                }
            )
    return rows


def largest_change(
    before: dict[str, Float[Tensor, "1 head dest source"]],
    after: dict[str, Float[Tensor, "1 head dest source"]],
) -> dict[str, float]:
    """How much attention of each head changed: the mean over rows of half the sum of absolute differences.

    0: not at all; at most 1 under a softmax (no mass where it was); no bound for signed attention.
    """
    found = {}
    for name, pattern in before.items():
        layer = name.split(".")[1]
        moved = (after[name][0] - pattern[0]).abs().sum(-1).mean(-1) / 2
        found |= {f"L{layer}H{head}": float(value) for head, value in enumerate(torch.atleast_1d(moved))}
    return found
