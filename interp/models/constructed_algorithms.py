"""Hand-constructed models of known algorithms: gradient descent, GD++, Newton's method.

All read merged tokens [x; y] (the query's y is 0) and attend without softmax: scores are key times query,
weighted by 1/n, the query hidden as a key. S = X'X / n and X'y / n are meant per example throughout. Outputs
are predictions with a plus sign. "relu" attention uses two heads for one linear head: relu(a) v - relu(-a) v
= a v. `distractors` distractor heads attend strongly and write to an unread slot (`interp.models.distractors`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from interp.models.construction import Construction, Copy, Head, PlantedCircuit, PlantedMatch
from interp.models.distractors import JUNK, build_with_distractors, codes
from interp.models.transformer import HookedTransformer
from tasks.errors import UserError
from tasks.regression import InContextRegression

Attention = Literal["linear", "relu"]
Dtype = Literal["float32", "float64"]
STRENGTH = 3.0  # size of a decoy's scores, where those of planted heads are of order 1


def constructed_newton(
    steps: int, d: int, n: int, alpha: float, seed: int = 0, dtype: Dtype = "float64", distractors: int = 0
) -> tuple[HookedTransformer, PlantedCircuit]:
    """Newton's (Schulz's) iteration for least squares in `steps` + 2 layers of ReLU attention and width 2d +
    2.

    The prediction at the query is x_q' M_k X'y / n with M_0 = alpha S and M_{k+1} = 2 M_k - M_k S M_k (Fu et
    al. 2024, theorem 5.1, with merged tokens). It converges for alpha < 2 / |S|_2^2; alpha is a weight, not a
    function of the prompt. Layer 0 writes M_0 x_j to a slot; layer k + 1 holds M_k x_j / 2^k there, so that
    the residual connection halves away the factor 2 and no MLP is needed; the last layer reads out. Raises
    UserError for settings out of range.
    """
    _check(steps, d, n)
    eye = torch.eye(d, dtype=torch.float64)
    heads = _signed(0, "M_0 x", "x", "x", eye, [Copy("x", "state", alpha * eye)])
    for k in range(steps):
        step = [Copy("state", "state", -(2.0 ** (k - 1)) * eye)]
        heads += _signed(k + 1, f"Newton step {k + 1}", "state", "x", eye, step)
    scale = torch.tensor([[2.0**steps]], dtype=torch.float64)
    heads += _signed(steps + 1, "read out", "state", "x", eye, [Copy("label", "prediction", scale)])
    slots = {"x": d, "label": 1, "state": d, "prediction": 1}
    return _regression_net(slots, heads, ("prediction", 1.0), d, n, "relu", seed, dtype, distractors)


def constructed_gradient_descent(
    rates: Sequence[float],
    d: int,
    n: int,
    flattening: Sequence[float] | None = None,
    attention: Attention = "linear",
    seed: int = 0,
    dtype: Dtype = "float64",
    distractors: int = 0,
) -> tuple[HookedTransformer, PlantedCircuit]:
    """Gradient descent on |Xw - y|^2 / 2n from w = 0, one layer a step; GD++ with `flattening`.

    Step l is w <- w + rates[l] X'(y - Xw) / n. The label slot of every token holds its residual y - x'w, that
    of the query minus its prediction (Ahn et al. 2023, lemma 1). GD++ (von Oswald et al. 2023) also replaces
    every x by x - flattening[l] S x in the same layer, with S of the covariates entering it. Raises UserError
    for settings out of range or `flattening` of another length than `rates`.
    """
    _check(len(rates), d, n)
    if flattening is not None and len(flattening) != len(rates):
        raise UserError(f"flattening has {len(flattening)} values for {len(rates)} steps: give one for each")
    eye = torch.eye(d, dtype=torch.float64)
    heads: list[Head] = []
    for layer, rate in enumerate(rates):
        copies = [Copy("label", "label", torch.tensor([[-rate]], dtype=torch.float64))]
        if flattening is not None:
            copies.append(Copy("x", "x", -flattening[layer] * eye))
        role = f"step {layer + 1}"
        if attention == "relu":
            heads += _signed(layer, role, "x", "x", eye, copies)
        else:
            heads.append(Head(layer, role, (PlantedMatch("x", "x", eye),), tuple(copies)))
    slots = {"x": d, "label": 1}
    return _regression_net(slots, heads, ("label", -1.0), d, n, attention, seed, dtype, distractors)


def _check(steps: int, d: int, n: int) -> None:
    for name, value in (("steps", steps), ("d", d), ("n", n)):
        if value < 1:
            raise UserError(f"{name}={value}: must be at least 1")


def _signed(
    layer: int, role: str, query: str, key: str, matrix: torch.Tensor, copies: Sequence[Copy]
) -> list[Head]:
    """A linear head as two rectified ones of opposite sign."""
    return [
        Head(
            layer,
            f"{role} ({'+' if sign > 0 else '-'})",
            (PlantedMatch(query, key, sign * matrix),),
            tuple(Copy(c.source, c.target, sign * c.matrix) for c in copies),
        )
        for sign in (1, -1)
    ]


def _regression_net(
    slots: dict[str, int],
    heads: list[Head],
    readout: tuple[str, float],
    d: int,
    n: int,
    attention: Attention,
    seed: int,
    dtype: Dtype,
    distractors: int,
) -> tuple[HookedTransformer, PlantedCircuit]:
    """Tokens [x; y] of n examples, which heads attend to, and of the query, whose label slot starts at 0 and whose
    output counts.
    """
    eye = torch.eye(d + 1)
    columns = {"x": eye[:, :d], "label": eye[:, d:]}
    if distractors:
        slots, columns = {**slots, "junk": JUNK, "sink": JUNK}, {**columns, "junk": codes(d + 1, seed)}
    construction = Construction(
        slots=slots,
        tables={"token_embed.W_E": columns},
        heads=heads,
        readout=[(readout[0], torch.tensor([[readout[1]]]))],
        places=("example", "query"),
        attended=("example",),
        output_places=("query",),
        empty=frozenset({("label", "query")}),
    )
    task = InContextRegression(d=d, n=n, layout="merged")
    n_layers = 1 + max(head.layer for head in heads)
    settings = {
        "attention": attention,
        "mask": "full",
        "mask_query": True,
        "positions": "none",
        "dtype": dtype,
    }
    strengths = {"x": STRENGTH / d**0.5, "junk": STRENGTH / JUNK**0.5}
    return build_with_distractors(construction, task, n_layers, distractors, strengths, seed, **settings)
