"""Exploratory rows of the study of prompts: heads that look anywhere in the sentence of a hop's fact.

A first look at small models showed two things that the study's fixed criteria, on the value of each hop seen from the
last token, do not count: a fact read at its full stop, where earlier layers have gathered it, and a fact whose value
has itself looked on to the next hop's. The rows here count them. Their criteria were set after that look, so models of
seeds that were not looked at are measured as well; they stand beside the fixed rows and replace none.
"""

from __future__ import annotations

from typing import Any, cast

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.causal.metrics import metric_of
from interp.causal.paths import patch_paths
from interp.models.bridge import BridgedModel
from interp.studies.retrieval_prompts.measure import STRONG, patterns
from probes.stats import Interval, ratio, share
from tasks.prompts import TextRetrieval
from tasks.prompts_batch import PromptBatch
from tasks.streams import generator

RANDOM = 8  # draws of other heads, as many as were taken away
ATTENDED = {"fact-hop-1": "last -> fact 1", "fact-hop-2": "last -> fact 2", "fact-ahead": "fact 1 -> fact 2"}
NEEDED = {"fact-needed": ATTENDED["fact-hop-1"], "ahead-needed": ATTENDED["fact-ahead"]}
# what hop 1's fact has read reaches the last token by a value, or what the last token has read asks for the next fact
WAYS = (("fact 1 -> fact 2", "last -> fact 1", "v"), ("last -> fact 1", "last -> fact 2", "q"))
Head = tuple[int, int]


def attended(task: TextRetrieval, batch: PromptBatch) -> dict[tuple[str, str], tuple[Tensor, int]]:
    """From where to which hop's fact: rows of attention [batch] and the hop, by the look's name and its token.

    From the last token to every fact; from the value and from the full stop of each fact to the next hop's.
    """
    last = torch.full((len(batch),), task.interface.n_ctx - 1)
    found = {(f"last -> fact {hop + 1}", "last"): (last, hop) for hop in range(task.hops)}
    for hop in range(task.hops - 1):
        value = batch.src[:, hop]
        for token, row in (("value", value), ("full stop", value + len(task.lexicon.words["."]))):
            found[f"fact {hop + 1} -> fact {hop + 2}", token] = (row, hop + 1)
    return found


def fact_heads(model: Any, task: TextRetrieval, seed: int = 0, prompts: int = 256) -> pd.DataFrame:
    """For every head and look: share of prompts in which its largest weight lies anywhere in the fact's sentence."""
    batch = task.sample(seed, "fact heads", 0, prompts)
    stop, rows = len(task.lexicon.words["."]), []
    for layer, pattern in patterns(model, batch.inputs):
        for (look, token), (row, hop) in attended(task, batch).items():
            at = pattern[torch.arange(prompts), :, row].argmax(-1)
            inside = (at >= batch.keys[:, hop, None]) & (at <= batch.src[:, hop, None] + stop)
            for head in range(model.config.n_heads):
                found = share(int(inside[:, head].sum()), prompts)
                rows.append(
                    {"look": look, "token": token, "layer": layer, "head": head, "value": found.value,
                     "ci_low": found.low, "ci_high": found.high, "n": prompts}
                )  # fmt: skip
    return pd.DataFrame(rows)


def passing(heads: pd.DataFrame, look: str) -> pd.DataFrame:
    """Heads that look there in most prompts, from the token from which the most frequent of them does."""
    own = heads[heads["look"] == look]
    token = own.loc[own["value"].idxmax(), "token"]
    return own[(own["token"] == token) & (own["value"] > STRONG)]


def needed_there(
    model: Any, task: TextRetrieval, found: pd.DataFrame, prompts: int = 128
) -> tuple[Interval, list[Head]]:
    """What goes of the behaviour when one layer's heads write their mean at the token from which they look.

    Less what goes with as many other heads, drawn RANDOM times, at the same token. In shares of the loss between
    corrupt and clean prompts. `found` is what `passing` gives; the layer is the one that costs most on other prompts
    than those it is measured on.
    """
    at = (str(found["look"].iloc[0]), str(found["token"].iloc[0]))
    groups = [heads_of(rows) for _, rows in found.groupby("layer")]
    group = (
        max(groups, key=lambda heads: _cost(model, task, at, heads, 0, prompts).value)
        if groups[1:]
        else groups[0]
    )
    return _cost(model, task, at, group, 1, prompts), group


