"""Made-up runs that look like real ones: three-hop retrieval (softmax), regression (linear attention)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pandas as pd
import pytest

from interp.report.model import DrawnAttention, RunReport
from tests.interp.report.made_up import (
    algorithms,
    checkpoints,
    circuit,
    facts,
    faithfulness,
    filters,
    patching,
    rise,
    softmax_attention,
    weights,
)


@pytest.fixture(scope="session")
def retrieval() -> Callable[..., RunReport]:
    """A three-hop retrieval run; hop k appears at step 700 k, one head a hop in the layer of its number."""

    def build(
        title: str = "Three-hop retrieval", count: int = 40, tokens: int = 41, label: str = "a4"
    ) -> RunReport:
        rng = np.random.default_rng(1)
        steps = checkpoints(count, 4000)
        at = np.arange(0, 4001, 5)
        hops = [700, 1500, 2600]
        loss = (
            3.0
            - sum(0.97 * rise(at, m) for m in hops)
            + 0.05 * rng.standard_normal(len(at)) * np.exp(-at / 3000)
        )
        scores = [
            {
                "step": s,
                "position": f"hop {h + 1}",
                "metric": "accuracy",
                "value": v,
                "ci_low": max(v - 0.03, 0),
                "ci_high": min(v + 0.03, 1),
            }
            for (h, m), s in product(enumerate(hops), steps)
            for v in [float(0.05 + 0.94 * rise(s, m))]
        ]
        heads = []
        for metric, layer, head, middle in [
            ("query->link_1", 0, 1, 650),
            ("link_1->link_2", 1, 3, 1400),
            ("link_2->link_3", 2, 0, 2500),
        ]:
            for s, i, j in product(steps, range(3), range(4)):
                v = float(
                    0.05
                    + 0.02 * rng.random()
                    + (
                        0.9 * rise(s, middle)
                        if (i, j) == (layer, head)
                        else 0.1 * rise(s, 3000) * rng.random()
                    )
                )
                row = {"step": s, "layer": i, "head": j, "metric": metric}
                heads.append({**row, "control": "none", "value": v, "ci_low": v - 0.02, "ci_high": v + 0.02})
                heads.append({**row, "control": "untrained", "value": float(0.05 + 0.02 * rng.random())})
        sites = ["hook_embed", *(f"blocks.{i}.hook_resid_post" for i in range(3))]
        probes = []
        for (h, m), (depth, site), s in product(enumerate(hops), enumerate(sites), steps):
            v = float(0.05 + (0.93 * rise(s, m) if depth > h else 0.0) + 0.01 * rng.random())
            row = {
                "step": s,
                "layer": depth - 1,
                "site": site,
                "metric": "probe accuracy",
                "target": f"link {h + 1}",
            }
            probes.append({**row, "control": "none", "value": v, "ci_low": v - 0.03, "ci_high": v + 0.03})
            probes.append({**row, "control": "untrained", "value": float(0.06 + 0.01 * rng.random())})
            probes.append({**row, "control": "shuffled", "value": float(0.05 + 0.01 * rng.random())})
        names = [
            label if i == 3 else ("?" if i == tokens - 1 else f"{'abcdefghij'[i % 10]}{(i * 7) % 10}")
            for i in range(tokens)
        ]
        emergence = [
            {"subject": f"L{i}H{j}", "metric": r, "step": m, "ci_low": m - 120, "ci_high": m + 150}
            for r, i, j, m in [
                ("query->link_1", 0, 1, 650),
                ("link_1->link_2", 1, 3, 1400),
                ("link_2->link_3", 2, 0, 2500),
            ]
        ]
        return RunReport(
            title=title,
            verdict="The network answers three-hop questions: by step 4,000 it is right on 99% of hops, against 5% by"
            " chance. One head a layer carries each hop (L0H1, then L1H3, then L2H0), and they appeared in the order"
            " of the hops, each when the one before it had formed.",
            steps=steps,
            facts=facts("multi-hop retrieval, 3 hops", "Muon"),
            metrics=pd.DataFrame({"step": at, "loss": loss, "lr": 0.02}),
            scores=pd.DataFrame(scores),
            levels=pd.DataFrame(
                [
                    {"level": "chance", "metric": "accuracy", "position": f"hop {h}", "value": 0.05}
                    for h in (1, 2, 3)
                ]
                + [
                    {"level": "bayes_risk", "metric": "loss", "position": f"hop {h}", "value": 0.0}
                    for h in (1, 2, 3)
                ]
            ),
            heads=pd.DataFrame(heads),
            probes=pd.DataFrame(probes),
            emergence=pd.DataFrame(
                [*emergence, {"subject": "L2H2", "metric": "link_2->link_3", "step": np.nan}]
            ),
            attention=(softmax_attention(rng, steps, names),),
            circuit=circuit(steps, names),
            patching=patching(steps[::3], names),
            faithfulness=faithfulness(),
            weights=weights(steps[::3]),
            labels={
                "loss": "cross-entropy (nats)",
                "accuracy": "share of prompts answered right",
                "query->link_1": "attention mass",
            },
            sources={"heads": "interp heads runs/demo/retrieval · analysis/heads.parquet"},
        )

    return build


@pytest.fixture(scope="session")
def regression() -> Callable[..., RunReport]:
    """In-context regression with linear attention: one score a read, an error probe with a wide range, no emergence."""

    def build(title: str = "In-context linear regression", outputs: int = 20) -> RunReport:
        rng = np.random.default_rng(2)
        steps = checkpoints(30, 2800)
        at = np.arange(0, 2801, 10)
        floor = np.clip(1 - np.arange(outputs) / 5, 0.0, None) * 0.95 + 0.02
        scores = []
        for s, i in product(steps, range(outputs)):
            v = float(floor[i] + (1.02 - floor[i]) * np.exp(-s / 500))
            scores.append(
                {
                    "step": s,
                    "position": f"x {i + 1}",
                    "metric": "loss",
                    "value": v,
                    "ci_low": v * 0.93,
                    "ci_high": v * 1.07,
                }
            )
        probes = []
        for s, layer in product(steps, range(7)):
            site = f"blocks.{layer - 1}.hook_resid_post" if layer else "hook_embed"
            v = float(max(0.02, 1 - (layer / 6) * rise(s, 800)))
            probes.append(
                {
                    "step": s,
                    "site": site,
                    "metric": "probe error",
                    "control": "none",
                    "value": v,
                    "ci_low": v * 0.9,
                    "ci_high": v * 1.1,
                }
            )
            probes.append(
                {
                    "step": s,
                    "site": site,
                    "metric": "probe error",
                    "control": "untrained",
                    "value": 0.97 + 0.02 * float(rng.random()),
                }
            )
            probes.append({"step": s, "site": site, "metric": "probe error", "control": "zero", "value": 1.0})
        tokens = tuple(f"{'xy'[i % 2]}{i // 2 + 1}" for i in range(19))
        pattern = (
            0.8
            * rng.standard_normal((len(steps), 2, 2, 19, 19))
            * rise(np.array(steps), 700)[:, None, None, None, None]
        )
        return RunReport(
            title=title,
            verdict="The network regresses in context: its error follows the Bayes answer at every number of examples.",
            steps=steps,
            facts=facts("in-context regression, d=5", "AdamW"),
            metrics=pd.DataFrame({"step": at, "loss": 0.3 + 0.72 * np.exp(-at / 500)}),
            scores=pd.DataFrame(scores),
            levels=pd.DataFrame(
                [
                    {
                        "level": "bayes_risk",
                        "metric": "loss",
                        "position": f"x {i + 1}",
                        "value": float(floor[i]),
                    }
                    for i in range(outputs)
                ]
                + [
                    {"level": "chance", "metric": "loss", "position": f"x {i + 1}", "value": 1.0}
                    for i in range(outputs)
                ]
            ),
            probes=pd.DataFrame(probes),
            attention=(
                DrawnAttention(
                    "prompt 1", tokens, steps, (pattern * np.tri(19)).astype(np.float32), signed=True
                ),
            ),
            algorithms=algorithms(steps[-1]),
            filters=filters(steps[-1]),
            lower_is_better=("loss", "probe error"),
            labels={"loss": "squared error / label variance"},
            missing={
                "heads": "no relation between positions is known for this task, so heads have no score."
            },
        )

    return build
