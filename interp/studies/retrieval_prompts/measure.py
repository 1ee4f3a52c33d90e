"""What the study of prompts measures on one language model: accuracies, retrieval heads, and their causes.

Accuracy is among a prompt's choices, and by generation: the model's own next token over its whole vocabulary. A head's
copying score says whether what it writes for a name raises that name most (Olsson et al. 2209.11895); the share of
argmax counts prompts in which the source has the head's largest weight (Wu et al. 2404.15574). Weights and attention
are correlations; `needed` and `interchanged` are interventions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.causal.patching import patch
from interp.causal.paths import patch_paths
from interp.heads.heads import relation_mass
from interp.hooks.sites import Site
from interp.models.bridge import BridgedModel
from interp.run import Run
from probes.stats import Interval, share
from tasks import UserError
from tasks.prompts import TextRetrieval
from tasks.prompts_forms import FORMS

QUESTIONS = 500
CHUNK = 50
STRONG = 0.5  # of a row's attention
ROOM = 2**29  # bytes of attention that are kept at once


def accuracies(model: Any, task: TextRetrieval, hops: tuple[int, ...], seed: int = 0) -> pd.DataFrame:
    """Accuracy of every form at every number of hops, QUESTIONS prompts a cell, with Clopper-Pearson intervals.

    `model` is a bridged one, or whatever has its `logits` and `config`. `task` gives lexicon, chains and shots. A cell
    whose prompts do not fit the model, or for which too few names are single tokens, has no value and says why.
    """
    rows = []
    for form in FORMS:
        for hop in hops:
            cell = {"form": form, "hops": hop}
            try:
                asked = TextRetrieval(**{**task.model_dump(), "form": form, "hops": hop, "links": 0})
                model.config.check(asked.interface)
            except (UserError, ValueError) as error:
                rows.append({**cell, "metric": "accuracy", "n": 0, "note": first_line(error)})
                continue
            rows += [{**cell, **row} for row in asked_cell(model, asked, seed, QUESTIONS)]
    return pd.DataFrame(rows)


def first_line(error: Exception) -> str:
    """What an error says, without the list of settings that a validation puts around it."""
    lines = str(error).splitlines()
    line = (lines[1] if len(lines) > 1 else lines[0]).strip()
    return line.removeprefix("Value error, ").partition(" [type=")[0][:150]


def asked_cell(model: Any, task: TextRetrieval, seed: int, questions: int) -> list[dict[str, Any]]:
    """Accuracy among the choices and by generation over so many questions (whole CHUNKs), and the level of a guess."""
    right, said = 0, 0
    last = (task.interface.n_ctx - 1,)
    for chunk in range(questions // CHUNK):
        batch = task.sample(seed, "questions", chunk, CHUNK)
        with torch.no_grad():
            logits = model.logits(batch.inputs, last)[:, 0].float()
        answer = batch.inputs.gather(1, batch.src[:, -1:])
        picked = batch.tokens.gather(1, logits.gather(1, batch.tokens).argmax(1, keepdim=True))
        right += int((picked == answer).sum())
        said += int((logits.argmax(1, keepdim=True) == answer).sum())
    chance = float(task.chance().value[0])
    out = []
    for metric, count in (("accuracy", right), ("generated", said)):
        found = share(count, questions)
        interval = {"value": found.value, "ci_low": found.low, "ci_high": found.high}
        out.append({"metric": metric, **interval, "n": questions, "chance": chance, "note": ""})
    return out


def retrieval_heads(
    model: BridgedModel, task: TextRetrieval, seed: int = 0, prompts: int = 256
) -> pd.DataFrame:
    """For every head and hop: attention of the last token on the hop's value, share of argmax, copying score.

    `fact` is the share of argmax anywhere in the hop's sentence, full stop included: earlier layers may have gathered
    the sentence at its end, and a head that reads it there never looks at the value itself.
    """
    batch = task.sample(seed, "retrieval heads", 0, prompts)
    relations = {r.name: r for r in task.relations(batch)}
    copied = copying(model, task)
    rows = []
    for layer, pattern in patterns(model, batch.inputs):
        for hop in range(1, task.hops + 1):
            relation = relations[f"query -> link_{hop}"]
            mass = relation_mass(pattern, relation.dest, relation.source).mean(0)
            looked = pattern[:, :, -1].argmax(-1)
            best = looked == relation.source
            stop = batch.src[:, hop - 1] + len(task.lexicon.words["."])
            within = (looked >= batch.keys[:, hop - 1, None]) & (looked <= stop[:, None])
            for head in range(model.config.n_heads):
                top = share(int(best[:, head].sum()), prompts)
                rows.append(
                    {"layer": layer, "head": head, "hop": hop, "attention": float(mass[head]),
                     "argmax": top.value, "ci_low": top.low, "ci_high": top.high, "n": prompts,
                     "fact": float(within[:, head].float().mean()), "copies": float(copied[layer, head])}
                )  # fmt: skip
    return pd.DataFrame(rows)


def patterns(
    model: Any, inputs: Int[Tensor, "batch pos"]
) -> Iterator[tuple[int, Float[Tensor, "batch head query key"]]]:
    """Attention of every layer in turn, of as many layers a run as ROOM holds."""
    one = 4 * len(inputs) * model.config.n_heads * inputs.shape[1] ** 2
    layers, together = range(model.config.n_layers), max(1, ROOM // one)
    for first in layers[::together]:
        names = {layer: f"blocks.{layer}.attn.hook_pattern" for layer in layers[first : first + together]}
        with torch.no_grad():
            cache = model.run_with_cache(
                inputs, names_filter=list(names.values()), return_cache_object=False
            )[1]
        yield from ((layer, cache[name].float()) for layer, name in names.items())


def copying(model: BridgedModel, task: TextRetrieval) -> Float[Tensor, "layer head"]:
    """Share of the answers' names that a head, attending to the name's embedding, raises above all other names.

    Through the first normalisation, the head's value and output weights, the last normalisation and the unembedding:
    a figure of weights, blind to what layers in between make of a name. Chance is 1 over the number of names.
    """
    names = torch.tensor(task.interface.outputs)
    table = model.bridge.W_E[names].float()
    right = torch.arange(len(names))
    rows = []
    with torch.no_grad():
        for block in model.blocks:
            value = torch.einsum(
                "nd,hdk->hnk", block.ln1.plain(table.to(model.bridge.W_E.dtype)), block.attn.W_V
            )
            out = torch.einsum("hnk,hkd->hnd", value, block.attn.W_O)
            rows.append(((out @ model.W_U).argmax(-1) == right).float().mean(1))
    return torch.stack(rows)


def best_head(heads: pd.DataFrame, hop: int, by: str = "argmax") -> dict[str, Any]:
    """The head whose largest weight is on a hop's source most often; `by` "fact": anywhere in its sentence."""
    rows = heads[heads["hop"] == hop]
    return dict(rows.loc[rows[by].idxmax()])


