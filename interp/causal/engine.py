"""The fast engine: for each patched site recompute only what the patch can reach and the metric looks at.

A patch at block l leaves everything before l alone, and with a causal mask every row before its position too.
So each site is turned into a change of the residual stream at some rows (a head's output by its own W_O, a
query, key, value, score or pattern by its own head's attention), and the blocks after it are run on the rows
it reaches, against cached keys and values of the rest; the last block runs at the metric's positions only.
Sites whose values differ nowhere from the base run cost nothing. Short suffixes of several sites are stacked,
as far as that fits the processor's cache.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from jaxtyping import Float, Num
from torch import Tensor

from interp.causal import arithmetic as ar
from interp.causal.metrics import Metric
from interp.causal.sites import Site
from tasks.errors import UserError

STACK = 2048  # tokens run at once: more of them fall out of the processor's cache
Stream = Float[Tensor, "site batch row d_model"]
Columns = Float[Tensor, "site batch column d_model"]


@dataclasses.dataclass(frozen=True)
class Layer:
    """What the base run holds of one block. `after_attn` is the stream between attention and MLP; keys are
    divided by the score scale.
    """

    block: Any
    pre: Float[Tensor, "batch pos d_model"]
    q: Float[Tensor, "batch head pos k"]
    k: Float[Tensor, "batch head k pos"]
    v: Float[Tensor, "batch head pos k"]
    z: Float[Tensor, "batch head pos k"]
    pattern: Float[Tensor, "batch head pos pos"]
    scores: Float[Tensor, "batch head pos pos"]
    after_attn: Float[Tensor, "batch pos d_model"]
    post: Float[Tensor, "batch pos d_model"]


def base_hooks(model: Any) -> list[str]:
    """Activations of the base run that the engine needs."""
    names = []
    for layer in range(model.config.n_layers):
        stem = f"blocks.{layer}."
        names += [stem + "hook_resid_pre", stem + "hook_attn_out", stem + "hook_resid_post"]
        names += [f"{stem}attn.hook_{part}" for part in ("q", "k", "v", "z", "pattern", "attn_scores")]
        if model.blocks[layer].mlp is not None:
            names += [stem + "hook_resid_mid", stem + "mlp.hook_pre", stem + "hook_mlp_out"]
    return names


class FastEngine:
    """Metric values of one-site patches of a base run.

    `inputs` are the prompts of the base run; the metric's positions decide what is computed. Raises UserError
    for models other than the transformer.
    """

    def __init__(
        self, model: Any, inputs: Num[Tensor, "batch pos *token"], metric: Metric, rows: Tensor | None = None
    ):
        ar.require_transformer(model)
        self.model, self.config, self.metric, self.rows = model, model.config, metric, rows
        with torch.no_grad():
            self.outputs, self.cache = model.run_with_cache(
                inputs, names_filter=base_hooks(model), return_cache_object=False
            )
        self.batch, self.n_pos = inputs.shape[:2]
        self.causal = model.config.mask == "causal"
        self.mask = ar.Mask.of(model.config, self.n_pos, self.outputs)
        self.reads = sorted(metric.positions)
        if not self.reads or self.reads[-1] >= self.n_pos:
            raise UserError(
                f"metric {metric.name!r} looks at positions {self.reads} of prompts with {self.n_pos}"
            )
        self.scale = ar.score_scale(model.config)
        self.layers = [self._layer(i) for i in range(model.config.n_layers)]
        self.skip_unchanged = True
        with torch.no_grad():
            self.base_value = metric(self.outputs, rows)

    def _layer(self, index: int) -> Layer:
        stem = f"blocks.{index}."
        get = lambda name: self.cache[stem + name]  # noqa: E731
        pre = get("hook_resid_pre")
        return Layer(
            self.model.blocks[index],
            pre,
            get("attn.hook_q").transpose(1, 2).contiguous(),
            get("attn.hook_k").permute(0, 2, 3, 1).contiguous().div_(self.scale),
            get("attn.hook_v").transpose(1, 2).contiguous(),
            get("attn.hook_z").transpose(1, 2),
            get("attn.hook_pattern"),
            get("attn.hook_attn_scores"),
            pre + get("hook_attn_out"),
            get("hook_resid_post"),
        )

    @torch.no_grad()
    def values(
        self, sites: Iterable[Site], replacement: Mapping[str, Float[Tensor, "batch *rest"]]
    ) -> Float[Tensor, "site batch"]:
        """The metric of each prompt after each site alone takes its value from `replacement` (by hook name)."""
        sites = list(sites)
        out = torch.empty(len(sites), self.batch, dtype=self.base_value.dtype, device=self.base_value.device)
        for places in self._groups(sites):
            members = [sites[i] for i in places]
            out[places] = self._group(members, replacement[members[0].hook(self.model.config.n_layers)])
        return out

    def _groups(self, sites: list[Site]) -> Iterable[list[int]]:
        """Sites to run together: same place up to the head, or a whole row of single positions before the
        last block.
        """
        groups: dict[tuple, list[int]] = {}
        for i, site in enumerate(sites):
            lone = site.position is not None and self._columns_apart(site)
            position = -1 if lone else site.position
            alone = i if site.head is None and not lone else None
            groups.setdefault((site.component, site.layer, position, site.head is None, alone), []).append(i)
        for (_, _, position, _, _), places in groups.items():
            size = 1 if position is None else max(1, STACK // (self.batch * self._reach(position)))
            yield from (places[i : i + size] for i in range(0, len(places), size))

    def _columns_apart(self, site: Site) -> bool:
        """Whether a site changes one column of the last block's input and no row that is read."""
        return self._entry(site) == len(self.layers) - 1 and site.position not in self.reads

    def _entry(self, site: Site) -> int | None:
        """The block whose input a single-position site changes at that position alone; None where it changes
        more.
        """
        if site.component == "embed":
            return 0
        if site.component == "output" or site.layer is None:
            return len(self.layers)
        if site.component in ("k", "v"):
            return None
        return site.layer if site.component == "resid_pre" else site.layer + 1

    def _reach(self, position: int) -> int:
        if position < 0:
            return 1
        return self.n_pos - position if self.causal else self.n_pos

    def _group(self, sites: list[Site], value: Tensor) -> Float[Tensor, "site batch"]:
        base = self.cache_of(sites[0])
        if self.skip_unchanged:
            moved = [not torch.equal(s.read(base), s.read(value)) for s in sites]
            if not any(moved):
                return self.base_value.expand(len(sites), -1)
        if sites[0].position is not None and self._columns_apart(sites[0]):
            return self._measure(self._last_block_columns(sites, value))
        return self._measure(self._run(sites, value))

    def cache_of(self, site: Site) -> Float[Tensor, "batch *rest"]:
        """The base run's activation at a site's hook."""
        return self.cache[site.hook(len(self.layers))]

    def _measure(self, at_reads: Float[Tensor, "site batch read d_out"]) -> Float[Tensor, "site batch"]:
        values = []
        for one in at_reads:
            outputs = self.outputs.clone()
            outputs[:, self.reads] = one
            values.append(self.metric(outputs, self.rows))
        return torch.stack(values)

    def _finish(self, stream: Stream, rows: list[int]) -> Float[Tensor, "site batch read d_out"]:
        """Outputs at the read positions, from the final stream at some rows (the base run elsewhere)."""
        out = self.outputs[:, self.reads].expand(len(stream), -1, -1, -1).clone()
        held = [i for i, p in enumerate(self.reads) if p in set(rows)]
        if held:
            picked = [rows.index(self.reads[i]) for i in held]
            out[:, :, held] = ar.unembed(self.model, stream[:, :, picked])
        return out

    def _run(self, sites: list[Site], value: Tensor) -> Float[Tensor, "site batch read d_out"]:
        layer, stream, columns = self._stream(sites, value)
        for index in range(layer, len(self.layers)):
            rows = self._rows(index, columns[0])
            if not rows:
                return self._finish(stream[:, :, :0], [])
            stream = self._block(index, stream, columns, rows)
            columns = rows
        return self._finish(stream, columns)

    def _rows(self, index: int, first: int) -> list[int]:
        """The rows that block `index` can change and somebody later looks at."""
        start = first if self.causal else 0
        if index == len(self.layers) - 1:
            return [p for p in self.reads if p >= start]
        return list(range(start, self.n_pos))

    def _stream(self, sites: list[Site], value: Tensor) -> tuple[int, Stream, list[int]]:
        """The changed stream entering a block, for sites of one component, layer and position: (block,
        stream, where).
        """
        site = sites[0]
        last = len(self.layers)
        columns = list(range(self.n_pos)) if site.position is None else [site.position]
        new = _part(value, columns)[None]
        if site.component in ("embed", "resid_pre"):
            return site.layer or 0, new, columns
        if site.component == "output":
            return last, new, columns
        assert site.layer is not None
        layer = self.layers[site.layer]
        if site.component == "resid_post":
            return site.layer + 1, new, columns
        if site.component == "mlp_out":
            return site.layer + 1, _part(layer.after_attn, columns) + new, columns
        if site.component == "mlp_pre":
            out = ar.neurons_out(layer.block.mlp, new)
            return site.layer + 1, _part(layer.after_attn, columns) + out, columns
        if site.component == "resid_mid":
            return site.layer + 1, ar.mlp(layer.block, new), columns
        if site.component == "attn_out":
            return site.layer + 1, ar.mlp(layer.block, _part(layer.pre, columns) + new), columns
        return self._after_heads(sites, value, columns)

    def _after_heads(
        self, sites: list[Site], value: Tensor, columns: list[int]
    ) -> tuple[int, Stream, list[int]]:
        """The stream after a block in which each site's head (or all heads) was patched."""
        site = sites[0]
        assert site.layer is not None
        layer = self.layers[site.layer]
        reaching = site.component in ("k", "v")
        rows = self._rows(site.layer, columns[0]) if reaching else columns
        if site.layer == len(self.layers) - 1:
            rows = [p for p in rows if p in self.reads]
        if not rows:
            return site.layer + 1, layer.pre[None, :, :0].expand(len(sites), -1, -1, -1), [self.n_pos]
        moved = []
        for s in sites:
            heads = list(range(layer.q.shape[1])) if s.head is None else [s.head]
            delta = self._head_change(layer, s.component, value, heads, columns, rows)
            moved.append(torch.einsum("bhrk,hkd->brd", delta, layer.block.attn.W_O[heads]))
        return site.layer + 1, ar.mlp(layer.block, _part(layer.after_attn, rows) + torch.stack(moved)), rows

    def _head_change(
        self, layer: Layer, part: str, value: Tensor, heads: list[int], columns: list[int], rows: list[int]
    ) -> Float[Tensor, "batch head row k"]:
        """Change of z of some heads at some rows, when q, k, v, z, scores or pattern take a new value at
        `columns`.
        """
        if part == "z":
            return value[:, rows][:, :, heads].transpose(1, 2) - layer.z[:, heads][:, :, rows]
        v, base = layer.v[:, heads], layer.pattern[:, heads][:, :, rows]
        if part == "v":
            change = value[:, columns][:, :, heads].transpose(1, 2) - v[:, :, columns]
            return base[..., columns] @ change
        if part == "pattern":
            return (value[:, heads][:, :, rows] - base) @ v
        if part == "attn_scores":
            scores = value[:, heads][:, :, rows].clone()
        elif part == "q":
            scores = value[:, rows][:, :, heads].transpose(1, 2) @ layer.k[:, heads]
        else:
            scores = layer.scores[:, heads][:, :, rows].clone()
            keys = value[:, columns][:, :, heads].permute(0, 2, 3, 1)
            scores[..., columns] = layer.q[:, heads][:, :, rows] @ keys / self.scale
        return (self.mask.pattern(scores, rows) - base) @ v

    def _block(self, index: int, new: Columns, columns: list[int], rows: list[int]) -> Stream:
        """One block on the rows it can change: `new` is its input at `columns`, base everywhere else."""
        layer = self.layers[index]
        attn = layer.block.attn
        x = ar.norm(layer.block.ln1, new)
        k, v = ar.project(attn, "k", x).div_(self.scale).transpose(-1, -2), ar.project(attn, "v", x)
        q, pre = self._queries(layer, new, x, columns, rows)
        a, b = columns[0], columns[-1] + 1
        pattern = self.mask.pattern(_scores(q, k, layer.k, a, b), rows)
        z = pattern[..., a:b] @ v
        if a > 0:
            z += _shared(pattern[..., :a], layer.v[:, :, :a])
        if b < self.n_pos:
            z += _shared(pattern[..., b:], layer.v[:, :, b:])
        out = z.transpose(2, 3).flatten(3) @ attn.w_o
        if attn.bias_o is not None:
            out += attn.bias_o
        return ar.mlp(layer.block, out.add_(pre))

    def _queries(
        self, layer: Layer, new: Columns, x: Columns, columns: list[int], rows: list[int]
    ) -> tuple[Float[Tensor, "site batch head row k"], Stream]:
        """Queries and incoming stream at the rows: from the changed columns where they are rows, else from
        the base.
        """
        attn = layer.block.attn
        if rows == columns:
            return ar.project(attn, "q", x), new
        place = {p: i for i, p in enumerate(columns)}
        both = [(r, place[p]) for r, p in enumerate(rows) if p in place]
        if len(both) == len(rows):
            picked = [i for _, i in both]
            return ar.project(attn, "q", x[:, :, picked]), new[:, :, picked]
        q = _part(layer.q.transpose(1, 2), rows).transpose(1, 2).expand(len(new), -1, -1, -1, -1)
        pre = _part(layer.pre, rows).expand(len(new), -1, -1, -1)
        if both:
            q, pre = q.clone(), pre.clone()
            into, picked = [r for r, _ in both], [i for _, i in both]
            q[:, :, :, into] = ar.project(attn, "q", x[:, :, picked])
            pre[:, :, into] = new[:, :, picked]
        return q, pre

    def _last_block_columns(self, sites: list[Site], value: Tensor) -> Float[Tensor, "site batch read d_out"]:
        """Sites that each change one column of the last block's input: all at once, on the read rows."""
        layer = self.layers[-1]
        attn = layer.block.attn
        columns = torch.tensor([s.position for s in sites])
        x = ar.norm(layer.block.ln1, self._one_column(sites, value))
        k, v = (ar.project(attn, name, x[:, :, None]).squeeze(3) for name in "kv")
        q = layer.q[:, :, self.reads]
        new = torch.einsum("bhrk,nbhk->nbhr", q, k)
        scores = layer.scores[:, :, self.reads].expand(len(sites), -1, -1, -1, -1).clone()
        index = columns[:, None, None, None, None].expand(*new.shape, 1)
        scores.scatter_(-1, index, new[..., None] / self.scale)
        pattern = self.mask.pattern(scores, self.reads)
        z = _shared(pattern, layer.v)
        weight = pattern.gather(-1, index)
        z += weight * (v - layer.v[:, :, columns].permute(2, 0, 1, 3))[:, :, :, None]
        out = z.transpose(2, 3).flatten(3) @ attn.w_o
        if attn.bias_o is not None:
            out += attn.bias_o
        stream = ar.mlp(layer.block, out + layer.pre[:, self.reads])
        return self._finish(stream, self.reads)

    def _one_column(self, sites: list[Site], value: Tensor) -> Float[Tensor, "site batch d_model"]:
        """The changed column of each site (positions may differ) in the last block's input."""
        by_position: dict[int, list[int]] = {}
        for i, site in enumerate(sites):
            by_position.setdefault(site.position or 0, []).append(i)
        out: list[Tensor] = [torch.empty(0)] * len(sites)
        for places in by_position.values():
            _, stream, _ = self._stream([sites[i] for i in places], value)
            for i, row in zip(places, stream[:, :, 0].expand(len(places), -1, -1), strict=True):
                out[i] = row
        return torch.stack(out)


