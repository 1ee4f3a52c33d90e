"""The fast engine: for each patched site recompute only what the patch can reach and the metric looks at.

A patch at block l leaves everything before l alone, and with a causal mask every row before its position too.
So each site is turned into a change of the residual stream at some rows (a head's output by its own W_O, a
query, key, value, score or pattern by its own head's attention), and the blocks after it are run on the rows
it reaches, against cached keys and values of the rest; the last block runs at the metric's positions only.
Where a site changes its block's input at one position, the attention of all other rows is corrected for that one
column (`interp.causal.one_column`). Sites whose values differ nowhere from the base run cost nothing. Short suffixes
of several sites are stacked, as far as that fits the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float, Num
from torch import Tensor

from interp.causal import arithmetic as ar
from interp.causal.base_layer import Layer, Stream, part, span
from interp.causal.base_run import BaseRun
from interp.causal.metrics import Metric
from interp.hooks.protocol import HookedModel
from interp.hooks.sites import HEAD_COMPONENTS, Site
from tasks.errors import UserError

STACK = 2048  # tokens run at once: more of them fall out of the processor's cache

REACHING = ("k", "v")  # what a change at one position brings to other rows of its own block


class FastEngine:
    """Metric values of one-site patches of a base run.

    `inputs` are the prompts of the base run; the metric's positions decide what is computed. Raises UserError
    for models other than the transformer.
    """

    def __init__(
        self,
        model: HookedModel,
        inputs: Num[Tensor, "batch pos *token"],
        metric: Metric,
        rows: Tensor | None = None,
    ):
        ar.require_transformer(model)
        self.model, self.config, self.metric, self.rows = model, model.config, metric, rows
        output_positions, n_pos = sorted(metric.positions), inputs.shape[1]
        if not output_positions or output_positions[-1] >= n_pos:
            raise UserError(
                f"metric {metric.name!r} looks at positions {output_positions} of prompts with {n_pos}"
            )
        self.base = BaseRun(model, inputs, output_positions)
        self.skip_unchanged = True
        with torch.no_grad():
            self.base_value = metric(self.base.outputs, rows)

    @torch.no_grad()
    def values(
        self, sites: Iterable[Site], replacement: Mapping[str, Float[Tensor, "batch *rest"]]
    ) -> Float[Tensor, "site batch"]:
        """The metric of each prompt after each site alone takes its value from `replacement` (by hook name)."""
        sites = list(sites)
        out = torch.empty(
            len(sites), self.base.batch, dtype=self.base_value.dtype, device=self.base_value.device
        )
        values = [replacement[site.hook(self.model.config.n_layers)] for site in sites]
        moved = [
            i for i, (site, value) in enumerate(zip(sites, values, strict=True)) if self._moves(site, value)
        ]
        out[:] = self.base_value
        for places in self._groups(sites, moved):
            some, value = [sites[i] for i in places], values[places[0]]
            out[places] = self._measure(
                self._lone(some, value) if self._is_lone(some[0]) else self._run(some, value)
            )
        return out

    def _moves(self, site: Site, value: Float[Tensor, "batch *rest"]) -> bool:
        """Whether a site's new value is another one, and somebody looks at what it changes."""
        at_end = self._entry(site) == len(self.base.layers) and site.component not in REACHING
        if at_end and site.position is not None and site.position not in self.base.output_positions:
            return False
        return not (self.skip_unchanged and torch.equal(site.read(self.cache_of(site)), site.read(value)))

    def _groups(self, sites: list[Site], moved: list[int]) -> Iterable[list[int]]:
        """Sites to run together: heads of one layer and place, and sites of one component that each change one column
        of the same block's input.
        """
        groups: dict[tuple, list[int]] = {}
        for i in moved:
            site = sites[i]
            lone = self._is_lone(site)
            alone = i if site.head is None and not lone else None
            position = "each" if lone else site.position
            groups.setdefault((site.component, site.layer, position, site.head is None, alone), []).append(i)
        for places in groups.values():
            places.sort(key=lambda i: sites[i].position or 0)
            while places:
                size = max(1, STACK // (self.base.batch * self._reach(sites[places[0]])))
                yield places[:size]
                del places[:size]

    def _is_lone(self, site: Site) -> bool:
        """Whether a site changes one column of a block's input."""
        reaching = site.component in REACHING
        return site.position is not None and not reaching and self._entry(site) < len(self.base.layers)

    def _entry(self, site: Site) -> int:
        """The block whose input a site changes; the number of blocks where it changes the final stream."""
        if site.component == "embed":
            return 0
        if site.component == "output" or site.layer is None:
            return len(self.base.layers)
        return site.layer if site.component == "resid_pre" else site.layer + 1

    def _reach(self, site: Site) -> int:
        """Rows of the next block that a site changes."""
        entry = self._entry(site)
        return len(self.base.rows(entry, site.position or 0)) if entry < len(self.base.layers) else 1

    def cache_of(self, site: Site) -> Float[Tensor, "batch *rest"]:
        """The base run's activation at a site's hook."""
        return self.base.cache[site.hook(len(self.base.layers))]

    def _measure(self, at_outputs: Float[Tensor, "site batch output d_out"]) -> Float[Tensor, "site batch"]:
        values = []
        for one in at_outputs:
            outputs = self.base.outputs.clone()
            outputs[:, self.base.output_positions] = one
            values.append(self.metric(outputs, self.rows))
        return torch.stack(values)

    def _finish(self, stream: Stream, rows: list[int]) -> Float[Tensor, "site batch output d_out"]:
        """Outputs at the read positions, from the final stream at some rows (the base run elsewhere)."""
        out = self.base.outputs[:, self.base.output_positions].expand(len(stream), -1, -1, -1).clone()
        held = [i for i, p in enumerate(self.base.output_positions) if p in set(rows)]
        if held:
            picked = [rows.index(self.base.output_positions[i]) for i in held]
            out[:, :, held] = ar.unembed(self.model, stream[:, :, picked])
        return out

    def _run(self, sites: list[Site], value: Tensor) -> Float[Tensor, "site batch output d_out"]:
        """Sites of one component, layer and position."""
        site = sites[0]
        columns = list(range(self.base.n_pos)) if site.position is None else [site.position]
        if site.component in HEAD_COMPONENTS:
            stream, columns = self._after_heads(sites, value, columns)
        else:
            stream = self._stream(site, value, columns)[None]
        return self._through(self._entry(site), stream, columns)

    def _lone(self, sites: list[Site], value: Tensor) -> Float[Tensor, "site batch output d_out"]:
        """Sites of one component and layer that each change one column of the next block's input."""
        site, columns = sites[0], [site.position or 0 for site in sites]
        entry = self._entry(site)
        if rows := self.base.rows(entry, min(columns)):
            new = self._after_head(sites, value, columns) if site.component in HEAD_COMPONENTS else None
            new = self._stream(site, value, columns).transpose(0, 1) if new is None else new
            return self._through(entry + 1, self.base.enter(entry, new, columns, rows), rows)
        return self._finish(self.base.layers[0].pre.new_empty(len(sites), self.base.batch, 0, 0), [])

    def _through(
        self, layer: int, stream: Stream, columns: list[int]
    ) -> Float[Tensor, "site batch output d_out"]:
        """The blocks from `layer` on, whose input is changed at `columns`, which run to the end."""
        for index in range(layer, len(self.base.layers)):
            rows = self.base.rows(index, columns[0])
            if not rows:
                return self._finish(stream[:, :, :0], [])
            stream, columns = self.base.block(index, stream, columns, rows), rows
        return self._finish(stream, columns)

    def _stream(self, site: Site, value: Tensor, columns: list[int]) -> Float[Tensor, "batch row d_model"]:
        """The changed stream that enters the next block, at some positions of a site without heads."""
        new = part(value, columns)
        if site.component in ("embed", "resid_pre", "output", "resid_post"):
            return new
        assert site.layer is not None
        layer = self.base.layers[site.layer]
        if site.component == "mlp_out":
            return part(layer.after_attn, columns) + new
        if site.component == "mlp_pre":
            return part(layer.after_attn, columns) + ar.neurons_out(layer.block.mlp, new)
        if site.component == "resid_mid":
            return ar.mlp(layer.block, new)
        assert site.component == "attn_out"
        return ar.mlp(layer.block, part(layer.pre, columns) + new)

    def _after_heads(self, sites: list[Site], value: Tensor, columns: list[int]) -> tuple[Stream, list[int]]:
        """The stream after a block in which each site's head (or all heads) was patched, and its changed rows."""
        site = sites[0]
        assert site.layer is not None
        layer = self.base.layers[site.layer]
        reaching = site.component in REACHING
        rows = self.base.rows(site.layer, columns[0]) if reaching else columns
        if site.layer == len(self.base.layers) - 1:
            rows = [p for p in rows if p in self.base.output_positions]
        if not rows:
            return layer.pre[None, :, :0].expand(len(sites), -1, -1, -1), [self.base.n_pos]
        moved = torch.stack([self._moved(layer, s, value, columns, rows) for s in sites])
        return ar.mlp(layer.block, part(layer.after_attn, rows) + moved), rows

    def _after_head(
        self, sites: list[Site], value: Tensor, columns: list[int]
    ) -> Float[Tensor, "site batch d_model"]:
        """The same where each site has a position of its own."""
        assert sites[0].layer is not None
        layer = self.base.layers[sites[0].layer]
        if sites[0].component == "z" and sites[0].head is not None:
            heads = [s.head or 0 for s in sites]
            delta = value[:, columns, heads] - layer.z[:, heads, columns]
            moved = torch.einsum("bsk,skd->sbd", delta, layer.block.attn.W_O[heads])
        else:
            each = [self._moved(layer, s, value, [c], [c]) for s, c in zip(sites, columns, strict=True)]
            moved = torch.stack(each)[:, :, 0]
        return ar.mlp(layer.block, layer.after_attn[:, columns].transpose(0, 1) + moved)

    def _moved(
        self, layer: Layer, site: Site, value: Tensor, columns: list[int], rows: list[int]
    ) -> Float[Tensor, "batch row d_model"]:
        """What a site's head (or all heads) writes anew at some rows, less what it wrote."""
        heads = list(range(layer.q.shape[1])) if site.head is None else [site.head]
        delta = self.base.head_change(layer, site.component, value, heads, columns, rows)
        return torch.einsum("bhrk,hkd->brd", delta, layer.block.attn.W_O[span(heads)])
