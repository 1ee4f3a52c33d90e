"""Circuits of every hand-constructed model: the planted one, among distractor heads, and the one that is found.

Owns the list of hand-constructed models. They are searched with the default settings of `find_circuit`, and with any
others on request: single effects on the squared distance to the full model's output, with rounding as the threshold,
find whatever carries anything, for nothing can cancel there.
Precision and recall are over edges {embed, head} -> {head.q, head.k, head.v, output}; 1 and 1 is what was planted and
nothing else.

    python -m interp.calibration.circuits [--distractors N] [--prompts N]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any, Literal

import pandas as pd

from interp.causal.circuits import find_circuit
from interp.causal.faithfulness import precision_recall
from interp.causal.graph import edges
from interp.models.constructed import ConstructedModel, constructed_induction, constructed_retrieval
from interp.models.constructed_algorithms import Attention, constructed_gradient_descent, constructed_newton
from tasks.errors import UserError
from tasks.regression import InContextRegression

D, N = 3, 12
RATE, FLATTENING, ALPHA = 0.5, 0.1, 0.1
Variant = Literal["merge", "chain"]
ATTENTIONS: tuple[Attention, ...] = ("linear", "relu")
Build = Callable[[int, int], ConstructedModel]  # distractors, seed


def _retrieval(hops: int, variant: Variant) -> Build:
    return lambda distractors, seed: constructed_retrieval(hops, variant, distractors=distractors, seed=seed)


def _descent(steps: int, flattened: bool, attention: Attention) -> Build:
    def build(distractors: int, seed: int) -> ConstructedModel:
        flat = [FLATTENING] * steps if flattened else None
        found = constructed_gradient_descent(
            [RATE] * steps, D, N, flat, attention, seed, distractors=distractors
        )
        return ConstructedModel(*found, _regression())

    return build


def _newton(steps: int) -> Build:
    return lambda distractors, seed: ConstructedModel(
        *constructed_newton(steps, D, N, ALPHA, seed, distractors=distractors), _regression()
    )


def _regression() -> InContextRegression:
    return InContextRegression(d=D, n=N, layout="merged")


NETS: dict[str, Build] = {
    **{f"retrieval, {hops} hops, merging": _retrieval(hops, "merge") for hops in (1, 2, 3, 4)},
    **{f"retrieval, {hops} hops, chain": _retrieval(hops, "chain") for hops in (2, 3, 4)},
    "induction": lambda distractors, seed: constructed_induction(distractors=distractors, seed=seed),
    **{
        f"{'GD++' if flattened else 'GD'}, {steps} steps, {attention}": _descent(steps, flattened, attention)
        for flattened in (False, True)
        for steps in (1, 2, 3)
        for attention in ATTENTIONS
    },
    **{f"Newton, {steps} steps": _newton(steps) for steps in (1, 2)},
}


def recovered(
    names: Iterable[str] = tuple(NETS), *, distractors: int = 20, prompts: int = 64, seed: int = 0,
    **settings: Any,
) -> pd.DataFrame:  # fmt: skip
    """One row a hand-constructed model: planted heads and edges, all edges, those found, precision and recall.

    `right_heads`: whether the heads found are the planted ones. `weakest`: the smallest effect of an edge found, as a
    share of the full resample-ablation effect. `settings`: other ones of
    `find_circuit` than its defaults. Raises UserError for an unknown model.
    """
    rows = []
    for name in names:
        if name not in NETS:
            raise UserError(f"no hand-constructed model {name!r}: known are {', '.join(NETS)}")
        net = NETS[name](distractors, seed)
        found = find_circuit(net.model, net.task, prompts=prompts, seed=seed, draws=200, **settings)
        precision, recall = precision_recall(found.edges, net.circuit.edges)
        rows.append({
            "net": name, "heads": len(net.circuit.heads), "distractors": distractors, "edges": len(edges(net.model)),
            "planted": len(net.circuit.edges), "found": len(found.edges), "precision": precision, "recall": recall,
            "right_heads": found.heads == net.circuit.heads, "weakest": min(found.scores, default=float("nan")),
        })  # fmt: skip
    return pd.DataFrame(rows)


def main() -> None:
    """Print the table of every net."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--distractors", type=int, default=20)
    parser.add_argument("--prompts", type=int, default=64)
    settings = parser.parse_args()
    table = recovered(distractors=settings.distractors, prompts=settings.prompts)
    print(table.to_string(index=False, float_format=lambda v: f"{v:.3g}"))


if __name__ == "__main__":
    main()
