"""The fast engine: for each patched site recompute only what the patch can reach and the metric looks at.

A patch at block l leaves everything before l alone, and with a causal mask every row before its position too.
So each site is turned into a change of the residual stream at some rows (a head's output by its own W_O, a
query, key, value, score or pattern by its own head's attention), and the blocks after it are run on the rows
it reaches, against cached keys and values of the rest; the last block runs at the metric's positions only.
Sites whose values differ nowhere from the base run cost nothing. Short suffixes of several sites are stacked,
as far as that fits the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float, Num
from torch import Tensor

from interp.causal import arithmetic as ar
from interp.causal.base_run import BaseRun, Stream, part
from interp.causal.metrics import Metric
from interp.hooks.protocol import HookedModel
from interp.hooks.sites import Site
from tasks.errors import UserError

STACK = 2048  # tokens run at once: more of them fall out of the processor's cache


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
            size = 1 if position is None else max(1, STACK // (self.base.batch * self._reach(position)))
            yield from (places[i : i + size] for i in range(0, len(places), size))

    def _columns_apart(self, site: Site) -> bool:
        """Whether a site changes one column of the last block's input and no row that is read."""
        return (
            self._entry(site) == len(self.base.layers) - 1 and site.position not in self.base.output_positions
        )

    def _entry(self, site: Site) -> int | None:
        """The block whose input a single-position site changes at that position alone; None where it changes
        more.
        """
        if site.component == "embed":
            return 0
        if site.component == "output" or site.layer is None:
            return len(self.base.layers)
        if site.component in ("k", "v"):
            return None
        return site.layer if site.component == "resid_pre" else site.layer + 1

    def _reach(self, position: int) -> int:
        if position < 0:
            return 1
        return self.base.n_pos - position if self.base.causal else self.base.n_pos

    def _group(self, sites: list[Site], value: Tensor) -> Float[Tensor, "site batch"]:
        base = self.cache_of(sites[0])
        if self.skip_unchanged:
            moved = [not torch.equal(s.read(base), s.read(value)) for s in sites]
            if not any(moved):
                return self.base_value.expand(len(sites), -1)
        if sites[0].position is not None and self._columns_apart(sites[0]):
            return self._measure(self._columns_of_last(sites, value))
        return self._measure(self._run(sites, value))

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
        layer, stream, columns = self._stream(sites, value)
        for index in range(layer, len(self.base.layers)):
            rows = self.base.rows(index, columns[0])
            if not rows:
                return self._finish(stream[:, :, :0], [])
            stream = self.base.block(index, stream, columns, rows)
            columns = rows
        return self._finish(stream, columns)

    def _stream(self, sites: list[Site], value: Tensor) -> tuple[int, Stream, list[int]]:
        """The changed stream entering a block, for sites of one component, layer and position: (block,
        stream, where).
        """
        site = sites[0]
        last = len(self.base.layers)
        columns = list(range(self.base.n_pos)) if site.position is None else [site.position]
        new = part(value, columns)[None]
        if site.component in ("embed", "resid_pre"):
            return site.layer or 0, new, columns
        if site.component == "output":
            return last, new, columns
        assert site.layer is not None
        layer = self.base.layers[site.layer]
        if site.component == "resid_post":
            return site.layer + 1, new, columns
        if site.component == "mlp_out":
            return site.layer + 1, part(layer.after_attn, columns) + new, columns
        if site.component == "mlp_pre":
            out = ar.neurons_out(layer.block.mlp, new)
            return site.layer + 1, part(layer.after_attn, columns) + out, columns
        if site.component == "resid_mid":
            return site.layer + 1, ar.mlp(layer.block, new), columns
        if site.component == "attn_out":
            return site.layer + 1, ar.mlp(layer.block, part(layer.pre, columns) + new), columns
        return self._after_heads(sites, value, columns)

    def _after_heads(
        self, sites: list[Site], value: Tensor, columns: list[int]
    ) -> tuple[int, Stream, list[int]]:
        """The stream after a block in which each site's head (or all heads) was patched."""
        site = sites[0]
        assert site.layer is not None
        layer = self.base.layers[site.layer]
        reaching = site.component in ("k", "v")
        rows = self.base.rows(site.layer, columns[0]) if reaching else columns
        if site.layer == len(self.base.layers) - 1:
            rows = [p for p in rows if p in self.base.output_positions]
        if not rows:
            return site.layer + 1, layer.pre[None, :, :0].expand(len(sites), -1, -1, -1), [self.base.n_pos]
        moved = []
        for s in sites:
            heads = list(range(layer.q.shape[1])) if s.head is None else [s.head]
            delta = self.base.head_change(layer, s.component, value, heads, columns, rows)
            moved.append(torch.einsum("bhrk,hkd->brd", delta, layer.block.attn.W_O[heads]))
        return site.layer + 1, ar.mlp(layer.block, part(layer.after_attn, rows) + torch.stack(moved)), rows

    def _columns_of_last(self, sites: list[Site], value: Tensor) -> Float[Tensor, "site batch output d_out"]:
        """Sites that each change one column of the last block's input: all at once, on the read rows."""
        columns = torch.tensor([site.position for site in sites])
        return self._finish(
            self.base.last_block(self._one_column(sites, value), columns), self.base.output_positions
        )

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
