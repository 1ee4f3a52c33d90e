"""Weight-based analyses: composition of heads, eigenvalues of OV and QK, and attribution of attention scores.

Composition (Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits"): |B A| / (|B| |A|) in
Frobenius norms, A the earlier head's OV, B the later head's QK (by its query or key side) or OV; range [0,
1]. Chance is not 0: the score of random matrices of the same shapes is reported too, and
`excess` is the difference. Weights are used as they are: a LayerNorm's gain is not folded in. A large score
shows that a head could read another, not that it does.
"""

from __future__ import annotations

from typing import Any, cast

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.causal import arithmetic as ar
from interp.causal.graph import precedes, senders, written
from interp.hooks.lens import FactoredMatrix
from interp.hooks.protocol import HookedModel
from interp.hooks.sites import Site, check
from tasks.errors import UserError
from tasks.streams import generator

KINDS = ("Q", "K", "V")


def composition(model: HookedModel, *, random: int = 32, seed: int = 0) -> pd.DataFrame:
    """Q-, K- and V-composition of every head with every head of a later layer.

    `value` is the score, `random` the mean over `random` draws of Gaussian weights of the same shapes,
    `random_high` their largest (a range, not an interval), `excess` value minus mean. Weights alone are needed: heads
    that share keys and values, gated MLPs and rotary positions (before any rotation) are no hindrance. Raises UserError
    for a model whose weights per head are not known.
    """
    cfg = getattr(model, "cfg", None)
    if cfg is None or not hasattr(cfg, "d_head"):
        raise UserError(
            f"composition needs weights per head, which a {model.config.kind} model does not have"
        )
    with torch.no_grad():
        ov, qk = _per_head(model.OV), _per_head(model.QK)
        baseline = {kind: _random_scores(kind, cfg.d_model, cfg.d_head, random, seed) for kind in KINDS}
    rows = []
    heads = [Site("z", layer, head) for layer in range(cfg.n_layers) for head in range(cfg.n_heads)]
    for a, b in ((a, b) for a in heads for b in heads if (a.layer or 0) < (b.layer or 0)):
        for kind in KINDS:
            later = (qk if kind != "V" else ov)[(b.layer, b.head)]
            score, chance = _score(kind, ov[(a.layer, a.head)], later), baseline[kind]
            rows.append(
                {
                    "sender": a.label,
                    "receiver": f"{b.label}.{kind.lower()}",
                    "metric": f"{kind}-composition",
                    "value": score,
                    "random": float(chance.mean()),
                    "random_high": float(chance.max()),
                    "excess": score - float(chance.mean()),
                }
            )
    return pd.DataFrame(rows)


def _per_head(stacked: FactoredMatrix) -> dict[tuple[int | None, int | None], Tensor]:
    full = cast(Tensor, stacked.AB)
    return {
        (layer, head): full[layer, head] for layer in range(full.shape[0]) for head in range(full.shape[1])
    }


def _score(kind: str, earlier: Float[Tensor, "d d"], later: Float[Tensor, "d d"]) -> float:
    """Rows are inputs: a stream x becomes x @ OV, and scores are x_row @ QK @ x_column."""
    joined = earlier @ later.T if kind == "K" else earlier @ later
    size = earlier.norm() * later.norm()
    return float(joined.norm() / size) if float(size) > 0 else 0.0


def _random_scores(kind: str, d_model: int, d_head: int, draws: int, seed: int) -> Float[Tensor, "draw"]:
    source = generator(seed, "random composition", 0)
    scores = []
    for _ in range(draws):
        a, b, c, d = (torch.randn(d_model, d_head, generator=source) for _ in range(4))
        scores.append(_score(kind, a @ b.T, c @ d.T))
    return torch.tensor(scores)


def eigenvalues(model: HookedModel) -> pd.DataFrame:
    """Eigenvalues of each head's OV and QK matrix, summed up.

    `value` is the positive share, sum of real parts over sum of moduli, in [-1, 1]: OV near 1 copies what it
    reads, QK near 1 attends to what resembles the row. `largest` is the largest modulus; chance of the share
    is 0 for random weights.
    """
    ar.require_edges(model)
    rows = []
    with torch.no_grad():
        for name, matrix in (("OV", model.OV), ("QK", model.QK)):
            found = cast(Tensor, matrix.eigenvalues)
            for layer in range(found.shape[0]):
                for head in range(found.shape[1]):
                    values = found[layer, head]
                    size = float(values.abs().sum())
                    share = float(values.real.sum()) / size if size > 0 else 0.0
                    place = {"layer": layer, "head": head, "metric": f"{name} positive share"}
                    rows.append({**place, "value": share, "largest": float(values.abs().max())})
    return pd.DataFrame(rows)