def label(head: dict[str, Any]) -> str:
    """L0H1."""
    return f"L{int(head['layer'])}H{int(head['head'])}"


def needed(
    model: BridgedModel, task: TextRetrieval, head: dict[str, Any], seed: int = 0, prompts: int = 128
) -> Interval:
    """Share of the behaviour (loss between corrupt and clean prompts) that goes when a head writes its mean instead.

    0: nothing; 1: as much as the corrupt prompts.
    """
    pair = task.pair(task.pair_kinds[-1], seed, "needed", 0, prompts)
    site = Site("z", int(head["layer"]), int(head["head"]))
    row = patch(model, task, pair, sites=[site], direction="noise", replacement="mean per position").iloc[0]
    return Interval(1 - row["value"], 1 - row["ci_high"], 1 - row["ci_low"], int(row["n"]), "bootstrap")


def candidates(run: Run) -> dict[str, str]:
    """The strongest head of each hop's relation at the last checkpoint, for those on which some head passes half.

    Relations of hops: from the last token to a hop's value, and from there to the next hop's.
    """
    table = run.heads(steps="last").table
    hop = table["metric"].str.contains("-> link_") & ~table["metric"].str.startswith("rival")
    own = table[(table["control"] == "none") & (table["layer"] >= 0) & hop]
    best = own.loc[own.groupby("metric", sort=False)["value"].idxmax()]
    strong = best[best["value"] >= STRONG]
    return {str(row.metric): f"L{row.layer}H{row.head}" for row in strong.itertuples()}


def interchanged(
    model: BridgedModel, task: TextRetrieval, heads: list[str], seed: int = 0, prompts: int = 128
) -> pd.DataFrame:
    """Path patching from every head to the queries, keys and values of every later one, for each binding rebound.

    `value`: share of the clean behaviour that comes back when the sender's clean value reaches that receiver alone.
    """
    pairs = [(a, b) for a in heads for b in heads if _before(a, b)]
    paths = [([a], [f"{b}.{slot}"]) for a, b in pairs for slot in "qkv"]
    tables = []
    for kind in task.pair_kinds if paths else ():
        pair = task.pair(kind, seed, "told", 0, prompts)
        tables.append(patch_paths(model, task, pair, paths).assign(pair=kind))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _before(first: str, second: str) -> bool:
    return (Site.parse(first).layer or 0) < (Site.parse(second).layer or 0)
