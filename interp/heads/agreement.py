"""Does the circuit agree with the roles that attention scores suggest? One row a head.

A role (`interp.heads.roles`) says what a head looks at; a circuit says what is needed. They agree on a head
that has a role and is in the circuit, and on one with neither. A role outside the circuit is a score that
carries nothing here (idle, or another head stands in for it); a circuit head without a role does something
that no relation of the task names. `chance` is the share of heads on which a circuit of this size and this
many roles would agree if they had nothing to do with each other.
"""

from __future__ import annotations

from typing import ClassVar

import pandas as pd
from pydantic import Field

from interp.analysis.base import Direct
from interp.causal.circuits import Circuit
from interp.hooks.protocol import HookedModel
from tasks import Task

FOUND = {
    (True, True): "in the circuit, with a role",
    (True, False): "in the circuit, without a role",
    (False, True): "a role, but not in the circuit",
    (False, False): "neither",
}


class HeadRoles(Direct):
    """The role of every head at a checkpoint, by what it looks at, and what its ablation costs."""

    name: ClassVar[str] = "roles"
    version: ClassVar[int] = 2

    prompts: int = Field(default=512, ge=2)

    def measure(self, model: HookedModel, task: Task) -> pd.DataFrame:
        from interp.heads.roles import roles

        return roles(model, task, prompts=self.prompts, seed=self.seed).assign(metric="role", control="none")


def agreement(circuit: Circuit, roles: pd.DataFrame) -> pd.DataFrame:
    """One row a head: whether a circuit and `roles` (of `interp.heads.roles.roles`, one row a head) agree.

    `value` is 1 where they agree, `edge` the head's largest outgoing edge in the circuit (share of the
    behaviour), `role`, `score`, `effect` (of its ablation) and `verdict` those of the roles, `found` what there is to
    see in words, `chance` the share of heads that would agree if both were unrelated.
    """
    rows = []
    for row in roles.itertuples():
        name = f"L{row.layer}H{row.head}"
        inside, held = name in circuit.heads, bool(row.role)
        worth = [x for (s, _), x in zip(circuit.edges, circuit.scores, strict=True) if s == name]
        rows.append({
            "layer": row.layer, "head": row.head, "value": float(inside == held), "edge": max(worth, default=0.0),
            "role": row.role, "score": row.score, "effect": row.value,
            "verdict": row.verdict, "found": FOUND[inside, held],
        })  # fmt: skip
    table = pd.DataFrame(rows)
    inside, held = len(circuit.heads) / len(table), float((table["role"] != "").mean())
    chance = inside * held + (1 - inside) * (1 - held)
    return table.assign(metric="agrees", control="none", chance=chance)
