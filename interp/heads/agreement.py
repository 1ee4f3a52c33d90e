"""Does the circuit agree with the roles that attention scores suggest? One row a head.

A role (`interp.heads.roles`) describes what a head attends to; a circuit, what is needed. They agree on a head
that has a role and is in the circuit, and on one with neither. A head with a role outside the circuit is idle or
redundant; a circuit head without a role has a function that is not among the task's relations. `chance` is the
share of heads on which a circuit of this size and this many roles would agree if they were independent.
"""

from __future__ import annotations

import pandas as pd

from interp.causal.circuit import Circuit

FOUND = {
    (True, True): "in the circuit, with a role",
    (True, False): "in the circuit, without a role",
    (False, True): "a role, but not in the circuit",
    (False, False): "neither",
}


def agreement(circuit: Circuit, roles: pd.DataFrame) -> pd.DataFrame:
    """One row a head: whether a circuit and `roles` (of `interp.heads.roles.roles`, one row a head) agree.

    `value` is 1 where they agree, `edge` the head's largest outgoing edge in the circuit (share of the behaviour),
    `role`, `score`, `effect` (of its ablation), `verdict` and `partner` those of the roles, `found` the case in words,
    `chance` the share of heads that would agree if both were independent.
    """
    rows = []
    for row in roles.itertuples():
        name = f"L{row.layer}H{row.head}"
        inside, held = name in circuit.heads, bool(row.role)
        edge_scores = [x for (s, _), x in zip(circuit.edges, circuit.scores, strict=True) if s == name]
        rows.append({
            "layer": row.layer, "head": row.head, "value": float(inside == held), "edge": max(edge_scores, default=0.0),
            "role": row.role, "score": row.score, "effect": row.value,
            "verdict": row.verdict, "partner": row.partner, "found": FOUND[inside, held],
        })  # fmt: skip
    table = pd.DataFrame(rows)
    inside, held = len(circuit.heads) / len(table), float((table["role"] != "").mean())
    chance = inside * held + (1 - inside) * (1 - held)
    return table.assign(metric="agrees", control="none", chance=chance)
