"""What a filter verdict needs of a readout's outputs at probe queries, prompt by prompt.

Owns: the second moments of queries and outputs in the eigenbasis of each prompt's S = X'X, and the two parts of an
output that no weight vector gives: `noise`, all that is not linear in the query, estimated without bias from the
residual of each prompt's own regression; and `smooth`, the part of it that neighbouring queries share (a constant,
squares and cubes of the query), which is not noise but another function of the query. Noise drawn afresh at every
query has no smooth part; of a smooth part that differs between prompts in size or kind, about a half is found.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from probes.algorithms.problems import Problems, Step
from tasks.errors import UserError


@dataclasses.dataclass(frozen=True)
class Observations:
    """Second moments of each prompt, for one context length.

    `base` is V'w of least squares; with coefficients a, outputs o and queries q in the eigenbasis: `gram` q'q, `cross`
    q'o and `size` o'o. `noise` is what of `size` is not linear in q, and `smooth` the part of that which is a function
    of q up to cubes (both unbiased, so single prompts may be negative; NaN where d queries or fewer leave no residual).
    `reach` is the range of positive eigenvalues by kind of step, of all prompts also where these are a part of them: an
    iterate that is tuned on a part must not diverge on the others. `frames` keeps what was computed of the prompts and
    queries alone, and is shared by all outputs at them (`answering`, `without`).
    """

    problems: Problems
    eigenvalues: Float[Tensor, "prompt d"]
    base: Float[Tensor, "prompt d"]
    gram: Float[Tensor, "prompt d d"]
    cross: Float[Tensor, "prompt d"]
    size: Float[Tensor, "prompt"]
    noise: Float[Tensor, "prompt"]
    smooth: Float[Tensor, "prompt"]
    rows: int
    reach: Mapping[Step, tuple[float, float]]
    frames: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        problems: Problems,
        queries: Float[Tensor, "prompt query d"],
        outputs: Float[Tensor, "prompt query"],
    ) -> Observations:
        """Outputs of a readout at probe queries of the one context of `problems`.

        Raises UserError for more than one context, values that are not finite, or outputs that are all 0.
        """
        if len(problems.contexts) != 1:
            raise UserError(f"filters are read at one context length at a time, got {len(problems.contexts)}")
        if not bool(torch.isfinite(queries).all()):
            raise UserError("outputs or queries hold NaN or infinity: no filter can be read from them")
        seen = queries.double() @ problems.root @ problems.basis[:, 0]
        none = torch.zeros(len(queries), dtype=torch.float64)
        empty = cls(
            problems,
            problems.eigenvalues[:, 0],
            problems.least_squares[:, 0],
            seen.mT @ seen,
            none[:, None].expand(seen.shape[::2]),
            *(none, none, none),
            seen.shape[0] * seen.shape[1],
            {step: _reach(problems, step) for step in get_args(Step)},
            {"queries": queries.double(), "rotated": seen},
        )
        return empty.answering(outputs)

    def answering(self, outputs: Float[Tensor, "prompt query"]) -> Observations:
        """Other outputs at the same queries; what depends on prompts and queries alone is not computed again.

        For whole observations, not those of a `part`. Raises UserError as `of` does.
        """
        outputs = outputs.double()
        if not bool(torch.isfinite(outputs).all()):
            raise UserError("outputs or queries hold NaN or infinity: no filter can be read from them")
        if not bool((outputs != 0).any()):
            raise UserError("the readout's outputs are all 0: there is no filter to read")
        if "residuals" not in self.frames:
            self.frames["residuals"] = Residuals.of(self.frames["queries"])
        noise, smooth = self.frames["residuals"].parts(outputs)
        cross = (self.frames["rotated"].mT @ outputs[..., None])[..., 0]
        return dataclasses.replace(
            self, cross=cross, size=outputs.square().sum(1), noise=noise, smooth=smooth
        )

    def __len__(self) -> int:
        return len(self.size)

    def part(self, prompts: Tensor) -> Observations:
        """Those of some prompts."""
        p = self.problems
        root = p.root if p.root.ndim == 2 else p.root[prompts]
        values, basis, projected = p.eigenvalues[prompts], p.basis[prompts], p.projected[prompts]
        kept = (p.query[prompts], p.contexts, root, p.x[prompts], p.y[prompts])
        problems = Problems(values, basis, projected, *kept)
        names = ("eigenvalues", "base", "gram", "cross", "size", "noise", "smooth")
        own = {name: getattr(self, name)[prompts] for name in names}
        count = len(own["size"])
        return Observations(problems, **own, rows=self.rows // len(self) * count, reach=self.reach)

    def without(self, coefficients: Float[Tensor, "prompt d"]) -> Observations:
        """The same with what coefficients V'w predict taken from the outputs."""
        pushed = (self.gram @ coefficients[..., None])[..., 0]
        less = 2 * (coefficients * self.cross).sum(1) - (coefficients * pushed).sum(1)
        return dataclasses.replace(self, cross=self.cross - pushed, size=self.size - less)

    def terms(
        self, coefficients: Float[Tensor, "member prompt d"]
    ) -> tuple[Float[Tensor, "prompt member"], Float[Tensor, "prompt member"]]:
        """Per prompt: outputs times predictions, and predictions squared, summed over queries."""
        times = torch.einsum("mpd,pd->pm", coefficients, self.cross)
        pushed = self.gram @ coefficients.permute(1, 2, 0)
        squared = (pushed * coefficients.permute(1, 2, 0)).sum(1)
        return times, squared


