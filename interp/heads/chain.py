"""The chain-relation matrix of every head: which node of a chain attends to which, by mass and by argmax.

R[layer, head, row, column] is the attention from node `row` to node `column`, averaged over prompts; nodes
are the query and the links 1..D of the queried chain, and the links of distractor chains (averaged over chains).
Range [0, 1] for softmax attention, chance: uniform attention (control "uniform"); signed and unbounded for
linear attention. "argmax" is the share of prompts in which the row's largest weight sits on the column (range
[0, 1]; a retrieval head in the sense of Wu et al. 2024, arXiv 2404.15574). "look-ahead j" is the mean of
R[link_k, link_k+j] over k and all chains, "look-back j" that of R[link_k+j, link_k]: how chains merge before
the query attends to them (source: Musat, arXiv 2411.12118; definitions of this project).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.analysis.base import Accumulator, Analysis
from interp.heads.heads import HeadScores, allowed_uniform, unit_of
from interp.hooks.protocol import HookedModel
from probes.stats import Intervals, bootstrap, shares
from tasks import Task, UserError

Key = tuple[str, str, str, str]


class ChainMatrix(Analysis):
    """Chain-relation matrix of every head, of the untrained model's heads and of uniform attention."""

    name: ClassVar[str] = "chain"
    version: ClassVar[int] = 2
    with_untrained: ClassVar[bool] = True

    def hooks(self, model: HookedModel) -> list[str]:
        return HeadScores().hooks(model)

    def accumulator(self, model: HookedModel, task: Task, untrained: Accumulator | None) -> ChainAccumulator:
        return ChainAccumulator(self.hooks(model), task, unit_of(model.config))

    def constants(self, model: HookedModel, task: Task, untrained: Accumulator | None) -> pd.DataFrame:
        uniform = ChainAccumulator(["uniform"], task, "attention")
        batch = task.sample(0, "labels", 0, 64)
        uniform.add(0, batch, torch.zeros(64, 1, 1), {"uniform": allowed_uniform(model, batch)})
        level = (
            uniform.table()
            .drop(columns=["layer", "head", "ci_low", "ci_high", "n"])
            .assign(control="uniform")
        )
        level = level[level["metric"] != "argmax"]
        return (
            level if untrained is None else pd.concat([untrained.table().assign(control="untrained"), level])
        )


class ChainAccumulator:
    """Collects the cells of every head's matrix, prompt by prompt."""

    def __init__(self, hooks: list[str], task: Task, unit: str):
        self.hooks, self.task, self.unit = hooks, task, unit
        self.cells: dict[Key, list[Float[Tensor, "batch layer head"]]] = {}

    def add(self, chunk: int, batch: Any, outputs: Float[Tensor, "batch pos d_out"], cache: Any) -> None:
        links = getattr(batch, "links", None)
        if links is None:
            raise UserError(
                f"task {self.task.kind!r} has no chains of links: the chain matrix is for retrieval"
            )
        hops = len(batch.src[0])
        query = torch.full_like(links[:, :1, :1], self.task.interface.n_ctx - 1)
        layers = []
        for hook in self.hooks:
            cells = _matrix("queried", torch.cat([query, links[:, :1, :hops]], 2), cache[hook])
            if links.shape[1] > 1 and hops > 1:
                cells |= _matrix("rival", links[:, 1:, :hops], cache[hook])
            layers.append(cells)
        for key in layers[0]:
            self.cells.setdefault(key, []).append(torch.stack([cells[key] for cells in layers], dim=1))

    def table(self) -> pd.DataFrame:
        cells = {key: torch.cat(parts) for key, parts in self.cells.items()}
        cells |= _diagonals(cells)
        hits = {key: values for key, values in cells.items() if key[0] == "argmax"}
        masses = {key: values for key, values in cells.items() if key[0] != "argmax"}
        found = [_frame(masses, bootstrap, self.unit), _frame(hits, shares, "share of prompts")]
        return pd.concat(found, ignore_index=True)


def _frame(
    cells: dict[Key, Float[Tensor, "batch layer head"]], of: Callable[[Tensor], Intervals], unit: str
) -> pd.DataFrame:
    """One row a cell and head."""
    stacked = torch.stack(list(cells.values()), dim=1)
    means = of(stacked.flatten(1))
    n, _, layers, heads = stacked.shape
    names = pd.DataFrame(list(cells), columns=["metric", "chain", "row", "column"])
    index = pd.MultiIndex.from_product([range(layers), range(heads)], names=["layer", "head"])
    table = names.merge(index.to_frame(index=False), how="cross")
    ends = {"ci_low": means.low.numpy(), "ci_high": means.high.numpy(), "n": n}
    return table.assign(control="none", value=means.value.numpy(), unit=unit, **ends)


def _matrix(
    chain: str, nodes: Int[Tensor, "batch chain node"], pattern: Float[Tensor, "batch head row column"]
) -> dict[Key, Float[Tensor, "batch head"]]:
    """One layer's cells of one kind of chain, averaged over its chains."""
    prompts = torch.arange(len(nodes))[:, None, None]
    rows = pattern.transpose(1, 2)[prompts, nodes]
    best = rows.argmax(-1)
    names = [f"link_{k}" for k in range(1, nodes.shape[2] + 1)]
    names = ["query", *names[:-1]] if chain == "queried" else names
    found = {}
    for j, column in enumerate(names):
        at = nodes[:, :, j, None, None, None].expand(*rows.shape[:-1], 1)
        mass = rows.gather(-1, at)[..., 0].mean(1)
        hit = (best == at[..., 0]).to(rows).mean(1)
        for i, row in enumerate(names):
            found[("attention", chain, row, column)] = mass[:, i]
            found[("argmax", chain, row, column)] = hit[:, i]
    return found


def _diagonals(
    cells: dict[Key, Float[Tensor, "batch layer head"]],
) -> dict[Key, Float[Tensor, "batch layer head"]]:
    """Look-ahead and look-back scores: means over the diagonals of the link-to-link part, all kinds of chain
    together.
    """
    along: dict[Key, list[Tensor]] = {}
    for (metric, _, row, column), value in cells.items():
        if metric != "attention" or "query" in (row, column) or row == column:
            continue
        jump = int(column.removeprefix("link_")) - int(row.removeprefix("link_"))
        name = f"look-ahead {jump}" if jump > 0 else f"look-back {-jump}"
        along.setdefault((name, "all", "", ""), []).append(value)
    return {key: torch.stack(values).mean(0) for key, values in along.items()}


def matrix(
    table: pd.DataFrame, layer: int, head: int, chain: str = "queried", metric: str = "attention"
) -> pd.DataFrame:
    """R of one head at the last of the table's steps, rows attending to columns."""
    rows = table[(table["control"] == "none") & (table["metric"] == metric) & (table["chain"] == chain)]
    rows = rows[(rows["layer"] == layer) & (rows["head"] == head)]
    if rows.empty:
        raise UserError(f"no {metric} of L{layer}H{head} on the {chain} chain in this table")
    if "step" in rows:
        rows = rows[rows["step"] == rows["step"].max()]
    names = list(dict.fromkeys(rows["row"]))
    return rows.pivot(index="row", columns="column", values="value").loc[names, names]
