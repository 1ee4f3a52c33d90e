"""Causal analyses of a run: activation patching, circuits, and whether circuits agree with roles."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pandas as pd
from torch import Tensor

from interp.analysis.base import Progress
from interp.analysis.registry import build
from interp.analysis.result import Result
from interp.causal.choices import Axis, Direction, Method, MetricName, Replacement, Search
from interp.causal.coarse import CAPTION
from interp.causal.given import KnownCircuit, check_known, compared, known_circuit
from interp.causal.graph import Edge
from interp.causal.over_training import circuit_at
from interp.hooks.components import Component
from interp.run.measuring import Measuring
from interp.runs.steps import Steps
from tasks.base import Batch, Pair
from tasks.renamed import keywords

MetricAsked = Callable[..., Tensor]
PairAsked = str | Pair | tuple[Batch, Batch] | Callable[[Batch], Tensor | Batch | Pair | tuple[Batch, Batch]]


class CausalQuestions(Measuring):
    """Causal analyses as methods of a run."""

    @keywords
    def patch(
        self,
        component: Component | Literal["head_out"] | str = "resid_pre",
        *,
        pair: PairAsked | None = None,
        by: Sequence[Axis] = ("layer", "head", "position"),
        direction: Direction = "denoise",
        replacement: Replacement | str = "pair",
        metric: MetricName | str | MetricAsked = "loss",
        output: str | None = None,
        prompts: int = 64,
        seed: int = 0,
        steps: Steps = "last",
        progress: Progress | None = None,
    ) -> Result:
        """Effect of patching every site of a grid: 0 as the corrupt run, 1 as the clean one, unbounded either way.

        `component`: what is patched ("head_out" is a synonym of "z"); `by`: the axes of the grid, others are
        patched as a whole. `pair`: one of the task's pair kinds, the first unless given; `prompts` of them (at least
        2), drawn with `seed`; or clean and corrupt batches, or a function of a clean batch that gives the corrupt one
        (or its inputs, or both batches). `direction`: "denoise" patches clean values into the corrupt run, "noise"
        takes one site from the clean run, whose `replacement` may then be an ablation. `metric` is taken at the output
        position `output` ("hop 2"), or at all; one's own is a function (outputs [batch, pos, out], clean batch) ->
        [batch]. Raises UserError for an unknown kind, component or setting, and for functions that give another shape.

        >>> from interp import load
        >>> run = load("runs/demo/retrieval")
        >>> found = run.patch("head_out", by=("layer", "head"), prompts=8).table
        >>> len(found) == run.config.model.n_layers * run.config.model.n_heads
        True
        """
        return self._measured(
            "patch", steps, progress, component=component, pair=self._pair(pair), by=tuple(by),
            direction=direction, replacement=replacement, metric=metric, output=output, prompts=prompts, seed=seed,
        )  # fmt: skip

    @keywords
    def circuit(
        self,
        *,
        method: Method = "exact",
        search: Search = "prune",
        faithfulness: float = 0.95,
        threshold: float = 0.02,
        metric: MetricName | str | MetricAsked = "loss",
        output: str | None = None,
        pair: PairAsked | None = None,
        edges: Collection[Edge] | str | Path | None = None,
        nodes: int | None = None,
        truth: Collection[Edge] | KnownCircuit | str | Path | None = None,
        prompts: int = 64,
        seed: int = 0,
        tests: bool = True,
        steps: Steps = "last",
        progress: Progress | None = None,
    ) -> Result:
        """The edges that carry the behaviour: a point on the curve of size against faithfulness, beside matched random
        circuits.

        `method`: "exact" runs every edge by itself, "EAP" and "EAP-IG" are attribution estimates, quicker. `search`:
        "prune" removes edges as long as the lower confidence limit of `faithfulness` is kept, "threshold" keeps those
        whose own effect passes `threshold` (a share of the behaviour), "greedy" grows edges from the output until
        `faithfulness` is reached. `metric`, `output`, `prompts` and `seed` as in `patch`. Outside the circuit edges
        carry other prompts of the task, or with a `pair` (as in `patch`) the corrupt ones: then only what the pair
        changes can be seen. With `edges` (pairs of sender and receiver, or a file of them) nothing is searched: that
        circuit is measured. With `nodes` (30, say), for models with too many edges, the strongest heads and MLPs are
        kept apart and edges searched among these alone, all others kept (`interp.causal.coarse`): half an hour of CPU
        time for 30 layers of 576 at 16 `prompts`, without `tests`. With `truth` rows of precision and recall compare
        with a known circuit (`interp.causal.given`).
        `tests` adds corrected p values of equivalence, independence and each edge's minimality
        (`interp.causal.hypothesis_tests`). Raises UserError for a model whose edges are not known, and for edges that
        it lacks.

        >>> from interp import load
        >>> run = load("runs/demo/retrieval")
        >>> run.circuit(prompts=8).table.query("metric == 'edge'")["receiver"].nunique() > 0
        True
        """
        known = None if truth is None else known_circuit(truth)
        if known is not None:
            check_known(self.untrained_model(), known)
        found = self._measured(
            "circuit", steps, progress, method=method, search=search, faithfulness=faithfulness,
            threshold=threshold, metric=metric, output=output, prompts=prompts, seed=seed, tests=tests,
            pair=None if pair is None else self._pair(pair),
            edges=None if edges is None else tuple(sorted(known_circuit(edges).edges)), nodes=nodes,
        )  # fmt: skip
        found = found if nodes is None else replace(found, caption=CAPTION)
        return found if known is None else self._compared(found, known)

    def _compared(self, found: Result, known: KnownCircuit) -> Result:
        """A search's table with its precision and recall at every step."""
        place = {"run": self.name, "seed": self.config.seed}
        steps = [int(step) for step in found.table["step"].dropna().unique()]
        rows = [
            compared(circuit_at(found.table, step).edges, known).assign(**place, step=step) for step in steps
        ]
        return Result(found.name, pd.concat([found.table, *rows], ignore_index=True), found.caption)

    def edges(
        self, steps: Steps = "all", progress: Progress | None = None, *, prompts: int = 64, seed: int = 0
    ) -> Result:
        """Ablation effect of every single edge, a share of the behaviour; 0 where other edges compensate for it.

        Raises UserError for a model whose edges are not known.
        """
        return self._measured("edges", steps, progress, prompts=prompts, seed=seed)

    @keywords
    def agreement(
        self,
        *,
        method: Method = "exact",
        search: Search = "prune",
        faithfulness: float = 0.95,
        threshold: float = 0.02,
        metric: MetricName | str | MetricAsked = "loss",
        output: str | None = None,
        pair: PairAsked | None = None,
        prompts: int = 64,
        seed: int = 0,
        tests: bool = True,
        steps: Steps = "last",
        progress: Progress | None = None,
    ) -> Result:
        """Whether the circuit and the roles that attention scores suggest agree, head by head.

        Settings are those of `circuit`. Raises UserError for a model or task whose heads can have no role.
        """
        from interp.analysis.schema import conformed
        from interp.heads.agreement import agreement

        search_for = build(
            "circuit", method=method, search=search, faithfulness=faithfulness, threshold=threshold,
            metric=metric, output=output, pair=None if pair is None else self._pair(pair), prompts=prompts, seed=seed,
            tests=tests,
        )  # fmt: skip
        tables = self.tables([search_for, build("roles")], steps, progress)
        found, roles = tables["circuit"], tables["roles"]
        rows = [
            agreement(circuit_at(found, step), roles[roles["step"] == step]).assign(step=step)
            for step in self.resolve(steps)
        ]
        caption = (
            "1 where circuit and attention agree on a head; `chance` is the share if they were unrelated."
        )
        return Result("agreement", conformed("agreement", pd.concat(rows, ignore_index=True)), caption)