def qk_attribution(
    model: HookedModel,
    inputs: Tensor,
    head: str,
    dest: Int[Tensor, "batch pair"],
    source: Int[Tensor, "batch pair"],
) -> pd.DataFrame:
    """Why a head's row `dest` scores column `source`: the score as a sum over senders of the query and of the
    key.

    LayerNorm's scale is held at the run's. Units are those of the scores before the mask; means over prompts
    and pairs. "bias" gathers everything that no sender writes; a key "relative position" is the vector of the
    distance, where the model has such. Raises UserError if the terms do not add up to the
    score.
    """
    site = check(Site.parse(head), model, inputs.shape[1])
    if site.head is None or site.layer is None or site.component != "z":
        raise UserError(f"QK attribution is for one head, like L1H2, not {head!r}")
    with torch.no_grad():
        parts = written(model, inputs)
        queries, names = _sided(model, parts, site, "Q", dest)
        keys, senders_of_keys = _sided(model, parts, site, "K", source)
        distances = _by_distance(model, site, dest, source)
        if distances is not None:
            keys, senders_of_keys = (
                torch.cat([keys, distances[None]]),
                [*senders_of_keys, "relative position"],
            )
        table = torch.einsum("abnk,cbnk->acbn", queries, keys) / ar.score_scale(model.config)
        hook = f"blocks.{site.layer}.attn.hook_attn_scores"
        scores = model.run_with_cache(inputs, names_filter=hook, return_cache_object=False)[1][hook][
            :, site.head
        ]
        true = scores.gather(1, dest[..., None].expand(-1, -1, scores.shape[-1])).gather(
            2, source[..., None]
        )[..., 0]
    miss = float((table.sum((0, 1)) - true).abs().max() / table.abs().sum((0, 1)).max().clamp_min(1e-30))
    if miss > 1e-4:
        raise UserError(f"the terms of {head}'s scores miss them by {miss:.1e} of their size")
    means = table.double().mean((2, 3))
    rows = [
        {"query": q, "key": k, "value": float(means[i, j])}
        for i, q in enumerate(names)
        for j, k in enumerate(senders_of_keys)
    ]
    return pd.DataFrame(rows).assign(site=head, unit="score")


def _by_distance(
    model: Any, site: Site, dest: Int[Tensor, "batch pair"], source: Int[Tensor, "batch pair"]
) -> Float[Tensor, "batch pair k"] | None:
    """The vector that a head dots its query with for each pair's distance; None without relative positions."""
    table = model.blocks[site.layer].attn.W_rel
    if table is None:
        return None
    zero = 0 if model.config.mask == "causal" else table.shape[1] // 2
    return table[site.head][dest - source + zero]


def _sided(
    model: HookedModel, parts: Any, site: Site, side: str, positions: Int[Tensor, "batch pair"]
) -> tuple[Float[Tensor, "part batch pair k"], list[str]]:
    """A head's query or key at some positions, as a sum over senders and a bias."""
    block, stream = model.blocks[site.layer], parts.pre[site.layer]
    names = [s.label for s in senders(model) if precedes(model, s, Site("q", site.layer, site.head))]
    pieces = torch.stack([parts.out[name] for name in names])
    pieces = torch.cat([pieces, (stream - pieces.sum(0))[None]])
    index = positions[None, ..., None].expand(len(pieces), -1, -1, pieces.shape[-1])
    pieces, stream = pieces.gather(2, index), stream.gather(1, index[0])
    weight, bias = getattr(block.attn, f"W_{side}")[site.head], getattr(block.attn, f"b_{side}")[site.head]
    if block.ln1 is not None:
        centred = stream - stream.mean(-1, keepdim=True)
        scale = (centred.pow(2).mean(-1, keepdim=True) + ar.EPS).sqrt()
        pieces = (pieces - pieces.mean(-1, keepdim=True)) / scale
        if block.ln1.w is not None:
            bias = bias + block.ln1.b @ weight
            pieces = pieces * block.ln1.w
    out = pieces @ weight
    out[-1] += bias
    return out, [*names, "bias"]
