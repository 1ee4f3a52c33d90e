"""Which circuit answers each hop: a head on the hop's own link, or look-ahead heads of an earlier layer.

Two circuits solve the same chain. "stacked": the query attends to link k and takes its value. "look-ahead":
links attend to their successors in an early layer, so that link j < k already carries s_k and no head attends from
the query to link k (the merging model of `interp.models.constructed`). Which of them a hop uses is determined by
ablation effects, not by attention alone: the heads that attend to link k are mean-ablated at the query, those by which
links attend to later links at every other position, each as a group (one head may be in both). No head is in a group
for rows that cannot affect an output, like the links' own rows in the last layer.

Effect: (loss without the group - loss) / (loss without any head - loss) on that hop; 0: nothing
changes, 1: as bad as no attention at all, no bound above. It is significant when it is at least `LEAST` and its
simultaneous 95% interval over prompts, for all hops and groups together, lies above 0. Definitions of this project; the
two circuits are those of arXiv 2411.12118 (retrieval heads) and of its depth bound.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.analysis.base import Direct
from interp.heads.ablation import HeadName, ablated, all_heads, counts
from interp.heads.heads import has_roles
from interp.heads.roles import refuse_unscorable, roles_met, run_heads
from interp.hooks.protocol import HookedModel
from probes.stats import Interval, ratio
from tasks import Task, UserError
from tasks.renamed import names_of

Kind = Literal["stacked", "look-ahead", "both", "other", "not solved"]
_AHEAD = re.compile(r"link_k -> link_k\+\d+")
_HOP = re.compile(r"hop (\d+)")


class Mechanism(Direct):
    """The circuit of every hop at every checkpoint: rows "direct" and "ahead" (a group's effect, with its
    heads), and "circuit" (`note` names the circuit, value the hop's share of prompts answered).

    A hop counts as solved from half-way between the best guess that follows no link and 1. "other": solved,
    but neither group has an effect (hop 1 at depth 1 has no earlier link, so it is "stacked" or "other").
    """

    name: ClassVar[str] = "mechanism"
    version: ClassVar[int] = 3

    prompts: int = 512
    kind: str = "mean per position"

    def measure(self, model: HookedModel, task: Task) -> pd.DataFrame:
        return mechanism(model, task, prompts=self.prompts, seed=self.seed, kind=self.kind)


def mechanism(
    model: HookedModel, task: Task, *, prompts: int = 512, seed: int = 0, kind: str = "mean per position"
) -> pd.DataFrame:
    """The circuit of every hop of one model; columns position, metric, value, ci_low, ci_high, n, members, note.

    Raises UserError for a task that is not one of chains read hop by hop, a model without heads, or signed
    attention.
    """
    hops = _hops(task)
    refuse_unscorable(model, task)
    batch, cache = run_heads(model, task, prompts, seed)
    teams = _teams(roles_met(model, task, batch, cache), hops)
    last = task.interface.n_ctx - 1
    outputs = [
        ablated(model, batch.inputs, [], kind, cache),
        ablated(model, batch.inputs, all_heads(model), kind, cache),
    ]
    outputs += [
        ablated(model, batch.inputs, team, kind, cache, range(last) if name == "ahead" else [last])
        for name, team in teams.items()
    ]
    losses = torch.stack([task.loss(out, batch) for out in outputs], dim=1).double()
    right = task.score(outputs[0], batch).double().mean(0)
    effects = _effects(losses, list(teams), 1 - 0.05 / (2 * len(hops)))
    rows = []
    for output, (position, hop) in enumerate(hops.items()):
        both = {side: effects[team, output] for side, team in (("direct", f"link {hop}"), ("ahead", "ahead"))}
        named = mechanism_of(both["direct"], both["ahead"], _solved(task, output, float(right[output])), hop)
        sides = {"direct": teams[f"link {hop}"], "ahead": teams["ahead"]}
        rows += [
            {
                "position": position,
                "metric": side,
                **both[side].row(),
                "members": _names(sides[side]),
                "note": "",
            }
            for side in both
        ]
        rows.append(
            {
                "position": position,
                "metric": "circuit",
                "value": float(right[output]),
                "n": prompts,
                "note": named,
            }
        )
    return pd.DataFrame(rows).assign(control="none", unit="share of all heads' effect")


def mechanism_of(direct: Interval, ahead: Interval, solved: bool, hop: int) -> Kind:
    """The circuit that the two effects on a hop imply. Hop 1 has no earlier link: an effect of the look-ahead
    group on it is a side effect and implies nothing.
    """
    if not solved:
        return "not solved"
    needs_direct, needs_ahead = counts(direct), counts(ahead) and hop > 1
    if needs_direct and needs_ahead:
        return "both"
    return "stacked" if needs_direct else "look-ahead" if needs_ahead else "other"


def identified_circuit(table: pd.DataFrame) -> pd.DataFrame:
    """One row a checkpoint: the circuit of every hop, and of the run (`circuit`: that of its last solved hop;
    "not solved" when there is none).
    """
    rows = table[table["metric"] == "circuit"]
    keys = [key for key in ("run", "seed", "step") if key in rows] or [rows["control"]]
    found = []
    for _, group in rows.groupby(keys, sort=False, dropna=False):
        notes = dict(zip(group["position"], group["note"], strict=True))
        solved = [note for note in notes.values() if note != "not solved"]
        at = {key: group[key].iloc[0] for key in ("run", "seed", "step") if key in group}
        found.append({**at, **notes, "circuit": solved[-1] if solved else "not solved"})
    return pd.DataFrame(found)


def has_hops(settings: Any, task: Task) -> bool:
    """Whether heads of such a model can have roles, and the task has an output a hop."""
    hops = task.kind == "retrieval" and all(_HOP.fullmatch(output) for output in task.output_names)
    return hops and has_roles(settings, task)


def _hops(task: Task) -> dict[str, int]:
    found = {output: int(hop[1]) for output in task.output_names if (hop := _HOP.fullmatch(output))}
    if len(found) < len(task.output_names) or task.kind != "retrieval":
        raise UserError(
            f"circuits of hops need a retrieval task with an output a hop, not {list(task.output_names)}"
        )
    return found


def _teams(held: Mapping[str, list[HeadName]], hops: Mapping[str, int]) -> dict[str, list[HeadName]]:
    """Heads on every hop's link, and heads by which links attend to any later link."""
    found = {f"link {hop}": list(held.get(f"query -> link_{hop}", [])) for hop in hops.values()}
    found["ahead"] = [head for role, team in held.items() if _AHEAD.fullmatch(role) for head in team]
    return found


def _effects(
    losses: Float[Tensor, "prompt group output"], teams: list[str], level: float
) -> dict[tuple[str, int], Interval]:
    """Effect of every group on every hop; exactly 0 for an empty one. Group 0 is intact, group 1 has no head."""
    whole = losses[:, 1] - losses[:, 0]
    return {
        (team, output): ratio(
            losses[:, 2 + i, output] - losses[:, 0, output], whole[:, output], level=level
        ).one()
        for i, team in enumerate(teams)
        for output in range(losses.shape[2])
    }


def _solved(task: Any, output: int, right: float) -> bool:
    guess = float(task.elimination().value[output])
    return right > guess + (1 - guess) / 2


def _names(team: list[HeadName]) -> str:
    return " ".join(f"L{layer}H{head}" for layer, head in team)


if not TYPE_CHECKING:
    __getattr__ = names_of(__name__)  # of version 0.1