def _reach(problems: Problems, step: Step) -> tuple[float, float]:
    u = problems.eigenvalues[:, 0] / problems.scale(step)[:, 0]
    live = u[u > 0]
    return (float(live.min()), float(live.max())) if len(live) else (1.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Residuals:
    """Of each prompt's queries: the residual maker M, M B M for every part B, and what the parts are pooled with.

    With r = M o, E r r' = M (s0 I + s1 11' + s2 K^2 + s3 K^3) M for noise and smooth parts of random sign, K the inner
    products of whitened queries. The four strengths solve the pooled moment equations r' B r = sum_j s_j tr(B M B_j M)
    over B in (I, 11', K^2, K^3) (MINQUE; Rao 1971), and a prompt's own share of a strength is its part of the
    right-hand sides.
    """

    maker: Float[Tensor, "prompt query query"]
    inside: Float[Tensor, "part prompt query query"]
    solver: Float[Tensor, "part part"]
    trace: Float[Tensor, "smooth"]
    d: int

    @classmethod
    def of(cls, queries: Float[Tensor, "prompt query d"]) -> Residuals:
        count, d = queries.shape[1:]
        left, _, _ = torch.linalg.svd(queries, full_matrices=False)
        maker = torch.eye(count, dtype=torch.float64) - left @ left.mT
        second = queries.flatten(0, 1).mT @ queries.flatten(0, 1) / (len(queries) * count)
        inner = queries @ torch.linalg.pinv(second, hermitian=True) @ queries.mT / d
        parts = torch.stack([torch.ones_like(inner), inner**2, inner**3])
        inside = torch.cat([maker[None], maker @ parts @ maker])
        traces = torch.einsum("apqr,bprq->ab", inside, inside)
        trace = inside[1:].diagonal(dim1=-2, dim2=-1).sum(-1).sum(1)
        return cls(maker, inside, torch.linalg.pinv(traces, hermitian=True), trace, d)

    def parts(self, outputs: Float[Tensor, "prompt query"]) -> tuple[Tensor, Tensor]:
        """Per prompt: what of o'o is not linear in q, and what of that is smooth in q."""
        prompts, count = outputs.shape
        spare = count - self.d
        if spare <= 0:
            none = torch.full((prompts,), torch.nan, dtype=torch.float64)
            return none, none
        residual = (self.maker @ outputs[..., None])[..., 0]
        noise = residual.square().sum(1) * count / spare
        if spare < 4 or prompts * spare < 16:
            return noise, torch.zeros_like(noise)
        sides = torch.einsum("pq,bpqr,pr->pb", residual, self.inside, residual)
        shares = sides @ self.solver
        return noise, shares[:, 1:] @ self.trace * count / spare