def _part(x: Float[Tensor, "batch pos *rest"], positions: list[int]) -> Float[Tensor, "batch row *rest"]:
    """Some consecutive or scattered positions; a view where they are consecutive."""
    if positions == list(range(positions[0], positions[0] + len(positions))):
        return x[:, positions[0] : positions[0] + len(positions)]
    return x[:, positions]


def _scores(
    q: Float[Tensor, "site batch head row k"],
    k: Float[Tensor, "site batch head k column"],
    base: Float[Tensor, "batch head k pos"],
    a: int,
    b: int,
) -> Float[Tensor, "site batch head row pos"]:
    """Scores against new keys at columns a..b and the base run's elsewhere."""
    n_pos = base.shape[-1]
    if b - a == n_pos:
        return q @ k
    scores = torch.empty(*q.shape[:-1], n_pos, dtype=q.dtype, device=q.device)
    scores[..., a:b] = q @ k
    if a > 0:
        scores[..., :a] = _shared(q, base[..., :a])
    if b < n_pos:
        scores[..., b:] = _shared(q, base[..., b:])
    return scores


def _shared(
    x: Float[Tensor, "site batch head row m"], y: Float[Tensor, "batch head m c"]
) -> Float[Tensor, "site batch head row c"]:
    """x @ y with y shared by the sites: their rows are laid side by side instead of repeating y."""
    if len(x) == 1:
        return (x[0] @ y)[None]
    n, batch, head, row, m = x.shape
    flat = x.permute(1, 2, 0, 3, 4).reshape(batch, head, n * row, m)
    return (flat @ y).unflatten(2, (n, row)).permute(2, 0, 1, 3, 4)