def heads_of(rows: pd.DataFrame) -> list[Head]:
    """Layer and head of each row."""
    return [(int(layer), int(head)) for layer, head in zip(rows["layer"], rows["head"], strict=True)]


def labels(heads: list[Head]) -> list[str]:
    """L0H1, ..."""
    return [f"L{layer}H{head}" for layer, head in heads]


def _cost(
    model: Any, task: TextRetrieval, at: tuple[str, str], group: list[Head], seed: int, prompts: int
) -> Interval:
    """Of one group at one token, beside others."""
    pair = task.pair(task.pair_kinds[-1], seed, "needed there", 0, prompts)
    metric, clean = metric_of(task, pair), cast(PromptBatch, pair.clean)
    row = attended(task, clean)[at][0]
    every = [(layer, head) for layer in range(model.config.n_layers) for head in range(model.config.n_heads)]
    others = [head for head in every if head not in group]
    source = generator(seed, "other heads", 0)
    drawn = [torch.randperm(len(others), generator=source)[: len(group)].tolist() for _ in range(RANDOM)]
    with torch.no_grad():
        ends = [metric(model(batch.inputs)) for batch in (clean, pair.corrupt)]
        without = metric(_without(model, clean, row, group))
        control = [metric(_without(model, clean, row, [others[i] for i in picked])) for picked in drawn]
    return ratio(torch.stack(control).mean(0) - without, ends[0] - ends[1]).one()


def _without(
    model: Any, batch: PromptBatch, row: Int[Tensor, "batch"], heads: list[Head]
) -> Float[Tensor, "batch pos d_out"]:
    """Outputs when heads write, at one token of each prompt, what they write there on average over prompts."""
    prompts = torch.arange(len(batch))

    def mean_at(own: list[int]) -> Any:
        def write(z: Tensor, hook: Any) -> Tensor:
            z = z.clone()
            for head in own:
                z[prompts, row, head] = z[prompts, row, head].mean(0)
            return z

        return write

    by_layer = {layer: [h for at, h in heads if at == layer] for layer, _ in heads}
    hooks = [(f"blocks.{layer}.attn.hook_z", mean_at(own)) for layer, own in by_layer.items()]
    return model.run_with_hooks(batch.inputs, fwd_hooks=hooks)


def passed_on(
    model: BridgedModel, task: TextRetrieval, groups: dict[str, list[Head]], prompts: int = 128
) -> tuple[Interval, str] | None:
    """The stronger of the two paths by which a hop can stand on another, all heads of a look at once.

    In shares of the clean behaviour that come back. Chosen on some prompts, measured on others; None where no head of
    one look stands before one of the next.
    """
    there = [way for way in WAYS if groups.get(way[0]) and groups.get(way[1])]
    ways = [(a, b, slot) for a, b, slot in there if min(groups[a])[0] < max(groups[b])[0]]
    if not ways:
        return None
    paths = [(labels(groups[a]), [f"{head}.{slot}" for head in labels(groups[b])]) for a, b, slot in ways]
    pairs = [task.pair(kind, 0, "passed on", 0, prompts) for kind in task.pair_kinds]
    tables = [patch_paths(model, task, pair, paths).assign(kind=pair.kind) for pair in pairs]
    tried = pd.concat([table.assign(path=range(len(paths))) for table in tables], ignore_index=True)
    best = tried.loc[tried["value"].idxmax()]
    again = task.pair(str(best["kind"]), 1, "passed on", 0, prompts)
    row = patch_paths(model, task, again, [paths[best["path"]]]).iloc[0]
    a, b, slot = ways[best["path"]]
    said = f"{', '.join(labels(groups[a]))} ({a}) -> {slot} of {', '.join(labels(groups[b]))} ({b}), {again.kind}"
    value, low, high = (float(row[name]) for name in ("value", "ci_low", "ci_high"))
    return Interval(value, low, high, int(row["n"]), "bootstrap"), said
