"""The state of a view: what is chosen, and what is shown for it. Knows no notebook and no widget.

`ask` takes changes of what is chosen and computes what is shown; where that cannot be served it raises and everything
stays as it was. The prompts are those of `run.patch`: `prompts` pairs of one kind, drawn with `seed`; one of them, or a
prompt of one's own, is the prompt on show. One's own is patched from the drawn one that it took the place of.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from torch import Tensor

from interp.causal.pairs import pair_of
from interp.explore.answers import answers, largest_change
from interp.explore.change import REPLACEMENTS, Intact, run
from interp.explore.pane import DrawnPrompts, Pane
from interp.explore.shown import drawn_attention, drawn_pane
from interp.explore.typed import PromptForm
from interp.runs.checkpoints import Checkpoints
from tasks import Batch, UserError

FEWEST = 2


@dataclass(frozen=True)
class Chosen:
    """What is chosen in a view. `pinned`: the second pane's step; `own`: a typed prompt; `head`: whose attention."""

    step: int
    pinned: int | None
    pair: str
    replacement: str
    prompt: int = 0
    own: str | None = None
    selected: tuple[str, ...] = ()
    head: str | None = None


class Session:
    """What is chosen and shown of one run, or of two."""

    def __init__(
        self,
        of: Checkpoints,
        other: Checkpoints | None = None,
        *,
        step: Any = "last",
        prompts: int = 64,
        seed: int = 0,
    ):
        if prompts < FEWEST:
            raise UserError(f"prompts: at least {FEWEST}, not {prompts}")
        if other is not None and other.task != of.task:
            raise UserError(f"{other.path}: has another task or other settings of it than {of.path}")
        self.run, self.other, self.count, self.seed = of, other, prompts, seed
        self.form = PromptForm(of.task)
        self.panes = [Pane(of), Pane(other or of)]
        self._drawn: dict[str, DrawnPrompts] = {}
        kinds = of.task.pair_kinds
        first = _one(of, step)
        pinned = None if other is None else other.steps[-1]
        way = "pair" if kinds else "mean per position"
        self.tables: dict[str, pd.DataFrame] = {}
        self.chosen, self.shown = Chosen(first, pinned, kinds[0] if kinds else "", way), {}
        self.ask()

    def ask(self, **changes: Any) -> dict[str, Any]:
        """Change what is chosen and return what is shown. Raises UserError, and leaves all as it was."""
        chosen = self._checked(changes)
        with self.run.computing():
            panes, tables = self._panes(chosen)
        self.chosen, self.tables = chosen, tables
        self.shown = {**self._frame(), "panes": panes}
        return self.shown

    def _checked(self, changes: dict[str, Any]) -> Chosen:
        """What is chosen after some changes, each in order."""
        unknown = set(changes) - {*Chosen.__dataclass_fields__, "toggle"}
        if unknown:
            raise UserError(f"a view has no {sorted(unknown)[0]!r} to change")
        before = self.chosen
        if "toggle" in changes:
            label = str(changes.pop("toggle"))
            kept = tuple(each for each in before.selected if each != label)
            changes["selected"] = kept if len(kept) < len(before.selected) else (*kept, label)
        if "selected" in changes:
            given = changes["selected"] or ()
            changes["selected"] = (given,) if isinstance(given, str) else tuple(map(str, given))
            changes.setdefault("head", None)
        if "step" in changes:
            changes["step"] = _one(self.run, changes["step"])
        if changes.get("pinned") is not None:
            changes["pinned"] = _one(self.other or self.run, changes["pinned"])
        if "prompt" in changes:
            changes["prompt"] = self._row(changes["prompt"])
            changes.setdefault("own", None)
        chosen = replace(before, **changes)
        self._check_names(chosen)
        if changes.get("head") is not None:
            self.panes[0].selection((chosen.head or "",), self.run.task.interface.n_ctx)
        return chosen

    def _row(self, asked: Any) -> int:
        if not isinstance(asked, int) or isinstance(asked, bool) or not 0 <= asked < self.count:
            raise UserError(f"prompt {asked!r}: drawn prompts are numbered 0 to {self.count - 1}")
        return asked

    def _check_names(self, chosen: Chosen) -> None:
        kinds = self.run.task.pair_kinds
        if chosen.pair not in (kinds or ("",)):
            raise UserError(
                f"task {self.run.task.kind!r} has pairs of kind {list(kinds)}, not {chosen.pair!r}"
            )
        if chosen.replacement not in REPLACEMENTS:
            raise UserError(f"replacement {chosen.replacement!r}: known are {list(REPLACEMENTS)}")

    def prompts(self, kind: str) -> DrawnPrompts:
        """The prompts of a kind of pair, drawn once; "" for a task without pairs."""
        if kind not in self._drawn:
            task, double = self.run.task, self.run.config.model.dtype == "float64"
            if not kind:
                clean = task.sample(self.seed, "patch", 0, self.count)
                self._drawn[kind] = DrawnPrompts(clean.double() if double else clean)
            else:
                pair = pair_of(task, kind, self.seed, "patch", self.count)
                pair = (
                    replace(pair, clean=pair.clean.double(), corrupt=pair.corrupt.double())
                    if double
                    else pair
                )
                self._drawn[kind] = DrawnPrompts(pair.clean, pair)
        return self._drawn[kind]

    def on_show(self, chosen: Chosen) -> tuple[Batch, Tensor | None, list[str]]:
        """The prompt on show as a batch of one, the inputs of the other prompt, and a label for each token."""
        drawn, row = self.prompts(chosen.pair), slice(chosen.prompt, chosen.prompt + 1)
        batch = drawn.clean.select(row)
        if chosen.own is None:
            other = None if drawn.pair is None else drawn.pair.corrupt.select(row).inputs
            return batch, other, self.run.task.labels(batch)[0]
        own = self.form.typed(chosen.own)
        own = own.double() if self.run.config.model.dtype == "float64" else own
        other = batch.inputs if batch.inputs.shape == own.inputs.shape else None
        return own, other, self.form.labels(own)

    def _panes(self, chosen: Chosen) -> tuple[list[dict[str, Any]], dict[str, pd.DataFrame]]:
        """What every pane shows, and the tables behind the first one and of both."""
        batch, other, labels = self.on_show(chosen)
        steps = [chosen.step, *([] if chosen.pinned is None else [chosen.pinned])]
        found = []
        tables: dict[str, list[pd.DataFrame]] = {"heads": [], "effects": [], "answers": [], "attention": []}
        for number, (pane, step) in enumerate(zip(self.panes, steps, strict=False)):
            pane.load(step)
            try:
                parts, drawn = self._pane(pane, chosen, batch, other, labels)
            except UserError as why:
                if not number:
                    raise
                found.append({"title": f"{pane.run.name}, step {step:,}", "note": str(why)})
                continue
            found.append(drawn)
            for name, table in parts.items():
                tables[name].append(table if name == "heads" else table.assign(run=pane.run.name, step=step))
        return found, {
            name: pd.concat(each).drop_duplicates(ignore_index=True) for name, each in tables.items()
        }

    def _pane(
        self, pane: Pane, chosen: Chosen, batch: Batch, other: Tensor | None, labels: list[str]
    ) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
        drawn = self.prompts(chosen.pair)
        here = Intact(pane.net, batch.inputs)
        there = None if other is None else Intact(pane.net, other)
        selection = pane.selection(chosen.selected, batch.inputs.shape[1])
        outputs, attention = None, here.attention
        effects, moved = pd.DataFrame(), {}
        if selection:
            if there is None and chosen.replacement == "pair":
                length = self.prompts(chosen.pair).clean.inputs.shape[1]
                raise UserError(
                    f"the prompt has {batch.inputs.shape[1]} tokens and the drawn one {length}: nothing to patch from; "
                    "choose an ablation, or write as many"
                )
            pool = pane.sides(drawn)[0]
            outputs, attention = run(here, selection, there, pool, chosen.replacement)
            effects = pane.effects(drawn, selection, chosen.replacement)
            moved = largest_change(here.attention, attention)
        best = self.form.best(batch, chosen.own is not None)
        rows = answers(self.form, here.outputs, outputs, best)
        parts = {
            "heads": pane.heads(),
            "effects": effects,
            "answers": pd.DataFrame(rows),
            "attention": pd.DataFrame({"head": list(moved), "change": list(moved.values())}),
        }
        maps = drawn_attention(chosen, pane.heads(), here.attention, attention if selection else None, moved)
        return parts, {**drawn_pane(pane, parts), "answers": rows, "attention": maps, "labels": labels}

    def _frame(self) -> dict[str, Any]:
        """What is common to all panes."""
        chosen, task = self.chosen, self.run.task
        first = self.prompts(chosen.pair).clean.select(slice(chosen.prompt, chosen.prompt + 1))
        return {
            "steps": [list(self.run.steps), list((self.other or self.run).steps)],
            "step": chosen.step,
            "pinned": chosen.pinned,
            "two": self.other is not None,
            "pairs": list(task.pair_kinds),
            "pair": chosen.pair,
            "replacements": [
                {"name": name, "words": words}
                for name, words in REPLACEMENTS.items()
                if chosen.pair or name != "pair"
            ],
            "replacement": chosen.replacement,
            "prompt": chosen.prompt,
            "prompts": self.count,
            "own": chosen.own,
            "text": self.form.text_of(first) if chosen.own is None else chosen.own,
            "form": self.form.form,
            "selected": list(chosen.selected),
        }


def _one(of: Checkpoints, step: Any) -> int:
    """The one checkpoint that is meant. Raises UserError for several, or none."""
    first, *more = of.resolve(step)
    if more:
        raise UserError(f"step {step!r}: that is {1 + len(more)} checkpoints; give 'last' or one step number")
    return first
